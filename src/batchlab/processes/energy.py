"""Energy that a device has taken, by its own counter: NVML for a GPU, RAPL for a processor."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

# Linux's power capping, AMD's too. A package is a processor, with whatever runs on it; the other
# domains are parts of one, or all of the machine. Many systems let only root read them.
RAPL = Path("/sys/class/powercap")


def _is_package(name: Path) -> bool:
    with contextlib.suppress(OSError):
        return name.read_text().startswith("package")
    return False


class EnergyMeter:
    """The energy that a device takes from one reading to the next.

    A processor's counts all of its packages and whatever else runs there. A GPU's moves on about
    ten times a second, so what is added up should be longer.
    """

    def __init__(self, device: torch.device) -> None:
        """Read nothing yet."""
        domains = RAPL.glob("intel-rapl:*/name") if device.type == "cpu" else ()
        self._packages = [name.parent for name in domains if _is_package(name)]
        self._gpu: object = None
        if device.type == "cuda":
            with contextlib.suppress(Exception):  # NVML's own errors: no driver, an older GPU
                import pynvml

                pynvml.nvmlInit()
                uuid = torch.cuda.get_device_properties(device).uuid
                self._gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        self._last = self._read()

    def joules(self) -> float | None:
        """Since the last reading; None: the device does not tell."""
        before, self._last = self._last, self._read()
        if before is None or self._last is None:
            return None
        # A counter begins again at 0 after its range.
        return sum(
            (now if now >= then else now + wraps_at) - then
            for (then, _), (now, wraps_at) in zip(before, self._last, strict=True)
        )

    def _read(self) -> list[tuple[float, float]] | None:
        """Of each counter its joules, and where it begins again."""
        try:
            if self._gpu is not None:
                import pynvml

                return [(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu) / 1e3, 0.0)]
            files = ("energy_uj", "max_energy_range_uj")
            found = [
                tuple(int((package / file).read_text()) / 1e6 for file in files)
                for package in self._packages
            ]
        except Exception:  # a permission, a GPU that does not count
            return None
        return [(now, wraps_at) for now, wraps_at in found] or None
