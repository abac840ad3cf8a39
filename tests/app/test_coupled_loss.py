from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up_study import made_up_summary

from batchlab.advice.question import Option
from batchlab.app.advice_session import all_but, why_not_comparable, without_pieces
from batchlab.records.estimate import Estimate, Reason
from batchlab.words.reasons import reason_text

COUPLED = replace(made_up_summary(), loss_couples=True)


def option(batch_size: int, micro_batch_size: int, note: Reason | None = None) -> Option:
    return Option(
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        step_s=Estimate.of(0.1, interval=(0.1, 0.1), n=5),
        peak_bytes=None,
        note=note,
    )


def test_only_a_coupled_loss_compares_nothing() -> None:
    assert why_not_comparable(COUPLED, "loss") == Reason.of("losses_not_comparable")
    assert why_not_comparable(COUPLED, "accuracy") is None
    assert why_not_comparable(made_up_summary(), "loss") is None


def test_a_batch_in_pieces_trains_on_another_loss() -> None:
    refused = option(512, 64, Reason.of("does_not_fit"))

    whole, pieces, other = without_pieces(COUPLED, [option(64, 64), option(256, 64), refused])

    assert whole.runs
    assert "it fits in micro-batches of 64 only" in reason_text(pieces.note)
    assert pieces.step_s.estimate is None
    assert other == refused


def test_a_mean_over_examples_may_be_cut_into_pieces() -> None:
    options = (option(64, 64), option(256, 64))

    assert without_pieces(made_up_summary(), options) == options


def test_all_but_the_reference_say_why_they_are_not_asked() -> None:
    why = Reason.of("losses_not_comparable")

    found = all_but(64, [option(64, 64), option(256, 256)], why)

    assert [each.note for each in found] == [None, why]
