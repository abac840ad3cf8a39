"""The energy that a device's own counter tells."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from batchlab.processes import energy
from batchlab.processes.energy import EnergyMeter

CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


class Rapl:
    """The files of two processors, the first with a part of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        domains = {
            "intel-rapl:0": "package-0",
            "intel-rapl:1": "package-1",
            "intel-rapl:0:0": "core",
            "intel-rapl:2": "psys",
        }
        for name, of in domains.items():
            (folder / name).mkdir()
            (folder / name / "name").write_text(f"{of}\n")
            (folder / name / "max_energy_range_uj").write_text("100000000")  # 100 J
            self.set(name, 0.0)

    def set(self, name: str, joules: float) -> None:
        (self._folder / name / "energy_uj").write_text(f"{joules * 1e6:.0f}")


@pytest.fixture
def rapl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rapl:
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    return Rapl(tmp_path)


def test_a_processors_is_that_of_all_packages_since_the_last_reading(rapl: Rapl) -> None:
    meter = EnergyMeter(CPU)
    rapl.set("intel-rapl:0", 5.0)
    rapl.set("intel-rapl:0:0", 4.0)  # a part of the five
    rapl.set("intel-rapl:2", 9.0)  # all of the machine
    rapl.set("intel-rapl:1", 2.0)

    assert meter.joules() == pytest.approx(7.0)
    assert meter.joules() == 0.0


def test_a_counter_that_began_again_is_told_on(rapl: Rapl) -> None:
    rapl.set("intel-rapl:0", 98.0)
    meter = EnergyMeter(CPU)
    rapl.set("intel-rapl:0", 3.0)

    assert meter.joules() == pytest.approx(5.0)


def test_without_counters_or_permission_nothing_is_told(
    rapl: Rapl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = EnergyMeter(CPU)
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()  # as for whoever may not read it
    assert meter.joules() is None
    monkeypatch.setattr(energy, "RAPL", tmp_path / "nowhere")
    assert EnergyMeter(CPU).joules() is None
    assert EnergyMeter(torch.device("meta")).joules() is None


def test_a_gpus_is_of_the_one_that_pytorch_calls_so(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {"GPU-one": 1000, "GPU-two": 5000}  # mJ
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=counted.__getitem__,
    )
    names = {0: "one", 1: "two"}
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda on: SimpleNamespace(uuid=names[on.index])
    )
    meter = EnergyMeter(GPU)
    counted["GPU-one"] += 99_000
    counted["GPU-two"] += 2500

    assert meter.joules() == pytest.approx(2.5)
    del counted["GPU-two"]  # an older GPU, or one that has gone
    assert meter.joules() is None


def test_without_nvml_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert EnergyMeter(GPU).joules() is None
