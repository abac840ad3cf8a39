"""WholeSetMetric: a metric of all examples of a split together, such as the area under a curve."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.training.batching import mapped
from batchlab.workload.definition import Batch, Metric, Workload
from batchlab.workload.stateful_metric import is_stateful


def is_over_all(workload: Workload, name: str) -> bool:
    """Whether metric `name` needs the whole split at once."""
    given = workload.metrics.get(name)
    return is_stateful(given) or (isinstance(given, Metric) and given.over_all is not None)


class WholeSetMetric:
    """Predictions and targets of one split, gathered batch by batch on the CPU, then judged."""

    def __init__(self, workload: Workload, name: str) -> None:
        """Begin with nothing gathered; an object with a state is copied and emptied.

        Args:
            workload: whose metric it is.
            name: of a metric that needs the whole split.
        """
        given = workload.metrics[name]
        self._what = f"workload {workload.name!r}: metric {name!r}"
        self._predict = given.predict if isinstance(given, Metric) else None
        self._with_gradients = isinstance(given, Metric) and given.enable_grad
        self._judge: Any = given.over_all if isinstance(given, Metric) else given
        self._gathered: tuple[list[Any], list[Any]] = ([], [])
        self._is_empty = True
        self._is_fed = is_stateful(self._judge)
        if self._is_fed:
            self._judge = copy.deepcopy(self._judge)
            self._judge.reset()

    def add(self, model: nn.Module, batch: Batch) -> None:
        """Take in the predictions and targets of one batch.

        Raises:
            WorkloadError: there is no telling them from the batch, or they don't fit the others.
        """
        with torch.set_grad_enabled(self._with_gradients):
            found = self._predicted(model, batch)
        # Of lists the tensors too: each would hold the graph of its whole batch.
        parts = tuple(mapped(part, lambda held: held.detach().cpu()) for part in found)
        self._is_empty = False
        if self._is_fed:
            self._judge.update(*parts)
            return
        for name, part, held in zip(("predictions", "targets"), parts, self._gathered, strict=True):
            self._check_fits(name, part, held)
            held.append(part)

    def value(self) -> float:
        """The metric of everything gathered; not a number where that is nothing.

        Raises:
            WorkloadError: the function gave something else than one number.
        """
        if self._is_empty:
            return float("nan")
        if self._is_fed:
            result, said = self._judge.compute(), "compute()"
        else:
            result, said = self._judge(*map(_joined, self._gathered)), "`over_all`"
        try:
            return float(result)
        except (TypeError, ValueError, RuntimeError):
            shape = f" of shape {tuple(result.shape)}" if isinstance(result, Tensor) else ""
            raise WorkloadError(
                f"{self._what}: {said} gave a {type(result).__name__}{shape}; expected one number"
            ) from None

    def _predicted(self, model: nn.Module, batch: Batch) -> tuple[Any, Any]:
        if self._predict is not None:
            found = self._predict(model, batch)
            if not (isinstance(found, (tuple, list)) and len(found) == 2):
                raise WorkloadError(
                    f"{self._what}: `predict` returned a {type(found).__name__}; expected a pair: "
                    f"(predictions, targets)"
                )
            return found[0], found[1]
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
            raise WorkloadError(
                f"{self._what}: the batch is no pair of inputs and targets but a "
                f"{type(batch).__name__} of {len(batch)}; say what to compare: batchlab.Metric("
                f'over_all=..., predict=lambda model, batch: (model(batch["x"]), batch["y"]), '
                f"better=...)"
            )
        return model(batch[0]), batch[1]

    def _check_fits(self, name: str, part: Any, held: list[Any]) -> None:
        if isinstance(part, list):
            return
        if not isinstance(part, Tensor) or part.ndim == 0:
            raise WorkloadError(
                f"{self._what}: the {name} of a batch are a {_kind(part)}; expected a tensor with "
                f"examples first, or a list"
            )
        if held and part.shape[1:] != held[0].shape[1:]:
            raise WorkloadError(
                f"{self._what}: its {name} have the shape {tuple(held[0].shape)} in one batch and "
                f"{tuple(part.shape)} in another; expected the same but for the examples first: "
                f"let `predict` return rows of one length, or lists"
            )


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [value for part in parts for value in part]
    return torch.cat(parts)


def _kind(part: Any) -> str:
    return "tensor with one number" if isinstance(part, Tensor) else type(part).__name__
