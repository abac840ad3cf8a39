"""A workload refuses at once what could only fail later."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.reference.handed_over import refused, workload


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"metrics": ["accuracy"]}, "metrics is ['accuracy']"),
        ({"metrics": {"accuracy": 0.9}}, "metric 'accuracy' is 0.9"),
        ({"target": ("loss", 0.9)}, "target is ('loss', 0.9)"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"workers": -1}, "workers is -1"),
        ({"augment": "flip"}, "augment is 'flip'"),
        ({"collate": 3}, "collate is 3"),
        ({"weight": 5}, "weight is 5"),
        ({"schedule": 0.5}, "schedule is 0.5"),
    ],
    ids=str,
)
def test_a_field_that_is_not_possible_is_refused_with_what_is(
    given: dict[str, Any], told: str
) -> None:
    assert refused(**given).startswith(f"workload 'mine': {told}")


def test_a_target_on_a_metric_that_there_is_not_is_refused() -> None:
    from batchlab.records.trial import Target

    target = Target(metric="f1", value=0.9, better="higher")

    assert refused(target=target) == "workload 'mine' has no metric 'f1'; it has loss"


def test_a_name_is_needed() -> None:
    assert refused(name=None) == 'name is None; expected a text, such as name="mine"'


def test_the_default_rate_is_that_of_the_default_optimizer_only() -> None:
    assert workload(learning_rate=None).learning_rate == 0.01
    assert refused(learning_rate=None, optimizer=torch.optim.Adam) == (
        "workload 'mine': it has an optimizer of its own and no learning rate; give the rate that "
        "you train with, such as learning_rate=1e-3, PyTorch's own for Adam"
    )
