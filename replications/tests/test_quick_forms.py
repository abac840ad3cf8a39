"""The quick forms: every training is run, and every claim has a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from replications.__main__ import main, replicate
from replications.experiment import NAMES, Paper

# What is so far from its tolerance that another machine's rounding does not change it.
SURE = {
    "shen2018": ("At one rate the large batch ends", "A raised rate wins some of it back"),
    "hoffer2017": ("Large batches lose", "As many updates as small batches have win the rest back"),
    "smith2018": ("The paper's schedule has as few updates",),
    "shallue2019": ("The linear rule costs steps",),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in NAMES if name != "convex"])
def test_in_a_quick_form_every_claim_has_a_number(name: str, tmp_path: Path) -> None:
    judged, _ = replicate(Paper.named(name), is_quick=True, store=tmp_path / "lab.db")

    # A number may be known as a bound only; and the quick form has no batches of 2.
    unknown = {
        each.claim.measured
        for each in judged
        if (each.measured.estimate, each.measured.low, each.measured.high) == (None, None, None)
    }
    assert unknown <= {"tiny"}
    for begins in SURE.get(name, ()):
        verdicts = {each.verdict for each in judged if each.claim.says.startswith(begins)}
        assert verdicts == {"held"}, begins


def test_convex_agrees_with_its_closed_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["convex", "--quick"]) == 0

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| held")]
    assert len(rows) == len(Paper.named("convex").claims) == 9
    assert (tmp_path / "convex-quick.db").exists()


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["kesker2017"], 2)])
def test_without_a_known_name_all_are_listed(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code

    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == NAMES
