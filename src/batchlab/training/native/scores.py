"""Scores: the metrics that add up, over rows of tensors in memory, as one C function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from batchlab.records.estimate import Reason
from batchlab.training.native.graph import RefusedError
from batchlab.training.native.program import NativeBuild, Program, layout_of


class NativeScores:
    """Evaluates a build's metrics for one model.

    What a metric's sum is divided by does not depend on the model, and is not told here.

    Attributes:
        metrics: their names.
    """

    def __init__(self, build: NativeBuild, model: nn.Module) -> None:
        """Load it.

        Raises:
            RefusedError: the build has no evaluation, or is one of another model.
        """
        if build.unmeasured is not None:
            raise RefusedError(build.unmeasured)
        named = (list(model.named_parameters()), list(model.named_buffers()))
        if (build.parameters, build.buffers) != (layout_of(named[0]), layout_of(named[1])):
            raise RefusedError(Reason.of("native_another_model"))
        self.metrics = build.metrics
        self._columns = build.columns
        self._held: dict[str, Sequence[Tensor | None]] = {
            "parameters": [part for _, part in named[0]],
            "buffers": [part for _, part in named[1]],
            "constants": list(build.constants[build.n_constants :]),
        }
        self._run = Program(build, "evaluate")

    def fits(self, columns: Sequence[Tensor]) -> bool:
        """Whether the examples are like those of the build: of these shapes and types, gapless."""
        like = layout_of([("", part[0]) for part in columns]) == self._columns
        return like and all(part.is_contiguous() for part in columns)

    def sums(
        self, columns: Sequence[Tensor], index: Tensor, *, batch_size: int
    ) -> Mapping[str, Tensor]:
        """Each metric's sum over each batch of the rows, as the plain evaluation finds it.

        Args:
            columns: the parts of all examples, each of shape (n, ...); they fit.
            index: which of them, in their order; shape (m,), int64.
            batch_size: how many the metric is given at once; the last batch may be smaller.

        Returns:
            By metric: its sums, float64, one a batch.
        """
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
