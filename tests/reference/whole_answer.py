"""An answer of the second record of regret, made up."""

from __future__ import annotations

from benchmarks.regret.whole_table import ADVISE, WholeAnswer

ANSWER = WholeAnswer(
    workload="one",
    profile="cpu",
    draw=0,
    who=ADVISE,
    tuned_trainings=18.0,
    whole_trainings=3.0,
    batch_size=64,
    learning_rate=0.1,
    named_as="recommendation",
    verdict="recommend",
    origin="pilot",
    regret=0.1,
    of_reference=0.5,
    shortfall=0.2,
    shortfall_of_own=-0.4,
    shortfall_error=0.3,
    is_optimum=False,
    spent=0.5,
)
