"""AccumulationCheck: is the gradient of a batch that of its micro-batches, put together?

Every gradient is taken of a fresh model with the same weights, near the initial ones (a bit moved,
so that layers of zeros do not hide what comes before them), by a real backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.measurements.batch_gradient import flat_gradient
from batchlab.measurements.coupled_layer import first_coupled_layer
from batchlab.measurements.gradient_mixture import is_mixture, is_multiple
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything
from batchlab.records.accumulation import Accumulation, Finding
from batchlab.records.gradient_sample import GradientSample
from batchlab.training.batching import derived_seed, examples_at, mapped, n_examples, on_device
from batchlab.training.evaluator import weight_of
from batchlab.workload.definition import Batch, Workload, size_of
from batchlab.workload.error_place import told
from batchlab.workload.keyed_order import first_shuffled

_EXAMPLES = 6
# How far the weights are moved, in standard deviations of each tensor (of 1 where it is all alike).
_MOVED = 0.05
_EXACT = 1e-7
# Where the model rounds inside (to bfloat16, say), even a factor changes its gradient by a grain.
# What is less than some of these is rounding; what is more than the largest of them is none.
_GRAINS, _LARGEST_GRAIN = 10.0, 0.01
# Where nothing can be compared draw by draw, the means of so many draws are; a difference counts
# from so many half intervals (95 %) on, and from this fraction of the gradient.
_DRAWS, _SURE, _LEAST_APART = 40, 2.0, 0.02
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
                f"workload {workload.name!r}: its loss on {_EXAMPLES} training examples raised "
                f"{told(error)}"
            ) from error
    if not bool(torch.isfinite(whole).all()):
        raise WorkloadError(
            f"workload {workload.name!r}: the gradient of its loss on {_EXAMPLES} training "
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
        chosen = first_shuffled(n, _EXAMPLES, seed=derived_seed("accumulation examples"))
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
        allowed = max(own, _GRAINS * self.grain)
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
                for draw in range(1, _DRAWS + 1)
            ]
        ).double()
        products = apart @ apart.T
        found = noise_scale(
            GradientSample(
                n_train=None,
                unit_examples=1,
                block_examples=(1,) * _DRAWS,
                unit_sq=tuple(products.diagonal().tolist()),
                products=tuple(map(tuple, products.tolist())),
            )
        ).grad_sq
        if found.estimate is None or found.low is None:
            return
        size = float(torch.linalg.vector_norm(self.whole().double()))
        is_sure = found.estimate > _SURE * (found.estimate - found.low)
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
