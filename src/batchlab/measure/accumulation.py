"""Are a batch's loss and gradient those of its pieces put together, and if not, why?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.errors import WorkloadError
from batchlab.laws.scatter import mean_interval
from batchlab.measure.examples import (
    FewExamples,
    asking,
    batch_from,
    check_batch_counts,
    evaluating,
    places,
    succeeds,
)
from batchlab.measure.gradients import flat_gradient
from batchlab.processes.children import Line
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import derived_seed, seed_everything
from batchlab.records.study import ANY_SIZE, Accumulation, Finding, RunnableSizes
from batchlab.training.batching import examples_at, on_device, with_tensors
from batchlab.training.evaluator import weight_of
from batchlab.words.reasons import CAUSES
from batchlab.workload.data import leaves, shuffled
from batchlab.workload.definition import Batch, Workload, size_of
from batchlab.workload.source import told

_N_ACCUMULATED = 6
_N_LOOKED_AT = 8  # enough to tell a sum from a mean, few enough for any model
_POOL = 512  # examples that are looked through where some have nothing that the loss is a mean of
# How often those are halved: as they come, then at random, for classes that meet in no half.
_HALVINGS, _CUTS_OF_RANDOM = 4, 2
# How far the weights are moved, in standard deviations of each tensor (of 1 where it is all alike).
_MOVED = 0.05
# What two gradients may lie apart by rounding, in float64 and in a model's own precision.
_EXACT = 1e-7
_OWN = {torch.float64: 1e-7, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}
# Where the model rounds inside (to bfloat16, say), even a factor changes its gradient by a grain.
# What is less than some of these is rounding; what is more than the largest of them is none.
_GRAINS, _LARGEST_GRAIN = 10.0, 0.01
# Where nothing can be compared draw by draw, the means of so many draws are; a difference counts
# from so many half intervals (95 %) on, and from this fraction of the gradient.
_DRAWS, _SURE, _LEAST_APART = 40, 2.0, 0.02
# Of a sum each further copy of the examples adds the same to the loss, more than this fraction of
# it, within that one of what is added.
_ADDS, _SAME = 1e-2, 0.1
_LAYER_TOLERANCE = 1e-5
# Of them the loss is still a mean over single units: it couples no examples.
_OTHER_WEIGHTS = ("unlike_weights", "wrong_weight", "weight_not_additive")

Cut = Sequence[Sequence[int]]
"""The places of some examples, piece by piece."""

_Coupling = tuple[str, str, float | None]
"""A cause, its place, and how far the gradients lie apart; None: not compared."""


# ---- what accumulation does to a gradient


def check_accumulation(line: Line, packed: PackedWorkload, device: str) -> Accumulation:
    """Compare the gradient of a batch with that of its pieces, and name what makes them differ.

    Raises:
        WorkloadError: the model does not take its own examples; the message says why.
    """
    return accumulation_of(packed.unpack(), torch.device(device))


def accumulation_of(workload: Workload, device: torch.device) -> Accumulation:
    """The same in this process, whose random streams it uses."""
    check_batch_counts(workload, ANY_SIZE)
    for in_double in (True, False):
        try:
            few = _from_all_over(workload, device, in_double=in_double)
            whole = few.whole()
            break
        except Exception as error:
            if not in_double:  # a model with a precision of its own inside takes no other
                raise WorkloadError(
                    f"workload {workload.name!r}: its loss on {_N_ACCUMULATED} training examples "
                    f"raised {told(error)}"
                ) from error
    if not bool(torch.isfinite(whole).all()):
        raise WorkloadError(
            f"workload {workload.name!r}: the gradient of its loss on {_N_ACCUMULATED} training "
            f"examples is not finite near the initial weights; look at the data and the loss"
        )
    findings = _findings(few)
    return Accumulation(
        workload=workload.name,
        n_examples=few.n,
        in_double=in_double,
        rounding=None if findings else _rounding(workload, device),
        findings=findings,
    )


def _from_all_over(workload: Workload, device: torch.device, *, in_double: bool) -> _Few:
    """A few examples from all over the training set, and a fresh model for each gradient."""

    def model() -> nn.Module:
        seed_everything(derived_seed("accumulation model"))
        made = workload.model()
        _move(made)
        made.to(device).train()
        return made.double() if in_double else made

    def widened(part: Tensor) -> Tensor:
        return part.double() if in_double and part.is_floating_point() else part

    def at(chosen: Sequence[int]) -> Batch:
        seed_everything(derived_seed("accumulation fetch"))
        return with_tensors(on_device(examples_at(workload, torch.tensor(chosen)), device), widened)

    order = shuffled(size_of(workload.train), seed=derived_seed("accumulation examples"))
    pool, looked_at = order[:_POOL].tolist(), model()
    for norm in filter(is_batch_norm, looked_at.modules()):
        norm.eval()  # it takes single examples then
    chosen = _with_units(pool[:_N_ACCUMULATED], pool, lambda few: workload.loss(looked_at, at(few)))
    n, whole = len(chosen), at(chosen)
    few = _Few(
        workload=workload,
        n=n,
        # Each in memory of its own.
        batch=lambda places: with_tensors(whole, lambda part: part[list(places)]),
        model_of=model,
        is_still=lambda module: False,
    )
    if not all(isinstance(p, Tensor) and p.shape[:1] == (n,) for _, p in leaves(whole)):
        examples = FewExamples(workload, chosen)  # in lists, say: each batch is collated anew
        few.batch = lambda places: with_tensors(
            on_device(examples.batch(places), device), lambda part: widened(part).clone()
        )
    return few


def _with_units(
    chosen: list[int], pool: Sequence[int], loss_of: Callable[[Sequence[int]], Tensor]
) -> list[int]:
    """The chosen examples; where some of them have nothing that the loss is a mean of, others.

    A loss may be a mean over known labels, positives or tokens. That of an example without any is
    0 or no number. One of those is kept, in second place: a piece with it has fewer units.
    """

    def have_units(places: Sequence[int]) -> bool:
        losses: list[float] = []
        if not succeeds(lambda: losses.append(loss_of(places).item())):
            return True  # it takes no so few: they cannot be told apart
        return math.isfinite(losses[0]) and losses[0] != 0

    without = [place for place in chosen if not have_units([place])]
    n = len(chosen)
    groups = [pool[start : start + n] for start in range(0, len(pool), n)] if without else []
    alone = (place for few in groups if have_units(few) for place in few if have_units([place]))
    found = list(islice(alone, n - 1))
    if not found or not have_units([found[0], without[0]]):
        return chosen  # all have some, or the loss is none of single examples, or no number at all
    first, *others = islice(cycle(found), n - 1)
    return [first, without[0], *others]


def _findings(few: _Few) -> tuple[Finding, ...]:
    """One cause after the other; each that is found and would hide others is switched off."""
    found = [*_writing(few), *_batch_norm(few), *_draws(few)]
    few.grain = few.found_grain(few.whole())
    found += [*_state(few), *_hooks(few)]
    causes = [finding.cause for finding in found]
    # With a hook nothing that is added up could be compared.
    if "gradient_hook" not in causes or "random_loss" in causes:
        found += _parts(few, draws="random_loss" in causes)
    return tuple(found)


def _finding(cause: str, where: str, size: float | None, *, by_chance: bool = False) -> Finding:
    known = size if size is not None and math.isfinite(size) else None
    return Finding(cause=cause, where=where, size=known, by_chance=by_chance)


def _writing(few: _Few) -> Iterator[Finding]:
    batch, before = few.batch(few.all), few.batch(few.all)
    few.gradient(batch)
    pairs = zip(_tensors(batch), _tensors(before), strict=True)
    if not all(torch.equal(one, other) for one, other in pairs):
        yield _finding("writes_into_batch", "`loss`, `model` or `augment`", None)


def _batch_norm(few: _Few) -> Iterator[Finding]:
    names = _named_layers(few.model(), lambda layer: is_batch_norm(layer) and layer.training)
    if not names:
        return
    try:
        size = few.is_off(few.together(_halves(few.all)), few.whole())
    except Exception:  # fewer examples than it takes
        size = math.inf
    if size is not None:
        few.is_still = is_batch_norm
        yield _finding("batch_norm", names, size)


def _draws(few: _Few) -> Iterator[Finding]:
    """Random numbers: of layers, of `augment`, or of the loss, which cannot be switched off."""
    size = few.off_by_draws()
    if size is None:
        return
    layers, norms_alone = _named_layers(few.model(), _draws_in), few.is_still
    few.is_still = lambda module: norms_alone(module) if is_batch_norm(module) else True
    if few.off_by_draws() is None:
        yield _finding("dropout", layers or "`model`", size, by_chance=True)
        return
    few.is_still = norms_alone
    if few.workload.augment is not None:
        few.augments = False
        if few.off_by_draws() is None:
            yield _finding("random_augment", "`augment`", size, by_chance=True)
            return
        few.augments = True
    yield _finding("random_loss", "`loss`", size, by_chance=True)


def _state(few: _Few) -> Iterator[Finding]:
    model = few.model()
    first = few.gradient(few.batch(few.all), model=model)
    size = few.is_off(few.gradient(few.batch(few.all), model=model), first)
    if size is not None:
        fresh = dict(few.model().named_buffers())
        changed = [
            name
            for name, value in model.named_buffers()
            if name in fresh and not torch.equal(value, fresh[name])
        ]
        yield _finding("state", ", ".join(changed) or "`model` or `loss`", size)


def _hooks(few: _Few) -> Iterator[Finding]:
    size = few.is_off(2 * few.whole(factor=0.5), few.whole())
    if size is not None:
        hooked = [
            name
            for name, part in few.model().named_parameters()
            if part._backward_hooks or getattr(part, "_post_accumulate_grad_hooks", None)
        ]
        yield _finding("gradient_hook", ", ".join(hooked) or "`loss` or `model`", size)


def _parts(few: _Few, *, draws: bool) -> Iterator[Finding]:
    """Whether the loss is a mean over examples, each by its weight."""
    first = few.n - few.n // 3  # two pieces, the second about half as large as the first
    cuts: list[Cut] = [[few.all[:first], few.all[first:]], [[place] for place in few.all]]
    found = _coupling(few, few.whole(), cuts[:1] if draws else cuts)
    if found is not None:
        yield _finding(*found)


def _rounding(workload: Workload, device: torch.device) -> float:
    """How far it is off in the workload's own precision."""
    few = _from_all_over(workload, device, in_double=False)
    whole, pieces = few.whole(), few.together(_halves(few.all))
    return _length(pieces - whole) / _length(whole)


# ---- whether a loss is a mean over its examples


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSeen:
    """What the loss looks like on a few examples: what is odd, and whether it couples them."""

    warnings: tuple[str, ...] = ()
    couples: bool = False  # in eval mode
    couples_in_training: bool = False  # there alone, by a layer that is not BatchNorm


def look_at_loss(
    workload: Workload, model: nn.Module, device: torch.device, sizes: RunnableSizes = ANY_SIZE
) -> LossSeen:
    """Compare the loss of a few examples with that of their halves, in evaluation and in training.

    Raises:
        WorkloadError: it is no scalar, has no gradient, or is a sum over the batch.
    """
    if workload.loss is None:  # its own step has one, of whatever it likes
        return LossSeen()
    n_train = size_of(workload.train)
    first = places(workload, _n_looked_at(n_train, sizes))

    def loss_of(few: Sequence[int]) -> Tensor:
        batch = batch_from(workload, workload.train, few, split="train")
        return workload.loss(model, on_device(batch, device))

    with evaluating(model):
        pool = places(workload, min(_POOL, n_train))
        chosen = _with_units(first, random.Random(0).sample(pool, len(pool)), loss_of)
    n, examples = len(chosen), FewExamples(workload, chosen)

    def in_training() -> nn.Module:
        model.train()
        return model

    look = _Few(
        workload=workload,
        n=n,
        batch=lambda places: on_device(examples.batch(places), device),
        model_of=in_training,
        is_still=lambda module: True,
        augments=False,
    )
    with evaluating(model):
        seed_everything(0)
        batch = look.batch(look.all)
        try:
            with asking(workload, "`loss`"):
                loss = workload.loss(model, batch)
            _check_loss(workload, loss)
        except WorkloadError as error:
            if not succeeds(lambda: _check_loss(workload, workload.loss(model.train(), batch))):
                raise
            raise WorkloadError(f"{error}: {_IN_TRAINING_ALONE}") from error
    if not math.isfinite(loss.item()):
        warning = f"the untrained model's loss on the first examples is {loss.item():g}"
        return LossSeen(warnings=(warning,))
    _move(model)
    try:
        with asking(workload, "the gradient of `loss`"):
            whole = look.whole()
            look.grain = look.found_grain(whole)
            found = _coupled(look, whole, sizes)
            if found is not None:
                return _what_is_found(look, *found[:2])
        if all(map(_is_of_torch, model.modules())):
            return LossSeen()
        # What torch's layers do in training is known: BatchNorm couples, dropout draws.
        look.is_still = lambda module: _is_of_torch(module) or is_batch_norm(module)
        # In eval mode it is a mean, so that its weights are known: a mixture is none of units.
        with suppress(WorkloadError), asking(workload, "`loss` in training"):
            trained = look.whole()
            is_other = look.is_off(trained, whole) is not None
            couples = is_other and _coupled(look, trained, sizes) is not None
            return LossSeen(couples_in_training=couples)
    except Exception as error:
        if not is_out_of_memory(error):  # what fits is for the profile to find
            raise
    finally:
        model.train()
    return LossSeen()


_IN_TRAINING_ALONE = (
    "in evaluation mode (model.eval()), as validation takes it, for in training mode it runs. Let "
    "it put the model into training mode and back (model.train(), then model.eval() if it was), "
    "or give a `step` and `metrics` in its place"
)


def _n_looked_at(n_train: int, sizes: RunnableSizes) -> int:
    half = sizes.at_once(_N_LOOKED_AT // 2)
    if sizes.holds(2 * half) and 2 * half <= n_train:
        return 2 * half
    return sizes.largest_up_to(min(_N_LOOKED_AT, n_train)) or min(sizes.least, n_train)


def _coupled(look: _Few, whole: Tensor, sizes: RunnableSizes) -> _Coupling | None:
    """By halves of the examples; where none runs, by twice as many."""
    cuts = _halvings(look.n, sizes)
    if cuts or not sizes.holds(2 * look.n) or look.off_by_draws() is not None:
        return _coupling(look, whole, cuts)
    off = look.is_off(look.gradient(look.batch(look.all * 2)), whole)
    return None if off is None else ("sum" if look.is_sum() else "coupled", "`loss`", off)


def _halvings(n: int, sizes: RunnableSizes) -> list[Cut]:
    """The examples in two halves as they come, then in random ones.

    Those that a model takes together (pairs) stay together.
    """
    half, group = n // 2, sizes.multiple_of
    if not (half and sizes.holds(half) and sizes.holds(n - half)):
        return []
    draws, starts = random.Random(0), range(0, n, group)
    orders = [starts, *(draws.sample(starts, len(starts)) for _ in range(_HALVINGS - 1))]
    return [_halves([start + at for start in order for at in range(group)]) for order in orders]


def _what_is_found(look: _Few, cause: str, where: str) -> LossSeen:
    name = look.workload.name
    if cause == "sum":
        raise WorkloadError(
            f"workload {name!r}: its loss is a sum over the batch ({look.loss():.4g} for {look.n} "
            f"examples, {look.loss(copies=2):.4g} for the same examples twice); expected the mean "
            f"(divide by the number of examples), else the learning rate means something else at "
            f"every batch size"
        )
    warning = (
        f"the loss couples examples: the gradient of {look.n} of them is not that of their halves "
        f"put together ({where}); micro-batches then train on another loss than the whole batch "
        f"(if it is a mean over tokens or weights, `weight` can say so)"
    )
    if cause in _OTHER_WEIGHTS:
        warning = f"the gradient of {look.n} examples is not that of their halves: {CAUSES[cause]}"
    return LossSeen(warnings=(warning,), couples=cause not in _OTHER_WEIGHTS)


def _check_loss(workload: Workload, loss: Tensor) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        found = (
            f"a tensor of shape {tuple(loss.shape)}"
            if isinstance(loss, Tensor)
            else f"a {type(loss).__name__}"
        )
        raise WorkloadError(
            f"workload {workload.name!r}: `loss` returned {found}; expected a tensor with one "
            f"number, the mean over the batch (loss.mean() makes one)"
        )
    if not loss.requires_grad:
        raise WorkloadError(
            f"workload {workload.name!r}: its loss does not depend on the model's parameters; "
            f"`loss` must return a tensor with a gradient (no .item(), no .detach())"
        )


def _coupling(few: _Few, whole: Tensor, cuts: Sequence[Cut]) -> _Coupling | None:
    """Why the loss is no mean over single examples; None: it is one."""
    if few.off_by_draws() is not None:
        if cuts and all(map(few.is_mean_of_the_same_draws, cuts)):
            return None
        causes = filter(None, map(few.off_on_average, cuts[:_CUTS_OF_RANDOM]))
        cause = next(causes, None)
        if cause is None:
            return None
        return "sum" if few.is_sum() else cause, "`loss`", None
    for cut in cuts:
        try:
            found = few.together(cut)
        except Exception:  # it needs what a part may not have, two classes
            continue
        off = few.is_off(found, whole) if bool(torch.isfinite(found).all()) else None
        if off is not None:
            cause, where = ("sum", "`loss`") if few.is_sum() else few.named(cut, whole)
            return cause, where, off
    return None


# ---- a few examples


@dataclass(kw_only=True, slots=True)
class _Few:
    """Loss and gradient of a few examples, whole and in pieces."""

    workload: Workload
    n: int
    batch: Callable[[Sequence[int]], Batch]  # the same examples each time, by their places
    model_of: Callable[[], nn.Module]  # in train mode, with the same weights each time
    is_still: Callable[[nn.Module], bool]  # whether a layer is in evaluation all the same
    augments: bool = True
    grain: float = 0.0

    @property
    def all(self) -> list[int]:
        return list(range(self.n))

    def model(self) -> nn.Module:
        model = self.model_of()
        for module in model.modules():
            if self.is_still(module):
                module.training = False
        return model

    def whole(self, *, seed: int = 0, factor: float = 1.0) -> Tensor:
        """The gradient of the whole batch."""
        return self.gradient(self.batch(self.all), seed=seed, factor=factor)

    def gradient(
        self,
        batch: Batch,
        *,
        model: nn.Module | None = None,
        seed: int | None = 0,
        factor: float = 1.0,
    ) -> Tensor:
        """Of a batch's loss; None as seed: the random streams go on."""
        model = self.model() if model is None else model
        if seed is not None:
            seed_everything(derived_seed("accumulation", seed))
        if self.workload.augment is not None and self.augments:
            batch = self.workload.augment(batch)
        for part in model.parameters():
            part.grad = None
        (self.workload.loss(model, batch) * factor).backward()
        parameters = [part for part in model.parameters() if part.requires_grad]
        return flat_gradient([part.grad for part in parameters], parameters)

    def together(self, cut: Cut, *, seed: int | None = 0) -> Tensor:
        """The gradient as micro-batches accumulate it, each by its weight."""
        parts = [self.batch(places) for places in cut]
        weights = [weight_of(self.workload, part) for part in parts]
        found = [
            self.gradient(part, seed=seed) * (weight / sum(weights))
            for part, weight in zip(parts, weights, strict=True)
            if weight
        ]
        return torch.stack(found).sum(dim=0)

    def is_mean_of_the_same_draws(self, cut: Cut) -> bool:
        """Whether halves that draw one after the other give the whole batch's gradient: a proof.

        Noise of one draw an example falls on the same examples then; other noise need not.
        """
        try:
            whole = self.gradient(self.batch([place for part in cut for place in part]))
            seed_everything(derived_seed("accumulation", 0))
            return self.is_off(self.together(cut, seed=None), whole) is None
        except Exception:  # it needs what a part may not have
            return False

    def found_grain(self, whole: Tensor) -> float:
        """How far the gradient of three times the loss is from three times the gradient."""
        off = self.is_off(self.whole(factor=3.0) / 3, whole)
        return 0.0 if off is None or off > _LARGEST_GRAIN else off

    @property
    def rounding(self) -> float:
        """What two gradients may lie apart, over one of them."""
        dtype = next(part.dtype for part in self.model().parameters())
        return max(_OWN.get(dtype, _EXACT), _GRAINS * self.grain)

    def is_off(self, one: Tensor, other: Tensor) -> float | None:
        """How far the gradients lie apart, over the second; None: they are the same."""
        far, size = _length(one - other), _length(other)
        if far <= self.rounding * size or far == 0:
            return None
        return far / size if size > 0 and math.isfinite(far) else math.inf

    def off_by_draws(self) -> float | None:
        """How far other random numbers change the gradient; None: not at all."""
        return self.is_off(self.whole(seed=1), self.whole(seed=0))

    def off_on_average(self, cut: Cut) -> str | None:
        """Why the mean loss of many draws differs from that of halves; None: as chance would.

        The loss alone tells more here than its gradient, which is noise for the most part.
        """
        batches = [self.batch([place for part in cut for place in part]), *map(self.batch, cut)]
        weights = torch.tensor([weight_of(self.workload, part) for part in batches[1:]]).double()
        try:
            drawn = torch.tensor(
                [
                    [
                        self.loss_of(each, seed=len(batches) * draw + index)
                        for index, each in enumerate(batches)
                    ]
                    for draw in range(_DRAWS)
                ]
            ).double()
        except Exception:  # it needs what a part may not have, two classes
            return None
        drawn = drawn[drawn.isfinite().all(dim=1)]  # a draw may leave a part nothing to average
        whole, parts = drawn[:, 0], drawn[:, 1:]
        apart = mean_interval((parts @ weights / weights.sum() - whole).tolist())
        if apart.estimate is None or apart.low is None:
            return None
        sure = _SURE * (apart.estimate - apart.low)
        if abs(apart.estimate) <= max(sure, _LEAST_APART * float(whole.mean().abs())):
            return None
        lowest, highest = parts.mean(dim=0).aminmax()
        is_between = bool(lowest <= whole.mean()) and bool(whole.mean() <= highest)
        return "unlike_weights" if is_between else "differs_on_average"

    def named(self, cut: Cut, whole: Tensor) -> tuple[str, str]:
        """The cause and the place of gradients that do not add up."""
        if self.workload.augment is not None and self.augments:
            self.augments = False
            plain = self.is_off(self.together(cut), self.whole())
            self.augments = True
            if plain is None:
                return "coupled", "`augment`"
        layer = self._first_coupled_layer(cut)
        if layer is not None:
            return "coupled", layer
        has_weight = self.workload.weight is not None
        if has_weight and not self._weight_adds_up():
            return "weight_not_additive", "`weight`"
        found = [self.gradient(self.batch(places)) for places in cut]
        # Beside a piece that has nothing to take the mean of, a mean adds up like a sum.
        adds_up = self.is_off(torch.stack(found).sum(dim=0), whole) is None
        if self.is_sum() or (adds_up and all(map(_length, found))):
            return "sum", "`loss`"
        if has_weight:
            shares = torch.tensor([len(places) / self.n for places in cut]).to(whole)
            if self.is_off((shares @ torch.stack(found)), whole) is None:
                return "wrong_weight", "`weight`"
        halves = cut if len(cut[0]) == len(cut[1]) else _halves(self.all)
        even = None if self.n % 2 else self.together(halves)
        # Halves with as many units each give the whole batch's gradient all the same.
        is_even = even is not None and self.is_off(even, whole) is None
        if is_even or _is_mixture(found, whole, self.rounding):
            return ("wrong_weight", "`weight`") if has_weight else ("unlike_weights", "`loss`")
        if even is not None and _is_multiple(even, whole, self.rounding):
            return "scaled_by_batch_size", "`loss`"
        return "coupled", "`loss`"

    def loss(self, *, copies: int = 1) -> float:
        """The mean loss of all examples, each so often, over as many draws as tell."""
        batch = self.batch(self.all * copies)
        losses = [self.loss_of(batch, seed=seed) for seed in range(2)]
        if losses[0] != losses[1]:
            losses += [self.loss_of(batch, seed=seed) for seed in range(2, _DRAWS)]
        return math.fsum(losses) / len(losses)

    def loss_of(self, batch: Batch, *, seed: int) -> float:
        """One draw of it."""
        model = self.model()
        seed_everything(seed)
        return self.workload.loss(model, batch).item()

    def is_sum(self) -> bool:
        """Whether each further copy of the examples adds the same to the loss: it is a sum.

        What the first copy has beside that is a penalty on the weights.
        """
        try:
            once, twice = self.loss(), self.loss(copies=2)
            added = twice - once
            if not added > _ADDS * abs(once):
                return False
            if abs(added - once) <= _SAME * abs(once):
                return True
            return abs(self.loss(copies=3) - twice - added) <= _SAME * added
        except Exception:  # it takes no so many
            return False

    def _weight_adds_up(self) -> bool:
        parts = [weight_of(self.workload, self.batch([place])) for place in self.all]
        whole = weight_of(self.workload, self.batch(self.all))
        return math.isclose(sum(parts), whole, rel_tol=1e-6)

    def _first_coupled_layer(self, cut: Cut) -> str | None:
        """The name and class of the first layer, in the order in which they end, that couples.

        None: no layer does, or the layers cannot be compared.
        """
        places = [place for part in cut for place in part]
        allowed = max(_LAYER_TOLERANCE, self.rounding)
        whole, *pieces = (self._outputs(part) for part in (places, *cut))
        for name, outputs in whole.items():
            parts = [found.get(name, []) for found in pieces]
            if any(len(part) != len(outputs) for part in parts):
                return None
            for of_whole, *of_parts in zip(outputs, *parts, strict=True):
                if [len(of_whole), *map(len, of_parts)] != [len(places), *map(len, cut)]:
                    continue  # its first dimension is not that of the examples
                joined = torch.cat(of_parts)
                if joined.shape != of_whole.shape:
                    continue
                if _length(joined - of_whole) > allowed * _length(of_whole):
                    return name
        return None

    def _outputs(self, places: Sequence[int]) -> dict[str, list[Tensor]]:
        """What each layer gave, by name, in the order in which they ended."""
        found: dict[str, list[Tensor]] = {}

        def keep(name: str) -> Callable[[nn.Module, object, object], None]:
            def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                if isinstance(output, Tensor) and output.ndim:
                    found.setdefault(name, []).append(output.detach().clone())

            return hook

        model = self.model()
        hooks = [
            module.register_forward_hook(keep(_layer_text(name, module)))
            for name, module in model.named_modules()
        ]
        seed_everything(0)
        try:
            with torch.no_grad():
                self.workload.loss(model, self.batch(places))
        finally:
            for hook in hooks:
                hook.remove()
        return found


def _length(gradient: Tensor) -> float:
    return float(torch.linalg.vector_norm(gradient.double()))


def _halves(places: Sequence[int]) -> list[Sequence[int]]:
    half = len(places) // 2
    return [places[:half], places[half:]]


def _is_multiple(one: Tensor, other: Tensor, within: float) -> bool:
    """Whether the second is the first times a number."""
    size = _length(one) * _length(other)
    along = abs(float(one.double() @ other.double()))
    return size > 0 and along >= (1 - max(1e-9, within**2)) * size


def _is_mixture(parts: Sequence[Tensor], whole: Tensor, within: float) -> bool:
    """Whether the whole is a mixture of the parts, with weights above 0 that add up to 1."""
    columns, target = torch.stack(list(parts), dim=1).double().cpu(), whole.double().cpu()
    solved = torch.linalg.lstsq(columns, target.unsqueeze(1)).solution.squeeze(1)
    fits = _length(columns @ solved - target) <= max(1e-6, within) * _length(target)
    above = bool((solved > 1e-4).all())  # of the hardest example alone, the other part has none
    return fits and above and math.isclose(float(solved.sum()), 1, rel_tol=max(1e-4, within))


def _move(model: nn.Module) -> None:
    """Off the initial weights, where a layer of zeros hides what lies before it."""
    with torch.no_grad():
        for part in model.parameters():
            if part.requires_grad and part.is_floating_point():
                spread = part.std() if part.numel() > 1 else part.abs().sum()
                scale = float(spread) or 1.0
                part.add_(_MOVED * scale * torch.randn(part.shape).to(part))


def _named_layers(model: nn.Module, is_meant: Callable[[nn.Module], bool]) -> str:
    """The names and kinds of a model's layers; empty where there is none."""
    return ", ".join(
        f"{name} ({type(layer).__name__})"
        for name, layer in model.named_modules()
        if is_meant(layer)
    )


def _layer_text(name: str, layer: nn.Module) -> str:
    return f"{name} ({type(layer).__name__})" if name else type(layer).__name__


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a layer normalises over the batch."""
    return isinstance(module, _BatchNorm)


def _draws_in(module: nn.Module) -> bool:
    return (
        module.training
        and isinstance(
            module, nn.modules.dropout._DropoutNd | nn.RReLU | nn.MultiheadAttention | nn.RNNBase
        )
        and (getattr(module, "p", None) or getattr(module, "dropout", 0.0) or 0) != 0
    )


def _tensors(batch: Batch) -> Iterator[Tensor]:
    """Each one's numbers, those that are none as 0."""
    found: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        found.append(part.nan_to_num() if part.is_floating_point() else part)
        return part

    with_tensors(batch, keep)
    return iter(found)
