"""Evaluator: a workload's metrics on its splits, without leaving a trace in the training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import derived_seed, seed_everything
from batchlab.records.trial import Score, Split, Trial
from batchlab.training.batching import on_device, with_tensors
from batchlab.training.untouched import untouched_model
from batchlab.workload.data import (
    Collate,
    Columns,
    Reading,
    collated,
    fetched,
    is_stream,
    n_examples,
    opened,
    resident,
    shuffled,
)
from batchlab.workload.definition import SPLITS, Batch, Data, Metric, Workload, is_stateful, size_of
from batchlab.workload.source import told


def is_over_all(workload: Workload, name: str) -> bool:
    """Return whether metric `name` needs the whole split at once."""
    given = workload.metrics.get(name)
    return is_stateful(given) or (isinstance(given, Metric) and given.over_all is not None)


@contextmanager
def asking(workload: Workload, what: str, hint: str = "") -> Iterator[None]:
    """Report an exception of the user's function in one line, with its place.

    Raises:
        WorkloadError: `what` raised an exception; one for lack of memory is raised as it is.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, BatchlabError) or is_out_of_memory(error):
            raise
        said = f"workload {workload.name!r}: {what} raised {told(error)}{hint}"
        raise WorkloadError(said) from error


def asking_metric(workload: Workload, name: str, where: str) -> AbstractContextManager[None]:
    """Report an exception of a metric with the data `where` it was raised; the loss's as it is."""
    if name not in workload.metrics:
        return nullcontext()
    hint = "" if is_over_all(workload, name) else OVER_ALL
    return asking(workload, f"metric {name!r} of {where}", hint)


OVER_ALL = (
    "; a metric that needs more examples than one batch, as AUC, recall and F1 do, is "
    'batchlab.Metric(over_all=..., better="higher" or "lower")'
)
"""What follows the error of a metric that is computed batch by batch."""


class _WholeSet:
    """A metric of predictions and targets of a whole split, gathered batch by batch on the CPU."""

    def __init__(self, workload: Workload, name: str) -> None:
        """Begin with nothing gathered; a metric object with a state is copied and reset."""
        given = workload.metrics[name]
        metric = given if isinstance(given, Metric) else Metric(over_all=given, better="higher")
        self._what = f"workload {workload.name!r}: metric {name!r}"
        self._predict = metric.predict
        self._judge: Any = metric.over_all
        self._with_gradients = metric.enable_grad
        self._gathered: tuple[list[Any], list[Any]] = ([], [])
        self._n_batches = 0
        self._is_fed = is_stateful(self._judge)
        if self._is_fed:
            self._judge = copy.deepcopy(self._judge)
            self._judge.reset()

    def add(self, model: nn.Module, batch: Batch) -> None:
        """Add the predictions and targets of one batch."""
        with torch.set_grad_enabled(self._with_gradients):
            found = self._predicted(model, batch)
        # Detach tensors in lists too, because each would hold the graph of its whole batch.
        parts = tuple(with_tensors(part, lambda held: held.detach().cpu()) for part in found)
        self._n_batches += 1
        if self._is_fed:
            self._judge.update(*parts)
            return
        for name, part, held in zip(("predictions", "targets"), parts, self._gathered, strict=True):
            self._check_fits(name, part, held)
            held.append(part)

    def value(self) -> float:
        """Return the metric of everything gathered, or NaN if nothing was gathered."""
        if not self._n_batches:
            return math.nan
        result = (
            self._judge.compute() if self._is_fed else self._judge(*map(_joined, self._gathered))
        )
        try:
            return float(result)
        except (TypeError, ValueError, RuntimeError):
            said = "compute()" if self._is_fed else "`over_all`"
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
            kind = "tensor with one number" if isinstance(part, Tensor) else type(part).__name__
            raise WorkloadError(
                f"{self._what}: the {name} of a batch are a {kind}; expected a tensor with "
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


# An evaluation's forward passes are large enough for speed and small enough for the cache.
MOST_EVALUATED_AT_ONCE = 1000
FEWEST_EVALUATED_AT_ONCE = 64
# The train metric is taken over this many training examples, drawn once by a fixed seed. MNIST's
# validation and test sets hold as many, so that the three are equally noisy there.
TRAIN_EXAMPLES_EVALUATED = 10_000


def n_train_evaluated(n_train: int, *, most: int = TRAIN_EXAMPLES_EVALUATED) -> int:
    """Return how many of `n_train` training examples the train metric uses, at most `most`."""
    return min(n_train, most)


def evaluation_batch(trial: Trial, *, reference_batch_size: int) -> int:
    """Return the examples per forward pass of an evaluation, the same for all batch sizes.

    A loss that couples the examples of a batch is another function for every batch size, and two
    trials can only be compared by the same one. It still differs from the loss that each batch size
    trained on, so no advice rests on it. Advice may rest on a metric over a fixed pool.

    The result is four times the reference batch size, which takes less memory without gradients
    than training does; at least 64, so that evaluations are not slow, and at most 1000. If the
    trial's batch does not fit into memory, the result is at most twice its micro-batch, or 64.
    """
    usual = min(max(FEWEST_EVALUATED_AT_ONCE, 4 * reference_batch_size), MOST_EVALUATED_AT_ONCE)
    if not trial.accumulates:
        return usual
    return min(usual, max(FEWEST_EVALUATED_AT_ONCE, 2 * trial.micro_batch_size))


MetricSums = Callable[[Sequence[Tensor], Tensor, int], Mapping[str, Tensor]]
"""Adds up metrics over rows of tensors without a pass of PyTorch: columns, places of the rows and
batch size -> the sums over each batch, by metric; none if it does not know such columns."""


class Evaluator:
    """The evaluator of one workload's metrics; the splits stay on the device.

    Attributes:
        fast: gives the sums of some metrics of the model that is trained, or is None.
    """

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        *,
        batch_size: int,
        most_train_examples: int = TRAIN_EXAMPLES_EVALUATED,
    ) -> None:
        """Choose the fixed subset of the training set that stands for it."""
        self._workload = workload
        self._device = device
        n_train = size_of(workload.train)
        chosen = None
        n_evaluated = n_train_evaluated(n_train, most=most_train_examples)
        if n_train > n_evaluated:
            chosen = shuffled(n_train, seed=derived_seed("train metric"))[:n_evaluated]
            chosen = chosen.sort().values
        self.fast: MetricSums | None = None
        self._counts: dict[tuple[Split, str], float] = {}
        self._rows: dict[Split, tuple[Sequence[Tensor], Tensor]] = {}
        self._batches: dict[Split, Callable[[], Iterable[Batch]]] = {}
        self._batch_size = batch_size
        for split in SPLITS:
            data = getattr(workload, split)
            if data is None:
                continue
            if isinstance(data, str):
                raise WorkloadError(
                    f"workload {workload.name!r}: {split}={data!r} stands for data that are not "
                    f"there yet; pass it through with_validation first, or give it {split}=None"
                )
            subset = chosen if split == "train" else None
            self._batches[split] = _batches_of(workload, split, subset, device, batch_size)
            columns = _columns_of(*opened(data, workload.collate))
            if columns is not None:
                index = torch.arange(size_of(data)) if subset is None else subset
                self._rows[split] = (columns.parts, index)

    def scores(self, model: nn.Module, splits: tuple[Split, ...]) -> tuple[Score, ...]:
        """Return all metrics of `splits`, in eval mode, without gradients; restore the model.

        Anything that draws random numbers (a Dataset, a loss with random masks) draws the same ones
        each time, so that two evaluations differ only by the model. A metric that is not a finite
        number has the value None.

        Raises:
            WorkloadError: a metric has written into the examples that it was given.
        """
        asked = [split for split in splits if split in self._batches]
        found: list[Score] = []
        with untouched_model(model):
            for split in asked:
                seed_everything(derived_seed("evaluation"))
                found += self._scores_of(model, split)
        return tuple(found)

    def _scores_of(self, model: nn.Module, split: Split) -> Iterator[Score]:
        values = self._added_up(split)
        tallies = {
            name: tally_of(self._workload, name)
            for name in self._workload.metric_names
            if name not in values
        }
        for kept in self._batches[split]() if tallies else ():
            batch = on_device(kept, self._device)
            versions = _versions_of(batch)
            for name, tally in tallies.items():
                with asking_metric(self._workload, name, split):
                    tally.add(model, batch)
            if versions != _versions_of(batch):
                raise WorkloadError(
                    f"workload {self._workload.name!r}: a metric or the loss writes into the "
                    f"examples of {split} themselves; let it work on a copy (x = x / 255, not "
                    f"x /= 255)"
                )
        for name, tally in tallies.items():
            with asking_metric(self._workload, name, split):
                values[name] = tally.value()
        for name in self._workload.metric_names:
            value = values[name]
            yield Score(split=split, metric=name, value=value if math.isfinite(value) else None)

    def _added_up(self, split: Split) -> dict[str, float]:
        """Return the metrics that need no pass of PyTorch."""
        if self.fast is None or split not in self._rows:
            return {}
        found = self.fast(*self._rows[split], self._batch_size)
        return {
            name: quotient(as_metric(self._workload, name), sums.sum(), count)
            for name, sums in found.items()
            for count in [self._count(split, name)]
        }

    def _count(self, split: Split, name: str) -> float:
        """Return the divisor of the metric's sum, which does not depend on the model."""
        if (split, name) not in self._counts:
            count = as_metric(self._workload, name).count
            assert count is not None
            counted = (float(count(batch)) for batch in self._batches[split]())
            self._counts[split, name] = sum(counted)
        return self._counts[split, name]


def _versions_of(batch: Batch) -> list[int]:
    """Return how often each tensor of a batch has been written into."""
    versions: list[int] = []

    def note(part: Tensor) -> Tensor:
        if not part.is_inference():
            versions.append(part._version)
        return part

    with_tensors(batch, note)
    return versions


def quotient(metric: Metric, total: Tensor, count: float) -> float:
    """Return a metric from its sum and its count, or NaN if nothing was counted."""
    if count <= 0:
        return math.nan
    if metric.finalise is not None:
        return float(metric.finalise(total, count))
    return float(total) / count


class _Sums:
    """The sum and count, until now, of a metric that adds up over the batches of a split."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._total: Tensor | None = None
        self._count = 0.0

    def add(self, model: nn.Module, batch: Batch) -> None:
        part = evaluated_sum(self._metric, model, batch)
        if part.is_floating_point():
            part = part.double()
        elif not part.is_complex():
            part = part.long()  # booleans would be joined by "or", and bytes would overflow
        self._total = part if self._total is None else self._total + part
        assert self._metric.count is not None
        self._count += float(self._metric.count(batch))

    def value(self) -> float:
        return math.nan if self._total is None else quotient(self._metric, self._total, self._count)


def tally_of(workload: Workload, name: str) -> _Sums | _WholeSet:
    """Return metric `name` as an empty tally, to which batches are added."""
    if is_over_all(workload, name):
        return _WholeSet(workload, name)
    return _Sums(as_metric(workload, name))


def _batches_of(
    workload: Workload, split: Split, chosen: Tensor | None, device: torch.device, at_once: int
) -> Callable[[], Iterable[Batch]]:
    """Return a function that gives the evaluation batches of a split or its chosen examples."""
    given = getattr(workload, split)
    data, collate = opened(given, workload.collate)
    n = size_of(data) if chosen is None else len(chosen)
    if is_stream(data):
        what = f"workload {workload.name!r}: {split}"
        return partial(_streamed, data, collate, n, at_once, what)
    columns = _columns_of(data, collate)
    if columns is None:
        indices = torch.arange(n) if chosen is None else chosen
        return lambda: (fetched(data, part, collate) for part in indices.split(at_once))
    parts = columns.parts
    if chosen is not None:
        parts = tuple(part.index_select(0, chosen.to(part.device)) for part in parts)
    batches = zip(*(part.to(device).split(at_once) for part in parts), strict=True)
    kept = list(map(columns.filled, batches))  # on the device
    return lambda: kept


def _columns_of(data: Data, collate: Collate | None) -> Columns | None:
    """Return the tensors whose rows form batches, or None if examples are fetched one by one."""
    columns = None if is_stream(data) else resident(data)
    return None if collate is not None and columns is data else columns


def _streamed(
    data: Data, collate: Collate | None, n: int, at_once: int, what: str
) -> Iterator[Batch]:
    """Yield batches of the first `n` examples of a stream, the same each time."""
    reading = Reading(data, epoch=0, seed=derived_seed("evaluation stream"), what=what)
    for at in range(0, n, at_once):
        yield from collated(reading.take(min(at_once, n - at)), collate, most=at_once)
    if n == len(data):
        reading.check_end()


def weight_of(workload: Workload, batch: Batch) -> float:
    """Return the number of units that the loss of this batch is a mean over."""
    return float(n_examples(batch) if workload.weight is None else workload.weight(batch))


def as_metric(workload: Workload, name: str) -> Metric:
    """Return metric `name` as one that adds up; a function of means becomes sums and counts."""
    given = workload.metrics.get(name)
    if given is None:  # it is `loss`, and the workload lists no metric of that name
        given = workload.loss

    def count(batch: Batch) -> float:
        return weight_of(workload, batch)

    if isinstance(given, Metric):
        if given.count is not None:
            return given
        return replace(given, count=count)
    mean: Callable[[nn.Module, Batch], Tensor] = given
    if given is workload.loss:
        # A loss may differentiate inside (a physical residual does), which only a try can show.
        mean = _with_gradients_if_needed(given)

    def sum_of_means(model: nn.Module, batch: Batch) -> Tensor:
        weight = count(batch)
        # The mean over nothing (a batch of padding) is not a number, and it must not count.
        if weight == 0:
            return torch.zeros((), dtype=torch.float64)
        return torch.as_tensor(mean(model, batch)).double() * weight

    return Metric(sum=sum_of_means, count=count, better=workload.better(name))


def evaluated_sum(metric: Metric, model: nn.Module, batch: Batch) -> Tensor:
    """Return the metric's sum over a batch, detached; gradients are on only if it asks."""
    with torch.set_grad_enabled(metric.enable_grad):
        return torch.as_tensor(metric.sum(model, batch)).detach()


def _with_gradients_if_needed(
    loss: Callable[[nn.Module, Batch], Tensor],
) -> Callable[[nn.Module, Batch], Tensor]:
    """Return the loss without gradients, or with them once it has worked only with them."""
    needs_gradients = False

    def evaluated(model: nn.Module, batch: Batch) -> Tensor:
        nonlocal needs_gradients
        if not needs_gradients:
            try:
                return loss(model, batch)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
        with torch.enable_grad():
            value = torch.as_tensor(loss(model, batch)).detach()
        needs_gradients = True
        return value

    return evaluated
