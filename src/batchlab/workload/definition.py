"""Workload (what is trained) and Metric (how a trained model is scored)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from batchlab.errors import BatchSizeError, UsageError, WorkloadError
from batchlab.records.quantities import Better, direction_of
from batchlab.records.trial import Split, Target, Trial

if TYPE_CHECKING:
    from torch import Tensor, nn


SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Batch = Any  # The argument of a user's function: a tuple of tensors, or the result of `collate`.
Data = Any  # Any type that `Workload.train` accepts, or the result of its conversion at loading.
Precision = Literal["fp32", "bf16", "fp16"]
VALIDATION_EVERY = 10
"""With `validation="split"`, one of this many training examples becomes validation data."""
_BATCH_SIZE = 64  # The default reference batch size.
_LEARNING_RATE = 0.01  # The reference learning rate of the default optimizer, SGD with momentum.


def asks_for_names(optimizer: Callable[..., Any]) -> bool:
    """Return whether the first parameter of an optimizer function is `named_parameters`."""
    return next(iter(parameters_of(optimizer)), None) == "named_parameters"


def horizons_of(scheduler: Callable[..., Any]) -> tuple[str, ...]:
    """Return which of "n_steps" and "n_epochs" are parameters of a scheduler function."""
    names = parameters_of(scheduler)
    return tuple(name for name in ("n_steps", "n_epochs") if name in names)


def parameters_of(function: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function by name; none if the function has no signature."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # such as a C function without a signature
        return {}


def check_has_loss(workload: Workload, asked: str) -> None:
    """Refuse a workload without a loss; `asked` describes the request that needs the loss."""
    if workload.loss is None:
        raise UsageError(
            f"workload {workload.name!r}: {asked} needs its loss, and it has only a `step`; give "
            f"it `loss` too, a function of the model and a batch"
        )


def check_may_be_cut(workload: Workload, trial: Trial) -> None:
    """Refuse a trial with micro-batches if the workload's `step` accepts only whole batches."""
    if trial.accumulates and not workload.takes_micro_batches:
        raise BatchSizeError(
            f"batch size {trial.largest_batch_size} in micro-batches of {trial.micro_batch_size}: "
            f"the `step` of workload {workload.name!r} takes whole batches; let it take a tuple of "
            f"micro-batches and say accumulates=True, or leave micro-batches out"
        )


def is_stateful(metric: object) -> bool:
    """Return whether a metric has the methods of torchmetrics: `update`, `compute`, `reset`."""
    return all(callable(getattr(metric, name, None)) for name in ("update", "compute", "reset"))


def is_compiled(model: nn.Module) -> bool:
    """Return whether torch.compile was applied to a model or to one of its modules."""
    for module in model.modules():
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            return True
    return False


def uncompiled(model: nn.Module) -> nn.Module:
    """Undo torch.compile in a model, so that its weights have their original names."""
    model = getattr(model, "_orig_mod", model)
    for module in model.modules():
        if module._compiled_call_impl is not None:
            module._compiled_call_impl = None
        for name, child in module._modules.items():
            module._modules[name] = getattr(child, "_orig_mod", child)
    return model


def loader_batch_size(data: Any) -> int | None:
    """Return the batch size of a DataLoader; None for other data or a loader without a size."""
    if not hasattr(data, "batch_sampler"):
        return None
    size = data.batch_size
    if size is None:  # a batch sampler or the data set sets the size of batches
        size = getattr(data.batch_sampler, "batch_size", None)
    return size if isinstance(size, int) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric that is summed over batches, or computed from all predictions on a split.

    Give either `over_all` or `sum`. With `sum`, the metric is `finalise(total sum, total count)`.

    Attributes:
        sum: function(model, batch) -> tensor of a fixed shape, added over the batches of a split.
        count: function(batch) -> number, added over batches; None for the workload's `weight`.
        finalise: function(total sum, total count) -> number; None for total sum / total count.
        over_all: function(all predictions on a split, their targets) -> number; the arguments are
            CPU tensors with examples first, or lists if `predict` returns lists. A
            torchmetrics object is also accepted (with `update`, `compute` and `reset`).
        predict: for `over_all`, function(model, batch) -> (predictions, targets) of a batch;
            None for `model(batch[0])` and `batch[1]`.
        better: "higher" or "lower": which values of the metric are better.

    Raises:
        WorkloadError: `better` is invalid, or functions are missing, conflicting or invalid.
    """

    sum: Callable[[nn.Module, Batch], Tensor] = None  # type: ignore[assignment]  # None with `over_all`
    count: Callable[[Batch], float] | None = None
    finalise: Callable[[Tensor, float], float] | None = None
    over_all: Callable[[Any, Any], float] | Any | None = None
    predict: Callable[[nn.Module, Batch], tuple[Any, Any]] | None = None
    better: Better = None  # type: ignore[assignment]  # __post_init__ refuses None

    def __post_init__(self) -> None:
        """Refuse an unknown `better`, and functions that are missing, conflicting or invalid."""
        if self.better not in ("higher", "lower"):
            raise WorkloadError(
                f"a batchlab.Metric has better={self.better!r}; give better='higher' or 'lower'"
            )
        if (self.sum is None) == (self.over_all is None):
            which = "neither" if self.sum is None else "both"
            raise WorkloadError(
                f"a batchlab.Metric has {which} of sum and over_all; give sum=... for what adds up "
                f"over batches, or over_all=... for what needs the whole set"
            )
        if self.predict is not None and self.over_all is None:
            raise WorkloadError(
                "a batchlab.Metric has predict without over_all; sum is given the model and the "
                "batch and needs no predict: leave it out"
            )
        for name in ("sum", "over_all"):
            function = getattr(self, name)
            if not (function is None or callable(function) or is_stateful(function)):
                raise WorkloadError(
                    f"a batchlab.Metric has {name}={function!r}; expected a function"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A training task: model, data, loss, metrics, optimizer and a reference configuration.

    Attributes:
        name: the name of the workload in messages and reports.
        model: function() -> a new `nn.Module`; called after the trial's seed is set.
        train: tensors or NumPy arrays with examples first, in a tuple, a dict, or a nesting of
            tuples and dicts; a DataFrame, used as a dict of its columns; a map-style Dataset; an
            IterableDataset with a length; a DataLoader, whose data set, collate and workers are
            used. A memory map is read from its file, not copied into memory.
        loss: function(model, batch) -> scalar tensor, the **mean** over the batch (see `weight`);
            None if there are `metrics` and a `step`.
        step: function(model, optimizer, batch) -> the batch's loss, or a dict of tensors with the
            loss first or called "loss". The function does one optimizer step: zero_grad, backward
            and optimizer.step(). State between steps belongs in buffers of the model, or in the
            dict that `optimizer` returns. None for batchlab's own optimizer step on `loss`.
        accumulates: whether `step` accepts a tuple of micro-batches in place of a batch; if not,
            batches are never divided.
        validation: like `train`; or "split" for a tenth of `train`, which is drawn with a fixed
            seed or, if the tenth has fewer than 2,000 examples, with each training's own seed.
            With None, methods that need validation data raise an error.
        test: like `train`, or None. Used only for the report, never to choose a configuration.
        metrics: name -> function(model, batch) -> scalar mean, a `Metric`, or a torchmetrics
            object. Configurations are compared by the first metric; without metrics, by the loss.
        optimizer: function(parameters, learning_rate, **settings) -> torch.optim.Optimizer; a first
            parameter called `named_parameters` gets (name, parameter) pairs. With a
            `step` it may return a dict of several optimizers and of other state, such as a
            GradScaler. None for SGD with momentum 0.9.
        clip_norm: the norm to which a larger gradient is scaled down, or None for no limit.
        ema: decay per step of an exponential average of the weights, which is evaluated in place of
            the weights. At batch size B, the decay is ema ** (B / reference batch size). None for
            no average.
        schedule: function(fraction of training done, 0 to 1) -> factor on the rate; or None.
        scheduler: function(optimizer) or (optimizer, n_epochs) -> a scheduler of
            torch.optim.lr_scheduler that is called after each epoch; or function(optimizer,
            n_steps) -> a scheduler that is called after each step; None to use `schedule`.
            ReduceLROnPlateau gets the first metric (without metrics, the loss).
        patience_epochs: a training stops if the first metric (or the loss) has not improved on
            validation data for this many epochs; None if a training never stops early.
        weight: function(batch) -> the number of units that the loss is a mean over (tokens,
            pixels); None for the number of examples.
        batch_size: the reference batch size; if None, the size of the DataLoader in `train`, or 64.
        learning_rate: the reference learning rate; None for 0.01 with the default optimizer.
            Required with an optimizer of your own.
        epochs: the number of epochs of a whole training; None to train until the metric stops
            improving (10 epochs in a sweep).
        target: the default target on validation data, or None.
        collate: function(list of examples) -> batch; None for PyTorch's default. Not used if the
            data are a tuple.
        workers: the number of processes that fetch training examples of a Dataset.
        augment: function(batch) -> batch, applied to training batches only.
        make_sampler: function(batch_size, seed) -> the indices of an epoch's training examples,
            one by one or in lists of `batch_size`; called for each epoch with a different seed.
            None to use every example once per epoch, in random order.
        precision: "fp32"; or "bf16" or "fp16" to compute the loss and the metrics under
            `torch.autocast`, while the weights stay in float32. With "fp16" a GradScaler scales the
            gradients.
        is_usual: whether `batch_size` was left at the default of 64; the class sets this field.

    Raises:
        WorkloadError: a metric with an unknown direction, an optimizer of your own without a
            learning rate, a field with an invalid value, or fields that conflict.
    """

    name: str
    model: Callable[[], nn.Module]
    train: Data
    loss: Callable[[nn.Module, Batch], Tensor] = None  # type: ignore[assignment]  # None only with `step`
    step: Callable[[nn.Module, Any, Any], Any] | None = None
    accumulates: bool = False
    validation: Data | Literal["split"] | None = "split"
    test: Data | None = None
    metrics: Mapping[str, Metric | Callable[[nn.Module, Batch], Tensor] | Any] = field(
        default_factory=lambda: MappingProxyType({})
    )
    optimizer: Callable[..., Any] | None = None
    clip_norm: float | None = None
    ema: float | None = None
    schedule: Callable[[float], float] | None = None
    scheduler: Callable[..., Any] | None = None
    patience_epochs: int | None = None
    weight: Callable[[Batch], float] | None = None
    batch_size: int = None  # type: ignore[assignment]  # __post_init__ sets a number
    learning_rate: float = None  # type: ignore[assignment]  # __post_init__ sets a number
    epochs: int | None = None
    target: Target | None = None
    collate: Callable[[list[Any]], Batch] | None = None
    workers: int = 0
    augment: Callable[[Batch], Batch] | None = None
    make_sampler: Callable[[int, int], Iterable[Any]] | None = None
    precision: Precision = "fp32"
    is_usual: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse invalid fields, which would raise less clear errors later; set default values."""
        if not (isinstance(self.name, str) and self.name):
            raise WorkloadError(f'name is {self.name!r}; expected a text, such as name="mine"')
        for fault in _faults(self):
            raise WorkloadError(f"workload {self.name!r}: {fault}")
        if self.batch_size is None:
            of_loader = loader_batch_size(self.train)
            object.__setattr__(self, "is_usual", of_loader is None)
            object.__setattr__(self, "batch_size", of_loader or _BATCH_SIZE)
        if self.batch_size != _BATCH_SIZE:  # `replace` may have changed only the batch size
            object.__setattr__(self, "is_usual", False)
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", _LEARNING_RATE)
        object.__setattr__(self, "metrics", MappingProxyType(dict(self.metrics)))

    def better(self, metric: str) -> Better:
        """Return whether "higher" or "lower" values of `metric` are better.

        Raises:
            WorkloadError: the workload has no such metric, or the better direction is unknown.
        """
        function = self.metrics.get(metric)
        if isinstance(function, Metric):
            return function.better
        if function is None and (metric != "loss" or self.loss is None):
            raise WorkloadError(
                f"workload {self.name!r} has no metric {metric!r}; it has "
                f"{', '.join(self.metric_names)}"
            )
        direction = direction_of(metric)
        if is_stateful(function):
            directions: dict[Any, Better] = {True: "higher", False: "lower"}
            direction = directions.get(getattr(function, "higher_is_better", None))
        if direction is None:
            raise WorkloadError(
                f"workload {self.name!r}: metric {metric!r} does not say whether higher or lower "
                "is better; give batchlab.Metric(sum=..., better=...), with its sum over the "
                "examples of a batch, or batchlab.Metric(over_all=..., better=...) where it "
                "needs all predictions at once, as recall, F1 and AUC do"
            )
        return direction

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics, then "loss" if defined; the first name decides comparisons."""
        if "loss" in self.metrics or self.loss is None:
            return tuple(self.metrics)
        return (*self.metrics, "loss")

    @property
    def takes_micro_batches(self) -> bool:
        """Whether batches may be divided: if there is no `step`, or if `accumulates` is True."""
        return self.step is None or self.accumulates

    @property
    def has_schedule(self) -> bool:
        """Whether the workload has a `schedule` or a `scheduler`."""
        return self.schedule is not None or self.scheduler is not None


def size_of(data: Data) -> int:
    """Return the number of examples of a split, 0 if the split is None."""
    if data is None:
        return 0
    return len(data[0]) if isinstance(data, tuple) else len(data)


def _is_function(value: object) -> bool:
    return value is None or callable(value)


def _makes_model(value: object) -> bool:
    is_model = hasattr(value, "state_dict") and not isinstance(value, type)
    return callable(value) and not is_model


def _is_loss(value: object) -> bool:
    """Return whether a value can be a `loss`; torch.nn's losses can't, as they take no model."""
    is_of_torch = str(getattr(value, "__module__", "")).startswith("torch.nn.")
    return _is_function(value) and not is_of_torch


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and value >= 1)


def _is_positive_below(value: object, high: float) -> bool:
    return value is None or (isinstance(value, int | float) and 0 < value < high)


# For each field: a function that checks its value, and the valid values in words.
_POSSIBLE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_makes_model, "a function that makes a new one: model=lambda: Net()"),
    "loss": (
        _is_loss,
        "a function of the model and a batch (those of PyTorch take outputs and labels): "
        "loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])",
    ),
    "optimizer": (
        _is_function,
        "a function that makes a new one: optimizer=lambda parameters, learning_rate: "
        "torch.optim.Adam(parameters, lr=learning_rate)",
    ),
    "scheduler": (
        _is_function,
        "a function that makes a new one: scheduler=lambda optimizer: "
        "torch.optim.lr_scheduler.StepLR(optimizer, 10)",
    ),
    **dict.fromkeys(
        ("schedule", "weight", "collate", "augment", "make_sampler", "step"),
        (_is_function, "a function, or None"),
    ),
    "clip_norm": (
        lambda value: _is_positive_below(value, math.inf),
        "a number above 0, such as clip_norm=1.0",
    ),
    "ema": (
        lambda value: _is_positive_below(value, 1),
        "the decay per step at the reference batch size, between 0 and 1, such as ema=0.999",
    ),
    "learning_rate": (
        lambda value: _is_positive_below(value, math.inf),
        "a finite number above 0, such as 0.01",
    ),
    **dict.fromkeys(
        ("batch_size", "epochs", "patience_epochs"),
        (_is_count, "a whole number of at least 1, or None"),
    ),
    "workers": (
        lambda value: isinstance(value, int) and value >= 0,
        "a whole number of at least 0",
    ),
    "precision": (
        lambda value: value in get_args(Precision),
        "one of fp32, bf16 and fp16",
    ),
    "metrics": (
        lambda value: isinstance(value, Mapping),
        'names with their functions: metrics={"accuracy": accuracy}',
    ),
    "target": (
        lambda value: value is None or isinstance(value, Target),
        'a batchlab.Target(metric="accuracy", value=0.97, better="higher")',
    ),
}


def _faults(workload: Workload) -> Iterator[str]:
    """Yield a message with a remedy for each field that is invalid or conflicts with another."""
    for name, (is_possible, expected) in _POSSIBLE.items():
        if not is_possible(getattr(workload, name)):
            yield f"{name} is {_short(getattr(workload, name))}; expected {expected}"
    if workload.optimizer is not None and workload.learning_rate is None:
        yield (
            "it has an optimizer of its own and no learning rate; give the rate that you train "
            "with, such as learning_rate=1e-3, PyTorch's own for Adam"
        )
    for name, metric in workload.metrics.items():
        if not (isinstance(metric, Metric) or is_stateful(metric) or callable(metric)):
            yield f"metric {name!r} is {metric!r}; expected a function of the model and a batch"
        workload.better(name)
    if workload.target is not None:
        workload.better(workload.target.metric)
        value: object = workload.target.value
        if not (isinstance(value, Real) and math.isfinite(value)):
            yield f"its target's value is {value!r}; expected a finite number, such as 0.97"
    if workload.scheduler is not None and workload.schedule is not None:
        yield "it has a schedule and a scheduler, and both set the learning rate; give one of them"
    yield from _faults_of_step(workload)


def _faults_of_step(workload: Workload) -> Iterator[str]:
    if workload.accumulates and workload.step is None:
        yield (
            "accumulates=True without a `step`: it says that `step` takes a tuple of "
            "micro-batches; leave it out, because batchlab splits the batches of a plain `loss` "
            "itself"
        )
    if workload.loss is None and workload.step is None:
        yield (
            "it has no loss; give it loss=lambda model, batch: ..., the mean over the batch, or a "
            "`step` of its own"
        )
    if workload.loss is None and not workload.metrics:
        yield (
            "it has a `step` and neither a loss nor metrics, so nothing could be evaluated; give "
            "it `loss`, or `metrics`"
        )
    if workload.step is not None and workload.precision != "fp32":
        yield (
            f"precision={workload.precision!r} with a `step`: the step computes the loss itself; "
            f"leave precision out and use torch.autocast (for fp16 also a GradScaler) in the step"
        )
    if workload.step is not None and workload.clip_norm is not None:
        yield (
            "clip_norm with a `step`: the step clips by itself; leave clip_norm out and call "
            "torch.nn.utils.clip_grad_norm_(model.parameters(), ...) before its optimizer.step()"
        )


def _short(value: Any) -> str:
    text = getattr(value, "__name__", None) or repr(value)
    return text if len(text) <= 40 else f"of type {type(value).__name__}"
