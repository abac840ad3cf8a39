"""GpuMemory: what a command's processes hold on each GPU, by NVML where it is installed."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet
from types import ModuleType

FULL_FRACTION = 0.95
"""A GPU of which so much is taken is nearly full."""

_log = logging.getLogger(__name__)


class GpuMemory:
    """The most that a command's processes held on each GPU at any look.

    NVML names the processes of a GPU by their numbers. In a container it may name none of ours;
    then it is what is taken of the GPU beyond what was taken at first, whoever took it.
    """

    def __init__(self, nvml: ModuleType | None = None) -> None:
        """Get ready.

        Args:
            nvml: the library; None: `pynvml` if it is installed and finds a driver.
        """
        self._nvml = _library() if nvml is None else nvml
        self._gpus = [] if self._nvml is None else _gpus(self._nvml)
        self._first: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._is_named = False
        self.is_full = False

    @property
    def peaks(self) -> tuple[tuple[str, int], ...]:
        """The most on each GPU that was used at all, in bytes, by its name."""
        return tuple(sorted((name, n_bytes) for name, n_bytes in self._most.items() if n_bytes))

    def look(self, pids: AbstractSet[int]) -> None:
        """Look once.

        Args:
            pids: the command's processes now.
        """
        for name, gpu in self._gpus:
            try:
                memory = self._nvml.nvmlDeviceGetMemoryInfo(gpu)  # type: ignore[union-attr]
                users = self._nvml.nvmlDeviceGetComputeRunningProcesses(gpu)  # type: ignore[union-attr]
            except Exception as error:  # NVML's own errors: a GPU that went away, no permission
                _log.debug("%s: %s", name, error)
                continue
            taken, total = int(memory.used), int(memory.total)
            self._first.setdefault(name, taken)
            ours = [user.usedGpuMemory for user in users if user.pid in pids]
            if ours and None not in ours:
                self._is_named = True
                held = sum(ours)
            else:
                held = 0 if self._is_named else max(0, taken - self._first[name])
            self._most[name] = max(self._most.get(name, 0), held)
            self.is_full |= held > 0 and taken >= FULL_FRACTION * total


def _library() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None  # no driver
    return pynvml  # type: ignore[no-any-return]


def _gpus(nvml: ModuleType) -> list[tuple[str, object]]:
    """Each GPU with its name, as in "cuda:0 NVIDIA H100"."""
    gpus = []
    for index in range(nvml.nvmlDeviceGetCount()):
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(gpu)
        gpus.append((f"{index}: {name.decode() if isinstance(name, bytes) else name}", gpu))
    return gpus
