"""Are a batch's loss and gradient those of its pieces put together, and if not, why?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.errors import WorkloadError
from batchlab.laws.scatter import mean_interval
from batchlab.measure.examples import FewExamples, asking, evaluating
from batchlab.measure.gradients import flat_gradient
from batchlab.processes.children import Line
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything
from batchlab.records.study import ANY_SIZE, Accumulation, Finding, RunnableSizes
from batchlab.training.batching import (
    derived_seed,
    examples_at,
    n_examples,
    on_device,
    with_tensors,
)
from batchlab.training.evaluator import weight_of
from batchlab.workload.data import shuffled
from batchlab.workload.definition import Batch, Workload, size_of
from batchlab.workload.source import told

_N_ACCUMULATED = 6
_N_LOOKED_AT = 8  # enough to tell a sum from a mean, few enough for any model
# How often those are halved: as they come, then at random, for classes that meet in no half.
_HALVINGS, _HALVINGS_OF_RANDOM = 4, 2
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
    check = _Accumulated(workload, device, in_double=True)
    try:
        whole = check.whole()
    except Exception:  # a model with a precision of its own inside takes no other
        check = _Accumulated(workload, device, in_double=False)
        try:
            whole = check.whole()
        except Exception as error:
            raise WorkloadError(
                f"workload {workload.name!r}: its loss on {_N_ACCUMULATED} training examples "
                f"raised {told(error)}"
            ) from error
    if not bool(torch.isfinite(whole).all()):
        raise WorkloadError(
            f"workload {workload.name!r}: the gradient of its loss on {_N_ACCUMULATED} training "
            f"examples is not finite near the initial weights; look at the data and the loss"
        )
    return check.run()


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSeen:
    """What the loss looks like on a few examples.

    Attributes:
        warnings: what is odd, in words.
        couples: whether it is no mean over single examples, in eval mode.
        couples_in_training: whether it is no mean in train mode only, by a layer that is not
            BatchNorm.
    """

    warnings: tuple[str, ...] = ()
    couples: bool = False
    couples_in_training: bool = False


def look_at_loss(
    workload: Workload, model: nn.Module, device: torch.device, sizes: RunnableSizes = ANY_SIZE
) -> LossSeen:
    """Compare the loss of a few examples with that of their halves, in evaluation and in training.

    Raises:
        WorkloadError: it is no scalar, has no gradient, or is a sum over the batch.
    """
    if workload.loss is None:  # its own step has one, of whatever it likes
        return LossSeen()
    look = _LookedAt(workload, device, False, model, sizes)
    with evaluating(model):
        seed_everything(0)
        batch = look.batch(look.all)
        with asking(workload, "`loss`"):
            loss = workload.loss(model, batch)
    _check_loss(workload, loss)
    if not math.isfinite(loss.item()):
        warning = f"the untrained model's loss on the first examples is {loss.item():g}"
        return LossSeen(warnings=(warning,))
    _move(model)
    try:
        with asking(workload, "the gradient of `loss`"):
            found = look.finding()
            if found is not None:
                return _what_is_found(look, *found)
        if all(_is_of_torch(module) for module in model.modules()):
            return LossSeen()
        look.own_layers_train = True
        # In eval mode it is a mean, so that its weights are known: a mixture is none of units.
        with suppress(WorkloadError), asking(workload, "`loss` in training"):
            return LossSeen(couples_in_training=look.finding() is not None)
    except Exception as error:
        if not is_out_of_memory(error):  # what fits is for the profile to find
            raise
    finally:
        model.train()
    return LossSeen()


def _what_is_found(look: _LookedAt, cause: str, where: str) -> LossSeen:
    name, n = look.workload.name, len(look.all)
    if cause == "sum":
        raise WorkloadError(
            f"workload {name!r}: its loss is a sum over the batch ({look.loss():.4g} for {n} "
            f"examples, {look.loss(copies=2):.4g} for the same examples twice); expected the mean "
            f"(divide by the number of examples), else the learning rate means something else at "
            f"every batch size"
        )
    couples = cause not in _OTHER_WEIGHTS
    warning = (
        f"the loss couples examples: the gradient of {n} of them is not that of their halves put "
        f"together ({where}); micro-batches then train on another loss than the whole batch (if "
        f"it is a mean over tokens or weights, `weight` can say so)"
    )
    return LossSeen(warnings=(warning,), couples=couples)


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


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


@dataclass(slots=True)
class _Compared:
    """Gradients of a few examples, whole and in pieces."""

    workload: Workload
    device: torch.device
    in_double: bool
    augments: bool = field(default=True, kw_only=True)
    grain: float = field(default=0.0, kw_only=True)

    def model(self) -> nn.Module:
        """One with the same weights each time."""
        raise NotImplementedError

    def batch(self, places: Sequence[int]) -> Batch:
        """The same examples each time."""
        raise NotImplementedError

    @property
    def all(self) -> list[int]:
        """The places of all examples."""
        raise NotImplementedError

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
        """The gradient as micro-batches accumulate it, each by its weight.

        With another seed than 0 each micro-batch draws its own random numbers.
        """
        parts = [self.batch(places) for places in cut]
        weights = [weight_of(self.workload, part) for part in parts]
        found = [
            self.gradient(part, seed=seed and seed + index) * (weight / sum(weights))
            for index, (part, weight) in enumerate(zip(parts, weights, strict=True))
            if weight
        ]
        return torch.stack(found).sum(dim=0)

    def found_grain(self, whole: Tensor) -> float:
        """How far the gradient of three times the loss is from three times the gradient."""
        off = self.is_off(self.whole(factor=3.0) / 3, whole)
        return 0.0 if off is None or off > _LARGEST_GRAIN else off

    @property
    def rounding(self) -> float:
        """What two gradients may lie apart, over one of them."""
        dtype = next(part.dtype for part in self.model().parameters())
        own = _EXACT if self.in_double else _OWN.get(dtype, _EXACT)
        return max(own, _GRAINS * self.grain)

    def is_off(self, one: Tensor, other: Tensor) -> float | None:
        """How far the gradients lie apart, over the second; None: they are the same."""
        far = float(torch.linalg.vector_norm((one - other).double()))
        size = float(torch.linalg.vector_norm(other.double()))
        if far <= self.rounding * size or far == 0:
            return None
        return far / size if size > 0 and math.isfinite(far) else math.inf

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
        whole, parts = drawn[:, 0], drawn[:, 1:]
        apart = mean_interval((parts @ weights / weights.sum() - whole).tolist())
        if apart.estimate is None or apart.low is None:
            return None
        size = abs(apart.estimate)
        if size <= max(
            _SURE * (apart.estimate - apart.low), _LEAST_APART * float(whole.mean().abs())
        ):
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
        if self.workload.weight is not None and not self._weight_adds_up():
            return "weight_not_additive", "`weight`"
        parts = [self.batch(places) for places in cut]
        found = [self.gradient(part) for part in parts]
        n = n_examples(self.batch(self.all))
        if self.is_off(torch.stack(found).sum(dim=0), whole) is None or self.is_sum():
            return "sum", "`loss`"
        if self.workload.weight is not None:
            shares = torch.tensor([n_examples(part) / n for part in parts]).to(whole)
            if self.is_off((shares @ torch.stack(found)), whole) is None:
                return "wrong_weight", "`weight`"
        even = cut if len(cut[0]) == len(cut[1]) else _halves(self.all)
        if n % 2 == 0 and _is_multiple(self.together(even), whole, self.rounding):
            return "scaled_by_batch_size", "`loss`"
        if _is_mixture(found, whole, self.rounding):
            if self.workload.weight is None:
                return "unlike_weights", "`loss`"
            return "wrong_weight", "`weight`"
        return "coupled", "`loss`"

    def loss(self, *, copies: int = 1) -> float:
        """The mean loss of all examples, each so often, over as many draws as tell."""
        batch = self.batch(list(self.all) * copies)
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
        whole, *pieces = (self._outputs(part) for part in (places, *cut))
        for name, outputs in whole.items():
            parts = [found.get(name, []) for found in pieces]
            if any(len(part) != len(outputs) for part in parts):
                return None
            for of_whole, *of_parts in zip(outputs, *parts, strict=True):
                if [len(of_whole), *map(len, of_parts)] != [len(places), *map(len, cut)]:
                    continue  # its first dimension is not that of the examples
                joined, allowed = torch.cat(of_parts), max(_LAYER_TOLERANCE, self.rounding)
                if joined.shape != of_whole.shape:
                    continue
                far = torch.linalg.vector_norm((joined - of_whole).double())
                if far > allowed * torch.linalg.vector_norm(of_whole.double()):
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
            module.register_forward_hook(
                keep(f"{name} ({type(module).__name__})" if name else type(module).__name__)
            )
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


def _halves(places: Sequence[int]) -> list[Sequence[int]]:
    half = len(places) // 2
    return [places[:half], places[half:]]


def _is_multiple(one: Tensor, other: Tensor, within: float) -> bool:
    """Whether the second is the first times a number."""
    size = torch.linalg.vector_norm(one.double()) * torch.linalg.vector_norm(other.double())
    near = (one.double() @ other.double()).abs() >= (1 - max(1e-9, within**2)) * size
    return bool(near) and bool(size > 0)


def _is_mixture(parts: Sequence[Tensor], whole: Tensor, within: float) -> bool:
    """Whether the whole is a mixture of the parts, with weights above 0 that add up to 1."""
    columns = torch.stack([part.double() for part in parts], dim=1).cpu()
    solved = torch.linalg.lstsq(columns, whole.double().cpu().unsqueeze(1)).solution.squeeze(1)
    far = torch.linalg.vector_norm(columns @ solved - whole.double().cpu())
    fits = bool(far <= max(1e-6, within) * torch.linalg.vector_norm(whole.double()).cpu())
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


@dataclass(slots=True)
class _LookedAt(_Compared):
    """A few examples and one model in evaluation, or with the layers of the user's own in training.

    What torch's layers do in training is known: BatchNorm couples, dropout draws.
    """

    kept: nn.Module
    sizes: RunnableSizes
    n: int = field(init=False)
    examples: FewExamples = field(init=False)
    own_layers_train: bool = False
    evaluated: Tensor | None = None

    def __post_init__(self) -> None:
        self.augments = False
        n_train, half = size_of(self.workload.train), self.sizes.at_once(_N_LOOKED_AT // 2)
        whole = 2 * half if self.sizes.holds(2 * half) and 2 * half <= n_train else 0
        largest = self.sizes.largest_up_to(min(_N_LOOKED_AT, n_train))
        self.n = whole or largest or min(self.sizes.least, n_train)
        self.examples = FewExamples(self.workload, self.n)

    @property
    def all(self) -> list[int]:
        return list(range(self.n))

    def batch(self, places: Sequence[int]) -> Batch:
        return on_device(self.examples.batch(places), self.device)

    def model(self) -> nn.Module:
        for module in self.kept.modules():
            is_own = not (_is_of_torch(module) or isinstance(module, _BatchNorm))
            module.training = self.own_layers_train and is_own
        return self.kept

    def finding(self) -> tuple[str, str] | None:
        """Why the loss is no mean over single examples, and where; None: it is one."""
        whole = self.whole()
        if self.evaluated is None:
            self.evaluated = whole
            self.grain = self.found_grain(whole)
        elif self.is_off(whole, self.evaluated) is None:
            return None  # in training they do what they do in evaluation
        if self.is_off(self.whole(seed=1), whole) is not None:
            cuts = self._halvings()
            if cuts and all(self._is_mean_of_the_same_draws(cut) for cut in cuts):
                return None
            causes = filter(None, map(self.off_on_average, cuts[:_HALVINGS_OF_RANDOM]))
            cause = next(causes, None)
            if cause is None:
                return None
            return ("sum" if self.is_sum() else cause), "`loss`"
        for cut in self._halvings():
            try:
                found = self.together(cut)
            except Exception:  # it needs what a part may not have, two classes
                continue
            if bool(torch.isfinite(found).all()) and self.is_off(found, whole) is not None:
                return ("sum", "`loss`") if self.is_sum() else self.named(cut, whole)
        if self._halvings() or not self.sizes.holds(2 * self.n):
            return None
        if self.is_off(self.gradient(self.batch(self.all * 2)), whole) is None:
            return None
        return ("sum" if self.is_sum() else "coupled"), "`loss`"

    def _halvings(self) -> list[Cut]:
        """The examples in two halves as they come, then in random ones.

        Those that a model takes together (pairs) stay together.
        """
        half, group = self.n // 2, self.sizes.multiple_of
        if not (half and self.sizes.holds(half) and self.sizes.holds(self.n - half)):
            return []
        draws, starts = random.Random(0), range(0, self.n, group)
        orders = [starts, *(draws.sample(starts, len(starts)) for _ in range(_HALVINGS - 1))]
        return [_halves([start + at for start in order for at in range(group)]) for order in orders]

    def _is_mean_of_the_same_draws(self, cut: Cut) -> bool:
        """Whether halves that draw one after the other give the whole batch's gradient: a proof.

        Noise of one draw an example falls on the same examples then; other noise need not.
        """
        try:
            whole = self.gradient(self.batch([place for part in cut for place in part]))
            seed_everything(derived_seed("accumulation", 0))
            return self.is_off(self.together(cut, seed=None), whole) is None
        except Exception:  # it needs what a part may not have
            return False


@dataclass(slots=True)
class _Accumulated(_Compared):
    """A few examples from all over the training set, and a fresh model for each gradient.

    What is found and would hide the rest is switched off: random layers, batch normalization,
    augmentation.
    """

    findings: list[Finding] = field(default_factory=list)
    still_layers: bool = False
    still_norms: bool = False

    def run(self) -> Accumulation:
        """Look for one cause after the other; each that is found is switched off for the next."""
        self._look_for_writing()
        self._look_for_batch_norm()
        draws = self._look_for_draws()
        self.grain = self.found_grain(self.whole())
        self._look_for_state()
        self._look_for_hooks()
        if draws:
            if self.off_on_average(self._ragged()) is not None:
                self._add("differs_on_average", "`loss`", None)
        else:
            self._look_for_parts()
        return Accumulation(
            workload=self.workload.name,
            n_examples=len(self.all),
            in_double=self.in_double,
            rounding=None if self.findings else self._rounding(),
            findings=tuple(self.findings),
        )

    @property
    def all(self) -> list[int]:
        return list(range(n_examples(self._fetched())))

    def model(self) -> nn.Module:
        seed_everything(derived_seed("accumulation model"))
        model = self.workload.model()
        _move(model)
        model.to(self.device).train()
        if self.in_double:
            model.double()
        for module in model.modules():
            if self.still_norms if isinstance(module, _BatchNorm) else self.still_layers:
                module.training = False
        return model

    def batch(self, places: Sequence[int]) -> Batch:
        """In memory of their own."""
        return with_tensors(self._fetched(), lambda part: part[list(places)])

    def _fetched(self) -> Batch:
        n = size_of(self.workload.train)
        chosen = shuffled(n, seed=derived_seed("accumulation examples"))[:_N_ACCUMULATED]
        seed_everything(derived_seed("accumulation fetch"))
        batch = on_device(examples_at(self.workload, chosen), self.device)
        if not self.in_double:
            return batch
        return with_tensors(batch, lambda part: part.double() if part.is_floating_point() else part)

    def _ragged(self) -> Cut:
        """Two pieces, the second about half as large as the first."""
        places = self.all
        first = len(places) - len(places) // 3
        return [places[:first], places[first:]]

    def _add(self, cause: str, where: str, size: float | None, *, by_chance: bool = False) -> None:
        if size is not None and not math.isfinite(size):
            size = None
        self.findings.append(Finding(cause=cause, where=where, size=size, by_chance=by_chance))

    def _look_for_writing(self) -> None:
        batch, before = self.batch(self.all), self.batch(self.all)
        self.gradient(batch)
        pairs = zip(_tensors(batch), _tensors(before), strict=True)
        if not all(torch.equal(one, other) for one, other in pairs):
            self._add("writes_into_batch", "`loss`, `model` or `augment`", None)

    def _look_for_batch_norm(self) -> None:
        names = _named_layers(
            self.model(), lambda layer: isinstance(layer, _BatchNorm) and layer.training
        )
        if not names:
            return
        try:
            size = self.is_off(self.together(_halves(self.all)), self.whole())
        except Exception:  # fewer examples than it takes
            size = math.inf
        if size is not None:
            self._add("batch_norm", names, size)
            self.still_norms = True

    def _look_for_draws(self) -> bool:
        """Whether random numbers are drawn that cannot be switched off."""
        size = self._draws()
        if size is None:
            return False
        layers = _named_layers(self.model(), _draws_in)
        self.still_layers = True
        if self._draws() is None:
            self._add("dropout", layers or "`model`", size, by_chance=True)
            return False
        self.still_layers = False
        if self.workload.augment is not None:
            self.augments = False
            if self._draws() is None:
                self._add("random_augment", "`augment`", size, by_chance=True)
                return False
            self.augments = True
        self._add("random_loss", "`loss`", size, by_chance=True)
        return True

    def _draws(self) -> float | None:
        """How far other random numbers change the gradient; None: not at all."""
        return self.is_off(self.whole(seed=1), self.whole(seed=0))

    def _look_for_state(self) -> None:
        model = self.model()
        first = self.gradient(self.batch(self.all), model=model)
        size = self.is_off(self.gradient(self.batch(self.all), model=model), first)
        if size is not None:
            fresh = dict(self.model().named_buffers())
            changed = [
                name
                for name, value in model.named_buffers()
                if name in fresh and not torch.equal(value, fresh[name])
            ]
            self._add("state", ", ".join(changed) or "`model` or `loss`", size)

    def _look_for_hooks(self) -> None:
        size = self.is_off(2 * self.whole(factor=0.5), self.whole())
        if size is not None:
            hooked = [
                name
                for name, part in self.model().named_parameters()
                if part._backward_hooks or getattr(part, "_post_accumulate_grad_hooks", None)
            ]
            self._add("gradient_hook", ", ".join(hooked) or "`loss` or `model`", size)

    def _look_for_parts(self) -> None:
        """Whether the loss is a mean over examples, each by its weight."""
        if any(finding.cause == "gradient_hook" for finding in self.findings):
            return  # nothing that is added up could be compared
        whole, ragged = self.whole(), self._ragged()
        off = self.is_off(self.together(ragged), whole)
        with suppress(Exception):  # the model takes no single example
            apart = self.is_off(self.together([[place] for place in self.all]), whole)
            off = apart if off is None else off
        if off is not None:
            self._add(*self.named(ragged, whole), off)

    def _rounding(self) -> float:
        """How far it is off in the workload's own precision."""
        own = replace(self, in_double=False, grain=0.0)
        whole, pieces = own.whole(), own.together(_halves(self.all))
        far = torch.linalg.vector_norm((pieces - whole).double())
        return float(far / torch.linalg.vector_norm(whole.double()))


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


def _tensors(batch: Batch) -> Iterator[Tensor]:
    """Each one's numbers, those that are none as 0."""
    found: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        found.append(part.nan_to_num() if part.is_floating_point() else part)
        return part

    with_tensors(batch, keep)
    return iter(found)
