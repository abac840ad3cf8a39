"""The simulated studies: every kind can be drawn, asked about and judged."""

import json
from dataclasses import asdict, replace

import pytest
from benchmarks.simulated_kinds import KINDS
from benchmarks.simulated_studies import REFERENCE, judged, run_study, table

pytestmark = pytest.mark.nightly  # nobody who uses batchlab runs what judges the advice

NAMED = replace(REFERENCE, batch_size=512, micro_batch_size=512, learning_rate=0.1)


@pytest.fixture(scope="module")
def study():
    """One with ends that names batch size 512."""
    made = run_study("end", 1, 30.0)
    return replace(made, advice=replace(made.advice, recommendation=NAMED))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_judged(kind):
    studies = [judged(kind, seed, 60.0, n_workers) for seed in (1, 2) for n_workers in (1, 2)]

    assert f"| {kind}, 60, 2 | 2 | " in table(studies)
    assert json.loads(json.dumps(list(map(asdict, studies))))
    assert not any(each.is_slower or each.ends_worse for each in studies)


def test_what_is_named_is_judged_by_the_reference_as_it_is(study):
    ends = {(64, 0.01): 0.97, (512, 0.1): 0.9684}

    made = replace(study, truth=replace(study.truth, end=lambda size, rate: ends[size, rate]))

    assert made.named == NAMED
    assert made.ends_worse(512, 0.1)  # by 5.3 % more errors
    ends[512, 0.1] = 0.9686
    assert not made.ends_worse(512, 0.1)
    assert replace(made, advice=replace(made.advice, recommendation=None)).named == REFERENCE
