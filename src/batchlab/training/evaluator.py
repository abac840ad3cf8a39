"""Evaluator: a workload's metrics on its splits, computed without changing the training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import derived_seed, seed_everything
from batchlab.records.trial import Score, Split, Trial
from batchlab.training.batching import columns_in_memory, on_device, versions_of, with_tensors
from batchlab.training.untouched import untouched_model
from batchlab.workload.data import (
    Collate,
    StreamPass,
    collated,
    fetched,
    is_stream,
    n_examples,
    opened,
    shuffled,
)
from batchlab.workload.definition import (
    SPLITS,
    Batch,
    Data,
    Metric,
    Precision,
    Workload,
    is_stateful,
    size_of,
)
from batchlab.workload.precision import in_precision
from batchlab.workload.source import told


def is_over_all(workload: Workload, name: str) -> bool:
    """Return whether metric `name` is computed on a whole split, not batch by batch."""
    metric = workload.metrics.get(name)
    return is_stateful(metric) or (isinstance(metric, Metric) and metric.over_all is not None)


@contextmanager
def asking(workload: Workload, what: str, hint: str = "") -> Iterator[None]:
    """Convert an exception in the `with` block's user code to a WorkloadError of one line.

    A BatchlabError or an out-of-memory error is raised unchanged.

    Raises:
        WorkloadError: the user's code, which the message calls `what`, raised an exception.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, BatchlabError) or is_out_of_memory(error):
            raise
        raise WorkloadError(
            f"workload {workload.name!r}: {what} raised {told(error)}{hint}"
        ) from error


def asking_metric(workload: Workload, name: str, where: str) -> AbstractContextManager[None]:
    """Return a context that adds a metric's name and the text `where` to errors in the metric.

    The loss is no metric of the user's, so errors in the loss stay unchanged.
    """
    if name not in workload.metrics:
        return nullcontext()
    hint = "" if is_over_all(workload, name) else OVER_ALL
    return asking(workload, f"metric {name!r} of {where}", hint)


OVER_ALL = (
    "; a metric that needs more examples than one batch, as AUC, recall and F1 do, is "
    'batchlab.Metric(over_all=..., better="higher" or "lower")'
)
"""A hint in the error message of a metric that is computed batch by batch."""


class _WholeSet:
    """The tally of a metric over a whole split: collects batches, then computes the metric."""

    def __init__(self, workload: Workload, name: str) -> None:
        metric = workload.metrics[name]
        if not isinstance(metric, Metric):
            metric = Metric(over_all=metric, better="higher")
        self._what = f"workload {workload.name!r}: metric {name!r}"
        self._precision = workload.precision
        self._predict = metric.predict
        self._judge: Any = metric.over_all
        self._predictions: list[Any] = []
        self._targets: list[Any] = []
        self._is_fed = is_stateful(self._judge)
        if self._is_fed:
            self._judge = copy.deepcopy(self._judge)
            self._judge.reset()

    def add(self, model: nn.Module, batch: Batch) -> None:
        """Add the predictions and targets of one batch."""
        with in_precision(self._precision, model):
            predictions, targets = self._predicted(model, batch)
        # Detach tensors in lists too, because an attached tensor keeps its batch's graph in memory.
        predictions = with_tensors(predictions, _as_judged)
        targets = with_tensors(targets, lambda tensor: tensor.detach().cpu())
        if self._is_fed:
            self._judge.update(predictions, targets)
            return
        self._predictions.append(predictions)
        self._targets.append(targets)

    def value(self) -> float:
        """Return the metric over all added batches."""
        if self._is_fed:
            return float(self._judge.compute())
        return float(self._judge(_joined(self._predictions), _joined(self._targets)))

    def _predicted(self, model: nn.Module, batch: Batch) -> tuple[Any, Any]:
        if self._predict is not None:
            return self._predict(model, batch)
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
            raise WorkloadError(
                f"{self._what}: the batch is no pair of inputs and targets but a "
                f"{type(batch).__name__} of {len(batch)}; say what to compare: batchlab.Metric("
                f'over_all=..., predict=lambda model, batch: (model(batch["x"]), batch["y"]), '
                f"better=...)"
            )
        return model(batch[0]), batch[1]


def _as_judged(predictions: Tensor) -> Tensor:
    """Detach and copy predictions to the CPU; convert bfloat16, which NumPy lacks, to float32."""
    predictions = predictions.detach().cpu()
    return predictions.float() if predictions.dtype == torch.bfloat16 else predictions


def _joined(batches: list[Any]) -> Any:
    if isinstance(batches[0], list):
        return list(chain.from_iterable(batches))
    return torch.cat(batches)


# Bounds on the number of examples per forward pass of an evaluation: more would not fit into the
# cache, and fewer would be slow.
MOST_EVALUATED_AT_ONCE = 1000
FEWEST_EVALUATED_AT_ONCE = 64
# The train metric uses this many training examples, drawn once with a fixed seed: as many as MNIST
# has for validation and test, so that the metrics of all three splits are equally noisy.
TRAIN_EXAMPLES_EVALUATED = 10_000


def n_train_evaluated(n_train: int) -> int:
    """Return how many of `n_train` training examples the train metric is computed on."""
    return min(n_train, TRAIN_EXAMPLES_EVALUATED)


def evaluation_batch(trial: Trial, *, reference_batch_size: int) -> int:
    """Return the number of examples per forward pass of an evaluation.

    The number is four times the reference batch size (without gradients, these examples take less
    memory than a training step), at least 64, for speed, and at most 1000. In a trial with
    micro-batches, the number is also at most twice the micro-batch size, but at least 64.

    The number does not depend on the batch size of the training. Otherwise, a loss that compares
    the examples of a batch with each other would have different values at each batch size.
    """
    usual = min(max(FEWEST_EVALUATED_AT_ONCE, 4 * reference_batch_size), MOST_EVALUATED_AT_ONCE)
    if not trial.accumulates:
        return usual
    return min(usual, max(FEWEST_EVALUATED_AT_ONCE, 2 * trial.micro_batch_size))


MetricSums = Callable[[Sequence[Tensor], int], Mapping[str, Tensor]]
"""A function that computes metrics without PyTorch: it receives columns (tensors with one row per
example) and a batch size, and returns each metric's sums by batch, or {} if unable."""


class Evaluator:
    """The evaluator of a workload's metrics; splits in memory are copied to the device once.

    Attributes:
        fast: a function that computes some metrics of the trained model without PyTorch, or None.
    """

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        *,
        batch_size: int,
    ) -> None:
        """Prepare the batches of each split; a large training set is reduced to a fixed subset."""
        self._workload = workload
        self._device = device
        self.fast: MetricSums | None = None
        self._splits: dict[Split, tuple[_Batches, Sequence[Tensor]]] = {}
        self._batch_size = batch_size
        for split in SPLITS:
            if getattr(workload, split) is not None:
                self._splits[split] = _split_data(workload, split, device, batch_size)

    def scores(self, model: nn.Module, splits: tuple[Split, ...]) -> tuple[Score, ...]:
        """Compute all metrics on `splits` in eval mode, without gradients; then restore the model.

        Random numbers (of a Dataset, or of a loss with random masks) are equal in all evaluations,
        so that two evaluations differ only by the model. A metric that is not a finite number has
        the value None.

        Raises:
            WorkloadError: a metric wrote into its examples, which later evaluations use again.
        """
        scores: list[Score] = []
        with untouched_model(model):
            for split in splits:
                if split in self._splits:
                    seed_everything(derived_seed("evaluation"))
                    scores += self._scores_of(model, split)
        return tuple(scores)

    def _scores_of(self, model: nn.Module, split: Split) -> Iterator[Score]:
        values = self._added_up(split)
        tallies = {}
        for name in self._workload.metric_names:
            if name not in values:
                tallies[name] = tally_of(self._workload, name)
        if tallies:
            self._add_batches(tallies, model, split)
        for name, tally in tallies.items():
            with asking_metric(self._workload, name, split):
                values[name] = tally.value()
        for name in self._workload.metric_names:
            value = values[name] if math.isfinite(values[name]) else None
            yield Score(split=split, metric=name, value=value)

    def _add_batches(
        self, tallies: Mapping[str, _Sums | _WholeSet], model: nn.Module, split: Split
    ) -> None:
        batches, _ = self._splits[split]
        for batch in batches():
            batch = on_device(batch, self._device)
            versions = versions_of(batch)
            for name, tally in tallies.items():
                with asking_metric(self._workload, name, split):
                    tally.add(model, batch)
            if versions != versions_of(batch):
                raise WorkloadError(
                    f"workload {self._workload.name!r}: a metric or the loss writes into the "
                    f"examples of {split} themselves; let it work on a copy (x = x / 255, not "
                    f"x /= 255)"
                )

    def _added_up(self, split: Split) -> dict[str, float]:
        """Return the metrics that the function `fast` computes; {} if `fast` can't be used."""
        batches, columns = self._splits[split]
        if self.fast is None or not columns:
            return {}
        values = {}
        for name, sums in self.fast(columns, self._batch_size).items():
            metric = as_metric(self._workload, name)
            assert metric.count is not None
            count = sum(map(float, map(metric.count, batches())))
            values[name] = quotient(metric, sums.sum(), count)
        return values


def quotient(metric: Metric, total: Tensor, count: float) -> float:
    """Return `metric.finalise(total, count)` if given, else total / count; NaN if count <= 0."""
    if count <= 0:
        return math.nan
    if metric.finalise is not None:
        return float(metric.finalise(total, count))
    return float(total) / count


class _Sums:
    """The tally of a metric: its sum and its count over all added batches."""

    def __init__(self, metric: Metric, precision: Precision) -> None:
        self._metric = metric
        self._precision = precision
        self._total = torch.zeros((), dtype=torch.int64)
        self._count = 0.0

    def add(self, model: nn.Module, batch: Batch) -> None:
        with in_precision(self._precision, model):
            batch_sum = torch.as_tensor(self._metric.sum(model, batch)).detach()
        if batch_sum.is_floating_point():
            batch_sum = batch_sum.double()
        elif not batch_sum.is_complex():
            batch_sum = batch_sum.long()  # a sum of booleans is "or", and a sum of bytes overflows
        self._total = self._total.to(batch_sum.device) + batch_sum
        assert self._metric.count is not None
        self._count += float(self._metric.count(batch))

    def value(self) -> float:
        return quotient(self._metric, self._total, self._count)


def tally_of(workload: Workload, name: str) -> _Sums | _WholeSet:
    """Return an empty tally of metric `name`, to which the batches of a split can be added."""
    if is_over_all(workload, name):
        return _WholeSet(workload, name)
    return _Sums(as_metric(workload, name), workload.precision)


_Batches = Callable[[], Iterable[Batch]]  # a function that returns the same batches at each call


def _split_data(
    workload: Workload, split: Split, device: torch.device, at_once: int
) -> tuple[_Batches, Sequence[Tensor]]:
    """Return the batches on which a split is evaluated; `train` is reduced to 10,000 examples.

    The second value has all these examples as tensors; it is empty for data that are not in memory.
    """
    data, collate = opened(getattr(workload, split), workload.collate)
    n = size_of(data)
    rows = torch.arange(n)
    if split == "train" and n > n_train_evaluated(n):
        drawn = shuffled(n, seed=derived_seed("train metric"))[: n_train_evaluated(n)]
        rows = drawn.sort().values
    if is_stream(data):
        what = f"workload {workload.name!r}: {split}"
        return partial(_streamed, data, collate, len(rows), at_once, what), ()
    columns = columns_in_memory(data, collate)
    if columns is None:
        return lambda: (fetched(data, indices, collate) for indices in rows.split(at_once)), ()
    chosen = []
    for column in columns.parts:
        if len(rows) < n:
            column = column.index_select(0, rows.to(column.device))
        chosen.append(column.to(device))
    by_batch = zip(*(column.split(at_once) for column in chosen), strict=True)
    batches = list(map(columns.filled, by_batch))
    return lambda: batches, chosen


def _streamed(
    data: Data, collate: Collate | None, n: int, at_once: int, what: str
) -> Iterator[Batch]:
    """Yield the first `n` examples of a stream in batches of `at_once`, identical at every call."""
    reading = StreamPass(data, epoch=0, seed=derived_seed("evaluation stream"), what=what)
    for at in range(0, n, at_once):
        yield from collated(reading.take(min(at_once, n - at)), collate, most=at_once)


def weight_of(workload: Workload, batch: Batch) -> float:
    """Return how many units (examples by default) the loss averages over in this batch."""
    weight = workload.weight or n_examples
    return float(weight(batch))


def shares_of(workload: Workload, batches: Sequence[Batch]) -> list[float]:
    """Return the weight of each batch as a fraction of the total weight.

    Raises:
        WorkloadError: there are several batches, and all have weight 0.
    """
    if len(batches) == 1:
        return [1.0]
    weights = list(map(partial(weight_of, workload), batches))
    total = sum(weights)
    if total == 0:
        raise WorkloadError(
            f"workload {workload.name!r}: the `weight` of all {len(weights)} micro-batches of a "
            f"step is 0, so their loss has no mean; leave such examples out"
        )
    return [weight / total for weight in weights]


def as_metric(workload: Workload, name: str) -> Metric:
    """Return metric `name` as a `Metric` with sum and count, even if the user gave a mean."""
    metric = workload.metrics.get(name)
    if metric is None:  # `name` is "loss", which is not in the workload's metrics
        metric = workload.loss

    count = partial(weight_of, workload)
    if isinstance(metric, Metric):
        if metric.count is None:
            metric = replace(metric, count=count)
        return metric
    mean: Callable[[nn.Module, Batch], Tensor] = metric

    def sum_of_means(model: nn.Module, batch: Batch) -> Tensor:
        weight = count(batch)
        # Skip a batch of only padding, whose mean is NaN.
        if weight == 0:
            return torch.zeros((), dtype=torch.float64)
        return torch.as_tensor(mean(model, batch)).double() * weight

    return Metric(sum=sum_of_means, count=count, better=workload.better(name))
