"""What a step would make, found on tensors without values, beside what real steps make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import (
    Everything,
    adam,
    cosine,
    jitter,
    points,
    small_trial,
    small_workload,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from batchlab.measurements.allocations import Allocated, recorded_steps
from batchlab.measurements.kernel_buffers import KernelBuffers, Piece, kernel_buffers
from batchlab.records.reason import Reason
from batchlab.training.stepper import Stepper
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload

NONE = KernelBuffers((), (), 0, ())


class Results(TorchDispatchMode):
    """The slow twin: of the operations of a real step that make storage, what they return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, list[tuple[tuple[int, ...], torch.dtype]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        known = {x.untyped_storage().data_ptr() for x in given}
        out = func(*args, **(kwargs or {}))
        results = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        is_new = [x.untyped_storage().data_ptr() not in known for x in results]
        # Scalars decide how an optimizer goes on; they are computed in a dry run, too.
        if any(is_new) and not (given and all(x.numel() <= 1 for x in given)):
            self.seen.append((str(func), [(tuple(x.shape), x.dtype) for x in results]))
        return out


def real_steps(workload: Workload, trial: Any) -> list[list[Any]]:
    stepper = Stepper(workload, trial, torch.device("cpu"))
    stream = stepper.stream(0)
    steps = []
    for _ in range(3):
        micro_batches = next(stream)
        with Results() as results:
            stepper.step(micro_batches)
        steps.append(results.seen)
    return steps


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)),
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


WORKLOADS = {
    "momentum": small_workload(),
    "adam and dropout": small_workload(optimizer=adam, dropout=0.5),
    "convolutions": replace(small_workload(), model=convolutions),
    "double precision": small_workload(dtype=torch.float64),
    "everything": replace(small_workload(), model=Everything, augment=jitter, schedule=cosine),
}


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch_size", [8, 3])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_step_without_values_makes_what_a_real_one_makes(
    name: str, micro_batch_size: int
) -> None:
    workload = WORKLOADS[name]
    trial = small_trial(
        workload, batch_size=8, micro_batch_size=micro_batch_size, horizon_steps=100
    )

    steps = recorded_steps(workload, trial, NONE)

    assert not isinstance(steps, Reason), reason_text(steps)
    for step, real in zip(steps, real_steps(workload, trial), strict=True):
        assert [
            (
                operation.name,
                [
                    (made.shape, made.dtype)
                    for made in tree_leaves(operation.made)
                    if isinstance(made, Allocated)
                ],
            )
            for operation in step
        ] == real


def test_any_batch_size_can_be_asked_for_also_one_that_would_not_fit() -> None:
    n = 2**17
    workload = replace(
        small_workload(),
        train=points(n),
        model=lambda: nn.Sequential(nn.Linear(6, 10**6), nn.ReLU(), nn.Linear(10**6, 3)),
    )

    (_, _, step) = recorded_steps(workload, small_trial(workload, batch_size=n // 2), NONE)

    shapes = [made.shape for op in step for made in tree_leaves(op.made)]  # type: ignore[union-attr]
    assert (n // 2, 10**6) in shapes  # 262 GB


def looks_at_its_loss(model: nn.Module, batch: Any) -> Tensor:
    loss = nn.functional.cross_entropy(model(batch[0]), batch[1])
    return loss if loss.item() < 1e9 else 2 * loss


def picks_examples(model: nn.Module, batch: Any) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0][batch[1] > 0]), batch[1][batch[1] > 0])


@pytest.mark.parametrize("loss", [looks_at_its_loss, picks_examples])
def test_a_step_that_needs_values_is_told_and_not_guessed(loss: Any) -> None:
    workload = replace(small_workload(), loss=loss)

    steps = recorded_steps(workload, small_trial(workload, batch_size=8), NONE)

    assert isinstance(steps, Reason)
    assert "uses values that only computing gives" in reason_text(steps)


def test_an_error_of_the_users_own_is_not_told_as_a_lack_of_values() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return {"loss": torch.zeros(())}["labels"]

    workload = replace(small_workload(), loss=loss)

    steps = recorded_steps(workload, small_trial(workload, batch_size=8), NONE)

    assert isinstance(steps, Reason)
    assert "cannot be followed without computing it (KeyError: 'labels')" in reason_text(steps)


def test_sparse_tensors_are_told_by_their_layout() -> None:
    layer = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Flatten(), nn.Linear(8, 3))
    workload = replace(
        small_workload(),
        train=(torch.randint(10, (40, 2)), torch.randint(3, (40,))),
        model=lambda: layer,
        optimizer=lambda parameters, rate: torch.optim.SGD(parameters, lr=rate),
    )

    steps = recorded_steps(workload, small_trial(workload, batch_size=8), NONE)

    assert isinstance(steps, Reason)
    assert "torch.sparse_coo" in reason_text(steps)


# ---- what kernels take and give back


def buffers_of_a_convolution() -> KernelBuffers:
    workload = replace(
        small_workload(n=64),
        train=(torch.randn(64, 8, 16, 16), torch.randint(3, (64,))),
        model=lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 14 * 14, 3)),
        batch_size=16,
    )
    buffers = kernel_buffers(workload, small_trial(workload, batch_size=16))
    assert not isinstance(buffers, Reason)
    return buffers


def test_what_a_convolution_copies_grows_with_the_batch_and_a_product_copies_nothing() -> None:
    buffers = buffers_of_a_convolution()

    by_name = dict(zip(buffers.names, buffers.pieces, strict=True))
    output_bytes = 8 * 14 * 14 * 4
    assert by_name["aten.mm.default"] == ()
    if torch.backends.mkldnn.is_available():
        inside = by_name["aten.convolution.default"]
        given_back = {piece.slot for piece in inside if not piece.is_taken}
        assert max(p.each_bytes for p in inside if p.slot in given_back) >= output_bytes


def test_a_piece_is_a_line_in_the_batch_size_and_none_of_another_step() -> None:
    taken, given_back = Piece(0, True, 100.0, 2.0), Piece(0, False, 0.0, 0.0)
    buffers = KernelBuffers(("a", "b"), ((taken, given_back), ()), 16, (0, 0))

    assert buffers.at(["a", "b"], 10) == [((0, 120), (0, 0)), ()]
    assert buffers.at(["a", "c", "b"], 10) == [((0, 120), (0, 0)), (), ()]
    assert buffers.at(["c", "a"], 10) == [(), ()]
    assert buffers.are_known_of(["a", "b"])
    assert not buffers.are_known_of(["a", "c"])
    assert KernelBuffers(("a",), ((),), 16, (0,)).are_known_of(["c"])


def test_what_is_given_back_was_taken_before_in_every_operation() -> None:
    buffers = buffers_of_a_convolution()

    for uses in buffers.at(buffers.names, 1024):
        held = set()
        for slot, n_bytes in uses:
            assert (slot in held) == (n_bytes == 0)
            held ^= {slot}


def test_an_operation_whose_results_only_running_it_tells_is_named() -> None:
    workload = replace(small_workload(), batch_size=8)
    trial = small_trial(workload, batch_size=8)
    buffers = kernel_buffers(workload, trial)
    assert not isinstance(buffers, Reason)
    assert buffers.batch_size == 8
    assert not isinstance(recorded_steps(workload, trial, buffers), Reason)
    index = buffers.names.index("aten.addmm.default")
    other = list(buffers.result_bytes)
    other[index] += 4096

    steps = recorded_steps(workload, trial, replace(buffers, result_bytes=tuple(other)))

    assert isinstance(steps, Reason)
    assert "aten.addmm.default makes 256 bytes instead of 4352" in reason_text(steps)
