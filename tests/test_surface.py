"""The public surface: names that are all there."""

import re
from importlib.metadata import version
from types import ModuleType

import pytest

import batchlab


def test_every_public_name_resolves_to_a_thing_and_not_to_a_module():
    for name in batchlab.__all__:
        assert not isinstance(getattr(batchlab, name), ModuleType), name
    assert dir(batchlab) == sorted(batchlab.__all__)
    with pytest.raises(AttributeError, match=r"no 'Workloads'; it has .*Workload"):
        batchlab.Workloads  # noqa: B018 (the access is what is tested)


def test_the_version_is_the_one_of_the_installed_distribution():
    assert batchlab.__version__ == version("batchlab")
    assert re.fullmatch(r"\d+\.\d+\.\d+", batchlab.__version__)
