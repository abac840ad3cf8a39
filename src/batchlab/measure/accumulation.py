"""Check whether micro-batches give the gradient of the whole batch; find the cause if not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from batchlab.errors import WorkloadError
from batchlab.measure.examples import (
    batch_from,
    batches_of_few,
    check_batch_counts,
    explained,
    new_model,
    places,
    succeeds,
)
from batchlab.measure.finding import Accumulation, Finding
from batchlab.measure.gradients import accumulated_gradient, trainable_parameters
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import derived_seed, seed_everything
from batchlab.training.batching import on_device, with_tensors
from batchlab.training.evaluator import asking, shares_of
from batchlab.words.catalogue import CAUSES
from batchlab.workload.definition import Batch, Workload, size_of, uncompiled

_N = 8  # Eight examples distinguish a sum from a mean, and are few enough for any model.
_POOL = 512  # If a chosen example has no label or token to average, search this many examples.
# Divide a batch into parts in four ways: in order, and three times at random. One way is not
# enough, because a part may lack a class.
_CUTS = 4
# Noise with this fraction of a weight tensor's standard deviation is added to the initial weights.
_MOVED = 0.05
# The largest relative difference between gradients that rounding may cause, by precision.
_ROUNDING = {torch.float64: 1e-7, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
# If a model rounds internally (to bfloat16, say), tripling its loss does not exactly triple the
# gradient. If the relative deviation is at most _LARGEST_GRAIN, gradients may differ by _GRAINS ×
# the deviation because of rounding.
_GRAINS, _LARGEST_GRAIN = 10.0, 0.01
_DRAWS = 16  # Number of random seeds over which a random loss is averaged.
# If a loss is random, its means over seeds are compared: the loss of a batch, and the mean loss of
# its parts. The loss of an example depends on other examples if the difference is more than
# _APART × the loss of the batch, and also more than _STANDARD_ERRORS standard errors.
_APART, _STANDARD_ERRORS = 0.05, 6.0
# A loss is a sum if each further copy of the examples adds more than _ADDS times the loss, and
# if these added amounts are equal up to the fraction _SAME.
_ADDS, _SAME = 1e-2, 0.1


# ---- what accumulation does to a gradient


def check_accumulation(line: Line, packed: PackedWorkload, device: str) -> Accumulation:
    """Compare a batch's gradient with its accumulated gradient; find the causes of a difference.

    Raises:
        WorkloadError: a gradient cannot be computed, is 0 or is infinite; the message says why.
    """
    workload, on = packed.unpack(), torch.device(device)
    check_batch_counts(workload)
    new_model(workload)
    # A model that sets its own precision fails in float64, so check it in its own precision.
    in_double = succeeds(lambda: _with_new_models(workload, on, in_double=True).gradient())
    with asking(workload, f"its loss on {_N} training examples"):
        few = _with_new_models(workload, on, in_double=in_double)
        length = _length(few.gradient())
    if not 0 < length < math.inf:
        raise WorkloadError(
            f"workload {workload.name!r}: the gradient of its loss on {few.n} training examples "
            f"has length {length:g} near the initial weights, so there is nothing to compare; look "
            f"at the data and the loss"
        )
    return Accumulation(
        workload=workload.name,
        n_examples=few.n,
        in_double=in_double,
        findings=tuple(_findings(few)),
    )


def _with_new_models(workload: Workload, device: torch.device, *, in_double: bool) -> _Few:
    """Choose a few examples, and prepare the computation of their gradients with new models.

    Each gradient uses a new model. All these models have the same weights, with the same noise.
    """

    def model() -> nn.Module:
        seed_everything(derived_seed("accumulation model"))
        new = uncompiled(workload.model())
        _move(new)
        new.to(device)
        return new.double() if in_double else new

    return _few_of(replace(workload, model=model), device)


def _findings(few: _Few) -> Iterator[Finding]:
    """Yield each cause of a wrong accumulated gradient; disable it before checking for the next."""
    layers = list[str]()
    for name, layer in few.model().named_modules():
        if isinstance(layer, _BatchNorm) and layer.training:
            layers.append(f"{name} ({type(layer).__name__})")
    if layers:
        size = few.distance_by_cut(few.cuts[0], few.gradient())
        if size > 0:
            few = replace(few, evaluated=(_BatchNorm,))
            yield _finding("batch_norm", ", ".join(layers), size)
    size = few.distance_by_draws()
    if size > 0:
        few = replace(few, evaluated=(nn.Module,))
        where = "`model`"
        if few.distance_by_draws() > 0:
            few = few.without_augment()
            where = "`augment`"
        if few.distance_by_draws() > 0:
            where = "`collate`" if few.collate_draws else "`loss`"
        yield _finding("random", where, size)
    coupling = _coupling(few)
    if coupling is not None:
        yield coupling


def _finding(cause: str, where: str, size: float = math.inf) -> Finding:
    known_size = size if math.isfinite(size) else None
    return Finding(cause=cause, where=where, size=known_size, by_chance=cause == "random")


# ---- whether a loss is a mean over its examples


def look_at_loss(
    workload: Workload, model: nn.Module, device: torch.device, *, with_gradients: bool = True
) -> tuple[str | None, bool]:
    """Check, in evaluation mode, that the loss is finite and is a mean over the examples.

    Return a warning, if any, and whether the loss depends on which examples share a batch. Without
    `with_gradients`, check only that the loss is finite.

    Raises:
        WorkloadError: the loss is not a scalar, has no gradient, is a sum over the batch, or
            compares each prediction with every target.
    """
    if workload.loss is None:  # the workload has its own step, whose loss can't be computed here
        return None, False
    few = _few_of(replace(workload, model=lambda: model, augment=None), device)
    few = replace(few, evaluated=(nn.Module,))
    value = _loss_value(few, model.eval(), device)
    if not math.isfinite(value):
        return f"the untrained model's loss on the first examples is {value:g}", False
    if not with_gradients:
        return None, False
    _move(model)
    with asking(workload, f"the gradient of `loss` of {few.n} examples and their pieces"):
        coupling = _coupling(few)
    if coupling is None:
        return None, False
    text = (
        f"the gradient of {few.n} examples is not that of their pieces put together "
        f"({coupling.where}): {CAUSES[coupling.cause]}"
    )
    if coupling.cause == "sum":
        raise WorkloadError(f"workload {workload.name!r}: {text}")
    return text, coupling.cause == "coupled"


_RUNS_WITH_OWN = (
    "runs: the size of a batch stands in the model or the loss, as in a hidden state that is kept "
    "or in .view(64, -1). Take it from each batch, as in x.shape[0], so that sizes can be compared"
)


NEEDS_GRADIENTS = (
    ": evaluations are without gradients; decorate a function that differentiates with "
    "@torch.enable_grad()"
)
"""The last part of the error message about a function that fails under torch.no_grad()."""


def _loss_value(few: _Few, model: nn.Module, device: torch.device) -> float:
    """Return the loss of a few examples; raise an error, with a remedy if found, if it fails."""
    workload, batch = few.workload, few.batch(few.all)
    own_size = min(workload.batch_size, size_of(workload.train))

    def value(batch: Batch) -> float:
        with asking(workload, f"`loss` of {few.n} examples"):
            loss = workload.loss(model, batch)
            _check_loss(workload, loss)
        with torch.no_grad(), asking(workload, "`loss` in an evaluation", NEEDS_GRADIENTS):
            workload.loss(model, batch)
        return loss.item()

    def value_of_own() -> float:
        return value(on_device(batch_from(workload, places(workload, own_size)), device))

    seed_everything(0)
    remedy = (f"; with your own {own_size} it {_RUNS_WITH_OWN}", value_of_own)
    return explained(model, lambda: value(batch), remedy)


def _check_loss(workload: Workload, loss: Tensor) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        raise WorkloadError(
            f"workload {workload.name!r}: `loss` returned a {type(loss).__name__}; expected a "
            f"tensor with one number, the mean over the batch (loss.mean() makes one)"
        )
    if not loss.requires_grad:
        raise WorkloadError(
            f"workload {workload.name!r}: its loss does not depend on the model's parameters; "
            f"`loss` must return a tensor with a gradient (no .item(), no .detach())"
        )


# ---- why the micro-batches of a batch have a different loss


def _coupling(few: _Few) -> Finding | None:
    """Return why a batch's loss is not the mean loss of its parts; None if the two are equal.

    Raises:
        WorkloadError: the loss compares each prediction with every target.
    """
    if few.distance_by_draws() > 0:  # gradients are random, so compare mean losses instead
        if few.is_sum():
            return _finding("sum", "`loss`")
        if few.mean_differs():
            return _finding("coupled", "`model` or `loss`")
        return None
    whole = few.gradient()
    few = replace(few.with_grains(whole), n_draws=2)  # the loss is not random: 2 draws suffice
    coupling = None
    for cut in few.cuts:
        size = few.distance_by_cut(cut, whole)
        if 0 < size < math.inf:
            coupling = _finding(*_cause(few, cut, whole), size)
            if coupling.cause != "weight":  # The next cut may show that "coupled" is the cause.
                break
    return coupling


def _cause(few: _Few, cut: Cut, whole: Tensor) -> tuple[str, str]:
    """Return why an accumulated gradient is wrong (a key of CAUSES), and the function at fault."""
    _refuse_stretching(few)
    if few.workload.augment is not None:
        plain = few.without_augment()
        if plain.distance_by_cut(cut, plain.gradient()) == 0:
            return "coupled", "`augment`"
    if few.is_sum():
        return "sum", "`loss`"
    model = few.model()
    pieces = [few.gradient(places, model=model) for places in cut]
    if _is_mixture(pieces, whole, few.rounding):
        return "weight", "`loss`" if few.workload.weight is None else "`weight`"
    return "coupled", "`model` or `loss`"


def _is_mixture(pieces: Sequence[Tensor], whole: Tensor, within: float) -> bool:
    """Return whether the gradient `whole` is a weighted mean of the gradients `pieces`.

    `within` is the largest relative error. Weights must be positive; gradients of 0 are ignored.
    """
    with_units = [piece for piece in pieces if bool(piece.any())]
    if not with_units:
        return False
    columns, target = torch.stack(with_units, dim=1).double().cpu(), whole.double().cpu()
    # Unlike the default driver, gelsd also finds a solution if two columns are equal.
    solved = torch.linalg.lstsq(columns, target.unsqueeze(1), driver="gelsd").solution.squeeze(1)
    fits = _length(columns @ solved - target) <= max(1e-6, within) * _length(target)
    # A loss that depends only on the hardest example gives all weight to one piece: no mixture.
    above = bool((solved > 1e-4).all())
    return fits and above and math.isclose(float(solved.sum()), 1, rel_tol=max(1e-4, within))


def _refuse_stretching(few: _Few) -> None:
    """Refuse a loss in which PyTorch broadcasts shapes (n, 1) and (n,) to (n, n).

    PyTorch's own losses warn if they broadcast predictions and targets; a user's loss does not.
    """
    shapes: dict[bool, tuple[int, ...]] = {}

    class Stretching(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
        ) -> Any:
            values = (*args, *(kwargs or {}).values())
            tensors = [value for value in values if isinstance(value, Tensor)]
            used = {tensor.requires_grad: tuple(tensor.shape) for tensor in tensors}
            if len(tensors) > 1 and set(used.values()) == {(few.n,), (few.n, 1)}:
                shapes.update(used)
            return func(*args, **(kwargs or {}))

    with Stretching():
        few.workload.loss(few.model(), few.batch(few.all))
    if shapes:
        raise WorkloadError(
            f"workload {few.workload.name!r}: its loss compares each prediction with every target: "
            f"predictions of shape {shapes[True]} and targets of shape {shapes[False]} are "
            f"stretched to {(few.n, few.n)}; give both one shape: squeeze(1) makes {(few.n,)} of "
            f"{(few.n, 1)}"
        )


# ---- a few examples

Cut = Sequence[Sequence[int]]
"""A batch that is cut into parts: one sequence of example indices for each part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Few:
    """A few fixed examples whose loss and gradient are computed as one batch and in parts."""

    workload: Workload  # Its `model` must return a model with the same weights at each call.
    n: int  # The number of examples.
    batch: Callable[[Sequence[int]], Batch]  # Makes a batch of the examples at these indices.
    collate_draws: bool  # Whether `collate` makes random batches.
    rounding: float  # Rounding explains a relative difference of gradients up to this.
    evaluated: tuple[type[nn.Module], ...] = ()  # Layers of these types run in evaluation mode.
    n_draws: int = _DRAWS  # The number of random seeds over which a loss is averaged.

    @property
    def all(self) -> list[int]:
        return list(range(self.n))

    @property
    def cuts(self) -> list[Cut]:
        """Four cuts of the batch into two unequal parts, and a fifth into single examples."""
        draws, first = random.Random(0), self.n - self.n // 3
        order, cuts = self.all, list[Cut]()
        for _ in range(_CUTS):
            cuts.append([order[:first], order[first:]])
            order = draws.sample(self.all, self.n)
        cuts.append(list(zip(self.all)))
        return cuts

    def without_augment(self) -> _Few:
        return replace(self, workload=replace(self.workload, augment=None))

    def with_grains(self, whole: Tensor) -> _Few:
        """Return a copy whose `rounding` includes the rounding errors of the model's arithmetic.

        The errors are estimated by the difference between gradient(3 × loss) / 3 and
        gradient(loss). Return `self` if this difference is above 1 %. Also return `self` if
        gradient(2 × loss) / 2 differs from gradient(loss): then gradients are clipped, because
        doubling causes no rounding errors.
        """
        is_clipped = self.distance(self.gradient(factor=2.0) / 2, whole) > 0
        grain = self.distance(self.gradient(factor=3.0) / 3, whole)
        if is_clipped or grain > _LARGEST_GRAIN:
            return self
        return replace(self, rounding=max(self.rounding, _GRAINS * grain))

    def model(self) -> nn.Module:
        model = self.workload.model().train()
        for layer in model.modules():
            if isinstance(layer, self.evaluated):
                layer.training = False
        return model

    # ---- gradients

    def gradient(
        self,
        *pieces: Sequence[int],
        model: nn.Module | None = None,
        seed: int = 0,
        factor: float = 1.0,
    ) -> Tensor:
        """Return the gradient accumulated over `pieces`, each with the positions of its examples.

        Without `pieces`, return the gradient of all examples in one batch. With none or one piece,
        the loss is multiplied by `factor`; with several pieces, `factor` is ignored.
        """
        model = self.model() if model is None else model
        seed_everything(derived_seed("accumulation", seed))
        batches = list(map(self.batch, pieces or (self.all,)))
        if self.workload.augment is not None:
            batches = list(map(self.workload.augment, batches))
        shares = [factor] if len(batches) == 1 else shares_of(self.workload, batches)
        return accumulated_gradient(self.workload, model, batches, shares)

    def distance(self, one: Tensor, other: Tensor) -> float:
        """Return |one - other| / |other| for two gradients, or 0 if this is at most `rounding`."""
        distance, length = _length(one - other), _length(other)
        if distance <= self.rounding * length or distance == 0:
            return 0.0
        if length == 0 or not math.isfinite(distance):
            return math.inf
        return distance / length

    def distance_by_cut(self, cut: Cut, whole: Tensor) -> float:
        """Return |g - whole| / |whole| for the gradient g accumulated over the parts of `cut`.

        The distance is infinite if the loss or the model fails on a part, for example because the
        part lacks a second class.
        """
        try:
            return self.distance(self.gradient(*cut), whole)
        except Exception:
            return math.inf

    def distance_by_draws(self) -> float:
        """Return |g1 - g0| / |g0| for the gradients with seeds 0 and 1; 0 if at most `rounding`."""
        return self.distance(self.gradient(seed=1), self.gradient(seed=0))

    # ---- means over random draws

    def mean_loss(self, *terms: tuple[float, Sequence[int]]) -> tuple[float, float]:
        """Return the sum of factor × loss over `terms`, averaged over seeds, and 6 standard errors.

        A term is a factor and the indices of the examples of a batch. If the loss fails on a batch,
        the result is 0 with an infinite error.
        """
        total = torch.zeros(self.n_draws, dtype=torch.float64)
        for factor, few in terms:
            for seed in range(self.n_draws):
                model = self.model()
                seed_everything(seed)
                try:
                    total[seed] += factor * self.workload.loss(model, self.batch(few)).item()
                except Exception:  # the loss does not accept this number of examples
                    return 0.0, math.inf
        values = total[total.isfinite()]  # A loss is NaN if a batch has nothing to average.
        if len(values) < 2:
            return 0.0, math.inf
        standard_error = float(values.std()) / len(values) ** 0.5
        return float(values.mean()), _STANDARD_ERRORS * standard_error

    def mean_differs(self) -> bool:
        """Return whether a batch's mean loss differs from the mean loss of its parts.

        The difference must be above 5 % and above 6 standard errors of the means over seeds.
        """
        cut = self.cuts[0]
        shares = shares_of(self.workload, list(map(self.batch, cut)))
        pieces = [(-share, places) for share, places in zip(shares, cut, strict=True)]
        apart, chance = self.mean_loss((1, self.all), *pieces)
        whole, _ = self.mean_loss((1, self.all))
        return abs(apart) > max(chance, _APART * abs(whole))

    def is_sum(self) -> bool:
        """Return whether the loss grows by the same amount with each further copy of the examples.

        The first copy may add another amount, because the loss may include a weight penalty.
        """
        once, _ = self.mean_loss((1, self.all))
        added, chance = self.mean_loss((1, self.all * 2), (-1, self.all))
        if added <= max(chance, _ADDS * abs(once)):
            return False
        if abs(added - once) <= _SAME * abs(once):
            return True
        more, _ = self.mean_loss((1, self.all * 3), (-1, self.all * 2))
        return abs(more - added) <= _SAME * added


def _few_of(workload: Workload, device: torch.device) -> _Few:
    """Choose a few training examples, if possible such that the loss of each is finite and not 0.

    For example, the loss of an example without known labels may be 0 or NaN.
    """
    model = workload.model().eval()
    dtype = next(model.parameters()).dtype

    def widened(values: Tensor) -> Tensor:
        if dtype == torch.float64 and values.is_floating_point():
            return values.double()
        return values

    def ready(batch: Batch) -> Batch:
        return with_tensors(on_device(batch, device), widened)

    def loss(batch: Batch) -> Tensor:
        return workload.loss(model, ready(batch))

    chosen = _with_units(workload, loss)
    batch, draws = batches_of_few(workload, chosen, loss)
    return _Few(
        workload=workload,
        n=len(chosen),
        batch=lambda places: ready(batch(places)),
        collate_draws=draws,
        rounding=_ROUNDING.get(dtype, 1e-7),
    )


def _with_units(workload: Workload, loss: Callable[[Batch], Tensor]) -> list[int]:
    """Choose examples with units, and at most one without units.

    The loss averages over units: known labels, positive examples or tokens. The loss of an example
    without units is 0 or NaN. One example without units is included, so that the parts of a batch
    have different numbers of units.
    """

    def have_units(chosen: Sequence[int]) -> bool:
        values: list[float] = []
        batch = batch_from(workload, chosen)
        if not succeeds(lambda: values.append(loss(batch).item())):
            return True  # Some losses fail on any few examples, so assume that these have units.
        return math.isfinite(values[0]) and values[0] != 0

    n_train = size_of(workload.train)
    chosen = places(workload, min(_N, n_train))
    without = next((place for place in chosen if not have_units([place])), None)
    if without is None:
        return chosen
    n = len(chosen)
    pool = places(workload, min(_POOL, n_train))
    random.Random(0).shuffle(pool)
    groups = [pool[start : start + n] for start in range(0, len(pool), n)]
    with_units: list[int] = []
    for few in groups:
        if len(with_units) < n - 1 and have_units(few):
            with_units += [place for place in few if have_units([place])]
    # The loss of every single example is 0 or NaN, for example because the loss compares examples.
    # So return n examples whose loss as one batch is neither.
    if not with_units:
        return next((few for few in groups if have_units(few)), chosen)
    # An example without units may make the loss of its whole batch NaN. Then keep the first choice.
    if not have_units([with_units[0], without]):
        return chosen
    return [without, *islice(cycle(with_units[: n - 1]), n - 1)]


def _length(gradient: Tensor) -> float:
    return float(torch.linalg.vector_norm(gradient.double()))


def _move(model: nn.Module) -> None:
    """Add noise to all weights, since layers before a layer of zeros would have no gradient."""
    with torch.no_grad():
        for weights in trainable_parameters(model):
            if weights.is_floating_point():
                spread = weights.std() if weights.numel() > 1 else weights.abs().sum()
                scale = float(spread) or 1.0
                weights.add_(_MOVED * scale * torch.randn(weights.shape).to(weights))
