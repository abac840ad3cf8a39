"""Monitor: measures the gradient noise at some steps of a user's own training loop."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from batchlab.laws.noise_scale import noise_scale_of_pairs
from batchlab.measure.gradients import (
    gradient_values,
    is_known,
    n_numbers,
    own_parameters,
    squared_norms,
    trainable_parameters,
)
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.noise import MonitorReading
from batchlab.words.catalogue import sentence, text
from batchlab.words.reasons import reason_text

# A measured step takes 1.5 times as long, so measuring one in fifty costs 1 % of the time.
_EVERY = 50
# The noise scale is estimated from the last 40 measured steps, and needs at least 3.
_KEPT = 40
_FEWEST = 3
# The hint depends on whether noise scale / batch size is above the first or below the second bound.
_MOSTLY_NOISE, _HARDLY_NOISE = 2.0, 0.1


class Monitor:
    """A monitor of the gradient noise of a training in your own loop.

        monitor = batchlab.Monitor(model)
        for batch in loader:
            ...                     # forward, backward, optimizer.step(), accumulated or not
            monitor.step()
        print(monitor)

    One step in fifty is measured: the norms of single examples' gradients are computed from the
    layers' inputs and output gradients in the step's first backward pass. The training itself does
    not change by a single bit. Supported layers are `nn.Linear`, `nn.Conv2d`, `nn.Embedding` and
    `nn.LayerNorm`, if called once per pass, with examples in the first dimension.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1; Gray et al. 2024,
        arXiv:2411.00999, for estimating the noise of all layers from that of some layers.
    """

    def __init__(self, model: nn.Module) -> None:
        """Attach hooks to the layers of `model`, so that the first step is measured."""
        self._n_parameters = n_numbers(trainable_parameters(model))
        self._layers = _watchable(model)
        self._step = 0
        self._pairs: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._batch_size: int | None = None
        self._measured: _MeasuredStep | None = _MeasuredStep(self._layers)

    def close(self) -> None:
        """Remove all hooks; the measurements remain available."""
        if self._measured is not None:
            self._measured.remove()
            self._measured = None

    def step(self) -> None:
        """Count a step, and finish its measurement if any; call this after each optimizer step."""
        self._step += 1
        measured, self._measured = self._measured, None
        if measured is not None:
            measured.remove()
            pair = measured.pair()
            if pair is not None:
                self._pairs.append(pair)
                self._batch_size = measured.n_examples
        if self._step % _EVERY == 0:
            self._measured = _MeasuredStep(self._layers)

    @property
    def reading(self) -> MonitorReading:
        """The estimates from the last 40 measured steps, and a hint about the batch size."""
        scale = self._scale()
        n_seen = sum(map(n_numbers, map(own_parameters, self._layers)))
        return MonitorReading(
            step=self._step,
            batch_size=self._batch_size,
            gradient_noise_scale=scale,
            seen_fraction=n_seen / max(1, self._n_parameters),
            hint=_hint(scale, self._batch_size),
        )

    def __str__(self) -> str:
        """Return the reading as two lines of text."""
        reading = self.reading
        first = text("Step {step}: {hint}.", step=reading.step, hint=reason_text(reading.hint))
        return f"{first}\n{sentence('monitor_values', seen=reading.seen_fraction)}"

    def _scale(self) -> Estimate:
        if not self._layers:
            return Estimate.cannot_tell(Reason.of("monitor_sees_no_layer"))
        if len(self._pairs) < _FEWEST:
            missing = Reason.of("too_few", what="steps", n=len(self._pairs), needed=_FEWEST)
            return Estimate.cannot_tell(missing, n=len(self._pairs))
        traces, grad_sqs = zip(*self._pairs, strict=True)
        return noise_scale_of_pairs(traces, grad_sqs)


class _MeasuredStep:
    """Hooks that record, in one step, what the norms of single examples' gradients depend on.

    For each layer, they record the input of its first call in the step, and the derivative of the
    loss by the output of this call, computed in the first backward pass.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        # The length of the first dimension of each layer's outputs, one number per call.
        self._lengths: dict[nn.Module, list[int]] = {layer: [] for layer in layers}
        # The input of each layer's first call, and PyTorch's version number of this tensor, which
        # shows later whether the tensor was modified in place.
        self._inputs: dict[nn.Module, tuple[Tensor, int]] = {}
        self._backs: dict[nn.Module, Tensor] = {}
        self._grad_sq: dict[int, Tensor] = {}
        # The layers that had been called exactly once before the first backward pass.
        self._once: list[nn.Module] | None = None
        self._hooks: list[RemovableHandle] = []
        for layer in layers:
            self._hooks.append(layer.register_forward_hook(self._ran))
            for parameter in own_parameters(layer):
                hook = parameter.register_post_accumulate_grad_hook(self._accumulated)
                self._hooks.append(hook)

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def n_examples(self) -> int:
        """The number of examples in all passes of the step, or 0 if no layer was measured."""
        return sum(self._lengths[self._once[0]]) if self._once else 0

    def _ran(self, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not (isinstance(output, Tensor) and output.requires_grad and output.ndim):
            return  # no gradient is computed, as in an evaluation
        self._lengths[layer].append(len(output))
        if len(self._lengths[layer]) == 1:
            self._inputs[layer] = inputs[0].detach(), inputs[0]._version
            output.register_hook(lambda back: self._came_back(layer, back))

    def _came_back(self, layer: nn.Module, back: Tensor) -> None:
        if self._once is None:
            self._once = [layer for layer, runs in self._lengths.items() if len(runs) == 1]
        self._backs[layer] = back.detach()

    def _accumulated(self, parameter: Tensor) -> None:
        """Store the squared norm of a parameter's gradient after the first backward pass."""
        if id(parameter) not in self._grad_sq:
            assert parameter.grad is not None
            self._grad_sq[id(parameter)] = gradient_values(parameter.grad).float().square().sum()

    def pair(self) -> tuple[float, float] | None:
        """Return estimates of tr Sigma and |G|^2; None if not finite, or from < 2 examples."""
        n, squares, of_mean = 0, torch.zeros(()), torch.zeros(())
        for layer in self._once or ():
            (value, version), back = self._inputs[layer], self._backs.get(layer)
            ids = list(map(id, own_parameters(layer)))
            is_changed = value._version != version  # the input was modified in place
            if is_changed or back is None or not self._grad_sq.keys() >= {*ids}:
                continue
            n = n or len(back)
            if len(value) != n or len(back) != n:
                continue  # the first dimension is not the examples, so skip this layer
            if value.is_floating_point():
                value = value.float()
            squares = squares + squared_norms(layer, value, back.float() * n)
            of_mean = of_mean + sum(map(self._grad_sq.__getitem__, ids))
        if n < 2:
            return None
        unit_sq, mean_sq = float(squares.double().mean()), float(of_mean)
        trace = (unit_sq - mean_sq) / (1 - 1 / n)
        pair = trace, mean_sq - trace / n
        if not all(map(math.isfinite, pair)):
            return None
        return pair


def _watchable(model: nn.Module) -> list[nn.Module]:
    """Return the layers that `is_known` accepts and that share no parameter with another layer."""
    n_holders: Counter[int] = Counter()
    for module in model.modules():
        n_holders.update(map(id, module.parameters(recurse=False)))
    layers = []
    for layer in filter(is_known, model.modules()):
        if set(map(n_holders.get, map(id, own_parameters(layer)))) == {1}:
            layers.append(layer)
    return layers


def _hint(scale: Estimate, batch_size: int | None) -> Reason:
    """Return advice about the batch size from the noise scale, or why there is no advice."""
    if batch_size is None:
        return scale.reason or Reason.of("monitor_sees_no_layer")
    if scale.low is not None and scale.low > _MOSTLY_NOISE * batch_size:
        return Reason.of("mostly_noise", size=batch_size, low=scale.low)
    if scale.high is not None and scale.high < _HARDLY_NOISE * batch_size:
        return Reason.of("hardly_noise", size=batch_size, high=scale.high)
    if scale.estimate is None:
        assert scale.reason is not None
        return scale.reason
    return Reason.of("some_noise", size=batch_size, scale=scale.estimate)
