"""Reasons in a store: what goes in comes out, also what this version cannot say."""

from __future__ import annotations

import json

import pytest

from batchlab.records.estimate import Reason
from batchlab.store.schema import kept_reason, reason_kept
from batchlab.words.reasons import reason_text

GREW = Reason.of(
    "losses_far_above_untrained",
    n=3,
    seen=(Reason.of("loss_seen", loss=21.5), Reason.of("loss_seen_not_finite")),
    factor=10.0,
    first=2.0,
)


@pytest.mark.parametrize(
    "reason",
    [
        GREW,
        Reason.of("out_of_time"),
        Reason.as_written('{"code": "out_of_time"}'),
        Reason.of("user_error", error="OSError", text="no such file"),
    ],
)
def test_a_reason_reads_back_as_it_was(reason: Reason) -> None:
    assert reason_kept(kept_reason(reason)) == reason


@pytest.mark.parametrize("text", ["", "no such file", "12", '{"code":"out_of_time"}', "[1]"])
def test_a_text_that_another_program_wrote_is_as_written(text: str) -> None:
    assert reason_kept(text) == Reason.as_written(text)


def test_what_this_version_cannot_say_is_read_as_its_text() -> None:
    later = json.dumps(json.loads(kept_reason(GREW)) | {"code": "of a later version"})

    assert reason_kept(later) == Reason.as_written(reason_text(GREW))


def test_text_that_utf_8_cannot_hold_is_spelled_out_at_every_depth() -> None:
    inner = Reason.as_written("caf\udce9")
    kept = kept_reason(Reason.of("as_written", text=(inner, "\udce9")))

    assert reason_text(reason_kept(kept)) == "caf\\udce9, \\udce9"
