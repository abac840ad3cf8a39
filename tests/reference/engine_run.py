"""A whole run of the plain engine, and everything about it that can be looked at afterwards."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file
from torch import Tensor

from batchlab.measure.at_steps import measured_at_steps
from batchlab.records.run import Outcome, RunLength
from batchlab.records.trial import Evaluation, Trial
from batchlab.training import plain
from batchlab.training.checkpoint import Progress, peek_checkpoint
from batchlab.training.plain import Task
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """What a run said and what it left behind.

    The evaluations are without their times, which are never the same; the tensors those of model,
    optimizer and random streams at its end, none without a checkpoint.
    """

    outcome: Outcome
    evaluations: tuple[Evaluation, ...]
    tensors: dict[str, Tensor]


# Asked before every single step whether to stop.
STEP_BY_STEP = 1


def StopAfter(n: int | None) -> Callable[[], bool]:
    """A wish to stop that comes at the n-th time it is asked for; None: never."""
    before = repeat(False) if n is None else repeat(False, n)
    return lambda: next(before, True)


def run_engine(
    workload: Workload,
    trial: Trial,
    length: RunLength,
    *,
    checkpoint=None,
    stop_after=None,
    device="cpu",
    rhythm=256,
    measures=(),
    build=None,
) -> EngineRun:
    """Run `trial` through the engine; from `checkpoint` where there is one."""
    emitted: list[Evaluation] = []
    task = Task(
        trial=trial,
        length=length,
        device=device,
        threads=1,
        checkpoint=checkpoint,
        resume=checkpoint is not None and checkpoint.exists(),
        versions=(("torch", "any"),),
        build=build,
    )
    with patch.object(plain, "_BLOCK_STEPS", rhythm):
        outcome = plain.train(
            workload,
            task,
            measures=measured_at_steps(measures),
            emit=emitted.extend,
            stop=StopAfter(stop_after),
        )
    return EngineRun(
        outcome=outcome,
        evaluations=tuple(replace(each, train_s=0.0, eval_s=0.0) for each in emitted),
        tensors=load_file(checkpoint) if checkpoint is not None and checkpoint.exists() else {},
    )


def taken(workload: Workload, trial: Trial, n_steps: int) -> tuple[Stepper, list[float]]:
    """A stepper after `n_steps` steps, and their losses."""
    stepper = Stepper(workload, trial, torch.device("cpu"))
    losses = stepper.steps(stepper.stream(0), n_steps, first_step=0)
    return stepper, losses


def peek(path: Path) -> Progress:
    progress = peek_checkpoint(path)
    assert progress is not None
    return progress


def assert_same_end(one: EngineRun, other: EngineRun) -> None:
    """The same model, optimizer and random streams, bit for bit, and the same evaluations."""
    assert one.outcome == other.outcome
    assert one.tensors.keys() == other.tensors.keys()
    assert one.tensors
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name
    assert one.evaluations == other.evaluations


def assert_a_stop_leaves_no_trace(
    workload: Workload,
    trial: Trial,
    length: RunLength,
    folder: Path,
    *,
    stops: Iterable[int],
    build=None,
) -> EngineRun:
    """Stopped after each of these steps and taken up again, it ends as the run that is returned."""
    run = partial(run_engine, workload, trial, length, rhythm=STEP_BY_STEP, build=build)
    whole = run(checkpoint=folder / "whole")
    for stop in stops:
        checkpoint = folder / f"stopped after {stop}"
        first = run(checkpoint=checkpoint, stop_after=stop)
        progress = peek(checkpoint)
        assert first.outcome.status is None
        assert (progress.step, progress.samples) == (stop, trial.plan.samples_at(stop))
        assert_same_end(run(checkpoint=checkpoint), whole)
        assert peek(checkpoint).resumed_from_steps == (stop,)
    return whole
