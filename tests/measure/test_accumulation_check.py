"""The check of accumulation: faults that are put into sound workloads are found and named."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from tests.reference.accumulated_workloads import (
    FAULTS,
    SOUND,
    accumulation_of,
    numbers,
    vectors,
    whole_numbers,
)
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SOUND)
def test_a_fault_is_found_and_named_with_its_place(name: str, fault: str) -> None:
    broken, cause, place = FAULTS[fault]

    found = accumulation_of(broken(SOUND[name]()))

    (finding,) = found.findings
    assert finding.cause == cause
    assert place in finding.where
    assert found.equal == (cause == "random")
    assert finding.size is None or finding.size > 1e-4


@pytest.mark.parametrize("name", SOUND)
def test_two_faults_at_once_are_both_named(name: str) -> None:
    broken = SOUND[name]()
    for fault in ("dropout layer", "running mean", "sum"):
        broken = FAULTS[fault][0](broken)

    found = accumulation_of(broken)

    causes = [finding.cause for finding in found.findings]
    assert causes == ["random", "sum"]


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4))
    model[0].requires_grad_(False)
    return model


def frozen_norm() -> nn.Module:
    class Eval(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> nn.Module:
            super().train(False)
            return self

    return nn.Sequential(nn.Linear(6, 10), Eval(10), nn.ReLU(), nn.Linear(10, 4))


def zeros() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4))
    nn.init.zeros_(model[2].weight)
    return model


CLASS_WEIGHTS = torch.tensor([1.0, 5.0, 0.5, 2.0])


def weighted_classes(model: nn.Module, batch: Batch) -> Tensor:
    scores = model(batch[0])
    return F.cross_entropy(scores, batch[1], weight=CLASS_WEIGHTS.to(scores))


class InHalf(nn.Module):
    """Computes in bfloat16, whatever it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = F.linear(
            x.bfloat16(), self.layer.weight.bfloat16(), self.layer.bias.bfloat16()
        ).to(x)
        return scores


def dictionary() -> Workload:
    rows = zip(numbers(60, 6), whole_numbers(4, 60), strict=True)
    return vectors(
        train=[{"x": x, "y": y} for x, y in rows],
        loss=lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"]),
    )


CORRECT: dict[str, Callable[[], Workload]] = {
    **SOUND,
    "frozen layer": lambda: vectors(frozen),
    "frozen batch normalization": lambda: vectors(frozen_norm),
    "layer of zeros": lambda: vectors(zeros),
    "classes with weights": lambda: vectors(
        loss=weighted_classes, weight=lambda batch: float(CLASS_WEIGHTS[batch[1]].sum())
    ),
    "dictionary": dictionary,
    "three examples": lambda: vectors(train=(numbers(3, 6), whole_numbers(4, 3))),
    "bfloat16 inside": lambda: vectors(InHalf),
    **{
        f"built-in {name}": lambda name=name: loaded_workload(name, {}).workload
        for name in ("mnist-mlp", "moby-dick")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_workload_passes(name: str) -> None:
    found = accumulation_of(CORRECT[name]())

    assert found.findings == ()
    assert found.equal
    assert found.rounding < 0.02


def test_a_layer_of_zeros_hides_no_fault_before_it() -> None:
    def hidden() -> nn.Module:
        model = zeros()
        model[0].weight.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
        return model

    found = accumulation_of(vectors(hidden))

    assert [finding.cause for finding in found.findings] == ["coupled"]


def test_a_loss_that_is_not_finite_is_refused_in_a_line() -> None:
    workload = vectors(loss=lambda model, batch: model(batch[0]).sum() * float("nan"))

    with pytest.raises(WorkloadError, match="has length nan near the initial weights"):
        accumulation_of(workload)
