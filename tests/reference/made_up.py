"""Made-up trial records and studies: curves given by functions, everything else by defaults.

Nothing here trains. A curve is a function of the epoch (0 is the untrained model), so a test says
in one line what the record shows and can therefore say in one line what must be concluded from it.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.study import MetricSummary, StepTiming, Study, WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Split, Status, Trial, TrialRecord

Curve = Callable[[float], float | None]

FIXED_BYTES, BYTES_PER_EXAMPLE = 30_000_000, 40_000
METRICS: tuple[tuple[str, Better], ...] = (("accuracy", "higher"), ("loss", "lower"))


def approach(final: float, *, start: float = 0.1, rate: float = 0.5) -> Curve:
    """A curve from `start` towards `final`, the distance shrinking by exp(-rate) an epoch."""
    return lambda epoch: final - (final - start) * math.exp(-rate * epoch)


def made_up_curves(
    *, train=0.99, validation=0.97, test=0.97, rate=0.5, has_validation=True
) -> dict[tuple[Split, str], Curve]:
    """Healthy curves of accuracy and loss; the three numbers are the accuracies they approach."""
    finals: dict[Split, float] = {"train": train, "validation": validation, "test": test}
    curves: dict[tuple[Split, str], Curve] = {}
    for split, final in finals.items():
        if has_validation or split != "validation":
            curves[split, "accuracy"] = approach(final, rate=rate)
            curves[split, "loss"] = approach(2.5 * (1 - final), start=2.3, rate=rate)
    return curves


def seeded_curves(
    batch_size: int, learning_rate: float, seed: int
) -> dict[tuple[Split, str], Curve]:
    """Healthy curves, each seed a little off; slower for larger batches and for lower rates."""
    offset = np.random.default_rng([batch_size, seed]).normal(0.0, 0.001, 3)
    train, validation, test = (np.array([0.99, 0.97, 0.97]) + offset).tolist()
    rate = min(2.0, learning_rate / 0.01 * 6.0 / batch_size**0.5)
    return made_up_curves(train=train, validation=validation, test=test, rate=rate)


def made_up_peak(batch_size: int) -> int:
    return FIXED_BYTES + BYTES_PER_EXAMPLE * batch_size


def made_up_trial(*, micro_batch_size: int | None = None, **fields: Any) -> Trial:
    """A trial; `micro_batch_size` is the batch size unless given."""
    usual = {"workload_id": "made-up-id", "workload": "made-up", "n_train": 4096}
    usual |= {"batch_size": 64, "learning_rate": 0.01, "seed": 0}
    made = Trial(**(usual | fields))
    return replace(made, micro_batch_size=micro_batch_size or made.batch_size)


def made_up_record(
    *,
    trial=None,
    curves=None,
    epochs=20,
    evaluations_per_epoch=1,
    batch_loss=None,
    step_s=0.001,
    example_s=0.0,
    eval_s=0.01,
    status=Status.OK,
    reason=None,
    target=None,
) -> TrialRecord:
    """A record whose scores follow `curves`; train and test are scored at epoch ends only.

    A curve may return None or a number that is not finite: the score is then unknown.
    A step takes `step_s` and `example_s` for each example.
    `batch_loss` is the training loss curve where it is not given; the gradient norm is 1.
    """
    trial = trial or made_up_trial()
    curves = made_up_curves() if curves is None else curves
    batch_loss = batch_loss or curves.get(("train", "loss"), lambda epoch: 1.0)
    plan = trial.plan
    steps = {0}
    for ended in range(epochs):
        begin, end = plan.steps_in(ended), plan.steps_in(ended + 1)
        n_steps, parts = end - begin, range(1, evaluations_per_epoch + 1)
        steps |= {begin + -(-n_steps * part // evaluations_per_epoch) for part in parts}
    evaluations = []
    for number, step in enumerate(sorted(steps)):
        epoch = plan.epoch_at(step)
        evaluations.append(
            Evaluation(
                step=step,
                samples=plan.samples_at(step),
                train_s=step * step_s + plan.samples_at(step) * example_s,
                eval_s=number * eval_s,
                batch_loss=None if step == 0 else _finite(batch_loss(epoch)),
                measured=() if step == 0 else (("distance", 1.0),),
                scores=tuple(
                    Score(split=split, metric=metric, value=_finite(curve(epoch)))
                    for (split, metric), curve in curves.items()
                    if split == "validation" or epoch == int(epoch)
                ),
            )
        )
    return TrialRecord(
        trial=trial,
        status=status,
        reason=None if reason is None else Reason.as_written(reason),
        engine="plain",
        threads=1,
        versions=(("python", "3.11"), ("torch", "2.13.0")),
        target=target,
        evaluations=tuple(evaluations),
        peak_bytes=made_up_peak(trial.micro_batch_size),
    )


def made_up_evaluation(step: int, accuracy: float | None, *, batch_size: int) -> Evaluation:
    """An evaluation on validation data, at a constant batch size."""
    return Evaluation(
        step=step,
        samples=batch_size * step,
        train_s=0.0,
        eval_s=0.0,
        batch_loss=None,
        scores=(Score(split="validation", metric="accuracy", value=accuracy),),
    )


def made_up_timing(batch_size: int, *, step_s: float, workload_id="made-up-id") -> StepTiming:
    """Five equal blocks of ten steps."""
    return StepTiming(
        workload_id=workload_id,
        batch_size=batch_size,
        micro_batch_size=batch_size,
        device="cpu",
        threads=1,
        warmup_s=(20 * step_s,),
        block_s=(10 * step_s,) * 5,
        block_steps=10,
        peak_bytes=made_up_peak(batch_size),
    )


def made_up_summary(*, name="made-up", n_train=4096, **fields: Any) -> WorkloadSummary:
    """What was trained; with 1,000 examples to validate and none to test with."""
    usual: dict[str, Any] = {
        "workload_id": "made-up-id",
        "settings": (),
        "n_validation": 1000,
        "n_test": 0,
        "n_train_evaluated": 0,
        "n_parameters": 1234,
        "metrics": (MetricSummary(name="accuracy", better="higher"),),
        "batch_size": 64,
        "learning_rate": 0.01,
    }
    return WorkloadSummary(name=name, reference=name, n_train=n_train, **(usual | fields))


def made_up_study(
    *,
    batch_sizes=(64, 256, 1024),
    learning_rates=(0.01,),
    seeds=1,
    curves=seeded_curves,
    epochs=20,
    evaluations_per_epoch=1,
    n_train=4096,
    n_validation=1000,
    n_test=1000,
    metrics=METRICS,
    step_s=lambda batch_size: 5e-4 + 2e-6 * batch_size,
    timed=True,
    endings=None,
) -> Study:
    """A study of every batch size × learning rate × seed, its curves from `curves(b, rate, seed)`.

    The first metric counts; with 0 examples a split has no curves. `endings` are the (status,
    reason, epochs) of trials that ended badly.
    """
    n_examples = {"train": n_train, "validation": n_validation, "test": n_test}
    records = []
    for cell in product(batch_sizes, learning_rates, range(seeds)):
        status, reason, length = (endings or {}).get(cell, (Status.OK, None, epochs))
        batch_size, learning_rate, seed = cell
        record = made_up_record(
            trial=made_up_trial(
                batch_size=batch_size, learning_rate=learning_rate, seed=seed, n_train=n_train
            ),
            curves={key: curve for key, curve in curves(*cell).items() if n_examples[key[0]]},
            epochs=length,
            evaluations_per_epoch=evaluations_per_epoch,
            step_s=step_s(batch_size),
            status=status,
            reason=reason,
        )
        records.append(record)
    timings = tuple(made_up_timing(size, step_s=step_s(size)) for size in batch_sizes)
    return Study(
        study_id="made-up-study",
        command="batchlab sweep made-up",
        created_at="2026-01-01T00:00:00Z",
        workload=made_up_summary(
            n_train=n_train,
            n_validation=n_validation,
            n_test=n_test,
            n_train_evaluated=min(n_train, 1000),
            metrics=tuple(MetricSummary(name=name, better=better) for name, better in metrics),
        ),
        environment=(("python", "3.11"), ("cores", "2")),
        records=tuple(records),
        timings=timings if timed else (),
        spent_s=12.5,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
