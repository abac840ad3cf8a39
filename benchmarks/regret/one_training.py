"""One training of a workload by the plain engine, and what its steps and evaluations cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from row_file import Row

from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Trial
from batchlab.training.evaluator import Evaluator, evaluation_batch
from batchlab.training.plain import Task, train
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

_N_BLOCKS = 25


def trial_of(workload: Workload, *, batch_size: int, octave: int, seed: int) -> Trial:
    """The trial of these three; a learning-rate shape spans the workload's own epochs."""
    trial = Trial(
        workload_id="regret",
        workload=workload.name,
        n_train=len(workload.train[0]),
        batch_size=batch_size,
        learning_rate=float(workload.learning_rate * 2.0**octave),
        seed=seed,
    )
    if workload.schedule is None:
        return trial
    assert workload.epochs is not None
    return replace(trial, horizon_steps=trial.plan.steps_in(workload.epochs))


def trained(
    workload: Workload, length: RunLength, *, batch_size: int, octave: int, seed: int, metric: str
) -> Row:
    """Train, and keep the validation curve of the metric."""
    # The last one comes again, with all splits, where the end was not known before.
    evaluations: dict[int, Evaluation] = {}

    def keep(made: Sequence[Evaluation]) -> None:
        evaluations.update((each.step, each) for each in made)

    task = Task(
        trial=trial_of(workload, batch_size=batch_size, octave=octave, seed=seed),
        length=length,
        device="cpu",
        threads=1,
        checkpoint=None,
        resume=False,
        versions=(),
    )
    outcome = train(workload, task, measures={}, emit=keep, stop=lambda: False)
    assert outcome.status is not None
    return Row(
        batch_size=batch_size,
        octave=octave,
        seed=seed,
        status=outcome.status.value,
        curve=tuple((each.step, each.score("validation", metric)) for each in evaluations.values()),
    )


def step_s_of(workload: Workload, batch_size: int) -> float:
    """CPU seconds of a step with one thread, the least of 25 blocks of steps."""
    trial = trial_of(workload, batch_size=batch_size, octave=0, seed=0)
    stepper = Stepper(workload, trial, torch.device("cpu"))
    stream = stepper.stream(0)
    stepper.steps(stream, 2, first_step=0)
    done, n_steps = 2, max(1, 2048 // batch_size)

    def block() -> None:
        nonlocal done
        stepper.steps(stream, n_steps, first_step=done)
        done += n_steps

    return _least_s(block) / n_steps


def eval_s_of(workload: Workload) -> float:
    """CPU seconds of one evaluation on validation data with one thread, the least of 25."""
    trial = trial_of(workload, batch_size=workload.batch_size, octave=0, seed=0)
    at_once = evaluation_batch(trial, reference_batch_size=workload.batch_size)
    evaluator = Evaluator(workload, torch.device("cpu"), batch_size=at_once)
    model = workload.model()
    evaluator.scores(model, ("validation",))
    return _least_s(lambda: evaluator.scores(model, ("validation",)))


def _least_s(work: Callable[[], object]) -> float:
    """CPU seconds, and the least of many: what else the machine does changes these least."""
    blocks = []
    for _ in range(_N_BLOCKS):
        started_s = time.process_time()
        work()
        blocks.append(time.process_time() - started_s)
    return min(blocks)
