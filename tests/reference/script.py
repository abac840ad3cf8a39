"""A script of benchmarks/ as a module, with what it finds beside it."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@contextmanager
def script(path: str) -> Iterator[ModuleType]:
    """The script at `path` under benchmarks/; what it imports from its folder goes with it.

    While it is there, `sys.modules` has it as NAME_script, and its folder's modules as it finds
    them.
    """
    file = BENCHMARKS / path
    name = f"{file.stem}_script"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(file.parent))
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            yield module
        finally:
            for new in set(sys.modules) - before:
                found = getattr(sys.modules[new], "__file__", None) or ""
                is_by_bare_name = not new.startswith("benchmarks.")
                if is_by_bare_name and Path(found).is_relative_to(file.parent):
                    del sys.modules[new]
