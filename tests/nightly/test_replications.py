"""The quick forms of the replications: all of it is trained, and every claim has a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.app.replicate import replicate, replication_names

pytestmark = pytest.mark.nightly

# What is so far from its tolerance here that another machine's rounding does not turn it.
SURE = {
    "shen2018": ("At one rate the large batch ends", "A raised rate recovers it"),
    "hoffer2017": ("Large batches lose", "As many updates as small batches have win the rest back"),
    "smith2018": ("Growing the batch ends as cutting the rate does", "It takes fewer updates"),
}


@pytest.mark.parametrize("name", [name for name in replication_names() if name != "convex"])
def test_a_quick_form_is_trained_whole_and_every_claim_has_a_number(
    name: str, tmp_path: Path
) -> None:
    found = replicate(name, store=tmp_path / "lab.db")

    assert found.is_finished
    assert [claim.claim for claim in found.claims if claim.measured.estimate is None] == []
    assert all(drawing.points for drawing in found.drawings)
    for begins in SURE.get(name, ()):
        verdicts = {each.verdict for each in found.claims if each.claim.startswith(begins)}
        assert verdicts == {"held"}, begins
