"""Slow twins of the noise scale: straight from the definitions, example by example."""

from collections.abc import Sequence

from batchlab.records.noise import GradientSample

Vectors = Sequence[Sequence[float]]


def population(gradients: Vectors) -> tuple[float, float]:
    """tr Sigma (divided by N) and |G|^2 of a whole set of per-example gradients."""
    mean = mean_of(gradients)
    trace = sum(sq_distance(row, mean) for row in gradients) / len(gradients)
    return trace, sum(value * value for value in mean)


def mean_of(gradients: Vectors) -> list[float]:
    return [sum(column) / len(gradients) for column in zip(*gradients, strict=True)]


def sq_distance(one: Sequence[float], other: Sequence[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def sample_of(blocks: Sequence[Vectors], *, n_train: int) -> GradientSample:
    """The sample of these blocks of per-example gradients, which are of one size."""
    means = [mean_of(block) for block in blocks]
    return GradientSample(
        n_train=n_train,
        block_examples=len(blocks[0]),
        products=tuple(
            tuple(sum(a * b for a, b in zip(one, other, strict=True)) for other in means)
            for one in means
        ),
    )
