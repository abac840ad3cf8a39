"""Machine: the hardware and the library versions with which a study is measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import torch

from batchlab.records.study import place_of
from batchlab.version import __version__


def library_versions() -> tuple[tuple[str, str], ...]:
    """Return (name, version) of the libraries whose version can change a trial's numbers."""
    return (("batchlab", __version__), ("numpy", np.__version__), ("torch", str(torch.__version__)))


def environment() -> tuple[tuple[str, str], ...]:
    """Return this machine's versions, system, processor, cores and GPUs as (name, value)."""
    return (
        *library_versions(),
        ("python", platform.python_version()),
        ("system", f"{platform.system()} {platform.release()}"),
        *_processors(),
        *_gpus(),
    )


def _processors() -> tuple[tuple[str, str], ...]:
    return ("processor", _processor()), ("cores", str(max(thread_choices("cpu"))))


def _gpus() -> tuple[tuple[str, str], ...]:
    names = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
    return tuple((f"cuda:{index}", name) for index, name in enumerate(names))


def place_here(device: str) -> str | None:
    """Return the name of a device's hardware, or None if unknown; for "cpu", do not query CUDA."""
    if device.startswith("cuda"):
        return place_of(_gpus(), device)
    return place_of(_processors(), device)


def thread_choices(device: str) -> tuple[int, ...]:
    """Return the thread counts to time steps with: 1 and the number of cores; only 1 for a GPU."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or device.startswith("cuda"):
        return (1,)
    return 1, cores


def _processor() -> str:
    for text in Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()
