"""Scores: the metrics that add up over rows of tensors in memory, as one C function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from batchlab.training.native.graph import RefusedError
from batchlab.training.native.program import NativeBuild, Program, layout_of


class NativeScores:
    """The metrics of a build, evaluated for one model.

    The divisor of a metric's sum does not depend on the model, and is not computed here.

    Attributes:
        metrics: the names of the metrics.
    """

    def __init__(self, build: NativeBuild, model: nn.Module) -> None:
        """Load the function for `model`.

        Raises:
            RefusedError: the build has no evaluation, or is for another model.
        """
        if build.unmeasured is not None:
            raise RefusedError(build.unmeasured)
        named = (list(model.named_parameters()), list(model.named_buffers()))
        if (build.parameters, build.buffers) != (layout_of(named[0]), layout_of(named[1])):
            raise RefusedError("the model changed after the build")
        self.metrics = build.metrics
        self._columns = build.columns
        self._held: dict[str, Sequence[Tensor | None]] = {
            "parameters": [part for _, part in named[0]],
            "buffers": [part for _, part in named[1]],
            "constants": list(build.constants[build.n_constants :]),
        }
        self._run = Program(build, "evaluate")

    def __call__(
        self, columns: Sequence[Tensor], index: Tensor, batch_size: int
    ) -> Mapping[str, Tensor]:
        """Return each metric's sum over each batch of the rows, as the plain evaluation does.

        Args:
            columns: the parts of all examples, each of shape (n, ...).
            index: the examples to evaluate, in this order; shape (m,), int64.
            batch_size: how many examples the metric gets at once; the last batch may be smaller.

        Returns:
            The sums by metric, float64, one per batch; none if the examples have other shapes or
            types than the build's, or gaps.
        """
        is_like = layout_of([("", part[0]) for part in columns]) == self._columns
        if not (is_like and all(part.is_contiguous() for part in columns)):
            return {}
        sizes = [len(part) for part in index.split(batch_size)]
        parts = torch.ones(len(sizes), dtype=torch.int64)
        told = torch.empty(len(sizes), len(self.metrics), dtype=torch.float64)
        self._run(
            index=index.contiguous(),
            sizes=torch.tensor(sizes),
            parts=parts,
            shares=parts.double(),
            told=told,
            tensors={**self._held, "columns": columns},
        )
        return dict(zip(self.metrics, told.unbind(1), strict=True))
