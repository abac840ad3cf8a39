"""The metric asked for along a run: its name, its places, what is left out."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of, sample

from batchlab.errors import ProgressError
from batchlab.records.quantities import direction_of
from batchlab.script.metric import MetricPoint, ProgressPoints, follows_size
from batchlab.script.reading import Reading


def readings(text: str) -> list[Reading]:
    """Return readings that are written like "keras epoch 2 split val: acc 0.5 & words: acc 0.4"."""
    made = []
    for number, row in enumerate(text.split(" & ")):
        head, _, values = row.partition(": ")
        shape, *words = head.split(" ")
        counters: dict[str, Any] = dict(zip(words[::2], words[1::2], strict=True))
        for name in counters.keys() - {"split"}:
            counters[name] = float(counters[name]) if name == "epoch" else int(counters[name])
        named = [value.rpartition(" ") for value in values.split(", ") if value]
        pairs = tuple((name, float(value)) for name, _, value in named)
        made.append(Reading(at_s=number, shape=shape, values=pairs, **counters))
    return made


def told(
    *places: Reading, metric: str = "val_loss", micro: int = 32, pattern: str | None = None
) -> ProgressPoints:
    trial = made_up_trial(batch_size=32, micro_batch_size=micro, n_train=1000)
    points = ProgressPoints(metric, trial, pattern)
    for place in places:
        points.add(place)
    return points


ROWS = (Path(__file__).parent / "points.txt").read_text("utf-8").split("\n")[2:]


@pytest.mark.parametrize("row", [row for row in ROWS if " |" in row])
def test_the_metric_is_followed_at_these_points(row):
    metric, printed, expected = (cell.strip() for cell in row.split(" |"))
    metric, _, pattern = metric.partition(" by ")
    points, _, said = expected.partition("; ")
    if expected.startswith("refused: "):
        with pytest.raises(ProgressError, match=expected.removeprefix("refused: ")):
            told(*readings(printed), metric=metric)
        return

    run = told(*readings(printed), metric=metric, pattern=pattern or None)

    found = ", ".join(f"{point.samples} {point.step} {point.value}" for point in run.points)
    assert found == points
    assert not said or run.left_out == said


def test_a_point_is_where_its_place_is_and_bars_alone_count_micro_batches():
    place, value, bar = readings("words step 7 & words: val_loss 0.5 & tqdm step 7")
    points = told(place, micro=8)

    assert points.add(value) == MetricPoint(at_s=value.at_s, samples=224, step=7, value=0.5)
    assert points.add(bar) == MetricPoint(at_s=bar.at_s, samples=56, step=2, value=None)
    for shape in ("batchlab", "pattern"):
        (point,) = told(*readings(f"{shape} step 7: val_loss 0.5"), micro=8).points
        assert (point.samples, point.step) == (224, 7)


@pytest.mark.parametrize(
    ("name", "metric", "said"),
    [
        ("keras", "val_loss", "Recognized val_loss = 0.4299"),
        ("huggingface", "loss", "Recognized loss = 0.6934"),
        ("pytorch_mnist", "accuracy", "Recognized Accuracy = 0.9842"),
        ("keras", "f1", "printed were accuracy, loss, val_accuracy, val_loss"),
    ],
)
def test_what_was_recognized_is_told_with_its_first_value_or_what_was_printed(name, metric, said):
    found = told(*readings_of(sample(f"{name}.txt")), metric=metric)

    assert found.text().endswith(said) if found.points else said in str(found.complaint())
    assert (found.complaint() is None) == bool(found.points)


@pytest.mark.parametrize(
    ("printed", "pattern", "said"),
    [
        ([], None, "batchlab.log(step=..., val_loss=...)"),
        (readings("tqdm step 2: val_loss 0.7"), "is (?P<val_loss>.*)", "matched --pattern 'is"),
        ([Reading(at_s=1.0, shape="batchlab", not_understood=("a='b'",))], None, "number: a='b'"),
    ],
)
def test_a_metric_that_was_not_seen_is_told_with_what_was(printed, pattern, said):
    assert said in str(told(*printed, pattern=pattern).complaint())


DIRECTIONS = {
    "lower": "eval_loss, eval/perplexity, val_0_logloss, validation_0-rmse, logloss_mean, wer, "
    "error_rate, mean_squared_error, cross_entropy, RMSE_F",
    "higher": "validation_top1, eval_macro_f1, ROUGE, ndcg@10, metrics/mAP50-95(B), ep_rew_mean, "
    "ENTS_F, f1_macro, Acc@1, valid_0's auc, success_rate",
    None: "score, neg_mean_squared_error, learning_rate, val_margin, lossless",
}


def test_the_direction_is_that_of_the_name():
    expected = {name: way for way, names in DIRECTIONS.items() for name in names.split(", ")}

    assert {name: direction_of(name) for name in expected} == expected


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
def test_a_metric_that_follows_the_batch_size_is_found(law):
    rng = np.random.default_rng(5)
    for _ in range(500):
        value = partial(law, rng.uniform(0.5, 5), int(rng.integers(2000, 50000)))
        assert seems_to_follow(rng, value, noise=rng.uniform(0, 0.005))


def test_a_metric_that_does_not_is_never_accused():
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
