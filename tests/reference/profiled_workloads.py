"""Workloads that hang, crash or take memory at one batch size; importable in child processes."""

import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tests.reference.small_workloads import CLASSES, FEATURES, cross_entropy, points
from torch import Tensor, nn

from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.processes.children import Line
from batchlab.processes.memory import limit_memory
from batchlab.workload.definition import Workload

MEGABYTE = 2**20

Batch = tuple[Tensor, Tensor]
Action = Callable[[], object]


def linear() -> nn.Module:
    return nn.Linear(FEATURES, CLASSES)


def workload(*, n=40, model=linear, loss=cross_entropy) -> Workload:
    return Workload(
        name="probed",
        model=model,
        train=points(n),
        validation=points(20, seed=1),
        loss=loss,
        batch_size=8,
    )


def that_does(actions: Mapping[int, Action]) -> Workload:
    """One whose training step does these actions, by batch size."""
    return workload(loss=partial(_loss_with, actions))


def _loss_with(actions: Mapping[int, Action], model: nn.Module, batch: Batch) -> Tensor:
    if model.training and (action := actions.get(len(batch[0]))):
        action()
    return cross_entropy(model, batch)


def hungry(*, megabytes_per_example: int, n: int = 64) -> Workload:
    """One whose step holds so much memory for each example of a micro-batch."""
    return workload(n=n, loss=partial(_hungry_loss, megabytes_per_example))


def _hungry_loss(megabytes: int, model: nn.Module, batch: Batch) -> Tensor:
    held_bytes = len(batch[0]) * megabytes * MEGABYTE if model.training else 0
    return _Holding.apply(cross_entropy(model, batch), held_bytes)


class _Holding(torch.autograd.Function):
    """Holds so many bytes until the backward pass, as activations do."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, n_bytes: int) -> Tensor:
        ctx.held = torch.ones(n_bytes, dtype=torch.uint8, device=loss.device)
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def at(made: Profile, batch_size: int) -> ProfilePoint:
    (found,) = [p for p in made.points if p.batch_size == batch_size == p.micro_batch_size]
    return found


def allocate_within(line: Line, limit_bytes: int, n_bytes: int) -> tuple[int, int]:
    """Runs in a child: the length of what was got within a limit, and the limit that was set."""
    limit_memory(torch.device("cpu"), limit_bytes)
    got = len(torch.ones(n_bytes, dtype=torch.uint8))
    return got, resource.getrlimit(resource.RLIMIT_DATA)[0]


def hang() -> None:
    time.sleep(3600)


def crash() -> None:
    os._exit(3)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ValueError("this model does not like you")


def speak_of_memory() -> None:
    raise RuntimeError("CUDA out of memory, says a message of the user's own")


def meet_its_own_limit() -> None:
    limit = 64 * 1024 * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.zeros(2 * limit, dtype=torch.uint8)


def be_killed_by_the_kernel(group: str) -> None:
    """Take more memory than the control group allows."""
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    torch.ones(2048 * MEGABYTE, dtype=torch.uint8)
