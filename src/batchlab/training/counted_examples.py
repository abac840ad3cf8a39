"""CountedExamples: which single examples a metric counts, found by asking it about parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from batchlab.training.batching import mapped, n_examples
from batchlab.training.replaced_forward import Forward, replaced_forward
from batchlab.workload.definition import Batch, Metric

# Of an example: how far the mean of a batch in single precision may be from a whole number.
_ROUNDING = 1e-3


class NoShareError(Exception):
    """A metric does not count examples: a part of a batch adds no whole number to it."""


def counted_examples(metric: Metric, model: nn.Module, batch: Batch) -> list[bool]:
    """Which examples of a batch the metric counts.

    The metric is asked about ever smaller parts of the batch until all of a part count, or none
    does; so it need not know single examples. The model is asked once: of a part its outputs are
    taken from those of the whole batch.

    Args:
        metric: with a count.
        model: in evaluation mode; left as it is.
        batch: examples first in all of its tensors that are as long as it is.

    Raises:
        NoShareError: it counts other than single examples, or looks at several together.
    """
    n = n_examples(batch)
    assert metric.count is not None

    def part_of(whole: Any, chosen: slice) -> Any:
        return mapped(whole, lambda data: data[chosen] if data.ndim and len(data) == n else data)

    def count_of(chosen: slice) -> int:
        part, of = part_of(batch, chosen), len(range(n)[chosen])
        value = float(torch.as_tensor(metric.sum(model, part)).double().sum())
        whole = round(value) if math.isfinite(value) else -1
        is_whole = abs(value - whole) <= _ROUNDING * of and 0 <= whole <= of
        if metric.count is None or metric.count(part) != of or not is_whole:
            raise NoShareError
        return whole

    with _forward_in_parts(model, part_of) as look_at:

        def within(start: int, stop: int, counted: int) -> list[bool]:
            if counted in (0, stop - start):
                return [counted > 0] * (stop - start)
            if not 0 < counted < stop - start:
                raise NoShareError
            middle = (start + stop) // 2
            left = count_of(look_at(slice(start, middle)))
            return within(start, middle, left) + within(middle, stop, counted - left)

        found = within(0, n, count_of(slice(0, n)))
    # Computed anew, in other company: else an example is judged by what lies beside it.
    if count_of(slice(0, n, 2)) != sum(found[::2]):
        raise NoShareError
    return found


@contextmanager
def _forward_in_parts(
    model: nn.Module, part_of: Callable[[Any, slice], Any]
) -> Iterator[Callable[[slice], slice]]:
    """Context: the first pass is computed; after `look_at(part)` it is that part of its outputs."""
    outputs: list[Any] = []
    coming: list[Any] | None = None

    def in_parts(compute: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if coming is None:
                outputs.append(compute(*args, **kwargs))
                return outputs[-1]
            return coming.pop(0)

        return forward

    def look_at(chosen: slice) -> slice:
        nonlocal coming
        coming = [part_of(output, chosen) for output in outputs]
        return chosen

    with replaced_forward(model, in_parts):
        yield look_at
