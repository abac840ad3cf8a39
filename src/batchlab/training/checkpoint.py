"""Checkpoint: the complete state from which a trial resumes as if it had never stopped.

A checkpoint is a safetensors file without pickle: tensors, and other values as JSON in its header.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

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
    evaluations: tuple[Evaluation, ...] = ()
    versions: tuple[tuple[str, str], ...]
    engine: str
    threads: int
    resumed_from_steps: tuple[int, ...] = ()


class _Header(msgspec.Struct, frozen=True):
    """The JSON header of a checkpoint.

    `kept` contains the states of optimizers and schedulers by name, and `random` the random state;
    `_packed` has converted both to JSON types. `not_in_state_dict` lists the names of buffers that
    the model's `state_dict` leaves out.
    """

    progress: Progress
    kept: dict[str, Any]
    random: Any
    not_in_state_dict: tuple[str, ...] = ()


MODEL, AVERAGED = "model", "averaged"
"""The names of the trained model and of the model with averaged weights in a checkpoint."""
# Reading a file raises one of these errors if the file is damaged or not a checkpoint of the model.
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
    kept: Mapping[str, Stateful],
    progress: Progress,
) -> None:
    """Write a checkpoint completely or not at all (temporary file, fsync, rename).

    Raises:
        StoreError: the disk is full or the file cannot be written.
        WorkloadError: the optimizer's state has a value that is neither a tensor nor JSON.
    """
    tensors: dict[str, Tensor] = {}
    packed: dict[str, Any] = {}
    hidden: set[str] = set()
    for name, stateful in kept.items():
        if isinstance(stateful, nn.Module):
            state = _tensors_of(stateful, name)
            tensors |= state
            hidden |= state.keys() - {f"{name}.{key}" for key in stateful.state_dict()}
        else:
            packed[name] = _packed(stateful.state_dict(), tensors, name)
    header = _Header(
        progress=progress,
        kept=packed,
        random=_packed(asdict(RandomState.now()), tensors, "random"),
        not_in_state_dict=tuple(sorted(hidden)),
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
    temporary = path.with_name(f"{path.name}.tmp")  # a killed process may have left this file
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


def load_checkpoint(path: Path, *, kept: Mapping[str, Stateful]) -> Progress:
    """Restore the objects in `kept` and the random streams; return the checkpoint's progress.

    Raises:
        StoreError: the file is damaged or belongs to another model or optimizer.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        for name, stateful in kept.items():
            if isinstance(stateful, nn.Module):
                _restore_module(stateful, tensors, name)
            else:
                _restore(stateful, _unpacked(header.kept[name], tensors))
        RandomState(**_unpacked(header.random, tensors)).restore()
    except _UNREADABLE as error:
        raise StoreError(
            f"{path}: this checkpoint cannot be used ({error}); delete it to start the trial again"
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
            in_file = set(file.keys()).difference(header.not_in_state_dict)
            averaged = {name for name in in_file if name.startswith(f"{AVERAGED}.")}
            weights = {}
            for name in averaged or {name for name in in_file if name.startswith(f"{MODEL}.")}:
                weights[name.partition(".")[2]] = file.get_tensor(name)
    except _UNREADABLE as error:
        raise StoreError(
            f"{path}: this checkpoint cannot be read ({error}); it was moved, deleted or damaged "
            f"after the training"
        ) from error
    return weights, bool(averaged)


def _header(metadata: dict[str, str]) -> _Header:
    return msgspec.json.decode(metadata["batchlab"], type=_Header)


def _tensors_of(module: nn.Module, name: str) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module, by names that start with `name`."""
    # Include buffers that `state_dict` leaves out, because a resumed run needs these buffers too.
    state = dict(module.named_parameters(name, remove_duplicate=False))
    return state | dict(module.named_buffers(name, remove_duplicate=False))


def _restore_module(module: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    state = _tensors_of(module, name)
    saved = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    differences = dict(_kinds(saved).items() ^ _kinds(state).items())
    if differences:
        raise ValueError(f"it was written for another model: {min(differences)!r} is different")
    with torch.no_grad():
        for key, tensor in state.items():
            tensor.copy_(saved[key])


def _kinds(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    # Compare shapes and types before `copy_`, which would silently broadcast and convert.
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _restore(stateful: Stateful, state: dict[str, Any]) -> None:
    stateful.load_state_dict(state)
    if not isinstance(stateful, torch.optim.Optimizer):
        return
    # An optimizer's `load_state_dict` does not keep all values: it converts tensors to the type of
    # their parameter, and changes strings. So replace each loaded value by the saved value. Keep
    # only the devices of the loaded tensors.
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
    """Convert `value` to JSON types; put its tensors into `tensors`, named with prefix `name`."""
    if isinstance(value, np.ndarray):
        numbers = _packed(value.ravel().tolist(), tensors, name)
        return {"array": numbers, "dtype": value.dtype.str, "shape": value.shape}
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
    if isinstance(value, (tuple, list)):
        items = []
        for index, item in enumerate(value):
            items.append(_packed(item, tensors, f"{name}.{index}"))
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
    """Reverse `_packed`: return the value from which `packed` and `tensors` were made."""
    if isinstance(packed, list):
        return [_unpacked(item, tensors) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if "float" in packed:
        return float(packed["float"])
    if "tensor" in packed:
        return tensors[packed["tensor"]]
    if "array" in packed:
        numbers = _unpacked(packed["array"], tensors)
        return np.array(numbers, packed["dtype"]).reshape(packed["shape"])
    if "tuple" in packed:
        return tuple(_unpacked(packed["tuple"], tensors))
    return {_unpacked(key, tensors): _unpacked(entry, tensors) for key, entry in packed["dict"]}
