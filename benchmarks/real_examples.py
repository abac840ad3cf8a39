"""The workloads of examples/real in their tiny form, and what `advise` answers to each: a table.

    python -m benchmarks.real_examples

Runs the second command in the docstring of each file, and writes
benchmarks/results/real_examples.md. Takes ten minutes.
"""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import batchlab

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "real_examples.md"
HEAD = """# What is answered to the workloads of examples/real

`python -m benchmarks.real_examples` asks about each in its tiny form, on two cores. "Now" is what
the file trains with; "in full" is the form for a GPU.

| example | parameters, in full | now | the answer | trainings, time |
|---|---|---|---|---|
"""


def tiny_command(file: Path) -> list[str]:
    """Return the words of the second command in a file's docstring, without `batchlab`."""
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    lines = text.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("    batchlab ")]
    return [str(ROOT / word) if word.startswith("examples/") else word for word in commands[1]]


def n_parameters(workload: batchlab.Workload) -> str:
    n = sum(parameter.numel() for parameter in workload.model().parameters())
    return f"{n / 1e6:.1f} million" if n >= 1e6 else f"{round(n, -3):,}"


def printed(command: list[str]) -> str:
    """Run a command of batchlab; return what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "batchlab", *command]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    print(done.stdout, flush=True)
    return done.stdout


def answer(text: str) -> tuple[str, str]:
    """Return the headline, and how many trainings took how long."""
    spent = re.search(r"^(\d+) runs in (.*?) of", text, re.MULTILINE)
    assert spent is not None, text
    return " ".join(text.partition("\n\n")[0].split()), f"{spent[1]}, {spent[2]}"


def row(file: Path) -> str:
    """Return the row of the table about a file."""
    command = tiny_command(file)
    settings = [word.split("=") for word in command if "=" in word]
    make = runpy.run_path(str(file))["workload"]
    tiny = make(**{name: int(value) for name, value in settings})
    sizes = f"{n_parameters(tiny)}, {n_parameters(make())}"
    now = f"{tiny.batch_size} at {tiny.learning_rate:g}"
    link = f"[{file.stem}](../../examples/real/{file.name})"
    return f"| {' | '.join((link, sizes, now, *answer(printed(command))))} |"


if __name__ == "__main__":
    files = sorted((ROOT / "examples" / "real").glob("*.py"))
    RESULTS.write_text(HEAD + "".join(f"{row(file)}\n" for file in files), "utf-8")
