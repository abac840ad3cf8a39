"""The metric asked for along a run: its name, its places, its contradictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of, sample

from batchlab.errors import ProgressError
from batchlab.records.quantities import direction_of
from batchlab.script.metric import MetricPoint, ProgressPoints, follows_size
from batchlab.script.reading import Reading


def reading(*, at_s: float = 0.0, shape: str = "words", **fields: Any) -> Reading:
    counters = {
        name: fields.pop(name)
        for name in ("step", "epoch", "epoch_step", "samples", "split", "complaint")
        if name in fields
    }
    return Reading(at_s=at_s, shape=shape, values=tuple(fields.items()), **counters)


def told(
    *readings: Reading,
    metric: str = "val_loss",
    micro_batch_size: int = 32,
    pattern: str | None = None,
) -> ProgressPoints:
    trial = made_up_trial(batch_size=32, micro_batch_size=micro_batch_size, n_train=1000)
    points = ProgressPoints(metric, trial, pattern)
    for place in readings:
        points.add(place)
    return points


def metric_in(shape: str, *places: tuple[int, float]) -> list[Reading]:
    return [reading(shape=shape, step=step, val_loss=value) for step, value in places]


TRAIN_AND_VAL = [
    reading(epoch=epoch, split=split, acc=epoch / 10 + len(split) / 100)
    for epoch in (1, 2)
    for split in ("train", "val")
]
WITHIN_AND_OF_EPOCHS = [
    place
    for epoch in (1, 2)
    for place in (reading(step=32 * epoch - 2, acc=0.1), reading(epoch=epoch, acc=0.5))
]
FOLDS = reading(shape="", complaint="'Fold 1/5' was printed: ...")
OTHER_BARS = metric_in("tqdm", (2, 0.7), (1, 0.7), (2, 0.7))
OF_PATTERN = reading(shape="pattern", val_loss=0.4)
PATTERN = {"pattern": "loss (?P<val_loss>.*)"}


@pytest.mark.parametrize(
    ("readings", "options", "points"),
    [
        # Samples come from the surest counter.
        ([reading(samples=640, val_loss=0.5)], {}, [(640, 20, 0.5)]),
        ([reading(samples=641, val_loss=0.5)], {}, [(641, 21, 0.5)]),
        ([reading(step=10, val_loss=0.5)], {}, [(320, 10, 0.5)]),
        ([reading(step=10, epoch=0.4, samples=300, val_loss=0.5)], {}, [(300, 10, 0.5)]),
        ([reading(epoch=1.5, val_loss=0.5)], {}, [(1500, 48, 0.5)]),
        ([reading(epoch=2, epoch_step=10, val_loss=0.5)], {}, [(2320, 74, 0.5)]),
        # What is counted as before the training is at its beginning.
        *(
            ([reading(**before, val_loss=0.9), reading(epoch=1, val_loss=0.5)], {}, points)
            for before in ({"epoch": -1}, {"step": -1}, {"samples": -5})
            for points in ([(0, 0, 0.9), (1000, 32, 0.5)],)
        ),
        # The steps of a log or a pattern are updates, and not micro-batches.
        *(
            (metric_in(shape, (7, 0.5)), {"micro_batch_size": 8}, [(224, 7, 0.5)])
            for shape in ("batchlab", "pattern")
        ),
        # A line without a counter belongs to the last one of its own shape, ...
        (
            [
                reading(step=5),
                reading(shape="tqdm", step=900, at_s=1.0),
                reading(val_loss=0.5, at_s=2.0),
                reading(step=6, val_loss=0.25),
            ],
            *({}, [(160, 5, 0.5), (192, 6, 0.25)]),
        ),
        # ... and takes that of another shape if its own has none.
        ([reading(shape="tqdm", step=9), reading(val_loss=0.5)], {}, [(288, 9, 0.5)]),
        # Of two shapes that print the metric the first is followed, ...
        (
            [
                *metric_in("words", (5, 0.5)),
                *metric_in("tqdm", (3, 0.4)),
                *metric_in("words", (6, 0.25)),
            ],
            *({}, [(160, 5, 0.5), (192, 6, 0.25)]),
        ),
        # ... but what is logged goes before what is printed, as of two kinds or in folds, ...
        (
            [
                *metric_in("words", (5, 0.51)),
                *metric_in("batchlab", (4, 0.5)),
                *metric_in("words", (6, 0.26)),
                *metric_in("batchlab", (6, 0.25)),
            ],
            *({}, [(128, 4, 0.5), (192, 6, 0.25)]),
        ),
        (
            [*TRAIN_AND_VAL[:2], reading(shape="batchlab", step=32, acc=0.32)],
            *({"metric": "acc"}, [(1024, 32, 0.32)]),
        ),
        ([FOLDS, *metric_in("batchlab", (2, 0.5))], {}, [(64, 2, 0.5)]),
        # ... and it alone goes before a pattern.
        ([*OTHER_BARS, OF_PATTERN], PATTERN, [(64, 2, 0.4)]),
        ([*OTHER_BARS, OF_PATTERN, *metric_in("batchlab", (3, 0.5))], PATTERN, [(96, 3, 0.5)]),
        (OTHER_BARS[:1], {"pattern": "rate (?P<rate>.*)"}, [(64, 2, 0.7)]),
        # The same number with fewer digits is no second value.
        (
            metric_in("words", (2, 0.512), (2, 0.51), (4, 0.512), (4, 0.51)),
            *({}, [(64, 2, 0.51), (128, 4, 0.51)]),
        ),
        # The kind that is asked for is followed.
        (TRAIN_AND_VAL, {"metric": "val_acc"}, [(1000, 32, 0.13), (2000, 64, 0.23)]),
        (WITHIN_AND_OF_EPOCHS, {"metric": "epoch acc"}, [(1000, 32, 0.5), (2000, 64, 0.5)]),
        # A metric is found under its other names, and no other is taken for it.
        *(
            ([reading(step=1, **{printed: 0.5})], {"metric": asked}, [(32, 1, 0.5)])
            for asked, printed in (
                ("val_loss", "val loss"),
                ("val_loss", "validation.loss"),
                ("loss", "eval_loss"),
                ("accuracy", "val_acc"),
                ("eval_loss", "val_loss"),
            )
        ),
        *(
            ([reading(step=1, **{other: 0.5})], {}, [])
            for other in ("train_loss", "test_loss", "val_loss_2")
        ),
    ],
)
def test_the_metric_is_followed_at_these_points(
    readings: list[Reading], options: dict[str, Any], points: list[Any]
) -> None:
    found = told(*readings, **options).points

    assert [(point.samples, point.step, point.value) for point in found] == points


def test_a_point_is_where_its_place_is_and_a_bar_counts_micro_batches() -> None:
    points = told(reading(step=7, shape="words"), micro_batch_size=8)

    value = points.add(reading(val_loss=0.5, at_s=1.0, shape="words"))
    bar = points.add(reading(step=7, shape="tqdm"))

    assert value == MetricPoint(samples=224, step=7, value=0.5)
    assert bar == MetricPoint(samples=56, step=2, value=None)


@pytest.mark.parametrize(
    ("readings", "metric", "said"),
    [
        (
            metric_in("words", *((step, value) for step in (2, 4, 6) for value in (0.5, 0.2))),
            *("val_loss", r"'val_loss' was printed twice .*different names"),
        ),
        *(
            (TRAIN_AND_VAL, asked, r"of two kinds .* as in --metric 'val acc', print")
            for asked in ("acc", "accuracy")
        ),
        (WITHIN_AND_OF_EPOCHS, "acc", "'train acc' and 'epoch acc'"),
        (
            [FOLDS, *metric_in("keras", (2, 0.5))],
            *("val_loss", "no sure place: 'Fold 1/5' was printed"),
        ),
    ],
)
def test_a_metric_of_two_meanings_is_refused(
    readings: list[Reading], metric: str, said: str
) -> None:
    with pytest.raises(ProgressError, match=said):
        told(*readings, metric=metric)


@pytest.mark.parametrize(
    ("readings", "values", "said"),
    [
        (
            [reading(step=2, acc=0.5), reading(step=2, acc=0.25)],
            *([0.25], "acc was printed twice at step 2, as 0.5 and 0.25; the last one counts"),
        ),
        # A test after the last epoch is left out.
        (
            [
                *(reading(epoch=epoch, split="val", acc=0.5) for epoch in (1, 2)),
                reading(epoch=2, split="test", acc=0.4),
            ],
            *([0.5, 0.5], "acc = 0.4 is 'test acc', and not 'val acc' as before; it is left out"),
        ),
    ],
)
def test_of_a_single_contradiction_one_value_counts_and_it_is_said(
    readings: list[Reading], values: list[float], said: str
) -> None:
    found = told(*readings, metric="acc")

    assert [point.value for point in found.points] == values
    assert found.contradictions == [said]


@pytest.mark.parametrize(
    ("name", "metric", "said"),
    [
        ("keras", "val_loss", "lines of Keras; val_loss = 0.4299 at step 10"),
        ("huggingface", "loss", "JSON lines, or dicts that Python prints; loss = 0.6934 at step 7"),
        ("pytorch_mnist", "accuracy", "plain lines; Accuracy = 0.9842 at epoch 1"),
    ],
)
def test_what_was_recognized_is_told_with_its_first_value(
    name: str, metric: str, said: str
) -> None:
    found = told(*readings_of(sample(f"{name}.txt")), metric=metric)

    assert found.text().endswith(said)
    assert found.complaint() is None


@pytest.mark.parametrize(
    ("readings", "options", "said"),
    [
        (
            readings_of(sample("keras.txt")),
            *({"metric": "f1"}, "printed were accuracy, loss, val_accuracy, val_loss"),
        ),
        ([], {}, "batchlab.log(step=..., val_loss=...)"),
        (OTHER_BARS, PATTERN, "matched --pattern 'loss"),
        ([Reading(at_s=1.0, shape="batchlab", not_understood=("a='b'",))], {}, "no number: a='b'"),
    ],
)
def test_a_metric_that_was_not_seen_is_told_with_what_was(
    readings: list[Reading], options: dict[str, Any], said: str
) -> None:
    assert said in str(told(*readings, **options).complaint())


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("eval_loss", "lower"),
        ("eval/perplexity", "lower"),
        ("validation_top1", "higher"),
        ("eval_macro_f1", "higher"),
        ("ROUGE", "higher"),
        *((name, "lower") for name in ("val_0_logloss", "validation_0-rmse", "logloss_mean")),
        *((name, "lower") for name in ("wer", "error_rate", "mean_squared_error", "cross_entropy")),
        *((name, "higher") for name in ("ndcg@10", "metrics/mAP50-95(B)", "ep_rew_mean", "ENTS_F")),
        ("RMSE_F", "lower"),
        *((name, "higher") for name in ("f1_macro", "Acc@1", "valid_0's auc", "success_rate")),
        *((name, None) for name in ("score", "neg_mean_squared_error", "learning_rate")),
        ("val_margin", None),
        ("lossless", None),
    ],
)
def test_the_direction_is_that_of_the_name(metric: str, better: str | None) -> None:
    assert direction_of(metric) == better


# How a metric may depend on the batch size `b`, from a level `v` and `n` examples.
FOLLOWS: list[Callable[[float, int, int], float]] = [
    lambda v, n, b: v * math.ceil(n / b),
    lambda v, n, b: v * math.ceil(n / b) / 10,
    lambda v, n, b: v * b,
    lambda v, n, b: v * b * (1 + 1 / n),
    lambda v, n, b: v * b**2,
    lambda v, n, b: 1000 * v / b,
    lambda v, n, b: v * math.sqrt(b),
    lambda v, n, b: 50 * v / math.sqrt(b),
    lambda v, n, b: math.log(b) + v / 50,
    lambda v, n, b: (0.8 + v / 4) * math.log(2 * b - 1) + v / 50,
]


BS = (64, 256, 512)


def seems_to_follow(rng: np.random.Generator, value: Callable[[int], float], noise: float) -> bool:
    """Whether values at three batch sizes, with noise, seem to follow the batch size."""
    noises = np.exp(noise * rng.normal(size=(3, 2)))
    return follows_size({size: value(size) * noises[i] for i, size in enumerate(BS)})


@pytest.mark.parametrize("law", FOLLOWS)
def test_a_metric_that_follows_the_batch_size_is_found(law: Any) -> None:
    rng = np.random.default_rng(5)
    for _ in range(500):
        value = partial(law, rng.uniform(0.5, 5), int(rng.integers(2000, 50000)))
        assert seems_to_follow(rng, value, noise=rng.uniform(0, 0.005))


def test_a_metric_that_does_not_is_never_accused() -> None:
    rng, accused = np.random.default_rng(6), 0
    for _ in range(500):
        level, noise = 10 ** rng.uniform(-4, 4), 10 ** rng.uniform(-4, 0.5)
        off = rng.uniform(0, 0.3)  # the last batch of a validation may count as much as a whole one
        accused += seems_to_follow(rng, lambda size: level * (1 + off / size), noise)  # noqa: B023
        # The statistics of batch normalization go on with the steps although nothing is trained.
        off, n = 10 ** rng.uniform(-2, 2), rng.integers(500, 50000)
        drift = {b: [1 + off * 0.9 ** (e * n / b) for e in (1, 2)] for b in BS}
        accused += follows_size(drift)
    assert accused == 0
