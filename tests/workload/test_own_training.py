"""OwnTraining: fields for other ways to train are possible, and go together, or are refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.reference.handed_over import refused, workload

from batchlab.errors import UsageError
from batchlab.records.trial import Target
from batchlab.workload.definition import check_has_loss


def step(model: Any, optimizer: Any, batch: Any) -> Any:
    return None


def accuracy(model: Any, batch: Any) -> Any:
    return None


def by_step(optimizer: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"step": 3}, "step is 3"),
        ({"accumulates": True}, "accumulates=True without a `step`"),
        ({"accumulates": 1, "step": step}, "accumulates is 1"),
        ({"loss": None}, "it has no loss"),
        ({"loss": None, "step": step}, "it has a `step` and neither a loss nor metrics"),
        ({"step": step, "clip_norm": 1.0}, "clip_norm beside a `step`"),
        ({"clip_norm": 0}, "clip_norm is 0"),
        ({"clip_norm": float("nan")}, "clip_norm is nan"),
        ({"clip_norm": "1"}, "clip_norm is '1'"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"ema": True}, "ema is True"),
        ({"patience_epochs": 0}, "patience_epochs is 0"),
        ({"patience_epochs": 2.0}, "patience_epochs is 2.0"),
        ({"scheduler": 0.5}, "scheduler is a float"),
        ({"scheduler_every": "batch"}, "scheduler_every is 'batch'"),
        ({"scheduler_every": "step"}, "scheduler_every='step' without a scheduler"),
        ({"scheduler": by_step, "schedule": abs}, "it has a schedule"),
        (
            {"scheduler": by_step, "scheduler_every": "step"},
            "its scheduler goes on with every step and does not take the run's length",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_what_cannot_be_is_refused_with_what_can(given: dict[str, Any], told: str) -> None:
    assert refused(**given).startswith(f"workload 'mine': {told}")


def test_without_a_loss_the_metrics_are_all_there_is() -> None:
    made = workload(loss=None, step=step, metrics={"accuracy": accuracy})

    assert made.metric_names == ("accuracy",)
    assert not made.takes_micro_batches
    assert refused(
        loss=None,
        step=step,
        metrics={"accuracy": accuracy},
        target=Target(metric="loss", value=1.0, better="lower"),
    ).startswith("workload 'mine' has no metric 'loss'; it has accuracy")


def test_what_needs_the_loss_says_so_in_one_line() -> None:
    made = workload(loss=None, step=step, metrics={"accuracy": accuracy})

    with pytest.raises(UsageError) as caught:
        check_has_loss(made, "the noise of the gradient")

    assert str(caught.value) == (
        "workload 'mine': the noise of the gradient needs its loss, and it has only a `step`; give "
        "it `loss` too, a function of the model and a batch"
    )
