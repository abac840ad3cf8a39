"""A model that is looked at: its passes are shared, and it is left as it was."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.random_state import RandomState, untouched_randomness

Forward = Callable[..., Any]


@contextmanager
def replaced_forward(model: nn.Module, other: Callable[[Forward], Forward]) -> Iterator[None]:
    """Context: the model computes with `other(its own forward)`; a TorchScript one as it is."""
    if isinstance(model, torch.jit.ScriptModule):  # its forward cannot be replaced
        yield
        return
    # torch.compile and others give a module a forward of its own, which must come back.
    own = vars(model).get("forward")
    model.forward = _StandIn(model, own, other(model.forward))
    try:
        yield
    finally:
        del model.forward
        if own is not None:
            model.forward = own


class _StandIn:
    """What the model computes with meanwhile; a deep copy of the model has its own forward.

    A metric may copy the model and change the copy's weights: with the forward of the original,
    it would judge those of the original.
    """

    def __init__(self, model: nn.Module, own: Forward | None, forward: Forward) -> None:
        self._model = model
        self._own = own
        self._forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Forward:
        if self._own is not None:
            return copy.deepcopy(self._own, memo)
        return MethodType(type(self._model).forward, copy.deepcopy(self._model, memo))


class _State:
    """What a pass depends on beside its input, compared in the time of a small product."""

    def __init__(self, model: nn.Module) -> None:
        """Note how everything is now.

        Raises:
            RuntimeError: there is no telling whether it stays: a hook looks on, or a tensor does
                not tell whether it was written into (one under a transform of torch.func, say).
        """
        self._live: list[Any] = []
        tensors: list[Any] = []
        for module in model.modules():
            own = vars(module)
            self._live += (own, module._modules, module._parameters, module._buffers)
            self._live += (module._forward_hooks, module._forward_pre_hooks)
            tensors += (*module._parameters.values(), *module._buffers.values(), *own.values())
            if module._forward_hooks or module._forward_pre_hooks:
                raise RuntimeError
        self._copies = [dict(live.items()) for live in self._live]
        self._tensors = [part for part in tensors if isinstance(part, Tensor)]
        self._written = self._written_now()
        self._modes = _modes()

    def is_now(self) -> bool:
        """Whether everything is as it was."""
        try:
            # Dicts that hold the very same objects are equal without a look at these.
            is_same = self._live == self._copies and self._written == self._written_now()
        except (RuntimeError, ValueError):  # two tensors or arrays are no single "equal"
            return False
        return is_same and self._modes == _modes()

    def _written_now(self) -> list[tuple[int, int]]:
        # `parameter.data = other` moves it and counts as no writing.
        return [(part._version, part.data_ptr()) for part in self._tensors]


def _modes() -> list[object]:
    lower = [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")]
    types = [torch.get_autocast_dtype(device) for device in ("cpu", "cuda")] if any(lower) else []
    return [torch.is_grad_enabled(), *lower, *types]


@contextmanager
def forward_remembered(model: nn.Module, *, draws: bool = False) -> Iterator[Callable[[], None]]:
    """Context: metrics that ask for `model(x)` of the very same `x` share one pass.

    Loss and accuracy each call the model on the same batch; in eval mode without gradients the
    second pass would only repeat the first. It is computed all the same where it may give, or do,
    something else:

    - for a metric that asks twice itself, as one does that draws samples;
    - where `x` or the output has been written into since, or is of a kind that does not tell;
    - where a parameter, a buffer or an attribute of a module is not as it was: weights that a
      metric moves, modules that it puts into train mode, a state that the pass itself changes;
    - where a hook looks on.

    What a metric does to weights behind PyTorch's back (`parameter.data.add_`) before its first
    pass is not seen.
    """
    remembered = _Remembered(model, draws=draws)
    with replaced_forward(model, remembered.around):
        yield remembered.another_asks


class _Remembered:
    """The last pass, as long as it stands for the next."""

    def __init__(self, model: nn.Module, *, draws: bool) -> None:
        self._model = model
        self._draws = draws
        self._is_of_this_metric = False
        self._asked: list[Any] | None = None  # None: nothing is remembered
        self._output: Any = None
        self._versions: list[int | None] = []
        self._state: _State | None = None  # before the pass: what that changes is seen after it

    def another_asks(self) -> None:
        self._is_of_this_metric = False

    def around(self, compute: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            asked = [*args, *chain.from_iterable(kwargs.items())]
            is_as_it_was = self._state is not None and self._state.is_now()
            if is_as_it_was and self._stands_for(asked):
                return self._output
            self._asked = self._output = None
            if not is_as_it_was:
                self._state = None
                with suppress(RuntimeError):
                    self._state = _State(self._model)
            before = RandomState.now() if self._draws else None
            self._output = compute(*args, **kwargs)
            self._versions = versions_of([asked, self._output])
            self._asked = asked if before is None or before.is_now() else None
            self._is_of_this_metric = True
            return self._output

        return forward

    def _stands_for(self, asked: list[Any]) -> bool:
        return (
            self._asked is not None
            and not self._is_of_this_metric
            and len(self._asked) == len(asked)
            and all(map(operator.is_, self._asked, asked))
            and None not in self._versions
            and self._versions == versions_of([asked, self._output])
        )


def versions_of(value: Any) -> list[int | None]:
    """How often each tensor in `value` has been written into; None for what does not tell."""
    if isinstance(value, Tensor):
        return [None if value.is_inference() else value._version]
    if isinstance(value, (int, float, bool, str, type(None))):
        return []
    if isinstance(value, (tuple, list)):
        return [version for part in value for version in versions_of(part)]
    if isinstance(value, Mapping):
        return [version for part in value.values() for version in versions_of(part)]
    return [None]


@contextmanager
def untouched_model(model: nn.Module) -> Iterator[None]:
    """Context: the model in eval mode, without gradients; it is left as it was.

    Modes, buffers, the parameters' `.grad` and the global random streams come back, after an
    exception too. Inside, no parameter has a `.grad`: that of the last step is no part of a model,
    and a run that was taken up again would not have it. Weights are not kept: a metric that moves
    them has to move them back.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(part, part.grad) for part in model.parameters()]
    buffers = _Buffers(model)
    try:
        model.eval()
        for part, _ in gradients:
            part.grad = None
        with torch.no_grad(), untouched_randomness():
            yield
    finally:
        buffers.restore()
        for part, gradient in gradients:
            part.grad = gradient
        for module, was_training in modes:
            module.training = was_training


class _Buffers:
    """A model's buffers: which tensors they are, and what these hold."""

    def __init__(self, model: nn.Module) -> None:
        self._names = [(module, dict(module._buffers.items())) for module in model.modules()]
        tensors = {id(part): part for _, held in self._names for part in held.values()}
        self._kept = [
            (part, part.detach().clone(), versions_of(part))
            for part in tensors.values()
            if part is not None
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put back the very tensors, for code that refers to them, with what they held."""
        for part, kept, versions in self._kept:
            if part.shape != kept.shape:
                part.data = kept
            elif versions != versions_of(part) or not _is_equal(part, kept):
                part.copy_(kept)
        for module, held in self._names:
            for name in set(module._buffers.keys()) - held.keys():
                del module._buffers[name]
            for name, tensor in held.items():
                if name not in module._buffers or module._buffers[name] is not tensor:
                    module._buffers[name] = tensor


def _is_equal(part: Tensor, kept: Tensor) -> bool:
    # What was written by `.data` shows in the values alone; those of a sparse one can't be asked.
    return part.layout != torch.strided or torch.equal(part, kept)
