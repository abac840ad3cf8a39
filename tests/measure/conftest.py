"""Garbage is collected between two models: 0.1 s each, unless the modules of torch are left out."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def modules_are_no_garbage() -> Iterator[None]:
    import torch._dynamo  # noqa: F401  (the first optimizer imports it)

    gc.freeze()
    yield
    gc.unfreeze()
