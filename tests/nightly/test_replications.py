"""The quick forms of the replications: all of it is trained, and every claim has a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.app.replicate import replicate, replication_names

pytestmark = pytest.mark.nightly

# What is so far from its tolerance here that another machine's rounding does not turn it.
SURE = {
    "shen2018": ("At one rate the large batch ends", "A raised rate wins some of it back"),
    "hoffer2017": ("Large batches lose", "As many updates as small batches have win the rest back"),
    "smith2018": (
        "Growing the batch ends as cutting the rate does",
        "The schedule has as few updates",
    ),
}


@pytest.mark.parametrize("name", [name for name in replication_names() if name != "convex"])
def test_a_quick_form_is_trained_whole_and_every_claim_has_a_number(
    name: str, tmp_path: Path
) -> None:
    found = replicate(name, store=tmp_path / "lab.db")

    assert found.is_finished
    unknown = [claim.measured for claim in found.claims if claim.measured.estimate is None]
    # A number may be known as a bound alone; none is for want of a training.
    assert {each.reason and each.reason.code for each in unknown}.isdisjoint(
        {"not_measured", "not_trained_yet", "no_trial_ended_well", None}
    )
    assert all(drawing.points for drawing in found.drawings)
    for begins in SURE.get(name, ()):
        verdicts = {each.verdict for each in found.claims if each.claim.startswith(begins)}
        assert verdicts == {"held"}, begins
