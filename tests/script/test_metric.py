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
    for each in readings:
        points.add(each)
    return points


def points_of(*readings: Reading, **options: Any) -> list[Any]:
    points = told(*readings, **options).points
    return [(point.samples, point.step, point.value) for point in points]


@pytest.mark.parametrize(
    ("counters", "samples", "step"),
    [
        ({"samples": 640}, 640, 20),
        ({"samples": 641}, 641, 21),
        ({"step": 10}, 320, 10),
        ({"step": 10, "epoch": 0.4, "samples": 300}, 300, 10),
        ({"epoch": 1.5}, 1500, 48),
        ({"epoch": 2, "epoch_step": 10}, 2320, 74),
    ],
)
def test_samples_come_from_the_surest_counter(
    counters: dict[str, Any], samples: int, step: int
) -> None:
    assert points_of(reading(**counters, val_loss=0.5)) == [(samples, step, 0.5)]


@pytest.mark.parametrize("before", [{"epoch": -1}, {"step": -1}, {"samples": -5}])
def test_what_is_counted_as_before_the_training_is_at_its_beginning(
    before: dict[str, Any],
) -> None:
    readings = (reading(**before, val_loss=0.9), reading(epoch=1, val_loss=0.5))

    assert points_of(*readings) == [(0, 0, 0.9), (1000, 32, 0.5)]


def test_a_point_is_where_its_place_is_and_a_bar_counts_micro_batches() -> None:
    points = told(reading(step=7, shape="words"), micro_batch_size=8)

    value = points.add(reading(val_loss=0.5, at_s=1.0, shape="words"))
    bar = points.add(reading(step=7, shape="tqdm"))

    for shape in ("batchlab", "pattern"):
        updates = reading(step=7, val_loss=0.5, shape=shape)
        assert points_of(updates, micro_batch_size=8) == [(224, 7, 0.5)]
    assert value == MetricPoint(samples=224, step=7, value=0.5)
    assert bar == MetricPoint(samples=56, step=2, value=None)


@pytest.mark.parametrize(
    ("readings", "points"),
    [
        # A line without a counter belongs to the last one of its own shape, ...
        (
            [
                reading(step=5),
                reading(shape="tqdm", step=900, at_s=1.0),
                reading(val_loss=0.5, at_s=2.0),
                reading(step=6, val_loss=0.25),
            ],
            [(160, 5, 0.5), (192, 6, 0.25)],
        ),
        # ... and takes that of another shape if its own has none.
        ([reading(shape="tqdm", step=9), reading(val_loss=0.5)], [(288, 9, 0.5)]),
        # Of two shapes that print the metric the first is followed, ...
        (
            [
                reading(step=5, val_loss=0.5),
                reading(shape="tqdm", step=3, val_loss=0.4),
                reading(step=6, val_loss=0.25),
            ],
            [(160, 5, 0.5), (192, 6, 0.25)],
        ),
        # ... but what is logged goes before what is printed.
        (
            [
                reading(step=5, val_loss=0.51),
                reading(shape="batchlab", step=4, val_loss=0.5),
                reading(step=6, val_loss=0.26),
                reading(shape="batchlab", step=6, val_loss=0.25),
            ],
            [(128, 4, 0.5), (192, 6, 0.25)],
        ),
    ],
)
def test_of_several_shapes_each_has_its_counter_and_one_is_followed(
    readings: list[Reading], points: list[Any]
) -> None:
    assert points_of(*readings) == points


@pytest.mark.parametrize("logged", [[], [reading(shape="batchlab", step=3, val_loss=0.5)]])
def test_only_what_is_logged_goes_before_a_pattern(logged: list[Reading]) -> None:
    others = [reading(shape="tqdm", step=n, val_loss=0.7) for n in (2, 1, 2)]
    options = {"pattern": "loss (?P<val_loss>.*)"}

    points = points_of(*others, reading(shape="pattern", val_loss=0.4), *logged, **options)

    assert points == ([(96, 3, 0.5)] if logged else [(64, 2, 0.4)])
    assert "matched --pattern 'loss" in str(told(*others, **options).complaint())
    assert points_of(others[0], pattern="rate (?P<rate>.*)") == [(64, 2, 0.7)]


def test_of_two_values_for_one_step_the_last_counts_and_it_is_said() -> None:
    points = told(reading(step=2, val_loss=0.5), reading(step=2, val_loss=0.25))

    assert [point.value for point in points.points] == [0.25]
    assert points.contradictions == [
        "val_loss was printed twice at step 2, as 0.5 and 0.25; the last one counts"
    ]


def test_two_values_for_step_after_step_are_refused() -> None:
    twice = [reading(step=step, val_loss=value) for step in (2, 4, 6) for value in (0.5, 0.2)]

    with pytest.raises(ProgressError, match=r"'val_loss' was printed twice .*different names"):
        points_of(*twice)


def test_the_same_number_with_fewer_digits_is_no_second_value() -> None:
    twice = [reading(step=step, val_loss=value) for step in (2, 4) for value in (0.512, 0.51)]

    assert points_of(*twice) == [(64, 2, 0.51), (128, 4, 0.51)]


TRAIN_AND_VAL = [
    reading(epoch=epoch, split=split, acc=epoch / 10 + len(split) / 100)
    for epoch in (1, 2)
    for split in ("train", "val")
]


@pytest.mark.parametrize("asked", ["acc", "accuracy"])
def test_one_name_for_two_kinds_of_data_is_refused(asked: str) -> None:
    with pytest.raises(ProgressError, match=r"of two kinds .* as in --metric 'val acc', print"):
        points_of(*TRAIN_AND_VAL, metric=asked)


def test_the_kind_that_is_asked_for_is_followed() -> None:
    assert points_of(*TRAIN_AND_VAL, metric="val_acc") == [(1000, 32, 0.13), (2000, 64, 0.23)]


def test_what_is_logged_goes_before_two_kinds_under_one_name() -> None:
    logged = [reading(shape="batchlab", step=step, acc=step / 100) for step in (32, 64)]

    assert points_of(*TRAIN_AND_VAL[:2], *logged, metric="acc") == [
        (1024, 32, 0.32),
        (2048, 64, 0.64),
    ]


def test_values_within_epochs_and_of_whole_epochs_are_of_two_kinds() -> None:
    mixed = [
        each
        for epoch in (1, 2)
        for each in (reading(step=32 * epoch - 2, acc=0.1), reading(epoch=epoch, acc=0.5))
    ]

    with pytest.raises(ProgressError, match="'train acc' and 'epoch acc'"):
        points_of(*mixed, metric="acc")
    assert points_of(*mixed, metric="epoch acc") == [(1000, 32, 0.5), (2000, 64, 0.5)]


def test_a_test_after_the_last_epoch_is_left_out() -> None:
    found = told(
        *(reading(epoch=epoch, split="val", acc=0.5) for epoch in (1, 2)),
        reading(epoch=2, split="test", acc=0.4),
        metric="acc",
    )

    assert [point.value for point in found.points] == [0.5, 0.5]
    assert found.contradictions == [
        "acc = 0.4 is 'test acc', and not 'val acc' as before; it is left out"
    ]


def test_folds_stop_all_but_what_is_logged() -> None:
    folds = reading(shape="", complaint="'Fold 1/5' was printed: ...")

    with pytest.raises(ProgressError, match="no sure place: 'Fold 1/5' was printed"):
        points_of(folds, reading(shape="keras", step=2, val_loss=0.5))
    assert points_of(folds, reading(shape="batchlab", step=2, val_loss=0.5)) == [(64, 2, 0.5)]


@pytest.mark.parametrize(
    ("asked", "printed", "found"),
    [
        ("val_loss", "val loss", True),
        ("val_loss", "validation.loss", True),
        ("loss", "eval_loss", True),
        ("accuracy", "val_acc", True),
        ("eval_loss", "val_loss", True),
        *(("val_loss", other, False) for other in ("train_loss", "test_loss", "val_loss_2")),
    ],
)
def test_a_metric_is_found_under_its_other_names_and_no_other_is_taken_for_it(
    asked: str, printed: str, found: bool
) -> None:
    points = points_of(reading(step=1, **{printed: 0.5}), metric=asked)

    assert points == [(32, 1, 0.5)] * found


@pytest.mark.parametrize(
    ("name", "metric", "shape", "value", "step"),
    [
        ("keras.txt", "val_loss", "keras", 0.4299, 10),
        ("huggingface.txt", "loss", "json-lines", 0.6934, 7),
        ("pytorch_mnist.txt", "accuracy", "words", 0.9842, None),
    ],
)
def test_what_was_recognized_is_told_with_its_first_value(
    name: str, metric: str, shape: str, value: float, step: int | None
) -> None:
    found = told(*readings_of(sample(name)), metric=metric)

    first = found.first
    assert (first.shape, first.step) == (shape, step)
    assert f"= {value:g} at" in found.text()
    assert found.complaint() is None


@pytest.mark.parametrize(
    ("output", "metric", "said"),
    [
        (sample("keras.txt"), "f1", "printed were accuracy, loss, val_accuracy, val_loss"),
        (b"hello\n", "val_loss", "batchlab.log(step=..., val_loss=...)"),
        (
            b'{"batchlab_log": 1, "at_s": 1.0, "step": 1, "values": {}, '
            b'"not_understood": ["a=\'b\'"]}',
            "a",
            "no number: a='b'",
        ),
    ],
)
def test_a_metric_that_was_not_seen_is_told_with_what_was(
    output: bytes, metric: str, said: str
) -> None:
    assert said in str(told(*readings_of(output), metric=metric).complaint())


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
