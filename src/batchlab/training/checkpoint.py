"""Checkpoint: the complete state from which a trial resumes as if it had never stopped.

A checkpoint is a safetensors file without pickle: tensors, and other values as JSON in its header.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from batchlab.errors import StoreError, WorkloadError
from batchlab.random_state import RandomState
from batchlab.records.trial import Evaluation
from batchlab.training.optimizers import Stateful


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """The progress of a trial: the part of a checkpoint without tensors.

    Attributes:
        step: optimizer steps done.
        samples: examples processed.
        train_s: seconds of training up to `step`.
        eval_s: seconds of evaluation up to `step`.
        loss_sum: sum of batch loss × batch size over the steps since the last evaluation.
        loss_examples: examples processed since the last evaluation.
        evaluations: all evaluations up to `step`.
        versions: the library versions with which the trial ran.
        engine: the name of the trainer: "plain" or "native".
        threads: the number of threads of the computation.
        resumed_from_steps: the steps of the checkpoints from which the trial was resumed.
    """

    step: int = 0
    samples: int = 0
    train_s: float = 0.0
    eval_s: float = 0.0
    loss_sum: float = 0.0
    loss_examples: int = 0
    evaluations: tuple[Evaluation, ...] = ()
    versions: tuple[tuple[str, str], ...]
    engine: str
    threads: int
    resumed_from_steps: tuple[int, ...] = ()


class _Header(msgspec.Struct, frozen=True):
    """The JSON header of a checkpoint; `_packed` converts `random` and the values of `kept`.

    `not_in_state_dict` lists the names of buffers that the model's `state_dict` leaves out.
    """

    progress: Progress
    kept: dict[str, Any]
    random: Any
    not_in_state_dict: tuple[str, ...] = ()


# The prefix of the names of the model's tensors in the file.
_MODEL = "model."
AVERAGED = "averaged"
"""The name under which a checkpoint stores averaged weights, in addition to the raw weights."""
_MODULE = "module."  # the prefix that AveragedModel adds to the names of its tensors
# Reading a file that is damaged, foreign or from another model can raise these errors.
_UNREADABLE = (
    OSError,
    SafetensorError,
    msgspec.MsgspecError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
)


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    kept: Mapping[str, Stateful],
    progress: Progress,
) -> None:
    """Write a checkpoint completely or not at all (temporary file, fsync, rename).

    Raises:
        StoreError: the disk is full or the file cannot be written.
        WorkloadError: the optimizer's state has a value that is neither a tensor nor JSON.
    """
    state = _state_of(model)
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in state.items()}
    randomness = RandomState.now()
    streams = {"python": randomness.python, "torch": randomness.torch, "cuda": randomness.cuda}
    packed = {}
    for name, stateful in kept.items():
        packed[name] = _packed(_state_dict(stateful), tensors, name)
    header = _Header(
        progress=progress,
        kept=packed,
        random=_packed(streams | {"numpy": randomness.numpy}, tensors, "random"),
        not_in_state_dict=tuple(sorted(state.keys() - model.state_dict().keys())),
    )
    # Copy, because safetensors refuses tensors that share memory (tied weights).
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"batchlab": msgspec.json.encode(header).decode()}
    write_whole(path, lambda temporary: save_file(copies, temporary, metadata=metadata))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with the path of a temporary file, then rename this file to `path`.

    Raises:
        StoreError: the disk is full or the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp")  # overwrites the file of a killed process
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(
            f"{path}: the checkpoint could not be written ({error}); free some space or choose "
            f"another place with --store, then run the same command again"
        ) from error


def peek_checkpoint(path: Path) -> Progress | None:
    """Return the progress in a checkpoint, or None if the file is missing or unreadable."""
    try:
        with safe_open(path, framework="numpy") as file:
            return _header(file.metadata()).progress
    except _UNREADABLE:
        return None


def load_checkpoint(path: Path, *, model: nn.Module, kept: Mapping[str, Stateful]) -> Progress:
    """Restore `model`, the `kept` objects and random streams; return the checkpoint's progress.

    Raises:
        StoreError: the file is damaged or belongs to another model or optimizer.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        _restore_model(model, tensors)
        for name, stateful in kept.items():
            _restore(stateful, _unpacked(header.kept[name], tensors))
        RandomState(**_unpacked(header.random, tensors)).restore()
    except _UNREADABLE as error:
        raise StoreError(
            f"{path}: this checkpoint cannot be used ({error}); delete it to start the trial anew"
        ) from error
    return header.progress


def load_weights(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return a checkpoint's weights as a state dict, and whether these weights are averaged.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
            names = _model_names(file.keys())
            averaged = header.kept.get(AVERAGED, {"dict": []})["dict"]
            for name, average in averaged:
                if name.startswith(_MODULE):
                    names[name.removeprefix(_MODULE)] = average["tensor"]
            weights = {name: file.get_tensor(in_file) for name, in_file in names.items()}
    except _UNREADABLE as error:
        raise StoreError(
            f"{path}: this checkpoint cannot be read ({error}); it was moved, deleted or damaged "
            f"after the training"
        ) from error
    for name in header.not_in_state_dict:
        weights.pop(name, None)
    return weights, bool(averaged)


def _header(metadata: dict[str, str]) -> _Header:
    return msgspec.json.decode(metadata["batchlab"], type=_Header)


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    # Include buffers that are not in the state dict, without which a resumed run would differ.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return parameters | dict(model.named_buffers(remove_duplicate=False))


def _model_names(names: Iterable[str]) -> dict[str, str]:
    """Map the name of each of the model's tensors to the tensor's name in the file."""
    return {name.removeprefix(_MODEL): name for name in names if name.startswith(_MODEL)}


def _restore_model(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    saved = {name: tensors[in_file] for name, in_file in _model_names(tensors).items()}
    state = _state_of(model)
    differences = dict(_kinds(saved).items() ^ _kinds(state).items())
    if differences:
        raise ValueError(f"it was written for another model: {min(differences)!r} is different")
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(saved[name])


def _kinds(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    # Compare shapes and types before `copy_`, which would silently broadcast and convert.
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _state_dict(stateful: Stateful) -> dict[str, Any]:
    return _state_of(stateful) if isinstance(stateful, AveragedModel) else stateful.state_dict()


def _restore(stateful: Stateful, state: dict[str, Any]) -> None:
    if isinstance(stateful, AveragedModel):
        for name, tensor in _state_of(stateful).items():
            tensor.data.copy_(state[name])
        return
    stateful.load_state_dict(state)
    if not isinstance(stateful, torch.optim.Optimizer):
        return
    # `load_state_dict` converts the state's wider or integer tensors to the parameter's type, and
    # breaks texts. So restore the saved values, on the devices that `load_state_dict` chose.
    parameters: list[Tensor] = []
    for group in stateful.param_groups:
        parameters += group["params"]
    for key, entries in state["state"].items():
        owner = parameters[key] if isinstance(key, int) else key
        stateful.state[owner] = _placed(entries, stateful.state[owner])


def _placed(value: Any, like: Any) -> Any:
    """Return `value` with its tensors copied to the devices of the matching tensors in `like`.

    Tensors are always copied, because tensors in a file are not aligned in memory, and matrix
    products of unaligned tensors differ in their last bits.
    """
    if isinstance(value, Tensor):
        return value.to(like.device, copy=True)
    if isinstance(value, dict):
        return {key: _placed(entry, like[key]) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_placed(*pair) for pair in zip(value, like, strict=True))
    return value


def _packed(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Return `value` as JSON types; put tensors into `tensors`, by names that start with `name`."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    unique = f"{name}.{len(tensors)}"
    if isinstance(value, Tensor):
        tensors[unique] = value
        return {"tensor": unique}
    if isinstance(value, np.ndarray):
        # Store bytes, because older torch lacks NumPy's unsigned integers (of its random state).
        tensors[unique] = torch.from_numpy(value.view(np.uint8).copy())
        return {"array": unique, "dtype": value.dtype.str}
    if isinstance(value, (tuple, list)):
        items = [_packed(item, tensors, f"{name}.{index}") for index, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        pairs = []
        for key, entry in value.items():
            packed_key = _packed(key, tensors, name)
            pairs.append([packed_key, _packed(entry, tensors, f"{name}.{key}")])
        return {"dict": pairs}
    raise WorkloadError(
        f"{name}: a checkpoint can hold tensors, numbers, texts, and lists and dicts of them, not "
        f"a {type(value).__name__}; choose an optimizer that keeps only those in its state"
    )


def _unpacked(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value from which `_packed` made `packed` and `tensors`."""
    if isinstance(packed, list):
        return [_unpacked(item, tensors) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if "float" in packed:
        return float(packed["float"])
    if "tensor" in packed:
        return tensors[packed["tensor"]]
    if "array" in packed:
        return tensors[packed["array"]].numpy().view(np.dtype(packed["dtype"]))
    if "tuple" in packed:
        return tuple(_unpacked(packed["tuple"], tensors))
    return {_unpacked(key, tensors): _unpacked(entry, tensors) for key, entry in packed["dict"]}
