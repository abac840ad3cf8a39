"""A sweep of plans: which trainings it takes."""

from pathlib import Path
from typing import Any

import pytest
from tests.app.conftest import about
from tests.reference.tiny_workload import tiny
from torch.optim.lr_scheduler import StepLR

import batchlab
from batchlab.errors import UsageError
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.script.command import TrainingCommand

# A step of any size takes as long.
pytestmark = pytest.mark.usefixtures("step_times_at_once")


ALL = ("small", "large", "grow", "decay")
PLANS: dict[str, Any] = {"batch_sizes": (10, 40), "epochs": 4, "plans": ALL}


def run(lab: Path, **request: Any) -> Study:
    return batchlab.sweep(**({"workload": tiny(), "store": lab} | PLANS | request))


def test_plans_have_their_own_sizes_rates_and_lengths():
    trials = about("sweep", tiny(), **(PLANS | {"plans": ("grow", "decay")})).trials
    shaped = about("sweep", tiny(schedule=lambda done: 1 - 0.5 * done), **PLANS).trials
    without = about("sweep", tiny(), **(PLANS | {"plans": None})).trials
    every = about("sweep", tiny(), **PLANS).trials

    assert set(without) == set(every[:2])  # a sweep of batch sizes gives plans its trials
    assert {
        trial.largest_batch_size: [(s.batch_size, s.rate_factor) for s in trial.stages]
        for trial in trials
    } == {
        10: [(10, 1 / 4), (10, 1 / 16), (10, 1 / 64)],
        40: [(40, 1.0), (40, 1 / 4), (40, 1 / 16)],
    }
    assert [trial.horizon_steps for trial in shaped] == [40, 12, 23, 40]
    # 16 times 20, its own, is more than there are.
    own = about("sweep", tiny(), plans=("small", "large", "decay"))
    assert own.batch_sizes == (20, 100)


@pytest.mark.slow
def test_a_batch_size_on_the_way_is_timed_too(lab):
    study = run(lab, plans=("grow",), batch_sizes=(5, 50), epochs=20)

    (grown,) = study.records
    assert grown.status is Status.OK
    assert {timing.batch_size for timing in study.timings} == {5, 20, 50}
    assert study.train_s(grown.trial, grown.steps) is not None


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"plans": ("small", "huge")}, "plan .*'huge'.*: expected some of small, large"),
        ({"plans": ()}, r"plan \(\): expected some of small"),
        ({"batch_sizes": (10, 20, 40)}, "plans of batch sizes 10, 20, 40: expected two"),
        ({"batch_sizes": (10,)}, "plans of batch sizes 10: expected two"),
        ({"steps": 10, "epochs": None}, "plans with steps: they are compared after equal epochs"),
        ({"target": ("accuracy", 0.9)}, "plans with a target"),
        ({"epochs": 1, "batch_sizes": (50, 100)}, "have too few steps of 100 for the plan"),
        ({"workload": tiny(scheduler=lambda made: StepLR(made, 1))}, "a `scheduler` of its own"),
        ({"workload": tiny(patience_epochs=2)}, "which has a patience"),
        (
            {"workload": TrainingCommand(arguments=("x", "{batch_size}"), metric="loss")},
            "plan with a command of your own",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(lab, request_, said):
    with pytest.raises(UsageError, match=said):
        run(lab, **request_)

    assert not lab.exists()
