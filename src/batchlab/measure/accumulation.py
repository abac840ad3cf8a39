"""Comparison of a batch's loss and gradient with those of its pieces, and causes of differences."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from batchlab.errors import WorkloadError
from batchlab.measure.examples import (
    IN_TRAINING_ALONE,
    FewExamples,
    batch_from,
    check_batch_counts,
    evaluating,
    new_model,
    places,
    succeeds,
)
from batchlab.measure.gradients import flat_gradient
from batchlab.processes.children import Line
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import derived_seed, seed_everything
from batchlab.records.study import Accumulation, Finding
from batchlab.training.batching import on_device, with_tensors
from batchlab.training.evaluator import asking, weight_of
from batchlab.training.stepper import described
from batchlab.words.catalogue import CAUSES
from batchlab.workload.definition import Batch, Workload, size_of, uncompiled
from batchlab.workload.source import told

_N = 8  # This is enough to distinguish a sum from a mean, and few enough for any model.
_POOL = 512  # The search covers this many examples if some have nothing for the loss to average.
_CUTS = 4  # The first keeps the order; others are random, because a piece may lack a class.
# Weights move by this many standard deviations of their tensor (by this much if all are equal).
_MOVED = 0.05
# Rounding may cause this relative difference, in float64 and in a model's own precision.
_EXACT = 1e-7
_OWN = {torch.float64: 1e-7, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
# A model that rounds inside (to bfloat16, say) changes its gradient by a grain even when the loss
# is only scaled. A few grains are rounding; more than the largest grain is not.
_GRAINS, _LARGEST_GRAIN = 10.0, 0.01
_DRAWS = 16  # A random loss is averaged over this many draws.
# A random loss couples examples if the mean of its halves is off by more than this fraction of it;
# means differ by chance if they are not this many standard errors apart.
_APART, _STANDARD_ERRORS = 0.05, 6.0
# Each further copy of the examples adds the same amount to a sum. It is more than _ADDS times the
# loss, and differs from what the first copy added by at most a fraction of _SAME.
_ADDS, _SAME = 1e-2, 0.1

Cut = Sequence[Sequence[int]]
"""The places of some examples, piece by piece."""


# ---- what accumulation does to a gradient


def check_accumulation(line: Line, packed: PackedWorkload, device: str) -> Accumulation:
    """Compare the gradient of a batch with that of its pieces, and name what makes them differ.

    Raises:
        WorkloadError: the model fails on its own examples; the message says why.
    """
    workload, on = packed.unpack(), torch.device(device)
    check_batch_counts(workload)
    new_model(workload)
    for in_double in (True, False):
        try:
            few = _to_accumulate(workload, on, in_double=in_double)
            whole = few.gradient()
            break
        except Exception as error:
            if not in_double:  # float64 may have failed because the model fixes its own precision
                raise WorkloadError(
                    f"workload {workload.name!r}: its loss on {_N} training examples "
                    f"raised {told(error)}"
                ) from error
    if not 0 < (length := _length(whole)) < math.inf:
        raise WorkloadError(
            f"workload {workload.name!r}: the gradient of its loss on {few.n} training examples "
            f"has length {length:g} near the initial weights, so there is nothing to compare; look "
            f"at the data and the loss"
        )
    findings = tuple(_findings(few))
    rounding = None
    if not findings:
        few = _to_accumulate(workload, on, in_double=False)
        whole, pieces = few.gradient(), few.together(_halves(few.all))
        rounding = _length(pieces - whole) / _length(whole)
    return Accumulation(
        workload=workload.name,
        n_examples=few.n,
        in_double=in_double,
        rounding=rounding,
        findings=findings,
    )


def _to_accumulate(workload: Workload, device: torch.device, *, in_double: bool) -> _Few:
    """Pick examples from all over the training set; each gradient gets a fresh model."""

    def model() -> nn.Module:
        seed_everything(derived_seed("accumulation model"))
        made = uncompiled(workload.model())
        _move(made)
        made.to(device).train()
        return made.double() if in_double else made

    looked_at = model()
    for norm in filter(is_batch_norm, looked_at.modules()):
        norm.eval()  # only then does it accept single examples
    few = _few_of(workload, looked_at, device, in_double=in_double)
    few.model_of = model
    return few


def _few_of(
    workload: Workload, model: nn.Module, device: torch.device, *, in_double: bool = False
) -> _Few:
    """Pick a few training examples for which the loss has something to average."""

    def ready(batch: Batch) -> Batch:
        """Copy the tensors, because a loss may write into them."""
        return with_tensors(on_device(batch, device), copied)

    def copied(part: Tensor) -> Tensor:
        is_widened = in_double and part.is_floating_point()
        return part.to(torch.float64 if is_widened else part.dtype, copy=True)

    def loss_of(few: Sequence[int]) -> Tensor:
        batch = batch_from(workload, workload.train, few, split="train")
        return workload.loss(model, ready(batch))

    n_train = size_of(workload.train)
    pool = places(workload, min(_POOL, n_train))
    first = places(workload, min(_N, n_train))
    chosen = _with_units(first, random.Random(0).sample(pool, len(pool)), loss_of)
    examples = FewExamples(workload, chosen)
    half = range(len(chosen) // 2, len(chosen))
    if not succeeds(lambda: workload.loss(model, ready(examples.batch(half)))):
        examples.draw_anew()  # a target may number the examples of the whole batch
    return _Few(
        workload=workload,
        n=len(chosen),
        batch=lambda few: ready(examples.batch(few)),
        model_of=lambda: model,
        is_still=lambda module: False,
        collate_draws=examples.draws,
    )


def _with_units(
    chosen: list[int], pool: Sequence[int], loss_of: Callable[[Sequence[int]], Tensor]
) -> list[int]:
    """Return the chosen examples, or others if some have no units for the loss to average.

    A loss may be a mean over known labels, positives or tokens. It is 0 or not a number for an
    example without any. One such example is kept, in second place, so that a piece has fewer units.
    """

    def have_units(places: Sequence[int]) -> bool:
        losses: list[float] = []
        if not succeeds(lambda: losses.append(loss_of(places).item())):
            return True  # the loss does not accept this few, so nothing shows what they have
        return math.isfinite(losses[0]) and losses[0] != 0

    without = [place for place in chosen if not have_units([place])]
    n = len(chosen)
    groups = [pool[start : start + n] for start in range(0, len(pool), n)] if without else []
    alone = (place for few in groups if have_units(few) for place in few if have_units([place]))
    found = list(islice(alone, n - 1))
    if not found:  # all have units, or the loss needs several examples, or is never a number
        return next((list(few) for few in groups if have_units(few)), chosen)
    if not have_units([found[0], without[0]]):
        return chosen
    first, *others = islice(cycle(found), n - 1)
    return [first, without[0], *others]


def _findings(few: _Few) -> Iterator[Finding]:
    """Yield one cause after the other, switching off each that would hide the next."""
    layers = [
        (name, layer)
        for name, layer in few.model().named_modules()
        if is_batch_norm(layer) and layer.training
    ]
    if layers:
        try:
            size = few.off(few.together(_halves(few.all)), few.gradient())
        except Exception:  # a half has fewer examples than batch normalization accepts
            size = math.inf
        if size is not None:
            few.is_still = is_batch_norm
            names = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in layers)
            yield _finding("batch_norm", names, size)
    size = few.off_by_draws()
    if size is not None:
        few.is_still = lambda module: True
        where = "`model`"
        if few.off_by_draws() is not None:
            few.augments = False
            where = "`augment`"
        if few.off_by_draws() is not None:
            where = "`collate`" if few.collate_draws else "`loss`"
        yield _finding("random", where, size, by_chance=True)
    whole = few.gradient()
    few.grain = few.found_grain(whole)
    coupling = _coupling(few, whole)
    if coupling is not None:
        yield _finding(*coupling)


def _finding(cause: str, where: str, size: float | None, *, by_chance: bool = False) -> Finding:
    known = size if size is not None and math.isfinite(size) else None
    return Finding(cause=cause, where=where, size=known, by_chance=by_chance)


# ---- whether a loss is a mean over its examples


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSeen:
    """The findings about a loss on a few examples: warnings, and whether it couples them."""

    warnings: tuple[str, ...] = ()
    couples: bool = False


def look_at_loss(workload: Workload, model: nn.Module, device: torch.device) -> LossSeen:
    """Compare the loss of a few examples with that of their pieces, in evaluation mode.

    Raises:
        WorkloadError: the loss is not a scalar, has no gradient, is a sum over the batch, or
            compares each prediction with every target.
    """
    if workload.loss is None:  # the workload's own step computes its loss in any way it likes
        return LossSeen()
    with evaluating(model):
        few = _few_of(workload, model, device)
        few.is_still, few.augments = lambda module: True, False
        seed_everything(0)
        batch = few.batch(few.all)
        try:
            with asking(workload, f"`loss` of {few.n} examples"):
                loss = workload.loss(model, batch)
            _check_loss(workload, loss)
        except WorkloadError as error:
            if succeeds(lambda: _check_loss(workload, workload.loss(model.train(), batch))):
                raise WorkloadError(f"{error}: {IN_TRAINING_ALONE}") from error
            own = min(workload.batch_size, size_of(workload.train))
            if succeeds(lambda: _check_loss(workload, _loss_of_own(workload, model, device))):
                raise WorkloadError(f"{error}; with your own {own} it {_RUNS_ALONE}") from error
            raise
    if not math.isfinite(loss.item()):
        warning = f"the untrained model's loss on the first examples is {loss.item():g}"
        return LossSeen(warnings=(warning,))
    _move(model)
    try:
        with asking(workload, f"the gradient of `loss` of {few.n} examples and their pieces"):
            whole = few.gradient()
            few.grain = few.found_grain(whole)
            coupling = _coupling(few, whole)
        return LossSeen() if coupling is None else _loss_seen(few, *coupling[:2])
    except Exception as error:
        if not is_out_of_memory(error):  # the profile finds out what fits
            raise
        return LossSeen()
    finally:
        model.train()


_RUNS_ALONE = (
    "runs: the size of a batch stands in the model or the loss, as in a hidden state that is kept "
    "or in .view(64, -1). Take it from each batch, as in x.shape[0], so that sizes can be compared"
)


def _loss_of_own(workload: Workload, model: nn.Module, device: torch.device) -> Tensor:
    own = places(workload, min(workload.batch_size, size_of(workload.train)))
    batch = batch_from(workload, workload.train, own, split="train")
    return workload.loss(model, on_device(batch, device))


def _loss_seen(few: _Few, cause: str, where: str) -> LossSeen:
    if cause == "sum":
        once, twice = (statistics.fmean(few.losses(few.all * copies)) for copies in (1, 2))
        raise WorkloadError(
            f"workload {few.workload.name!r}: its loss is a sum over the batch ({once:.4g} for "
            f"{few.n} examples, {twice:.4g} for the same examples twice); expected the mean "
            f"(divide by the number of examples), else the learning rate means something else at "
            f"every batch size"
        )
    if cause == "weight":
        warning = f"the gradient of {few.n} examples is not that of their pieces: {CAUSES[cause]}"
        return LossSeen(warnings=(warning,))
    warning = (
        f"the loss couples examples: the gradient of {few.n} of them is not that of their pieces "
        f"put together ({where}); micro-batches then train on another loss than the whole batch "
        f"(if it is a mean over tokens or weights, `weight` can say so)"
    )
    return LossSeen(warnings=(warning,), couples=True)


def _check_loss(workload: Workload, loss: Tensor) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        raise WorkloadError(
            f"workload {workload.name!r}: `loss` returned {described(loss)}; expected a tensor "
            f"with one number, the mean over the batch (loss.mean() makes one)"
        )
    if not loss.requires_grad:
        raise WorkloadError(
            f"workload {workload.name!r}: its loss does not depend on the model's parameters; "
            f"`loss` must return a tensor with a gradient (no .item(), no .detach())"
        )


def _coupling(few: _Few, whole: Tensor) -> tuple[str, str, float | None] | None:
    """Return a cause, its place and how far the gradients lie apart; None if they are the same."""
    if few.off_by_draws() is not None:  # random draws hide the differences between gradients
        if few.is_sum():
            return "sum", "`loss`", None
        return ("coupled", "`model` or `loss`", None) if few.mean_differs() else None
    coupling = None
    for cut in few.cuts:
        try:
            pieces = few.together(cut)
        except Exception:  # the loss needs something that a piece lacks, such as two classes
            continue
        off = few.off(pieces, whole) if bool(torch.isfinite(pieces).all()) else None
        if off is not None:
            coupling = (*few.cause(cut, whole), off)
            if coupling[0] != "weight":  # a single pair looks like it, if one piece holds both
                break
    return coupling


# ---- a few examples


@dataclass(kw_only=True, slots=True)
class _Few:
    """The loss and gradient of a few examples, whole and in pieces."""

    workload: Workload
    n: int
    batch: Callable[[Sequence[int]], Batch]  # gives the examples at these places, always the same
    model_of: Callable[[], nn.Module]  # gives a model with the same weights each time
    is_still: Callable[[nn.Module], bool]  # whether a layer stays in evaluation mode
    augments: bool = True
    collate_draws: bool = False  # again for each batch
    grain: float = 0.0

    @property
    def all(self) -> list[int]:
        return list(range(self.n))

    @property
    def cuts(self) -> list[Cut]:
        """Cuts into two pieces of unlike size, and into single examples."""
        draws, first = random.Random(0), self.n - self.n // 3
        orders = [self.all, *(draws.sample(self.all, self.n) for _ in range(_CUTS - 1))]
        pieces: list[Cut] = [[order[:first], order[first:]] for order in orders]
        return [*pieces, [[place] for place in self.all]]

    def model(self) -> nn.Module:
        model = self.model_of().train()
        for module in model.modules():
            if self.is_still(module):
                module.training = False
        return model

    def gradient(
        self,
        places: Sequence[int] | None = None,
        *,
        model: nn.Module | None = None,
        seed: int = 0,
        factor: float = 1.0,
    ) -> Tensor:
        """Return the gradient of the loss of some examples, or of all."""
        model = self.model() if model is None else model
        seed_everything(derived_seed("accumulation", seed))
        batch = self.batch(self.all if places is None else places)
        if self.workload.augment is not None and self.augments:
            batch = self.workload.augment(batch)
        for part in model.parameters():
            part.grad = None
        (self.workload.loss(model, batch) * factor).backward()
        parameters = [part for part in model.parameters() if part.requires_grad]
        return flat_gradient([part.grad for part in parameters], parameters)

    def together(self, cut: Cut) -> Tensor:
        """Return the gradient that micro-batches accumulate, each scaled by its weight."""
        model = self.model()  # pieces share one model, because it may change from piece to piece
        weights = [weight_of(self.workload, self.batch(places)) for places in cut]
        parts = [
            self.gradient(places, model=model) * (weight / sum(weights))
            for places, weight in zip(cut, weights, strict=True)
            if weight
        ]
        return torch.stack(parts).sum(dim=0)

    def found_grain(self, whole: Tensor) -> float:
        """Return how far a third of the gradient of three times the loss is from the gradient.

        Twice the loss has the same digits. If half of its gradient is another one, it was clipped.
        """
        if self.off(self.gradient(factor=2.0) / 2, whole) is not None:
            return 0.0
        off = self.off(self.gradient(factor=3.0) / 3, whole)
        return 0.0 if off is None or off > _LARGEST_GRAIN else off

    @property
    def rounding(self) -> float:
        """The relative difference between two gradients that still counts as rounding."""
        dtype = next(part.dtype for part in self.model().parameters())
        return max(_OWN.get(dtype, _EXACT), _GRAINS * self.grain)

    def off(self, one: Tensor, other: Tensor) -> float | None:
        """Return the gradients' distance over the second's length; None if they are the same."""
        far, size = _length(one - other), _length(other)
        if far <= self.rounding * size or far == 0:
            return None
        return far / size if size > 0 and math.isfinite(far) else math.inf

    def off_by_draws(self) -> float | None:
        """Return how far other random numbers change the gradient; None if they do not."""
        return self.off(self.gradient(seed=1), self.gradient(seed=0))

    def cause(self, cut: Cut, whole: Tensor) -> tuple[str, str]:
        """Return the cause and the place of gradients that do not add up.

        Raises:
            WorkloadError: the loss compares every prediction with every target.
        """
        with _Stretching(self.n) as seen:
            self.losses(self.all)
        if seen.shapes:
            raise WorkloadError(
                f"workload {self.workload.name!r}: its loss compares each prediction with every "
                f"target: predictions of shape {seen.shapes[True]} and targets of shape "
                f"{seen.shapes[False]} are stretched to {(self.n, self.n)}; give both one shape: "
                f"squeeze(1) makes {(self.n,)} of {(self.n, 1)}"
            )
        if self.workload.augment is not None and self.augments:
            self.augments = False
            plain = self.off(self.together(cut), self.gradient())
            self.augments = True
            if plain is None:
                return "coupled", "`augment`"
        if self.is_sum():
            return "sum", "`loss`"
        model = self.model()
        pieces = [self.gradient(places, model=model) for places in cut]
        if _is_mixture(pieces, whole, self.rounding):
            return "weight", "`loss`" if self.workload.weight is None else "`weight`"
        return "coupled", "`model` or `loss`"

    def losses(self, places: Sequence[int]) -> list[float]:
        """Return the loss of some examples at each of a few random draws."""
        losses = []
        for seed in range(_DRAWS):
            model = self.model()
            seed_everything(seed)
            losses.append(self.workload.loss(model, self.batch(places)).item())
        return losses

    def mean_differs(self) -> bool:
        """Return whether a random loss is on average another one than that of its halves."""
        halves = _halves(self.all)
        try:
            whole, *parts = map(self.losses, (self.all, *halves))
            weights = [weight_of(self.workload, self.batch(places)) for places in halves]
        except Exception:  # the loss does not accept this number of examples
            return False
        mixed = [statistics.fmean(drawn, weights) for drawn in zip(*parts, strict=True)]
        apart, chance = _apart(whole, mixed)
        return abs(apart) > max(chance, _APART * abs(statistics.fmean(whole)))

    def is_sum(self) -> bool:
        """Return whether each further copy of the examples adds the same to the loss.

        Anything that the first copy has in addition is a penalty on the weights.
        """
        try:
            losses = self.losses(self.all)
            once, twice = statistics.fmean(losses), self.losses(self.all * 2)
            added, chance = _apart(twice, losses)
            if not added > max(chance, _ADDS * abs(once)):
                return False
            if abs(added - once) <= _SAME * abs(once):
                return True
            more, _ = _apart(self.losses(self.all * 3), twice)
            return abs(more - added) <= _SAME * added
        except Exception:  # the loss does not accept this number of examples
            return False


def _apart(some: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Return the mean difference over all draws, and how large it may be by chance."""
    differences = [one - other for one, other in zip(some, others, strict=True)]
    differences = [value for value in differences if math.isfinite(value)]  # some may have no units
    if len(differences) < 2:
        return 0.0, math.inf
    standard_error = statistics.stdev(differences) / len(differences) ** 0.5
    return statistics.fmean(differences), _STANDARD_ERRORS * standard_error


class _Stretching(TorchFunctionMode):
    """Notes the shapes of predictions and targets where one is (n, 1) and the other is (n,).

    PyTorch stretches both to (n, n), and warns of it only in losses of its own.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self._slip = {(n,), (n, 1)}
        self.shapes: dict[bool, tuple[int, ...]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [part for part in (*args, *(kwargs or {}).values()) if isinstance(part, Tensor)]
        shapes = {part.requires_grad: tuple(part.shape) for part in given}
        if len(given) > 1 and set(shapes.values()) == self._slip:
            self.shapes = shapes
        return func(*args, **(kwargs or {}))


def _length(gradient: Tensor) -> float:
    return float(torch.linalg.vector_norm(gradient.double()))


def _halves(places: Sequence[int]) -> list[Sequence[int]]:
    half = len(places) // 2
    return [places[:half], places[half:]]


def _is_mixture(parts: Sequence[Tensor], whole: Tensor, within: float) -> bool:
    """Return whether the whole is a mixture of the parts: positive weights that add up to 1.

    A part without a gradient has nothing to average, so it has no weight.
    """
    with_units = [part for part in parts if bool(part.any())]
    if not with_units:
        return False
    columns, target = torch.stack(with_units, dim=1).double().cpu(), whole.double().cpu()
    # The default driver finds no solution if two parts are equal.
    solved = torch.linalg.lstsq(columns, target.unsqueeze(1), driver="gelsd").solution.squeeze(1)
    fits = _length(columns @ solved - target) <= max(1e-6, within) * _length(target)
    above = bool((solved > 1e-4).all())  # false for a loss of only the hardest example
    return fits and above and math.isclose(float(solved.sum()), 1, rel_tol=max(1e-4, within))


def _move(model: nn.Module) -> None:
    """Move off the initial weights, because a layer of zeros hides the layers before it."""
    with torch.no_grad():
        for part in model.parameters():
            if part.requires_grad and part.is_floating_point():
                spread = part.std() if part.numel() > 1 else part.abs().sum()
                scale = float(spread) or 1.0
                part.add_(_MOVED * scale * torch.randn(part.shape).to(part))


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether a layer normalizes over the batch."""
    return isinstance(module, _BatchNorm)
