"""The runs of a study: what it may ask for, and what it may name."""

import pytest
from tests.reference.simulated_advice import (
    TRUTHS,
    ScriptEngine,
    WatchedEngine,
    study,
    true_gain,
    true_worse,
)

# What is seen of one truth, on one budget, by one kind of engine. `study` itself holds each to its
# budget, to asking for nothing twice, and to what it may name.
STUDIES = [
    *((name, 8.0, 1, WatchedEngine) for name in TRUTHS),
    *((name, 4.0, 2, ScriptEngine) for name in TRUTHS),
    *(("alike", trainings, n, WatchedEngine) for trainings in (0.3, 1.2, 2.5) for n in (1, 2)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trainings", "n_workers", "kind"), STUDIES)
def test_what_is_named_is_truly_sooner_and_ends_no_worse(name, trainings, n_workers, kind):
    advice, engine = study(name, trainings=trainings, n_workers=n_workers, kind=kind)

    if advice.recommendation is not None:
        assert true_gain(advice, engine) > 1
        assert true_worse(advice, engine) <= 1
