"""LossCheck: is a loss the mean over its examples, or a sum, or does it couple them?

A batch is compared with the same examples twice, with its two halves and with single examples. It
is halved in several ways, for in one of them a coupled loss may look like a mean. A mean stays and
lies between those of its parts, a sum doubles, and a loss that couples examples (contrastive, a
variance) does neither. Without random draws each is computed once, and rounding is all that may
differ. With them, halves that draw one after the other may meet the whole batch's very numbers,
which proves a mean. Where they do not, means over many draws are compared, and only a difference
beyond chance counts.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.errors import WorkloadError
from batchlab.measurements.few_examples import FewExamples
from batchlab.measurements.lowest_precision import rounding_of
from batchlab.measurements.users_code import asking, evaluating
from batchlab.random_state import seed_everything
from batchlab.records.runnable_sizes import RunnableSizes
from batchlab.training.batching import on_device
from batchlab.training.evaluator import loss_without_gradients, weight_of
from batchlab.workload.definition import Batch, Workload, size_of

_EXAMPLES = 8  # enough to tell a sum from a mean, few enough for any model
_SEED = 0
_TINY = 1e-12
# How often the batch is halved; a random loss, whose means take many draws each, less often.
_HALVINGS, _HALVINGS_OF_RANDOM = 8, 2
# Draws of a random loss, and from how many standard errors on a difference counts: with 32 draws
# chance gives four about once in 3,000.
_DRAWS, _SURE = 32, 4.0
_SAME = 0.1  # a random loss is refused as a sum where its means are known this well


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSeen:
    """What the loss looks like on a few examples.

    Attributes:
        warnings: what is odd, in words.
        couples: whether it is no mean over single examples, in eval mode.
        couples_in_training: whether it is no mean in train mode only, by a layer that is not
            BatchNorm.
    """

    warnings: tuple[str, ...]
    couples: bool = False
    couples_in_training: bool = False


def look_at_loss(
    workload: Workload, model: nn.Module, device: torch.device, sizes: RunnableSizes
) -> LossSeen:
    """Compare a few examples' loss with that of the same twice, and of their halves.

    Args:
        workload: what is trained.
        model: new; its state may change.
        device: where.
        sizes: how many examples it takes.

    Raises:
        WorkloadError: it is no scalar, has no gradient, or is a sum over the batch.
    """
    if workload.loss is None:  # its own step has one, of whatever it likes
        return LossSeen(warnings=())
    look = _Look(workload, model, device, sizes)
    with evaluating(model):
        if not loss_tensor(workload, model, look.batch(), seed=_SEED).requires_grad:
            raise WorkloadError(
                f"workload {workload.name!r}: its loss does not depend on the model's parameters; "
                f"`loss` must return a tensor with a gradient (no .item(), no .detach())"
            )
        seen = replace(look.compared(), couples_in_training=False)
    if seen.couples or seen.warnings or not _has_layers_of_its_own(model):
        return seen
    with _own_layers_training(model):
        try:
            in_training = look.compared()
        except WorkloadError:  # half of its layers in eval mode is not what it was made for
            return seen
    # In eval mode it is a mean, so that its weights are known: none has to lie between its halves.
    return replace(seen, couples_in_training=in_training.couples_in_training)


def loss_tensor(workload: Workload, model: nn.Module, batch: Batch, *, seed: int) -> Tensor:
    """The loss of a batch under a seed, checked to be one number.

    Raises:
        WorkloadError: it is none, or computing it fails.
    """
    seed_everything(seed)
    return _checked(workload, lambda: workload.loss(model, batch))


def _checked(workload: Workload, compute: Callable[[], Tensor]) -> Tensor:
    with asking(workload, "`loss`"):
        loss = compute()
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
    return loss


@dataclass(frozen=True, slots=True)
class _Mean:
    """The mean of a loss over its draws; without draws its standard error is 0."""

    value: float
    standard_error: float = 0.0

    @classmethod
    def of(cls, draws: Sequence[float]) -> _Mean:
        if not all(map(math.isfinite, draws)):
            return cls(math.nan)
        if len(draws) == 1:
            return cls(draws[0])
        return cls(statistics.fmean(draws), statistics.stdev(draws) / math.sqrt(len(draws)))

    @property
    def is_known(self) -> bool:
        return math.isfinite(self.value)

    def is_above(self, other: _Mean, *, rounding: float) -> bool:
        """Whether it is larger, by more than rounding and chance explain."""
        chance = _SURE * math.hypot(self.standard_error, other.standard_error)
        return self.value - other.value > rounding + chance

    def differs(self, other: _Mean, *, rounding: float) -> bool:
        return self.is_above(other, rounding=rounding) or other.is_above(self, rounding=rounding)

    def is_told_to_be(self, other: _Mean, *, rounding: float) -> bool:
        """Whether it is the same, and its draws are many enough to say so."""
        chance = _SURE * math.hypot(self.standard_error, other.standard_error)
        return chance <= _SAME * abs(other.value) and not self.differs(other, rounding=rounding)

    def times(self, factor: float) -> _Mean:
        return _Mean(factor * self.value, abs(factor) * self.standard_error)

    def minus(self, other: _Mean) -> _Mean:
        return _Mean(
            self.value - other.value, math.hypot(self.standard_error, other.standard_error)
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """A batch in parts: the weight of each, and its mean loss."""

    parts: tuple[tuple[float, _Mean], ...]

    @property
    def together(self) -> _Mean:
        """What a mean over single units would be for the whole batch."""
        total = math.fsum(weight for weight, _ in self.parts)
        value = math.fsum(weight * half.value for weight, half in self.parts) / total
        return _Mean(
            value, math.hypot(*(w * half.standard_error for w, half in self.parts)) / total
        )

    def lies_apart_from(self, whole: _Mean, *, rounding: float) -> bool:
        """Whether the whole lies outside of what the parts tell; no mean does, whatever of."""
        means = [part for _, part in self.parts]
        return self.together.differs(whole, rounding=rounding) and (
            all(whole.is_above(part, rounding=rounding) for part in means)
            or all(part.is_above(whole, rounding=rounding) for part in means)
        )

    def __str__(self) -> str:
        of = "two halves" if len(self.parts) == 2 else "single examples"
        return f"{self.together.value:.4g} as the mean of {of}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch's loss, that of the same examples twice, and those of its parts in several cuts."""

    whole: _Mean
    twice: _Mean
    cuts: tuple[_Parts, ...]
    rounding: float


class _Look:
    """The same few examples whole, twice and in halves."""

    def __init__(
        self, workload: Workload, model: nn.Module, device: torch.device, sizes: RunnableSizes
    ) -> None:
        self._workload, self._model, self._device = workload, model, device
        n_train = size_of(workload.train)
        half = sizes.at_once(_EXAMPLES // 2)
        whole = 2 * half if sizes.holds(2 * half) and 2 * half <= n_train else 0
        most = min(_EXAMPLES, n_train)
        self._n = whole or sizes.largest_up_to(most) or min(sizes.least, n_train)
        self._copies = [copies for copies in (2, 3) if sizes.holds(copies * self._n)]
        half = self._n // 2
        self._has_halves = half > 0 and sizes.holds(half) and sizes.holds(self._n - half)
        self._group = sizes.multiple_of
        self._takes_one = self._n > 2 and sizes.holds(1)
        self._compute = loss_without_gradients(workload)
        self._examples = FewExamples(workload, self._n)

    def batch(self, *, copies: int = 1) -> Batch:
        return self._of(list(range(self._n)) * copies)

    def _of(self, order: Sequence[int]) -> Batch:
        return on_device(self._examples.batch(order), self._device)

    def compared(self) -> LossSeen:
        """What the loss in the model's present mode looks like."""
        doubles = 2 in self._copies
        batch, doubled = self.batch(), self.batch(copies=2) if doubles else self.batch()
        loss = self._loss(batch)
        is_random = loss != self._loss(batch, seed=_SEED + 1) or loss != self._loss(batch)
        twice = self._loss(doubled)
        if not (math.isfinite(loss) and math.isfinite(twice)):
            return LossSeen(
                warnings=(f"the untrained model's loss on the first examples is {loss:g}",)
            )
        rounding = rounding_of(self._model, lambda: self._compute(self._model, batch))
        if is_random and self._is_mean_of_the_same_draws(rounding):
            return LossSeen(warnings=())
        cuts = self._halvings(_HALVINGS_OF_RANDOM if is_random else _HALVINGS)
        if not is_random and self._takes_one:
            cuts.append([[place] for place in range(self._n)])
        weighed = [parts for cut in cuts if (parts := self._weighed(cut))]
        asked = [batch, doubled, *(part for parts in weighed for _, part in parts)]
        n_draws = _DRAWS if is_random else 1
        whole, twice_mean, *means = self._means(asked, n_draws)
        of_each = iter(means)
        seen = _Seen(
            whole,
            twice_mean,
            tuple(_Parts(tuple((w, next(of_each)) for w, _ in parts)) for parts in weighed),
            rounding * max(_TINY, *(abs(mean.value) for mean in (whole, *means) if mean.is_known)),
        )
        grows = doubles and twice_mean.differs(whole, rounding=seen.rounding)
        if grows and self._is_sum(seen, n_draws):
            raise WorkloadError(
                f"workload {self._workload.name!r}: its loss is a sum over the batch "
                f"({whole.value:.4g} for {self._n} examples, {twice_mean.value:.4g} for the same "
                f"examples twice); expected the mean (divide by the number of examples), else the "
                f"learning rate means something else at every batch size"
            )
        return self._judged(seen, grows=grows)

    def _means(self, asked: Sequence[Batch], n_draws: int) -> list[_Mean]:
        """The mean loss of each batch.

        Each has draws of its own, so that they are independent; in turn, because a layer may have a
        state that drifts.
        """
        draws = [
            [
                self._loss_if_any(each, seed=len(asked) * draw + place)
                for place, each in enumerate(asked)
            ]
            for draw in range(n_draws)
        ]
        return [_Mean.of(of_one) for of_one in zip(*draws, strict=True)]

    def _is_sum(self, seen: _Seen, n_draws: int) -> bool:
        """Whether a loss that grows with copies of its examples is a sum, or one and a constant.

        The constant is a penalty on the weights: each further copy then adds the same.
        """
        if seen.twice.is_told_to_be(seen.whole.times(2), rounding=seen.rounding):
            return True
        if 3 not in self._copies:
            return False
        (thrice,) = self._means([self.batch(copies=3)], n_draws)
        first, second = seen.twice.minus(seen.whole), thrice.minus(seen.twice)
        return second.is_told_to_be(first, rounding=_SAME * abs(first.value))

    def _judged(self, seen: _Seen, *, grows: bool) -> LossSeen:
        whole, rounding = seen.whole, seen.rounding
        # A mean over other units (tokens, weights of classes) lies between those of its parts.
        off = [one for one in seen.cuts if one.together.differs(whole, rounding=rounding)]
        if not (grows or off):
            return LossSeen(warnings=())
        outside = [one for one in off if one.lies_apart_from(whole, rounding=rounding)]
        in_parts = "".join(f", {parts}" for parts in (*outside, *off, *seen.cuts)[:1])
        return LossSeen(
            warnings=(
                f"the loss couples examples: {whole.value:.4g} for {self._n} of them, "
                f"{seen.twice.value:.4g} for the same twice{in_parts}; micro-batches then train "
                f"on another loss than the whole batch (if it is a mean over tokens or weights, "
                f"`weight` can say so)",
            ),
            couples=grows or bool(outside),
            couples_in_training=True,
        )

    def _halvings(self, n: int) -> list[list[list[int]]]:
        """The examples in two halves as they come, then in random ones.

        Those that a model takes together (pairs) stay together.
        """
        if not self._has_halves:
            return []
        draws, half, group = random.Random(_SEED), self._n // 2, self._group
        starts = range(0, self._n, group)
        orders = [starts, *(draws.sample(starts, len(starts)) for _ in range(n - 1))]
        places = [[start + at for start in order for at in range(group)] for order in orders]
        return [[order[:half], order[half:]] for order in places]

    def _weighed(self, cut: list[list[int]]) -> list[tuple[float, Batch]]:
        """Weight and batch of each part; nothing where all weigh nothing."""
        parts = [self._of(part) for part in cut]
        weighed = [(weight_of(self._workload, part), part) for part in parts]
        return weighed if math.fsum(weight for weight, _ in weighed) else []

    def _is_mean_of_the_same_draws(self, rounding: float) -> bool:
        """Whether halves that draw one after the other give the whole batch's loss: a proof.

        Noise of one draw an example falls on the same examples then; other noise need not.
        """
        cuts = self._halvings(_HALVINGS)
        for seed, cut in enumerate((*cuts[:1], *cuts)):
            parts = self._weighed(cut)
            if not parts:
                return False
            whole = self._loss(self._of([place for part in cut for place in part]), seed=seed)
            seed_everything(seed)
            means = [(weight, _Mean(self._loss_if_any(part))) for weight, part in parts]
            mean = _Parts(tuple(means)).together.value
            if not abs(mean - whole) <= rounding * max(abs(whole), _TINY):
                return False
        return bool(cuts)

    def _loss(self, batch: Batch, *, seed: int = _SEED) -> float:
        seed_everything(seed)
        return self._loss_once(batch)

    def _loss_if_any(self, batch: Batch, *, seed: int | None = None) -> float:
        """The loss; NaN, which proves nothing, where it needs what a part may not have (two
        classes)."""  # noqa: D205, D209
        try:
            return self._loss_once(batch) if seed is None else self._loss(batch, seed=seed)
        except WorkloadError:
            return math.nan

    def _loss_once(self, batch: Batch) -> float:
        loss = _checked(self._workload, lambda: self._compute(self._model, batch))
        return loss.detach().item()  # of a loss that differentiates it still has its graph


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _has_layers_of_its_own(model: nn.Module) -> bool:
    return any(not _is_of_torch(module) for module in model.modules())


@contextmanager
def _own_layers_training(model: nn.Module) -> Iterator[None]:
    """Context: layers of the user's own in train mode, torch's in eval mode.

    What torch's layers do in training is known: BatchNorm couples, dropout draws.
    """
    for module in model.modules():
        module.training = not (_is_of_torch(module) or isinstance(module, _BatchNorm))
    try:
        yield
    finally:
        model.train()
