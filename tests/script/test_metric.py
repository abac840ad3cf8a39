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
    *places: Reading,
    metric: str = "val_loss",
    micro_batch_size: int = 32,
    pattern: str | None = None,
) -> ProgressPoints:
    trial = made_up_trial(batch_size=32, micro_batch_size=micro_batch_size, n_train=1000)
    points = ProgressPoints(metric, trial, pattern)
    for place in places:
        points.add(place)
    return points


TRAIN_AND_VAL = (
    "words epoch 1 split train: acc 0.15 & words epoch 1 split val: acc 0.13 & "
    "words epoch 2 split train: acc 0.25 & words epoch 2 split val: acc 0.23"
)
WITHIN_AND_OF_EPOCHS = (
    "words step 30: acc 0.1 & words epoch 1: acc 0.5 & "
    "words step 62: acc 0.1 & words epoch 2: acc 0.5"
)
TWICE = " & ".join(f"words step {n}: acc 0.5 & words step {n}: acc 0.2" for n in (2, 4, 6))
OTHER_BARS = "tqdm step 2: loss 0.7 & tqdm step 1: loss 0.7 & tqdm step 2: loss 0.7"
PATTERN = {"metric": "loss", "pattern": "is (?P<loss>.*)"}
# The metric asked for | what was printed | the samples, steps and values that count.
POINTS = f"""
Samples come from the surest counter.
acc | words samples 640: acc 0.5 | 640 20 0.5
acc | words samples 641: acc 0.5 | 641 21 0.5
acc | words step 10: acc 0.5 | 320 10 0.5
acc | words step 10 epoch 0.4 samples 300: acc 0.5 | 300 10 0.5
acc | words epoch 1.5: acc 0.5 | 1500 48 0.5
acc | words epoch 2 epoch_step 10: acc 0.5 | 2320 74 0.5
What is counted as before the training is at its beginning.
val_loss | words epoch -1: val_loss 0.9 & words epoch 1: val_loss 0.5 | 0 0 0.9, 1000 32 0.5
val_loss | words step -1: val_loss 0.9 & words epoch 1: val_loss 0.5 | 0 0 0.9, 1000 32 0.5
val_loss | words samples -5: val_loss 0.9 & words epoch 1: val_loss 0.5 | 0 0 0.9, 1000 32 0.5
A line without a counter belongs to the last one of its own shape, else of another.
acc | words step 5 & tqdm step 900 & words: acc 0.5 & words step 6: acc 0.2 | 160 5 0.5, 192 6 0.2
acc | tqdm step 9 & words: acc 0.5 | 288 9 0.5
Of two shapes that print the metric the first is followed, but what is logged goes before all.
acc | words step 5: acc 0.5 & tqdm step 3: acc 0.4 & words step 6: acc 0.2 | 160 5 0.5, 192 6 0.2
acc | words step 5: acc 0.51 & batchlab step 4: acc 0.5 & words step 6: acc 0.26 & batchlab step 6: acc 0.2 | 128 4 0.5, 192 6 0.2
acc | {TRAIN_AND_VAL.partition(" & words epoch 2")[0]} & batchlab step 32: acc 0.32 | 1024 32 0.32
The same number with fewer digits is no second value.
acc | words step 2: acc 0.512 & words step 2: acc 0.51 & words step 4: acc 0.5 | 64 2 0.51, 128 4 0.5
The kind that is asked for is followed.
val_acc | {TRAIN_AND_VAL} | 1000 32 0.13, 2000 64 0.23
epoch acc | {WITHIN_AND_OF_EPOCHS} | 1000 32 0.5, 2000 64 0.5
A metric is found under its other names, and no other is taken for it.
val_loss | words step 1: val loss 0.5 | 32 1 0.5
val_loss | words step 1: validation.loss 0.5 | 32 1 0.5
loss | words step 1: eval_loss 0.5 | 32 1 0.5
accuracy | words step 1: val_acc 0.5 | 32 1 0.5
eval_loss | words step 1: val_loss 0.5 | 32 1 0.5
val_loss | words step 1: train_loss 0.5, test_loss 0.5, val_loss_2 0.5 |
"""  # noqa: E501


@pytest.mark.parametrize("row", [row for row in POINTS.split("\n") if " | " in row])
def test_the_metric_is_followed_at_these_points(row: str) -> None:
    metric, printed, expected = row.split(" |")

    points = told(*readings(printed.strip()), metric=metric).points

    found = ", ".join(f"{point.samples} {point.step} {point.value}" for point in points)
    assert found == expected.strip()


@pytest.mark.parametrize(
    ("printed", "options", "points"),
    [
        # Only what is logged goes before a pattern.
        (f"{OTHER_BARS} & pattern: loss 0.4", PATTERN, [(64, 2, 0.4)]),
        (f"{OTHER_BARS} & pattern: loss 0.4 & batchlab step 3: loss 0.5", PATTERN, [(96, 3, 0.5)]),
        (OTHER_BARS[:21], {"metric": "loss", "pattern": "rate (?P<rate>.*)"}, [(64, 2, 0.7)]),
        # The steps of a log or a pattern are updates, and not micro-batches.
        ("batchlab step 7: val_loss 0.5", {"micro_batch_size": 8}, [(224, 7, 0.5)]),
        ("pattern step 7: val_loss 0.5", {"micro_batch_size": 8}, [(224, 7, 0.5)]),
    ],
)
def test_a_log_or_a_pattern_goes_before_other_lines(
    printed: str, options: dict[str, Any], points: list[Any]
) -> None:
    found = told(*readings(printed), **options).points

    assert [(point.samples, point.step, point.value) for point in found] == points


def test_a_point_is_where_its_place_is_and_a_bar_counts_micro_batches() -> None:
    place, value, bar = readings("words step 7 & words: val_loss 0.5 & tqdm step 7")
    points = told(place, micro_batch_size=8)

    assert points.add(value) == MetricPoint(samples=224, step=7, value=0.5)
    assert points.add(bar) == MetricPoint(samples=56, step=2, value=None)


def test_folds_stop_all_but_what_is_logged() -> None:
    folds = Reading(at_s=0.0, shape="", complaint="'Fold 1/5' was printed: ...")

    with pytest.raises(ProgressError, match="no sure place: 'Fold 1/5' was printed"):
        told(folds, *readings("keras step 2: val_loss 0.5"))
    assert len(told(folds, *readings("batchlab step 2: val_loss 0.5")).points) == 1


@pytest.mark.parametrize(
    ("printed", "metric", "said"),
    [
        (TWICE, "acc", r"'acc' was printed twice .*different names"),
        (TRAIN_AND_VAL, "acc", r"of two kinds .* as in --metric 'val acc', print"),
        (TRAIN_AND_VAL, "accuracy", r"of two kinds .* as in --metric 'val acc', print"),
        (WITHIN_AND_OF_EPOCHS, "acc", "'train acc' and 'epoch acc'"),
    ],
)
def test_a_metric_of_two_meanings_is_refused(printed: str, metric: str, said: str) -> None:
    with pytest.raises(ProgressError, match=said):
        told(*readings(printed), metric=metric)


@pytest.mark.parametrize(
    ("printed", "values", "said"),
    [
        (
            "words step 2: acc 0.5 & words step 2: acc 0.25",
            *([0.25], "acc was printed twice at step 2, as 0.5 and 0.25; the last one counts"),
        ),
        # A test after the last epoch is left out.
        (
            "words epoch 1 split val: acc 0.5 & words epoch 2 split test: acc 0.4",
            *([0.5], "acc = 0.4 is 'test acc', and not 'val acc' as before; it is left out"),
        ),
    ],
)
def test_of_a_single_contradiction_one_value_counts_and_it_is_said(
    printed: str, values: list[float], said: str
) -> None:
    found = told(*readings(printed), metric="acc")

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
    ("printed", "options", "said"),
    [
        (
            readings_of(sample("keras.txt")),
            *({"metric": "f1"}, "printed were accuracy, loss, val_accuracy, val_loss"),
        ),
        ([], {}, "batchlab.log(step=..., val_loss=...)"),
        (readings(OTHER_BARS), PATTERN, "matched --pattern 'is"),
        ([Reading(at_s=1.0, shape="batchlab", not_understood=("a='b'",))], {}, "no number: a='b'"),
    ],
)
def test_a_metric_that_was_not_seen_is_told_with_what_was(
    printed: list[Reading], options: dict[str, Any], said: str
) -> None:
    assert said in str(told(*printed, **options).complaint())


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
