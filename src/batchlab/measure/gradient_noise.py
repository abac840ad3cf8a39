"""Gradients of single examples, their norms and their noise, sampled along a training."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from batchlab.errors import BatchSizeError, WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.laws.scatter import mean_interval
from batchlab.machine import thread_choices
from batchlab.measure.gradients import batch_gradient, flat_gradient, widened
from batchlab.measure.noise import LayerNoise, NoisePoint
from batchlab.processes.children import Line
from batchlab.processes.memory import is_out_of_memory, limit_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.noise import GradientSample, VariancePoint
from batchlab.records.trial import Trial
from batchlab.training.batching import derived_seed, examples_at, mapped, n_examples, on_device
from batchlab.training.evaluator import weight_of
from batchlab.training.stepper import Stepper
from batchlab.workload.data import shuffled
from batchlab.workload.definition import Batch, Workload, size_of

# The input of a layer, and the gradient by its output, each of n examples -> n squared norms.
_Norm = Callable[[nn.Module, Tensor, Tensor], Tensor]


class UnknownLayerError(Exception):
    """A parameter is not one of a layer whose norms are known, or a layer ran more than once."""


def by_layers(workload: Workload, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean gradient of a batch, shape (P,), and each example's squared norm, shape (n,).

    One forward and one backward pass. It is right where every example goes through each layer on
    its own and along its first dimension; who calls it makes sure of that.

    Raises:
        UnknownLayerError: this model has other layers.

    Source: Goodfellow 2015, arXiv:1510.01799, for linear layers; Li et al. 2022, arXiv:2110.05679,
        section 4, for sequences.
    """
    n = n_examples(batch)
    parameters = [part for part in model.parameters() if part.requires_grad]
    with _watched(model) as seen:
        loss = workload.loss(model, batch)
        layers = {id(part) for layer, _, _ in seen for part in own_parameters(layer)}
        if layers != {id(part) for part in parameters}:
            raise UnknownLayerError("a trainable parameter belongs to no layer that ran")
        outputs = [output for _, _, output in seen]
        found = torch.autograd.grad(loss, [*parameters, *outputs], allow_unused=True)
    squares = torch.zeros((), device=loss.device)
    for (layer, value, output), back in zip(seen, found[len(parameters) :], strict=True):
        if len(output) != n or len(value) != n:
            raise UnknownLayerError("a layer's first dimension is not that of the examples")
        if back is not None:
            # The loss is the mean: what comes back holds the n-th part of each example's own.
            squares = squares + squared_norms(layer, value.detach(), back * n)
    return flat_gradient(found[: len(parameters)], parameters), squares


def is_known(layer: nn.Module) -> bool:
    """Whether `squared_norms` is right for a layer of this kind with its options."""
    return type(layer) in _NORMS and _is_usual(layer)


def squared_norms(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    """Squared norms of the gradients of single examples by the layer's own trainable parameters.

    Args:
        layer: one that is known.
        value: what went in, examples first, shape (n, ...).
        back: the gradient of each example's own loss by what came out, shape (n, ...).

    Returns:
        Shape (n,).
    """
    return _NORMS[type(layer)](layer, value, back)


def own_parameters(layer: nn.Module) -> list[nn.Parameter]:
    """The layer's trainable parameters without those of layers inside it."""
    return [part for part in layer.parameters(recurse=False) if part.requires_grad]


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor, Tensor]]]:
    """Context: each layer with trainable parameters, with its input and output, as it runs."""
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    in_place = any(getattr(module, "inplace", False) for module in model.modules())

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if any(layer is other for other, _, _ in seen):
            raise UnknownLayerError("a layer ran more than once")
        seen.append((layer, inputs[0], output))
        # What changes the output in place must not change the one that is watched.
        return output.clone() if in_place else output

    hooks = []
    try:
        for module in model.modules():
            if not own_parameters(module):
                continue
            if not is_known(module):
                raise UnknownLayerError(f"{type(module).__name__} is not known")
            hooks.append(module.register_forward_hook(keep))
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _is_usual(layer: nn.Module) -> bool:
    """Whether its options are those that the norms are right for."""
    if isinstance(layer, nn.Embedding):
        plain = layer.max_norm is None and not layer.scale_grad_by_freq
        return plain and layer.padding_idx is None
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return True


def _linear(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    n = len(value)
    value, back = value.reshape(n, -1, layer.in_features), back.reshape(n, -1, layer.out_features)
    squares = _of_product(value, back) if layer.weight.requires_grad else value.new_zeros(n)
    return squares + _of_bias(layer, back.sum(dim=1))


def _of_product(value: Tensor, back: Tensor) -> Tensor:
    """Squared norms of sum over t of back_t value_t^T; shapes (n, T, i) and (n, T, o)."""
    _, length, n_in = value.shape
    n_out = back.shape[2]
    if length == 1:
        return value.square().sum(dim=(1, 2)) * back.square().sum(dim=(1, 2))
    if length * (n_in + n_out) < n_in * n_out:
        inside, outside = value @ value.transpose(1, 2), back @ back.transpose(1, 2)
        return (inside * outside).sum(dim=(1, 2))
    return (back.transpose(1, 2) @ value).square().sum(dim=(1, 2))


def _of_bias(layer: nn.Module, summed: Tensor) -> Tensor:
    bias = getattr(layer, "bias", None)
    if bias is None or not bias.requires_grad:
        return summed.new_zeros(len(summed))
    return summed.square().sum(dim=1)


def _conv2d(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    n = len(value)
    back = back.flatten(2)
    squares = value.new_zeros(n)
    if layer.weight.requires_grad:
        assert not isinstance(layer.padding, str)
        patches = F.unfold(
            value,
            kernel_size=layer.kernel_size,
            dilation=layer.dilation,
            padding=layer.padding,
            stride=layer.stride,
        )
        grouped = patches.reshape(n * layer.groups, -1, patches.shape[2]).transpose(1, 2)
        apart = back.reshape(n * layer.groups, -1, back.shape[2]).transpose(1, 2)
        squares = _of_product(grouped, apart).reshape(n, -1).sum(dim=1)
    return squares + _of_bias(layer, back.sum(dim=2))


def _embedding(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    n = len(value)
    value, back = value.reshape(n, -1), back.reshape(n, value[0].numel(), -1)
    same = (value.unsqueeze(1) == value.unsqueeze(2)).to(back)
    return (same * (back @ back.transpose(1, 2))).sum(dim=(1, 2))


def _layer_norm(layer: nn.Module, value: Tensor, back: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    shape, n = layer.normalized_shape, len(value)
    normalised = F.layer_norm(value, shape, eps=layer.eps)
    squares = value.new_zeros(n)
    if layer.weight is not None and layer.weight.requires_grad:
        scaled = (normalised * back).reshape(n, -1, layer.weight.numel()).sum(dim=1)
        squares = scaled.square().sum(dim=1)
    return squares + _of_bias(layer, back.reshape(n, -1, layer.weight.numel()).sum(dim=1))


_NORMS: dict[type[nn.Module], _Norm] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
}


# Compared with gradients one by one on so many examples; float32 rounds to 1e-6 of a norm.
_COMPARED = 3
_TOLERANCE = 1e-3
# In half precision by so many of its grains, but never by so much.
_GRAINS, _LARGEST_TOLERANCE = 10.0, 0.05
# What the gradients of all examples of a chunk may take at once.
_CHUNK_BYTES = 2**27

Gradients = tuple[Tensor, Tensor]
"""The mean gradient of a batch, shape (P,), and the squared norm of each example's, shape (n,).

An example's gradient counts by its weight over the batch's mean weight, so that their mean is the
gradient of the batch's loss.
"""

Way = Callable[[Workload, nn.Module, Batch], Gradients]


@dataclass(frozen=True, kw_only=True, slots=True)
class PerExample:
    """How the gradients of single examples are taken for one model.

    Attributes:
        name: "layers", "vmap" or "one by one".
        of: the workload, the model and a batch -> its gradients.
    """

    name: str
    of: Way


def per_example(workload: Workload, model: nn.Module, batch: Batch) -> PerExample | None:
    """The fastest way that gives the gradients of single examples of this model.

    Args:
        workload: whose loss.
        model: left as it is but for its buffers; it should be a copy.
        batch: some training examples; at least two are compared.

    Returns:
        None: an example has no gradient of its own: batch normalization or the loss couples the
        examples of a batch, or the model does not take a single one.
    """
    if _normalises_over_batch(model):
        return None
    few = _sliced(batch, 0, min(_COMPARED, n_examples(batch)))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # without dropout, which draws anew for each way
    try:
        with untouched_randomness():
            return _first_right(workload, model, few)
    finally:
        for module, was_training in modes:
            module.training = was_training


def _first_right(workload: Workload, model: nn.Module, few: Batch) -> PerExample | None:
    try:
        truth = one_by_one(workload, model, few)
        whole = batch_gradient(workload, model, few)
        tolerance = _rounding(workload, model, few, whole)
        if not _agree(whole, truth[0], tolerance):
            return None
    except Exception:  # of the user's own code, which takes no single example
        return None
    for name, way in (("layers", by_layers), ("vmap", by_vmap)):
        try:
            found = way(workload, model, few)
        except Exception:  # it cannot take this model; another way can
            continue
        if all(_agree(*pair, tolerance) for pair in zip(found, truth, strict=True)):
            return PerExample(name=name, of=way)
    return PerExample(name="one by one", of=one_by_one)


def _rounding(workload: Workload, model: nn.Module, few: Batch, whole: Tensor) -> float:
    """How far two ways may lie apart: more where the model computes in half precision.

    There even a factor of 3 changes the gradient by a grain.
    """
    parameters = [part for part in model.parameters() if part.requires_grad]
    loss = 3 * workload.loss(model, few)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    tripled = flat_gradient(found, parameters) / 3
    grain = torch.linalg.vector_norm(tripled - whole) / torch.linalg.vector_norm(whole)
    return min(max(_TOLERANCE, _GRAINS * float(grain)), _LARGEST_TOLERANCE)


def one_by_one(workload: Workload, model: nn.Module, batch: Batch) -> Gradients:
    """One backward pass for each example: slow, and right wherever examples are independent."""
    weights = _weights(workload, batch)
    total = torch.zeros(())
    squares = []
    for index, weight in enumerate(weights):
        if weight == 0:  # without weight it may have no loss, such as 0/0
            squares.append(torch.zeros(()))
            continue
        gradient = batch_gradient(workload, model, _sliced(batch, index, index + 1)) * weight
        squares.append(gradient.square().sum())
        total = total.to(gradient) + gradient
    return total / len(weights), torch.stack([square.to(total) for square in squares])


def by_vmap(workload: Workload, model: nn.Module, batch: Batch) -> Gradients:
    """All examples at once, by `torch.func.vmap` of `torch.func.grad`, chunk by chunk."""
    asked = _Asked(model, workload)
    trained = {name: part.detach() for name, part in asked.named_parameters() if part.requires_grad}
    n_parameters = sum(part.numel() for part in trained.values())

    def loss_of(values: dict[str, Tensor], example: Batch) -> Tensor:
        loss: Tensor = functional_call(
            asked, values, (mapped(example, lambda part: part.unsqueeze(0)),)
        )
        return loss

    of_each = vmap(grad(loss_of), in_dims=(None, 0), randomness="different")
    weights = torch.tensor(_weights(workload, batch))
    n, chunk = len(weights), max(1, _CHUNK_BYTES // (4 * n_parameters))
    total = torch.zeros(())
    squares = []
    for start in range(0, n, chunk):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            found = of_each(trained, _sliced(batch, start, min(start + chunk, n)))
        flat = torch.cat([widened(part).flatten(1) for part in found.values()], dim=1)
        weight = weights[start : start + chunk].to(flat).unsqueeze(1)
        flat = torch.where(weight == 0, 0.0, flat * weight)
        squares.append(flat.square().sum(dim=1))
        total = total.to(flat) + flat.sum(dim=0)
    return total / n, torch.cat(squares)


class _Asked(nn.Module):
    """A workload's loss as a module, so that `functional_call` can put in the weights."""

    def __init__(self, model: nn.Module, workload: Workload) -> None:
        super().__init__()
        self.model = model
        self._loss = workload.loss

    def forward(self, batch: Batch) -> Tensor:
        """The loss of the batch."""
        return self._loss(self.model, batch)


def _weights(workload: Workload, batch: Batch) -> list[float]:
    """Each example's weight over the mean weight."""
    n = n_examples(batch)
    if workload.weight is None:
        return [1.0] * n
    weights = [weight_of(workload, _sliced(batch, index, index + 1)) for index in range(n)]
    return [weight * n / sum(weights) for weight in weights]


def _sliced(batch: Batch, start: int, stop: int) -> Batch:
    return mapped(batch, lambda part: part[start:stop])


def _agree(one: Tensor, other: Tensor, tolerance: float) -> bool:
    scale = torch.linalg.vector_norm(other.double())
    far = torch.linalg.vector_norm(one.double() - other.double())
    return bool(far <= tolerance * scale)


def _normalises_over_batch(model: nn.Module) -> bool:
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        for module in model.modules()
    )


# The gradients of so many blocks are kept, or of as many as fit, at least the fewest.
_MOST_BLOCKS, _FEWEST_BLOCKS = 64, 8
_KEPT_BYTES = 2**29
# Examples of the first blocks, and of one forward and backward pass; with less memory of half.
_FIRST_BLOCK = 16
_PASS_EXAMPLES = 256
# Enough: the interval reaches no further than this fraction of the noise scale either way.
PRECISION = 0.2
# A training set too small for three blocks has no interval.
_FEWEST_EXAMPLES = 3


class GradientNoise:
    """Takes samples of the gradients of one workload's training examples.

    Every sample is taken with a copy of the model in the mode it is in, so that the model, its
    buffers and gradients stay as they are; the global random streams too.
    """

    def __init__(self, workload: Workload, device: torch.device) -> None:
        """Nothing is computed yet.

        Raises:
            WorkloadError: the training set has fewer than three examples.
        """
        self._workload = workload
        self._device = device
        self._n_train = size_of(workload.train)
        self._pass_examples = max(_PASS_EXAMPLES, workload.batch_size)
        self._manner: _Manner | None = None
        if self._n_train < _FEWEST_EXAMPLES:
            raise WorkloadError(
                f"workload {workload.name!r}: its training set has {self._n_train} examples; the "
                f"noise of a gradient takes at least {_FEWEST_EXAMPLES}"
            )

    def sample(
        self,
        model: nn.Module,
        *,
        seed: int,
        optimizer: torch.optim.Optimizer | None = None,
        precision: float = PRECISION,
        per_layer: bool = False,
        most_examples: int | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> NoisePoint:
        """Gradients of training examples at the model's weights, until they tell the noise scale.

        Examples are drawn without replacement, twice as many each time, until the noise scale's
        95 % interval is narrow enough or all examples have been seen.

        Args:
            model: left as it is.
            seed: of which examples come first, and of what the model draws.
            optimizer: for what Adam multiplies gradients with.
            precision: how far the interval may reach either way, a fraction of the noise scale.
            per_layer: whether each trainable parameter is looked at alone too.
            most_examples: it ends there with what has been seen; None: with all of them.
            enough: asked after each block; True ends it with what has been seen.

        Returns:
            The point, with step 0.
        """
        started_s = time.perf_counter()
        with untouched_randomness():
            kept = copy.deepcopy(model)
            manner = self._manner = self._manner or self._found_manner(kept)
            seed_everything(derived_seed("gradient noise", seed))
            order = shuffled(self._n_train, seed=derived_seed("gradient noise", seed))
            order = order[:most_examples]
            # With fewer blocks there is no interval, and with less than one nothing at all.
            unit = min(manner.unit, max(1, len(order) // _FEWEST_BLOCKS))
            blocks = self._seen(kept, order, replace(manner, unit=unit), precision, enough)
        scales = None if optimizer is None else preconditioner(optimizer)
        n_train = None if manner.draws else self._n_train
        return NoisePoint(
            step=0,
            samples=0,
            way=manner.name,
            sample=blocks.sample(n_train),
            rescaled=None if scales is None else blocks.sample(n_train, scales).by_blocks,
            layers=tuple(_layers(model, blocks, n_train)) if per_layer else (),
            took_s=time.perf_counter() - started_s,
        )

    def _found_manner(self, model: nn.Module) -> _Manner:
        few = torch.arange(min(self._n_train, _FIRST_BLOCK))
        gradient = batch_gradient(self._workload, model, self._fetched(few))
        if not bool(torch.isfinite(gradient).all()):
            raise WorkloadError(
                f"workload {self._workload.name!r}: the gradient of its loss on the first "
                f"{len(few)} training examples is not finite; look at the data and the loss"
            )
        found = per_example(self._workload, model, self._fetched(few))
        most = max(1, self._n_train // _FEWEST_BLOCKS)
        return _Manner(
            per_example=found,
            unit=1 if found is not None else min(self._workload.batch_size, most),
            draws=self._draws(model, few),
        )

    def _draws(self, model: nn.Module, chosen: Tensor) -> bool:
        """Whether the same examples have another gradient when random numbers are others."""
        found = []
        for seed in (0, 1):
            seed_everything(seed)
            found.append(batch_gradient(self._workload, model, self._fetched(chosen)))
        far = torch.linalg.vector_norm(found[0] - found[1])
        return bool(far > 1e-5 * torch.linalg.vector_norm(found[0]))

    def _seen(
        self,
        model: nn.Module,
        order: Tensor,
        manner: _Manner,
        precision: float,
        enough: Callable[[], bool],
    ) -> _Blocks:
        n_parameters = sum(part.numel() for part in model.parameters() if part.requires_grad)
        first = min(_FIRST_BLOCK, self._n_train // _FEWEST_BLOCKS)
        blocks = _Blocks(
            most=_blocks_kept(n_parameters),
            unit=manner.unit,
            next_examples=max(1, round(first / manner.unit)) * manner.unit,
        )
        n_train = None if manner.draws else self._n_train
        seen, whole = 0, len(order) - len(order) % manner.unit
        while seen < whole:
            stop = min(seen + blocks.next_examples, whole)
            blocks.add(self._block(model, order[seen:stop], manner))
            seen = stop
            if len(blocks) >= _FEWEST_BLOCKS and enough():
                break
            if len(blocks) == blocks.most:
                if is_precise(noise_scale(blocks.sample(n_train)).scale, precision):
                    break
                blocks.merge()
        return blocks

    def _block(self, model: nn.Module, chosen: Tensor, manner: _Manner) -> _Block:
        """One block, in passes that fit into memory."""
        while True:
            step = manner.unit if manner.per_example is None else self._pass_examples
            try:
                return _Block.of(
                    [self._passed(model, part, manner) for part in chosen.split(step)],
                    n_examples=len(chosen),
                )
            except Exception as error:
                if not is_out_of_memory(error) or manner.per_example is None or step == 1:
                    raise
            self._pass_examples = step // 2

    def _passed(self, model: nn.Module, chosen: Tensor, manner: _Manner) -> _Block:
        batch = self._fetched(chosen)
        # Counted in units of weight, so that blocks of unlike weight can be put together.
        weight = weight_of(self._workload, batch)
        if manner.per_example is None:
            gradient = batch_gradient(self._workload, model, batch)
            squares = gradient.square().sum().unsqueeze(0)
        else:
            gradient, squares = manner.per_example.of(self._workload, model, batch)
        mean_weight = weight / len(chosen)
        return _Block(
            n_examples=len(chosen),
            weight=weight,
            gradient=gradient.detach() * mean_weight,
            unit_sq=float(squares.double().mean()) * mean_weight**2,
        )

    def _fetched(self, chosen: Tensor) -> Batch:
        batch = on_device(examples_at(self._workload, chosen), self._device)
        return batch if self._workload.augment is None else self._workload.augment(batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Manner:
    """How gradients are taken of one model.

    Attributes:
        per_example: of single examples; None: they have none of their own.
        unit: examples whose gradient is taken as one.
        draws: whether gradients depend on random numbers.
    """

    per_example: PerExample | None
    unit: int
    draws: bool

    @property
    def name(self) -> str:
        return "micro-batches" if self.per_example is None else self.per_example.name


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """The gradients of some examples, each times its weight.

    Attributes:
        n_examples: how many.
        weight: their weights' sum.
        gradient: the mean over the examples, shape (P,).
        unit_sq: the mean squared norm of the units.
    """

    n_examples: int
    weight: float
    gradient: Tensor
    unit_sq: float

    @classmethod
    def of(cls, parts: list[_Block], *, n_examples: int) -> _Block:
        """Several as one."""
        first, *others = parts
        if not others:
            return first
        gradient = first.gradient * (first.n_examples / n_examples)
        for part in others:
            gradient += part.gradient * (part.n_examples / n_examples)
        return cls(
            n_examples=n_examples,
            weight=math.fsum(part.weight for part in parts),
            gradient=gradient,
            unit_sq=math.fsum(part.unit_sq * part.n_examples for part in parts) / n_examples,
        )


@dataclass(kw_only=True, slots=True)
class _Blocks:
    """Blocks of gradients, at most so many; `merge` makes one of two neighbors.

    Attributes:
        most: a power of two.
        unit: examples whose gradient is taken as one.
        next_examples: of the block that comes next.
    """

    most: int
    unit: int
    next_examples: int
    _blocks: list[_Block] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._blocks)

    def add(self, block: _Block) -> None:
        self._blocks.append(block)

    def merge(self) -> None:
        pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
        self._blocks = [
            _Block.of(list(pair), n_examples=sum(part.n_examples for part in pair))
            for pair in pairs
        ]
        self.next_examples *= 2

    def sample(
        self, n_train: int | None, scales: Tensor | None = None, *, only: slice = slice(None)
    ) -> GradientSample:
        """What was seen; each gradient multiplied with `scales`, shape (P,), or `only` a part."""
        sizes = tuple(block.n_examples for block in self._blocks)
        mean_weight = math.fsum(block.weight for block in self._blocks) / sum(sizes)
        stacked = torch.stack([block.gradient[only] for block in self._blocks]) / mean_weight
        if scales is not None:
            stacked *= scales
        products = (stacked @ stacked.T).double().cpu()
        return GradientSample(
            n_train=n_train,
            unit_examples=self.unit,
            block_examples=sizes,
            unit_sq=tuple(block.unit_sq / mean_weight**2 for block in self._blocks),
            products=tuple(map(tuple, products.tolist())),
        )


def _layers(model: nn.Module, blocks: _Blocks, n_train: int | None) -> Iterator[LayerNoise]:
    """What each trainable parameter alone contributes, by its name."""
    trained = [(name, part) for name, part in model.named_parameters() if part.requires_grad]
    start = 0
    for name, part in trained:
        stop = start + part.numel()
        sample = blocks.sample(n_train, only=slice(start, stop)).by_blocks
        yield LayerNoise(name=name, sample=sample)
        start = stop


def preconditioner(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """What Adam multiplies each entry of the gradient with, shape (P,), up to the learning rate.

    It is 1 / (sqrt(v) + eps), with v corrected for its start at 0.

    Returns:
        None: the optimizer is none of Adam's kind, or has taken no step.
    """
    parts = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not parameter.requires_grad:
                continue
            state = optimizer.state.get(parameter, {})
            if "exp_avg_sq" not in state or "step" not in state or "betas" not in group:
                return None
            correction = 1 - group["betas"][1] ** float(state["step"])
            spread = (state["exp_avg_sq"] / correction).sqrt() + group["eps"]
            parts.append((1 / spread).float().flatten())
    return torch.cat(parts) if parts else None


def is_precise(scale: Estimate, precision: float) -> bool:
    """Whether the interval reaches at most this fraction of the estimate either way."""
    if scale.estimate is None or scale.low is None or scale.high is None:
        return False
    far = max(scale.high - scale.estimate, scale.estimate - scale.low)
    return far <= precision * scale.estimate


def _blocks_kept(n_parameters: int) -> int:
    """A power of two."""
    fitting = max(_FEWEST_BLOCKS, min(_MOST_BLOCKS, _KEPT_BYTES // (4 * max(1, n_parameters))))
    return 1 << (fitting.bit_length() - 1)


# Of the whole set's gradient, in one pass.
_VARIANCE_PASS_EXAMPLES = 1024


def gradient_variance(
    workload: Workload,
    model: nn.Module,
    batch_sizes: Sequence[int],
    *,
    device: torch.device,
    seed: int,
    n_batches: int = 64,
    trace: float | None = None,
) -> tuple[VariancePoint, ...]:
    """The variance of the mini-batch gradient at several batch sizes, at the model's weights.

    Of each batch size so many batches are drawn, each without replacement, and their gradients
    compared with that of the whole training set. A batch of the whole set has none.

    Args:
        workload: its loss must be the mean over examples that count alike.
        model: left as it is.
        batch_sizes: each 1 to N.
        device: where the model is.
        seed: of the draws.
        n_batches: of each batch size.
        trace: tr Sigma of the training set, for what is expected.

    Raises:
        BatchSizeError: a batch size outside 1 to N.

    Source: sampling without replacement, Cochran 1977, Sampling Techniques, theorem 2.2.
    """
    n_train = size_of(workload.train)
    for size in batch_sizes:
        if not 1 <= size <= n_train:
            raise BatchSizeError(f"batch size {size}: expected 1 to {n_train}, the training set")
    with untouched_randomness():
        seed_everything(derived_seed("gradient variance", seed))
        mean_gradient = _MeanGradient(
            workload, copy.deepcopy(model), device, _VARIANCE_PASS_EXAMPLES
        )
        whole = mean_gradient(torch.arange(n_train))
        points = []
        for size in batch_sizes:
            distances = [
                float((mean_gradient(torch.randperm(n_train)[:size]) - whole).square().sum())
                for _ in range(n_batches if size < n_train else 0)
            ]
            points.append(_point(size, n_train, distances, trace))
        return tuple(points)


def drawn_variance(
    workload: Workload,
    model: nn.Module,
    trial: Trial,
    *,
    device: torch.device,
    seed: int,
    n_batches: int,
) -> float:
    """The variance of the mini-batch gradient at one batch size, without the whole set's gradient.

    The sample variance of the gradients of batches that are drawn as the trial draws them: tr Cov
    without bias. Of the whole training set without replacement there is one batch, and no variance.

    Args:
        workload: gives the loss, and by `weight` how much each micro-batch counts.
        model: left as it is.
        trial: gives the batch size, how it is cut and how it is drawn.
        device: where the model is.
        seed: of the draws.
        n_batches: >= 2.

    Source: Welford 1962, Technometrics 4 (3), for a variance in one pass without cancellation.
    """
    n_train, n_drawn = size_of(workload.train), trial.batch_size
    is_replaced = trial.sampling == "replacement"
    if n_drawn == n_train and not is_replaced:
        return 0.0
    with untouched_randomness():
        seed_everything(derived_seed("gradient variance", seed))
        mean_gradient = _MeanGradient(
            workload, copy.deepcopy(model), device, trial.micro_batch_size
        )
        mean: Tensor | None = None
        squares = 0.0
        for n_seen in range(1, n_batches + 1):
            own_seed = derived_seed("variance batch", seed, n_seen)
            found = mean_gradient(
                torch.randint(n_train, (n_drawn,))
                if is_replaced
                else shuffled(n_train, seed=own_seed)[:n_drawn]
            )
            if mean is None:
                mean = found
                continue
            gap = found - mean
            mean += gap / n_seen
            squares += float((gap * (found - mean)).sum())
        return squares / (n_batches - 1)


def _point(
    size: int, n_train: int, distances: Sequence[float], trace: float | None
) -> VariancePoint:
    if size == n_train:  # there is one such batch
        variance = Estimate.of(0.0, interval=(0.0, 0.0), n=1)
    else:
        variance = mean_interval(distances)
    left = (n_train - size) / (n_train - 1) if n_train > 1 else 0.0
    return VariancePoint(
        batch_size=size,
        variance=variance,
        expected=None if trace is None else trace / size * left,
    )


class _MeanGradient:
    """The gradient of the mean loss of some examples, in passes that fit into memory."""

    def __init__(
        self, workload: Workload, model: nn.Module, device: torch.device, pass_examples: int
    ) -> None:
        self._workload = workload
        self._model = model
        self._device = device
        self._pass_examples = pass_examples

    def __call__(self, chosen: Tensor) -> Tensor:
        """Each pass counts by its weight, as in a step of the training."""
        total, weights = torch.zeros((), dtype=torch.float64), 0.0
        for part in chosen.split(self._pass_examples):
            batch = on_device(examples_at(self._workload, part), self._device)
            weight = weight_of(self._workload, batch)
            if weight == 0:  # padding alone: its mean loss is not a number
                continue
            gradient = batch_gradient(self._workload, self._model, batch).double()
            total = total.to(gradient.device) + weight * gradient
            weights += weight
        return total / weights if weights else torch.full_like(total, math.nan)


# Between two looks at the losses.
_BLOCK_STEPS = 64
# Halvings of a training's length: its points lie at a half of it, a quarter, and so on.
_HALVINGS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseRequest:
    """What to measure the noise of.

    Attributes:
        trial: the training.
        steps: where to measure, ascending.
        device: the PyTorch device.
        point_s: seconds that one point may take, about.
        memory_limit_bytes: what the process may ask for; None: what there is.
        per_layer: whether each trainable parameter is looked at alone too.
    """

    trial: Trial
    steps: tuple[int, ...]
    device: str
    point_s: float
    memory_limit_bytes: int | None
    per_layer: bool = False


def geometric_steps(last_step: int) -> tuple[int, ...]:
    """The initial weights, then ever further on: last_step halved again and again, ascending."""
    halves = {last_step >> halving for halving in range(_HALVINGS + 1)}
    return tuple(sorted({0, *halves}))


def measure_noise_along(line: Line, packed: PackedWorkload, request: NoiseRequest) -> Reason | None:
    """Train in this process, and say a `NoisePoint` at each of the steps.

    Args:
        line: the connection to the parent; every point is said as it is measured.
        packed: the workload.
        request: which training, and where to measure.

    Returns:
        Why the training could not go on to the last of the steps; None: it did.
    """
    device = torch.device(request.device)
    if request.memory_limit_bytes is not None:
        limit_memory(device, request.memory_limit_bytes)
    torch.set_num_threads(max(thread_choices(request.device)))
    workload = packed.unpack()
    stepper = Stepper(workload, request.trial, device)
    noise = GradientNoise(workload, device)
    stream, taken = stepper.stream(0), 0
    for step in request.steps:
        while taken < step:
            steps = min(_BLOCK_STEPS, step - taken)
            losses, _ = stepper.steps(stream, steps, first_step=taken)
            for loss in losses:
                if not math.isfinite(loss):
                    return Reason.of("loss_not_finite", step=taken)
                taken += 1
        line.say(_sampled_point(noise, stepper, request, step))
    return None


def _sampled_point(
    noise: GradientNoise, stepper: Stepper, request: NoiseRequest, step: int
) -> NoisePoint:
    ends_s = time.monotonic() + request.point_s
    point = noise.sample(
        stepper.model,
        seed=step,
        optimizer=stepper.optimizer,
        per_layer=request.per_layer,
        enough=lambda: time.monotonic() > ends_s,
    )
    return replace(point, step=step, samples=request.trial.plan.samples_at(step))
