"""The database of MNIST, read once for all its workloads and not once for each setting."""

from __future__ import annotations

import pytest

from batchlab.datasets.embedded import Mnist, load_mnist
from batchlab.workload import pieces


@pytest.fixture(scope="package")
def mnist() -> dict[int, Mnist]:
    return {n: load_mnist(n_validation=n) for n in (0, 10_000)}


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    def load(*, n_validation: int) -> Mnist:
        mnist: dict[int, Mnist] = request.getfixturevalue("mnist")
        return mnist[n_validation]

    monkeypatch.setattr(pieces, "load_mnist", load)
