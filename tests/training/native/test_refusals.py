"""What is not trained natively is refused with a reason, before anything is built."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    accuracy,
    cropped_workload,
    everything_workload,
    momentum_sgd,
    small_trial,
    small_workload,
)
from torch import Tensor, nn
from torch.nn import functional

from batchlab.training.native.graph import RefusedError
from batchlab.training.native.operations import OPERATIONS
from batchlab.training.native.program import native_build
from batchlab.training.native.trainer import NativeStepper, self_check
from batchlab.training.native.updates import RULES
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.usefixtures("quickly")


class Net(nn.Module):
    """A linear layer, and something done to what it gives."""

    def __init__(self, function: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x))


def with_function(function: Callable[[Tensor], Tensor]) -> Workload:
    return small_workload(model=lambda: Net(function))


class Frozen(Net):
    """One whose parameters overlap."""

    def __init__(self) -> None:
        super().__init__()
        held = torch.zeros(FEATURES * CLASSES + 2)
        self.linear.weight = nn.Parameter(held[: FEATURES * CLASSES].view(CLASSES, FEATURES))
        self.linear.bias = nn.Parameter(held[-CLASSES:])


def optimizer_of(make: Callable[..., Any]) -> Workload:
    return small_workload(optimizer=make)


REFUSED: dict[str, tuple[Callable[[], Workload], str]] = {
    "depends on values": (
        lambda: with_function(lambda x: x if x.sum() > 0 else -x), "depends on values"),
    "branches": (lambda: with_function(
        lambda x: x * 2 if len(x) % 2_000_000 == 1_000_003 else x), "at another batch size"),
    "square of B": (lambda: with_function(lambda x: x / len(x) ** 2), "depends on the batch size"),
    "over examples": (lambda: with_function(lambda x: x.softmax(0)), "not over the last"),
    "examples second": (lambda: with_function(lambda x: x + (x @ x.T).sum()), "first dimension"),
    "batch norm": (lambda: small_workload(model=lambda: nn.Sequential(
        nn.Linear(FEATURES, CLASSES), nn.BatchNorm1d(CLASSES))), "batch_norm|writes into"),
    "groups": (lambda: with_function(lambda x: functional.conv1d(
        x[:, :2, None], torch.ones(2, 1, 1), groups=2).flatten(1)), "in groups"),
    "windows with holes": (lambda: with_function(lambda x: functional.conv1d(
        x[:, None], torch.ones(1, 1, 2), dilation=2).flatten(1)), "with holes"),
    "means that overlap": (lambda: with_function(lambda x: functional.avg_pool2d(
        x.view(-1, 1, 1, CLASSES), (1, 2), 1).flatten(1)), "not beside one another"),
    "one example": (lambda: with_function(lambda x: x + x[0]), "some of the examples"),
    "triangle": (lambda: with_function(lambda x: x.tril()), "arange of examples"),
    "large images": (lambda: with_function(lambda x: functional.conv1d(
        x[:, :1, None].expand(-1, 1, 2**23), torch.ones(1, 1, 2)).sum(-1)), "large images"),
    "a coin": (lambda: with_function(lambda x: x if torch.rand(()).item() < 2 else -x), "random"),
    "noise": (lambda: with_function(lambda x: x + torch.randn_like(x)), "randn_like"),
    "unknown operation": (lambda: with_function(lambda x: x.sort(1).values), "sort"),
    "double": (lambda: small_workload(dtype=torch.float64), "float64"),
    "half": (lambda: small_workload(precision="bf16"), "does not cover precision bf16"),
    "parameters overlap": (lambda: small_workload(model=Frozen), "shares memory"),
    "amsgrad": (lambda: optimizer_of(lambda p, lr: torch.optim.Adam(p, lr=lr, amsgrad=True)),
                "amsgrad"),
    "another optimizer": (lambda: optimizer_of(lambda p, lr: torch.optim.RMSprop(p, lr=lr)),
                          "RMSprop"),
    "an optimizer of one's own": (
        lambda: optimizer_of(lambda p, lr: type("Mine", (torch.optim.SGD,), {})(p, lr=lr)), "Mine"),
    "data set": (lambda: replace(cropped_workload(), model=Net), "tensors in memory"),
    "augment": (lambda: replace(everything_workload(), model=Net), "augment"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_covered_is_refused_with_its_reason(name):
    make, code = REFUSED[name]

    with pytest.raises(RefusedError, match=code):
        native_build(make())


def test_a_build_of_another_model_or_optimizer_is_not_taken():
    workload = small_workload()
    build = native_build(workload)
    wider = replace(workload, model=lambda: nn.Linear(FEATURES, CLASSES))
    other = optimizer_of(partial(torch.optim.SGD, momentum=0.9, nesterov=True))

    with pytest.raises(RefusedError, match="changed after the build"):
        NativeStepper(wider, small_trial(wider, batch_size=4), build)
    with pytest.raises(RefusedError, match="differed from PyTorch"):
        self_check(build, other, [small_trial(other, batch_size=5)])


@pytest.mark.parametrize(
    ("make", "right", "wrong"),
    [
        (torch.optim.SGD, "clip * g[i]", "1.02f * clip * g[i]"),
        (momentum_sgd, "old * s[i]", "0.98f * old * s[i]"),
        (torch.optim.Adam, "pow(h[2], t)", "pow(h[2], t + 1)"),
    ],
)
def test_an_update_that_is_wrong_does_not_pass_the_check(make, right, wrong, monkeypatch):
    kind = torch.optim.Adam if make is torch.optim.Adam else torch.optim.SGD
    rule = RULES[kind]

    def mistaken(*shape: bool) -> str:
        assert right in rule.text(*shape)
        return rule.text(*shape).replace(right, wrong)

    monkeypatch.setitem(RULES, kind, replace(rule, text=mistaken))
    workload = optimizer_of(make)
    build = native_build(workload)

    with pytest.raises(RefusedError, match="differed from PyTorch"):
        self_check(build, workload, [small_trial(workload, batch_size=4)])


def test_a_metric_that_is_wrong_does_not_pass_the_check(monkeypatch):
    monkeypatch.setitem(OPERATIONS, "eq.Tensor", "{self} != {other}")
    workload = replace(small_workload(), metrics={"accuracy": accuracy})
    build = native_build(workload)

    with pytest.raises(RefusedError, match="accuracy differed from PyTorch"):
        self_check(build, workload, [small_trial(workload, batch_size=4)])
