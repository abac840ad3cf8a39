"""A sweep of plans: which trainings it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.reference.tiny_workload import tiny
from tests.reference.training_script import training_script
from torch import nn
from torch.optim.lr_scheduler import StepLR

import batchlab
from batchlab.app.subjects import WorkloadSubject
from batchlab.errors import UsageError
from batchlab.records.study import Study
from batchlab.records.trial import Status

ALL = ("small", "large", "grow", "decay")
# A step of any size takes as long.
pytestmark = pytest.mark.usefixtures("step_times_at_once")


def run(lab: Path, **request: Any) -> Study:
    base: dict[str, Any] = {
        "workload": tiny(), "batch_sizes": (10, 40), "epochs": 4, "store": lab, "plans": ALL
    }  # fmt: skip
    return batchlab.sweep(**(base | request))


def test_every_plan_is_trained_for_as_many_examples(lab: Path) -> None:
    study = run(lab, seeds=2)

    assert {record.status for record in study.records} == {Status.OK}
    seen = [
        (record.trial.batch_sizes, record.epochs, record.steps)
        for record in study.records
        if record.trial.seed == 1
    ]
    assert seen == [
        ((10,), 4.0, 40),
        ((40,), 4.0, 12),  # an epoch has two of 40 and one of the 20 left over
        # 16 steps of 10, one for the 40 left over in this epoch, and three in each of the others.
        ((10, 40, 40, 40), 4.0, 23),
        ((10, 10, 10, 10), 4.0, 40),
    ]


def test_a_size_on_the_way_is_timed_too(lab: Path) -> None:
    study = run(lab, batch_sizes=(5, 50), epochs=8)

    assert {timing.batch_size for timing in study.timings} == {5, 20, 50}
    (grown,) = (r for r in study.records if r.trial.largest_batch_size > r.trial.batch_size)
    assert study.train_s(grown.trial, grown.steps) is not None


def test_the_rate_is_cut_where_the_size_does_not_grow(lab: Path) -> None:
    study = run(lab, plans=("grow", "decay"))

    stages = {
        r.trial.largest_batch_size: [(s.batch_size, s.rate_factor) for s in r.trial.stages]
        for r in study.records
    }
    assert stages == {
        10: [(10, 1 / 4), (10, 1 / 16), (10, 1 / 64)],
        40: [(40, 1.0), (40, 1 / 4), (40, 1 / 16)],
    }


def test_asked_again_nothing_is_trained(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(lab)
    monkeypatch.setattr(WorkloadSubject, "engine", None)

    again = run(lab)

    assert again.records == first.records


def test_a_sweep_of_sizes_gives_plans_its_trials(lab: Path) -> None:
    sizes = run(lab, plans=None)

    study = run(lab)

    ids = {record.trial.trial_id for record in sizes.records}
    assert ids < {record.trial.trial_id for record in study.records}


def test_a_shape_of_the_rate_spans_each_plans_own_run(lab: Path) -> None:
    study = run(lab, workload=tiny(schedule=lambda done: 1 - 0.5 * done))

    assert all(record.trial.horizon_steps == record.steps for record in study.records)
    assert len(study.records) == 4


def test_smaller_last_batches_that_do_not_run_are_left_out(lab: Path) -> None:
    """A stage that begins within an epoch leaves a last batch of another size."""
    x, y = tiny().train
    normed = tiny(
        model=lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), train=(x[:81], y[:81])
    )

    with pytest.raises(batchlab.errors.BatchSizeError, match="the last batch of an epoch over 81"):
        run(lab, workload=normed)
    study = run(lab, workload=normed, drop_last=True, epochs=8)

    assert {record.status for record in study.records} == {Status.OK}


def test_without_batch_sizes_they_are_its_own_and_a_large_one(lab: Path) -> None:
    study = run(lab, batch_sizes=None, plans=("small", "large", "decay"), epochs=8)

    assert study.batch_sizes == (20, 100)  # 16 times 20 is more than there are


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"plans": ("small", "huge")}, "plan 'huge': expected one of small, large, grow, decay"),
        ({"plans": ()}, "no plan was given"),
        ({"batch_sizes": (10, 20, 40)}, "plans of batch sizes 10, 20, 40: expected two"),
        ({"batch_sizes": (10,)}, "plans of batch sizes 10: expected two"),
        ({"steps": 10, "epochs": None}, "plans with steps: they are compared after equal epochs"),
        ({"target": ("accuracy", 0.9)}, "plans with a target"),
        ({"epochs": 1, "batch_sizes": (50, 100)}, "have too few steps of 100 for the plan"),
        ({"plans": ("small", "large")}, "expected grow or decay among them"),
        ({"workload": tiny(scheduler=lambda made: StepLR(made, 1))}, "a `scheduler` of its own"),
        ({"workload": tiny(patience_epochs=2)}, "which has a patience"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    lab: Path, request_: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run(lab, **request_)

    assert not lab.exists()


def test_a_script_sizes_its_own_batches(lab: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plans"):
        batchlab.sweep(training_script(tmp_path), plans=ALL, store=lab)
