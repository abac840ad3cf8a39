"""The simulated studies: every kind can be drawn, asked about and judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.simulated_kinds import KINDS
from benchmarks.simulated_studies import REFERENCE, judged, question, run_study, summary
from tests.reference.simulated_engine import SimulatedEngine

from batchlab.advice.advisor import advise
from benchmarks import simulated_studies


@pytest.mark.nightly
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_judged(kind):
    row = judged(kind, 1, 60.0)

    found = summary([row, judged(kind, 2, 60.0)])

    assert found["studies"] == 2
    assert sum(found[v] for v in ("recommend", "better", "indifferent", "cannot_tell")) == 1
    assert ("ends_worse" in row) == (KINDS[kind].truth(1).end is not None)


def test_a_study_whose_only_rate_is_given_up_ends_with_its_reason():
    """The reference's rate missed on most fresh seeds, and nothing else had met the target yet."""
    row = KINDS["end"]
    truth = replace(row.truth(4), noise=1.2)
    device = row.device(truth, 4)
    engine = SimulatedEngine(truth=truth, step_s=device.__getitem__, salt=4)
    budget_s = 20 * truth.best_steps(64) * device[64]

    advice = advise(question(device, budget_s, None), engine)

    assert (advice.verdict, advice.reason.code) == ("cannot_tell", "none_met_on_fresh_seed")


@pytest.mark.slow
def test_what_is_named_is_judged_by_the_better_of_the_references():
    study = run_study("end", 1, 100.0)
    ends = {(64, 0.01): 0.97, (64, 0.02): 0.98, (512, 0.1): 0.978}
    cell = {
        name: replace(REFERENCE, batch_size=size, micro_batch_size=size, learning_rate=rate)
        for name, (size, rate) in {"tuned": (64, 0.02), "named": (512, 0.1)}.items()
    }

    made = replace(
        study,
        truth=replace(study.truth, end=lambda size, rate: ends[size, rate]),
        advice=replace(study.advice, recommendation=cell["named"], reference_tuned=cell["tuned"]),
    )

    assert made.ends_worse() == pytest.approx(0.002 / 0.02)
    assert replace(made, advice=replace(made.advice, recommendation=None)).ends_worse() is None
    assert simulated_studies.MORE_ERRORS == 0.05
