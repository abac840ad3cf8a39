"""No output holds the repr of an object, whatever is shown and in whichever format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up_advice import KINDS
from tests.reference.made_up_noise import made_up_noise
from tests.reference.reprs import reprs_in
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import put_study
from tests.report.test_golden_sentences import SWEEPS

from batchlab.app.report import report
from batchlab.report.noise import noise_page, noise_sections
from batchlab.report.table import sections_text
from batchlab.store.store import Store


def without_scripts(page: str) -> str:
    """A page without its programs, which are not ours to word."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_repr_is_found_in_a_text() -> None:
    assert reprs_in("Gradient noise of NoiseWorkload(workload_id='5', name='mine') by step")
    assert reprs_in("it ended as <Status.OK: 'ok'>")
    assert reprs_in("a loss of <torch.Tensor object at 0x7f3a>")
    assert not reprs_in("S = S_min (1 + B_crit / B); batch_sizes=[16, 64] (see `--set x=1`)")


def test_noise_is_shown_without_reprs(undrawn: None) -> None:
    noise = made_up_noise()
    page = without_scripts(noise_page(noise, command="batchlab noise"))

    for shown in (sections_text(noise_sections(noise)), page, noise.to_json()):
        assert "made-up" in shown
        assert reprs_in(shown) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "recommend", "cannot_tell"])
def test_a_study_is_shown_without_reprs_in_every_format(kind: str, tmp_path: Path) -> None:
    store = tmp_path / "lab.db"
    with Store(store) as opened:
        if kind == "sweep":
            put_study(opened, SWEEPS["bad ends"]())
        else:
            put_advised(opened, KINDS[kind]())

    formats: tuple[Any, ...] = ("html", "text", "csv", "svg", "json")
    for output_format in formats:
        shown = report(store, output_format=output_format, path=tmp_path / output_format)
        texts = [shown.text or "", shown.warning or "", *map(Path.read_text, shown.files)]

        assert any(texts)
        assert reprs_in(without_scripts("".join(texts))) == []
