"""The public surface: names that are all there."""

import re
from importlib.metadata import version
from types import ModuleType

import pytest

import batchlab


@pytest.mark.parametrize("name", batchlab.__all__)
def test_every_public_name_resolves_to_a_thing_and_not_to_a_module(name):
    found = getattr(batchlab, name)

    assert not isinstance(found, ModuleType)


def test_dir_lists_the_public_names_only():
    assert dir(batchlab) == sorted(batchlab.__all__)


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(AttributeError, match=r"no 'Workloads'; it has .*Workload"):
        batchlab.Workloads  # noqa: B018 (the access is what is tested)


def test_the_version_is_the_one_of_the_installed_distribution():
    assert batchlab.__version__ == version("batchlab")
    assert re.fullmatch(r"\d+\.\d+\.\d+", batchlab.__version__)
