"""Workload and Metric: what is trained, and what "good" means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from batchlab.errors import WorkloadError
from batchlab.records.quantities import Better, quantity
from batchlab.records.target import Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Batch = Any  # what the user's own functions take: a tuple of tensors, or what `collate` returned
Data = Any  # a tuple of tensors with examples first, or a map-style Dataset


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric that is added up over batches: `finalise(sum of sums, sum of counts)`.

    Attributes:
        sum: function(model, batch) -> tensor of any fixed shape that adds up over batches.
        count: function(batch) -> number that adds up over batches; None: the batch's weight.
        finalise: function(total sum, total count) -> number; None: their ratio.
        better: "higher" or "lower".
    """

    sum: Callable[[nn.Module, Batch], Tensor]
    count: Callable[[Batch], float] | None = None
    finalise: Callable[[Tensor, float], float] | None = None
    better: Better

    def __post_init__(self) -> None:
        """Refuse a direction that is neither of the two."""
        if self.better not in ("higher", "lower"):
            raise WorkloadError(
                f"better={self.better!r}: a metric is better 'higher' or 'lower'; give one of them"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is trained: model, data, loss, metrics, optimizer and a reference configuration.

    Attributes:
        name: for people.
        model: function() -> a new `nn.Module`; called under the trial's seed.
        train: a tuple of tensors with examples first, or a map-style Dataset.
        loss: function(model, batch) -> scalar tensor, the **mean** over the batch's weight.
        validation: like `train`; "split": a tenth of `train`, drawn by a fixed seed;
            None: there is none, and what needs one says so.
        test: like `train`, or None. Read for the report only, never for a choice.
        metrics: name -> function(model, batch) -> scalar mean, or a `Metric`. The first one is
            the one that counts; empty: the loss is.
        optimizer: function(parameters, learning_rate, **settings) -> torch.optim.Optimizer;
            None: SGD with momentum 0.9.
        schedule: function(fraction of the run in [0, 1]) -> multiplier of the learning rate;
            None: a constant rate.
        weight: function(batch) -> over how many units the loss is the mean (tokens, pixels);
            None: the number of examples.
        batch_size: the reference batch size.
        learning_rate: the reference learning rate.
        epochs: how many passes a whole training of yours takes; None: as many as it takes to its
            plateau (a sweep: 10).
        target: the default target on validation data, or None.
        collate: for a Dataset: list of examples -> batch; None: PyTorch's default.
        workers: for a Dataset: processes that fetch training examples.
        augment: function(batch) -> batch, on training batches only.

    Raises:
        WorkloadError: a metric without a known direction, or an impossible field.
    """

    name: str
    model: Callable[[], nn.Module]
    train: Data
    loss: Callable[[nn.Module, Batch], Tensor]
    validation: Data | Literal["split"] | None = "split"
    test: Data | None = None
    metrics: Mapping[str, Metric | Callable[[nn.Module, Batch], Tensor]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    optimizer: Callable[..., torch.optim.Optimizer] | None = None
    schedule: Callable[[float], float] | None = None
    weight: Callable[[Batch], float] | None = None
    batch_size: int = 64
    learning_rate: float = 0.01
    epochs: int | None = None
    target: Target | None = None
    collate: Callable[[list[Any]], Batch] | None = None
    workers: int = 0
    augment: Callable[[Batch], Batch] | None = None

    def __post_init__(self) -> None:
        """Refuse what could only fail later, and later less clearly."""
        for name in self.metrics:
            self.better(name)
        for name in ("model", "loss"):
            if not callable(getattr(self, name)):
                raise WorkloadError(
                    f"workload {self.name!r}: {name} is {getattr(self, name)!r}; expected a "
                    f"function, such as {name}=build_{name} without calling it"
                )
        is_whole = isinstance(self.epochs, int) and not isinstance(self.epochs, bool)
        if self.epochs is not None and not (is_whole and self.epochs >= 1):
            raise WorkloadError(
                f"workload {self.name!r}: epochs is {self.epochs!r}; expected a whole number of at "
                f"least 1, or None where a training goes on to its plateau"
            )
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def better(self, metric: str) -> Better:
        """The direction of `metric`.

        Raises:
            WorkloadError: its name is not a known one and it is not a `Metric` with `better`.
        """
        given = self.metrics.get(metric)
        if isinstance(given, Metric):
            return given.better
        known = quantity(metric).better
        if known is None or (given is None and metric != "loss"):
            raise WorkloadError(
                f"workload {self.name!r}: metric {metric!r} has no known direction; accuracy goes "
                f"up, loss and error go down; for another name give "
                f'batchlab.Metric(sum=..., better="higher" or "lower")'
                if given is not None
                else f"workload {self.name!r} has no metric {metric!r}; it has "
                f"{', '.join(self.metric_names)}"
            )
        return known

    @property
    def metric_names(self) -> tuple[str, ...]:
        """All metrics, the one that counts first; `loss` is always among them."""
        names = tuple(self.metrics)
        return names if "loss" in names else (*names, "loss")


def size_of(data: Data) -> int:
    """The number of examples of a split; None counts as 0."""
    if data is None:
        return 0
    return len(data[0]) if isinstance(data, tuple) else len(data)
