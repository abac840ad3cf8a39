"""Evaluator: a workload's metrics on its splits, without leaving a trace in the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import RandomState, seed_everything
from batchlab.records.evaluation import Score, Split
from batchlab.records.right_examples import RightExamples
from batchlab.records.runnable_sizes import ANY_SIZE, RunnableSizes
from batchlab.records.trial import Trial
from batchlab.training.batching import derived_seed, n_examples, on_device
from batchlab.training.counted_examples import counted_examples
from batchlab.training.remembered_forward import forward_remembered, versions_of
from batchlab.training.stream_batches import StreamedSplit
from batchlab.training.untouched_model import untouched_model
from batchlab.training.whole_set_metric import WholeSetMetric, is_over_all
from batchlab.workload.columns import Columns, resident_tensors
from batchlab.workload.definition import Batch, Data, Metric, Workload, size_of
from batchlab.workload.fetching import Collate, fetched
from batchlab.workload.keyed_order import first_shuffled
from batchlab.workload.loader_template import Collated
from batchlab.workload.stream import is_stream

# Examples per forward pass of an evaluation: large enough for speed, small enough for the cache.
MOST_EVALUATED_AT_ONCE = 1000
FEWEST_EVALUATED_AT_ONCE = 64
# The train metric is taken over so many training examples, drawn once by a fixed seed: as many as
# MNIST's validation and test sets hold, so that the three are equally noisy there.
TRAIN_EXAMPLES_EVALUATED = 10_000
# Beyond so many examples which of them were right is not kept.
_MOST_KEPT = 100_000


def n_train_evaluated(n_train: int, *, most: int = TRAIN_EXAMPLES_EVALUATED) -> int:
    """How many of `n_train` training examples the train metric is taken over, at `most`."""
    return min(n_train, most)


def evaluation_batch(trial: Trial, *, reference_batch_size: int) -> int:
    """Examples per forward pass of an evaluation of `trial`, the same for all batch sizes.

    A loss that couples the examples of a batch is another function for every batch size, and two
    trials can only be compared by one function. So a coupled loss, as evaluated, is comparable in
    kind. It is still another one than each batch size trained on, and a smaller last batch has its
    own: no advice rests on it (`AdviceSession`), but one may on a metric over a fixed pool.

    Four times the reference batch size, which without gradients takes less memory than training
    does; at least 64, so that evaluations are not slow, and at most 1000. Where memory ends below
    the trial's batch size, twice its micro-batch at most.

    Args:
        trial: what is trained.
        reference_batch_size: the workload's own.
    """
    usual = min(max(FEWEST_EVALUATED_AT_ONCE, 4 * reference_batch_size), MOST_EVALUATED_AT_ONCE)
    if trial.micro_batch_size == trial.batch_size:
        return usual
    return min(usual, max(FEWEST_EVALUATED_AT_ONCE, 2 * trial.micro_batch_size))


class Evaluator:
    """Evaluates the metrics of one workload; the splits stay on the device."""

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        *,
        batch_size: int,
        most_train_examples: int = TRAIN_EXAMPLES_EVALUATED,
        sizes: RunnableSizes = ANY_SIZE,
    ) -> None:
        """Choose the fixed subset of the training set that stands for it.

        Args:
            workload: with its splits.
            device: where they are evaluated.
            batch_size: examples per forward pass.
            most_train_examples: of a larger training set this many are evaluated.
            sizes: how many examples the model takes in a pass; what batches of such sizes do
                not reach at the end of a split is left out.

        Raises:
            WorkloadError: the validation set has not been split off the training set yet.
        """
        self._workload = workload
        self._device = device
        self._draws = False  # whether an evaluation has drawn random numbers
        n_train = size_of(workload.train)
        chosen = None
        n_evaluated = n_train_evaluated(n_train, most=most_train_examples)
        if n_train > n_evaluated:
            chosen = first_shuffled(n_train, n_evaluated, seed=derived_seed("train metric"))
            chosen = chosen.sort().values
        self._batches: dict[Split, Iterable[Batch]] = {}
        batch_size = sizes.at_once(batch_size)
        for split in ("train", "validation", "test"):
            data = getattr(workload, split)
            if data is None:
                continue
            if isinstance(data, str):
                raise WorkloadError(
                    f"workload {workload.name!r}: {split}={data!r} stands for data that are not "
                    f"there yet; pass it through with_validation first, or give it {split}=None"
                )
            subset = chosen if split == "train" else None
            n = size_of(data) if subset is None else len(subset)
            n_used = sizes.n_used(n, at_once=batch_size)
            if n_used < n:
                subset = (torch.arange(n) if subset is None else subset)[:n_used]
            self._batches[split] = _batches_of(workload, split, subset, device, batch_size)

    def scores(self, model: nn.Module, splits: tuple[Split, ...]) -> tuple[Score, ...]:
        """All metrics of `splits`, in eval mode, without gradients; the model is left as it was.

        What draws random numbers (a Dataset, a loss with random masks) draws the same ones each
        time, so that two evaluations differ by the model alone. A metric that is not a finite
        number has the value None.

        Raises:
            WorkloadError: a metric has written into the examples it was given.
        """
        asked = [split for split in splits if split in self._batches]
        found = self._found(model, asked)
        if found is None:
            # To look at the random streams at each pass takes a tenth of a small model's time, so
            # it is done once something has drawn. What was found so far may be of shared passes.
            self._draws = True
            found = self._found(model, asked)
        assert found is not None
        return tuple(found)

    def right(self, model: nn.Module, split: Split, metric: str) -> RightExamples | None:
        """Which examples of a split the model is right about.

        Args:
            model: left as it is.
            split: of the data.
            metric: the share of examples that it is right about, "accuracy", or wrong, "error".

        Returns:
            None: the metric is no such share, cannot be asked about a part of a batch, or there
            are more than 100,000 examples.
        """
        if metric not in FRACTION_METRICS or split not in self._batches:
            return None
        if is_over_all(self._workload, metric):
            return None
        asked = as_metric(self._workload, metric)
        if asked.finalise is not None or size_of(getattr(self._workload, split)) > _MOST_KEPT:
            return None
        found: list[bool] = []
        try:
            with untouched_model(model):
                seed_everything(derived_seed("evaluation"))
                for kept in self._batches[split]:
                    batch = on_device(kept, self._device)
                    found += counted_examples(asked, model, batch)
        except Exception:
            # A user's metric may know whole batches only; what it says of them stands as it is.
            return None
        counted = np.array(found, dtype=bool)
        return RightExamples.of(counted if metric == "accuracy" else ~counted)

    def _found(self, model: nn.Module, splits: list[Split]) -> list[Score] | None:
        """The scores; None: random numbers were drawn, and nobody looked in which pass."""
        found: list[Score] = []
        with untouched_model(model), self._passes_shared(model) as another_asks:
            for split in splits:
                seed_everything(derived_seed("evaluation"))
                seeded = RandomState.now() if self._shares_blindly else None
                found += self._scores_of(model, split, another_asks)
                if seeded is not None and not seeded.is_now():
                    return None
        return found

    @property
    def _shares_blindly(self) -> bool:
        return len(self._workload.metric_names) > 1 and not self._draws

    def _passes_shared(self, model: nn.Module) -> AbstractContextManager[Callable[[], object]]:
        if len(self._workload.metric_names) == 1:
            return nullcontext(lambda: None)
        return forward_remembered(model, draws=self._draws)

    def _scores_of(
        self, model: nn.Module, split: Split, another_asks: Callable[[], object]
    ) -> Iterator[Score]:
        tallies = {name: tally_of(self._workload, name) for name in self._workload.metric_names}
        for kept in self._batches[split]:
            batch = on_device(kept, self._device)
            versions = versions_of(batch)
            for tally in tallies.values():
                another_asks()
                tally.add(model, batch)
            if versions != versions_of(batch):
                raise WorkloadError(
                    f"workload {self._workload.name!r}: a metric or the loss writes into the "
                    f"examples of {split} themselves; let it work on a copy (x = x / 255, not "
                    f"x /= 255)"
                )
        for name, tally in tallies.items():
            value = tally.value()
            yield Score(split=split, metric=name, value=value if math.isfinite(value) else None)


class _Sums:
    """A metric that adds up over batches, on its way through a split."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._total: Tensor | None = None
        self._count = 0.0

    def add(self, model: nn.Module, batch: Batch) -> None:
        part = evaluated_sum(self._metric, model, batch)
        if part.is_floating_point():
            part = part.double()
        elif not part.is_complex():
            part = part.long()  # booleans would be joined by "or", bytes begin again at 256
        self._total = part if self._total is None else self._total + part
        assert self._metric.count is not None
        self._count += float(self._metric.count(batch))

    def value(self) -> float:
        if self._total is None or self._count <= 0:
            return math.nan
        if self._metric.finalise is not None:
            return float(self._metric.finalise(self._total, self._count))
        return float(self._total) / self._count


def tally_of(workload: Workload, name: str) -> _Sums | WholeSetMetric:
    """Metric `name` over what is added to it batch by batch; nothing has been yet."""
    if is_over_all(workload, name):
        return WholeSetMetric(workload, name)
    return _Sums(as_metric(workload, name))


def _batches_of(
    workload: Workload, split: Split, chosen: Tensor | None, device: torch.device, batch_size: int
) -> Iterable[Batch]:
    """The evaluation batches of a split, or of its chosen examples; tensors on the device."""
    data, collate = getattr(workload, split), workload.collate
    if isinstance(data, Collated):
        data, collate = data.dataset, data.collate
    if is_stream(data):
        n = size_of(data) if chosen is None else len(chosen)
        what = f"workload {workload.name!r}: {split}"
        return StreamedSplit(data, collate, n=n, batch_size=batch_size, what=what)
    tensors = resident_tensors(data)
    if tensors is None or (isinstance(data, Columns) and collate is not None):
        return _Fetched(data, collate, chosen, batch_size)
    if chosen is not None:
        tensors = tuple(part.index_select(0, chosen.to(part.device)) for part in tensors)
    batches = zip(*(part.to(device).split(batch_size) for part in tensors), strict=True)
    return [data.filled(parts) if isinstance(data, Columns) else parts for parts in batches]


class _Fetched:
    """The batches of data that are read anew each time."""

    def __init__(
        self, data: Data, collate: Collate | None, chosen: Tensor | None, batch_size: int
    ) -> None:
        self._batch_size = batch_size
        self._collate = collate
        self._data = data
        self._indices = torch.arange(len(data)) if chosen is None else chosen

    def __iter__(self) -> Iterator[Batch]:
        for chosen in self._indices.split(self._batch_size):
            yield fetched(self._data, chosen, self._collate)


def weight_of(workload: Workload, batch: Batch) -> float:
    """Over how many units the loss of this batch is the mean."""
    return float(n_examples(batch) if workload.weight is None else workload.weight(batch))


def as_metric(workload: Workload, name: str) -> Metric:
    """The metric called `name`, one that adds up; a function of means becomes sums and counts."""
    given = workload.metrics.get(name)
    if given is None:  # `loss`, where the workload lists no metric of that name
        given = workload.loss

    def count(batch: Batch) -> float:
        return weight_of(workload, batch)

    if isinstance(given, Metric):
        if given.count is not None:
            return given
        return replace(given, count=count)
    mean: Callable[[nn.Module, Batch], Tensor] = given
    if given is workload.loss:
        # Nobody said whether a loss differentiates inside (a physical residual does): it shows.
        mean = _with_gradients_if_needed(given)

    def sum_of_means(model: nn.Module, batch: Batch) -> Tensor:
        weight = count(batch)
        # The mean over nothing (a batch of padding) is not a number, but it has no part in this.
        if weight == 0:
            return torch.zeros((), dtype=torch.float64)
        return torch.as_tensor(mean(model, batch)).double() * weight

    return Metric(sum=sum_of_means, count=count, better=workload.better(name))


def evaluated_sum(metric: Metric, model: nn.Module, batch: Batch) -> Tensor:
    """The metric's sum over a batch, detached; without gradients unless it asks for them."""
    with torch.set_grad_enabled(metric.enable_grad):
        return torch.as_tensor(metric.sum(model, batch)).detach()


def loss_without_gradients(workload: Workload) -> Callable[[nn.Module, Batch], Tensor]:
    """The workload's loss as it is evaluated: without gradients, unless it fails without."""
    return torch.no_grad()(_with_gradients_if_needed(workload.loss))


def _with_gradients_if_needed(
    loss: Callable[[nn.Module, Batch], Tensor],
) -> Callable[[nn.Module, Batch], Tensor]:
    """The loss without gradients, or with them once it has failed without and not with them."""
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
