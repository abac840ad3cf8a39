"""Is a loss the mean over its examples, and is a batch's gradient that of its micro-batches."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from batchlab.errors import WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.examples import FewExamples, asking, evaluating
from batchlab.measure.gradients import flat_gradient
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything
from batchlab.records.noise import GradientSample
from batchlab.records.study import Accumulation, Finding, RunnableSizes
from batchlab.training.batching import derived_seed, examples_at, mapped, n_examples, on_device
from batchlab.training.evaluator import loss_without_gradients, weight_of
from batchlab.workload.data import shuffled
from batchlab.workload.definition import Batch, Workload, size_of
from batchlab.workload.source import told


def is_multiple(one: Tensor, other: Tensor) -> bool:
    """Whether the second is the first times a number."""
    size = torch.linalg.vector_norm(one.double()) * torch.linalg.vector_norm(other.double())
    return bool((one.double() @ other.double()).abs() >= (1 - 1e-9) * size) and bool(size > 0)


def is_mixture(parts: list[Tensor], whole: Tensor) -> bool:
    """Whether the whole is a mixture of the parts, with weights above 0 that add up to 1."""
    columns = torch.stack([part.double() for part in parts], dim=1)
    solved = torch.linalg.lstsq(columns, whole.double().unsqueeze(1)).solution.squeeze(1)
    far = torch.linalg.vector_norm(columns @ solved - whole.double())
    fits = bool(far <= 1e-6 * torch.linalg.vector_norm(whole.double()))
    above = bool((solved > 1e-4).all())  # of the hardest example alone, the other part has none
    return fits and above and math.isclose(float(solved.sum()), 1, rel_tol=1e-4)


# A mean in float32 differs by rounding from that of its parts; a coarse one by some of its grains.
_LEAST = 1e-3
_GRAINS = 8


class _Seen(TorchFunctionMode):
    """Notes the coarsest floating numbers that any function of torch gives, autocast's too."""

    def __init__(self) -> None:
        super().__init__()
        self.grain = 0.0

    def note(self, value: object) -> None:
        if isinstance(value, Tensor) and value.dtype.is_floating_point:
            self.grain = max(self.grain, torch.finfo(value.dtype).eps)
        elif isinstance(value, (tuple, list)):
            for part in value:
                self.note(part)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.note(found)
        return found


def rounding_of(model: nn.Module, compute: Callable[[], object]) -> float:
    """How far rounding may move a loss, as a fraction of it.

    Args:
        model: its parameters may be coarser than what its functions show.
        compute: computes the loss.

    Returns:
        1e-3, or eight grains of the coarsest dtype seen where that is more (bfloat16: 0.06).
    """
    seen = _Seen()
    with seen:
        seen.note(compute())
    seen.note(list(model.parameters()))
    return max(_LEAST, _GRAINS * seen.grain)


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
class _LossCheckSeen:
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
        seen = _LossCheckSeen(
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

    def _is_sum(self, seen: _LossCheckSeen, n_draws: int) -> bool:
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

    def _judged(self, seen: _LossCheckSeen, *, grows: bool) -> LossSeen:
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


_TOLERANCE = 1e-5


def first_coupled_layer(
    workload: Workload, make: Callable[[], nn.Module], batch: Callable[[slice], Batch]
) -> str | None:
    """The name of the first layer, in the order in which they end, that couples examples.

    Args:
        workload: whose loss runs the model.
        make: a fresh model with the same weights each time.
        batch: a part of the same examples each time.

    Returns:
        Its name and class; None: no layer does, or the layers cannot be compared.
    """
    n = n_examples(batch(slice(None)))
    half = n // 2
    whole = _outputs(workload, make(), batch(slice(None)))
    first, second = (
        _outputs(workload, make(), batch(cut)) for cut in (slice(half), slice(half, n))
    )
    for name, outputs in whole.items():
        parts = [found.get(name, []) for found in (first, second)]
        if any(len(part) != len(outputs) for part in parts):
            return None
        for of_whole, *of_parts in zip(outputs, *parts, strict=True):
            lengths = [len(of_whole), *map(len, of_parts)]
            if lengths != [n, half, n - half]:
                continue  # its first dimension is not that of the examples
            together = torch.cat(of_parts)
            if together.shape == of_whole.shape and not _close(together, of_whole):
                return name
    return None


def _close(one: Tensor, other: Tensor) -> bool:
    far = torch.linalg.vector_norm((one - other).double())
    return bool(far <= _TOLERANCE * torch.linalg.vector_norm(other.double()))


def _outputs(workload: Workload, model: nn.Module, batch: Batch) -> dict[str, list[Tensor]]:
    """What each layer gave, by name, in the order in which they ended."""
    found: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim:
                found.setdefault(name, []).append(output.detach().clone())

        return hook

    hooks = [
        module.register_forward_hook(
            keep(f"{name} ({type(module).__name__})" if name else type(module).__name__)
        )
        for name, module in model.named_modules()
    ]
    seed_everything(0)
    try:
        with torch.no_grad():
            workload.loss(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


_N_CHECKED = 6
# How far the weights are moved, in standard deviations of each tensor (of 1 where it is all alike).
_MOVED = 0.05
_EXACT = 1e-7
# Where the model rounds inside (to bfloat16, say), even a factor changes its gradient by a grain.
# What is less than some of these is rounding; what is more than the largest of them is none.
_GRADIENT_GRAINS, _LARGEST_GRAIN = 10.0, 0.01
# Where nothing can be compared draw by draw, the means of so many draws are; a difference counts
# from so many half intervals (95 %) on, and from this fraction of the gradient.
_GRADIENT_DRAWS, _GRADIENT_SURE, _LEAST_APART = 40, 2.0, 0.02
_OWN = {torch.float64: 1e-7, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}


def check_accumulation(line: Line, packed: PackedWorkload, device: str) -> Accumulation:
    """Compare the gradient of a batch with that of its pieces, and name what makes them differ.

    Args:
        line: the connection to the parent, unused.
        packed: the workload.
        device: the PyTorch device.

    Raises:
        WorkloadError: the model does not take its own examples; the message says why.
    """
    return accumulation_of(packed.unpack(), torch.device(device))


def accumulation_of(workload: Workload, device: torch.device) -> Accumulation:
    """The same in this process, whose random streams it uses."""
    check = _Check(workload, device, in_double=True)
    try:
        whole = check.whole()
    except Exception:  # a model with a precision of its own inside takes no other
        check = _Check(workload, device, in_double=False)
        try:
            whole = check.whole()
        except Exception as error:
            raise WorkloadError(
                f"workload {workload.name!r}: its loss on {_N_CHECKED} training examples raised "
                f"{told(error)}"
            ) from error
    if not bool(torch.isfinite(whole).all()):
        raise WorkloadError(
            f"workload {workload.name!r}: the gradient of its loss on {_N_CHECKED} training "
            f"examples is not finite near the initial weights; look at the data and the loss"
        )
    return check.run()


@dataclass(kw_only=True, slots=True)
class _Still:
    """What is switched off, because it was found and would hide the rest."""

    random_layers: bool = False
    batch_norm: bool = False
    augment: bool = False


@dataclass(slots=True)
class _Check:
    workload: Workload
    device: torch.device
    in_double: bool
    still: _Still = field(default_factory=_Still)
    findings: list[Finding] = field(default_factory=list)
    grain: float = 0.0

    def run(self) -> Accumulation:
        """Look for one cause after the other; each that is found is switched off for the next."""
        self._look_for_writing()
        self._look_for_batch_norm()
        draws = self._look_for_draws()
        self.grain = self._found_grain()
        self._look_for_state()
        self._look_for_hooks()
        if draws:
            self._look_for_parts_on_average()
        else:
            self._look_for_parts()
        return Accumulation(
            workload=self.workload.name,
            n_examples=n_examples(self._batch()),
            in_double=self.in_double,
            rounding=None if self.findings else self._rounding(),
            findings=tuple(self.findings),
        )

    # The gradients.

    def whole(self, *, seed: int = 0, factor: float = 1.0) -> Tensor:
        """The gradient of the whole batch."""
        return self._gradient(self._batch(), seed=seed, factor=factor)

    def _gradient(
        self, batch: Batch, *, model: nn.Module | None = None, seed: int = 0, factor: float = 1.0
    ) -> Tensor:
        model = self._model() if model is None else model
        seed_everything(derived_seed("accumulation", seed))
        if self.workload.augment is not None and not self.still.augment:
            batch = self.workload.augment(batch)
        for part in model.parameters():
            part.grad = None
        (self.workload.loss(model, batch) * factor).backward()
        parameters = [part for part in model.parameters() if part.requires_grad]
        return flat_gradient([part.grad for part in parameters], parameters)

    def _put_together(self, cuts: list[slice], *, seed: int = 0) -> Tensor:
        """The gradient as micro-batches accumulate it, each by its weight.

        With another seed than 0 each micro-batch draws its own random numbers.
        """
        parts = [self._batch(cut) for cut in cuts]
        weights = [weight_of(self.workload, part) for part in parts]
        total = sum(weights)
        found = [
            self._gradient(part, seed=seed and seed + index) * (weight / total)
            for index, (part, weight) in enumerate(zip(parts, weights, strict=True))
            if weight
        ]
        return torch.stack(found).sum(dim=0)

    def _model(self) -> nn.Module:
        seed_everything(derived_seed("accumulation model"))
        model = self.workload.model()
        with torch.no_grad():
            for part in model.parameters():
                if part.requires_grad and part.is_floating_point():
                    spread = part.std() if part.numel() > 1 else part.abs().sum()
                    scale = float(spread) or 1.0
                    part.add_(_MOVED * scale * torch.randn(part.shape).to(part))
        model.to(self.device).train()
        if self.in_double:
            model.double()
        for module in model.modules():
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if self.still.batch_norm if is_norm else self.still.random_layers:
                module.training = False
        return model

    def _batch(self, cut: slice = slice(None)) -> Batch:
        """Training examples from all over the set, the same each time, in memory of their own."""
        n = size_of(self.workload.train)
        chosen = shuffled(n, seed=derived_seed("accumulation examples"))[:_N_CHECKED]
        seed_everything(derived_seed("accumulation fetch"))
        batch = on_device(examples_at(self.workload, chosen), self.device)
        if self.in_double:
            batch = mapped(batch, lambda part: part.double() if part.is_floating_point() else part)
        return mapped(batch, lambda part: part[cut].clone())

    def _halves(self) -> list[slice]:
        half = n_examples(self._batch()) // 2
        return [slice(half), slice(half, None)]

    def _ragged(self) -> list[slice]:
        """Two pieces, the second about half as large as the first."""
        n = n_examples(self._batch())
        return [slice(0, n - n // 3), slice(n - n // 3, n)]

    def _found_grain(self) -> float:
        """How far the gradient of three times the loss is from three times the gradient."""
        off = self._is_off(self.whole(factor=3.0) / 3, self.whole())
        return 0.0 if off is None or off > _LARGEST_GRAIN else off

    def _is_off(self, one: Tensor, other: Tensor) -> float | None:
        """How far the gradients lie apart, over the second; None: they are the same."""
        far = float(torch.linalg.vector_norm((one - other).double()))
        size = float(torch.linalg.vector_norm(other.double()))
        own = _EXACT if self.in_double else _OWN.get(_dtype(self._model()), _EXACT)
        allowed = max(own, _GRADIENT_GRAINS * self.grain)
        if far <= allowed * size or far == 0:
            return None
        return far / size if size > 0 and math.isfinite(far) else math.inf

    def _add(self, cause: str, where: str, size: float | None, *, by_chance: bool = False) -> None:
        if size is not None and not math.isfinite(size):
            size = None
        self.findings.append(Finding(cause=cause, where=where, size=size, by_chance=by_chance))

    # The causes.

    def _look_for_writing(self) -> None:
        batch, before = self._batch(), self._batch()
        self._gradient(batch)
        if not _same(batch, before):
            self._add("writes_into_batch", "`loss`, `model` or `augment`", None)

    def _look_for_batch_norm(self) -> None:
        names = _named_layers(
            self._model(),
            lambda layer: isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training,
        )
        if not names:
            return
        try:
            size = self._is_off(self._put_together(self._halves()), self.whole())
        except Exception:  # fewer examples than it takes
            size = math.inf
        if size is not None:
            self._add("batch_norm", names, size)
            self.still.batch_norm = True

    def _look_for_draws(self) -> bool:
        """Whether random numbers are drawn that cannot be switched off."""
        size = self._draws()
        if size is None:
            return False
        layers = _named_layers(self._model(), _draws_in)
        self.still.random_layers = True
        if self._draws() is None:
            self._add("dropout", layers or "`model`", size, by_chance=True)
            return False
        self.still.random_layers = False
        if self.workload.augment is not None:
            self.still.augment = True
            if self._draws() is None:
                self._add("random_augment", "`augment`", size, by_chance=True)
                return False
            self.still.augment = False
        self._add("random_loss", "`loss`", size, by_chance=True)
        return True

    def _draws(self) -> float | None:
        return self._is_off(self.whole(seed=1), self.whole(seed=0))

    def _look_for_state(self) -> None:
        model = self._model()
        first = self._gradient(self._batch(), model=model)
        size = self._is_off(self._gradient(self._batch(), model=model), first)
        if size is not None:
            fresh = dict(self._model().named_buffers())
            changed = [
                name
                for name, value in model.named_buffers()
                if name in fresh and not torch.equal(value, fresh[name])
            ]
            self._add("state", ", ".join(changed) or "`model` or `loss`", size)

    def _look_for_hooks(self) -> None:
        size = self._is_off(2 * self.whole(factor=0.5), self.whole())
        if size is not None:
            hooked = [
                name
                for name, part in self._model().named_parameters()
                if part._backward_hooks or getattr(part, "_post_accumulate_grad_hooks", None)
            ]
            self._add("gradient_hook", ", ".join(hooked) or "`loss` or `model`", size)

    def _look_for_parts(self) -> None:
        """Whether the loss is a mean over examples, each by its weight."""
        if any(finding.cause == "gradient_hook" for finding in self.findings):
            return  # nothing that is added up could be compared
        whole, ragged = self.whole(), self._ragged()
        off = self._is_off(self._put_together(ragged), whole)
        singles = self._singles()
        apart = None if singles is None else self._is_off(singles, whole)
        if off is None and apart is None:
            return
        size = apart if off is None else off
        self._add(*self._named(whole, ragged), size)

    def _look_for_parts_on_average(self) -> None:
        """Whether what random draws leave of a difference is more than chance."""
        cuts = self._ragged()
        apart = torch.stack(
            [
                self._put_together(cuts, seed=4 * draw) - self.whole(seed=4 * draw + 3)
                for draw in range(1, _GRADIENT_DRAWS + 1)
            ]
        ).double()
        products = apart @ apart.T
        found = noise_scale(
            GradientSample(
                n_train=None,
                unit_examples=1,
                block_examples=(1,) * _GRADIENT_DRAWS,
                unit_sq=tuple(products.diagonal().tolist()),
                products=tuple(map(tuple, products.tolist())),
            )
        ).grad_sq
        if found.estimate is None or found.low is None:
            return
        size = float(torch.linalg.vector_norm(self.whole().double()))
        is_sure = found.estimate > _GRADIENT_SURE * (found.estimate - found.low)
        if is_sure and found.estimate**0.5 > _LEAST_APART * size:
            self._add("differs_on_average", "`loss`", found.estimate**0.5 / size)

    def _singles(self) -> Tensor | None:
        """The gradients of single examples put together; None: the model takes no single one."""
        n = n_examples(self._batch())
        try:
            return self._put_together([slice(index, index + 1) for index in range(n)])
        except Exception:
            return None

    def _named(self, whole: Tensor, ragged: list[slice]) -> tuple[str, str]:
        """The cause and the place of gradients that do not add up."""
        if self.workload.augment is not None and not self.still.augment:
            self.still.augment = True
            plain = self._is_off(self._put_together(ragged), self.whole())
            self.still.augment = False
            if plain is None:
                return "coupled", "`augment`"
        layer = first_coupled_layer(self.workload, self._model, self._batch)
        if layer is not None:
            return "coupled", layer
        if self.workload.weight is not None and not self._weight_adds_up():
            return "weight_not_additive", "`weight`"
        parts = [self._batch(cut) for cut in ragged]
        found = [self._gradient(part) for part in parts]
        shares = [n_examples(part) / n_examples(self._batch()) for part in parts]
        mean = sum(share * part for share, part in zip(shares, found, strict=True))
        assert isinstance(mean, Tensor)
        if self._is_off(found[0] + found[1], whole) is None:
            return "sum", "`loss`"
        if self.workload.weight is not None and self._is_off(mean, whole) is None:
            return "wrong_weight", "`weight`"
        is_even = n_examples(self._batch()) % 2 == 0
        if is_even and is_multiple(self._put_together(self._halves()), whole):
            return "scaled_by_batch_size", "`loss`"
        if is_mixture(found, whole):
            if self.workload.weight is None:
                return "unlike_weights", "`loss`"
            return "wrong_weight", "`weight`"
        return "coupled", "`loss`"

    def _weight_adds_up(self) -> bool:
        n = n_examples(self._batch())
        parts = [weight_of(self.workload, self._batch(slice(i, i + 1))) for i in range(n)]
        whole = weight_of(self.workload, self._batch())
        return math.isclose(sum(parts), whole, rel_tol=1e-6)

    def _rounding(self) -> float:
        """How far it is off in the workload's own precision."""
        own = _Check(self.workload, self.device, in_double=False, still=self.still)
        whole, pieces = own.whole(), own._put_together(self._halves())
        far = torch.linalg.vector_norm((pieces - whole).double())
        return float(far / torch.linalg.vector_norm(whole.double()))


def _dtype(model: nn.Module) -> torch.dtype:
    return next(part.dtype for part in model.parameters())


def _named_layers(model: nn.Module, is_meant: Callable[[nn.Module], bool]) -> str:
    """The names and kinds of a model's layers; empty where there is none."""
    return ", ".join(
        f"{name} ({type(layer).__name__})"
        for name, layer in model.named_modules()
        if is_meant(layer)
    )


def _draws_in(module: nn.Module) -> bool:
    return (
        module.training
        and isinstance(
            module, nn.modules.dropout._DropoutNd | nn.RReLU | nn.MultiheadAttention | nn.RNNBase
        )
        and (getattr(module, "p", None) or getattr(module, "dropout", 0.0) or 0) != 0
    )


def _same(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(
            a.nan_to_num() if a.is_floating_point() else a,
            b.nan_to_num() if b.is_floating_point() else b,
        )
        for a, b in zip(_tensors(one), _tensors(other), strict=True)
    )


def _tensors(batch: Batch) -> Iterator[Tensor]:
    found: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        found.append(part)
        return part

    mapped(batch, keep)
    return iter(found)
