"""The rooms: what may import what, and what no room may do; read from the source and from a run."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchlab

SOURCE = Path(batchlab.__file__).parent
ROOT = Path(__file__).parents[1]

# What the modules of these rooms, all imported into one clean interpreter, must not load.
MUST_NOT_LOAD = {
    ("torch", "vl_convert", "matplotlib", "numpy", "scipy"): ["__init__.py"],
    ("torch", "babel", "numpy", "scipy"): ["words/*.py"],
    ("torch",): [
        *("records/*.py", "store/*.py", "advice/**/*.py", "measure/measurements.py"),
        "measure/profile*.py",
    ],
    # A page takes two seconds at most, and scipy.optimize a quarter of one.
    ("torch", "scipy.optimize"): ["laws/**/*.py", "app/report.py"],
    ("torch", "batchlab.training", "altair", "scipy.optimize"): ["report/**/*.py"],
    ("vl_convert", "jinja2"): ["report/sweep_page.py"],
}


def matching(pattern: str) -> list[Path]:
    """The source files of a pattern; a room that was renamed would otherwise pass unseen."""
    files = sorted(SOURCE.glob(pattern))
    assert files, f"no file of the package matches {pattern!r}: was that room renamed?"
    return files


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every import from elsewhere, also in functions and by import_module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(level=0):
                for alias in node.names:  # `from urllib import request` names a module, too
                    yield node.lineno, f"{node.module}.{alias.name}"
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str() as name), *_],
            ):
                yield node.lineno, name


def calls_of(file: Path) -> Iterator[tuple[int, str, ast.Call]]:
    """Line, dotted name and node of every call of a plain name or attribute."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func), node


def lint_imports(root: Path) -> str:
    """What import-linter says of the package in `root`/src by the contracts in `root`."""
    command = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


# What a new file may not import, and the contract that forbids it.
NEW_FILES = {
    "laws/new.py": ("from batchlab.report import table", "one way"),
    "advice/new.py": (
        "from batchlab.runs import process_engine",
        "an advice sees records, laws and the contract of engines",
    ),
    "store/new.py": ("def later(): import torch", "arithmetic and records need no torch"),
}


@pytest.mark.slow
def test_a_new_file_is_guarded_at_birth(tmp_path):
    package = tmp_path / "src" / "batchlab"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, (line, _) in NEW_FILES.items():
        (package / file).write_text(line)

    said = lint_imports(tmp_path)
    (package / "new_room").mkdir()
    (package / "new_room" / "__init__.py").touch()
    with_a_room = lint_imports(tmp_path)

    assert set(re.findall("^(.*) BROKEN", said, re.M)) >= {name for _, name in NEW_FILES.values()}
    assert "new_room" in with_a_room


@pytest.mark.slow
@pytest.mark.parametrize("heavy", MUST_NOT_LOAD)
def test_a_room_loads_without_what_it_must_not_need(heavy):
    rooms = [module_name(file) for part in MUST_NOT_LOAD[heavy] for file in matching(part)]
    code = (
        "import sys, importlib\n"
        f"for room in {rooms!r}:\n"
        "    importlib.import_module(room)\n"
        f"    print(*(f'{{room}}: {{name}}' for name in {heavy!r} if name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_batchlab_takes_less_than_150_ms():
    code = (
        "import time; start = time.perf_counter(); import batchlab\n"
        "print(time.perf_counter() - start)"
    )

    # The best of three: the machine may be busy, and a slow import is slow every time.
    import_s = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    )

    assert import_s < 0.150


NEVER_CALLED = {
    *("eval", "pickle.load", "pickle.Unpickler", "cloudpickle.load", "torch.load"),
    *("joblib.load", "shelve.open"),
}
CLIENTS = ("urllib.request", "http.client", "requests", "httpx", "ftplib", "torch.hub")


@pytest.mark.slow
def test_nothing_evaluates_text_or_unpickles_from_a_file():
    assert not [
        f"{file}:{line} calls {ast.unparse(call)}"
        for file in matching("**/*.py")
        for line, name, call in calls_of(file)
        if name in NEVER_CALLED
        or any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in call.keywords)
    ]


@pytest.mark.slow
def test_nothing_reaches_for_the_network():
    assert not [
        f"{file}:{line} imports {name}"
        for file in matching("**/*.py")
        for line, name in imports_of(file)
        if any(f"{name}.".startswith(f"{client}.") for client in CLIENTS)
    ]
