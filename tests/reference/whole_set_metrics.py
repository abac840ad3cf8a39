"""Metrics of a whole set, from their definitions: slow, and without a shortcut."""

from __future__ import annotations

from collections.abc import Sequence


def area_under_curve(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The share of pairs of a positive and a negative that the score puts in order; ties half."""
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, positive in zip(scores, labels, strict=True)
        if positive == 1
        for low, other in zip(scores, labels, strict=True)
        if other == 0
    ]
    return sum(pairs) / len(pairs)


def average_precision(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The mean, over the positives, of the precision among all that score at least as high."""
    precisions = []
    for score, label in zip(scores, labels, strict=True):
        if label == 1:
            above = [other for at, other in zip(scores, labels, strict=True) if at >= score]
            precisions.append(sum(above) / len(above))
    return sum(precisions) / len(precisions)


def r_squared(predictions: Sequence[float], targets: Sequence[float]) -> float:
    """One minus the squared errors over the squared distances from the mean target."""
    mean = sum(targets) / len(targets)
    errors = sum((y - p) ** 2 for p, y in zip(predictions, targets, strict=True))
    return 1 - errors / sum((y - mean) ** 2 for y in targets)


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's correlation of the ranks, equal values sharing the mean of theirs."""
    a, b = _ranks(one), _ranks(other)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    together = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread_a = sum((x - mean_a) ** 2 for x in a)
    spread_b = sum((y - mean_b) ** 2 for y in b)
    return together / (spread_a * spread_b) ** 0.5


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]
