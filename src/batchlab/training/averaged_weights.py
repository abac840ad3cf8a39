"""AveragedWeights: an exponential moving average of a model's weights, beside the raw ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def scaled_decay(decay: float, *, batch_size: int, reference_batch_size: int) -> float:
    """The decay per step with which the average covers the same number of examples.

    Args:
        decay: per step at the reference batch size, in (0, 1).
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.
    Source: Busbridge et al. 2023, arXiv:2307.13813, the EMA scaling rule: decay ** (B / reference).
    """
    return float(decay ** (batch_size / reference_batch_size))


class AveragedWeights:
    """The average of a model's real and complex parameters and buffers, from the initial ones on.

    It has at least float32, whatever the weights have. Other buffers (counts) are the model's own.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        """Begin with the weights as they are.

        Args:
            model: whose weights are averaged.
            decay: per step, in (0, 1): the average becomes decay * average + (1 - decay) * weights.
        """
        self._model = model
        self._decay = decay
        # Under every name of a tied weight, as a state dict has them.
        parameters = dict(model.named_parameters(remove_duplicate=False))
        self._parameters: dict[str, Tensor] = _averageable(parameters)
        self._average = {name: _wide(part) for name, part in self._raw().items()}
        self._has_buffers = len(self._average) > len(self._parameters)

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into the average."""
        raw = self._raw() if self._has_buffers else self._parameters
        for name, average in self._average.items():
            if average.shape == raw[name].shape:
                average.lerp_(raw[name].to(average.dtype), 1 - self._decay)
            else:  # a hidden state, say, whose shape follows the batch's
                self._average[name] = _wide(raw[name])

    @contextmanager
    def in_place_of_raw(self) -> Iterator[None]:
        """Context: the model has the averaged weights; the raw ones come back bit for bit."""
        raw = self._raw()
        kept = {name: raw[name].detach().clone() for name in self._average}
        try:
            _copy(self._average, raw)
            yield
        finally:
            _copy(kept, raw)

    def state_dict(self) -> dict[str, Tensor]:
        """The average by the names of the model's parameters and buffers."""
        return dict(self._average)

    def load_state_dict(self, state_dict: dict[str, Tensor], /) -> None:
        """Take back an average.

        Raises:
            ValueError: it is of another model.
        """
        if state_dict.keys() != self._average.keys():
            raise ValueError("its averaged weights were written for another model")
        for name, part in state_dict.items():
            self._average[name] = _wide(part).to(self._average[name].device)

    def _raw(self) -> dict[str, Tensor]:
        # A buffer may be another tensor after each step; a parameter stays what it is.
        buffers = dict(self._model.named_buffers(remove_duplicate=False))
        return {**self._parameters, **_averageable(buffers)}


def _averageable(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: part for name, part in parts.items() if part.is_floating_point() or part.is_complex()
    }


def _wide(part: Tensor) -> Tensor:
    """A copy in which a thousandth of a step is not rounded away: bfloat16 keeps three digits."""
    least = torch.complex64 if part.is_complex() else torch.float32
    return part.detach().to(max(part.dtype, least, key=lambda kind: kind.itemsize), copy=True)


@torch.no_grad()
def _copy(parts: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, part in parts.items():
        into[name].copy_(part)
