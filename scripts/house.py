"""How large the house is: its lines beside their ceilings, and what each room of src holds.

python scripts/house.py          prints the tables; exits with 1 where a ceiling is exceeded
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import batchlab
from batchlab.cli.main import COMMANDS
from batchlab.words.catalogue import CAUSES, SENTENCES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "batchlab"

# Lines of Python, C, templates and sentences in src, and of Python in tests. A ceiling only falls:
# whoever makes the house smaller lowers it, and an issue has to say that one may rise.
CEILINGS = {"src": 41_425, "tests": 30_130}

Graph = dict[str, set[str]]


@dataclass
class Room:
    """What a room holds, counted."""

    files: int = 0
    lines: int = 0
    statements: int = 0
    classes: int = 0
    records: int = 0
    modules: list[str] = field(default_factory=list)


def modules(package: Path) -> dict[str, Path]:
    """Every module's full name and its file."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(tree: ast.Module, known: dict[str, Path]) -> Iterator[str]:
    """The package's own modules that a file imports: in functions and for types only as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def statements(tree: ast.Module) -> int:
    """Statements; docstrings and imports aside."""
    return sum(
        isinstance(node, ast.stmt)
        and not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(tree)
    )


def reached_from(graph: Graph, start: str) -> set[str]:
    """What a module reaches by imports; itself where it lies in a circle."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        for other in graph[todo.pop()] - seen:
            seen.add(other)
            todo.append(other)
    return seen


def in_circles(graph: Graph) -> set[str]:
    """The modules that reach themselves."""
    return {name for name in graph if name in reached_from(graph, name)}


def floors(names: list[str], graph: Graph) -> int:
    """How many modules of a room lie on top of one another, by the imports within it."""
    inside = set(names)
    depth: dict[str, int] = {}

    def floor_of(name: str, above: frozenset[str]) -> int:
        if name not in depth:
            below = (graph[name] & inside) - above
            depth[name] = 1 + max((floor_of(other, above | {name}) for other in below), default=0)
        return depth[name]

    return max((floor_of(name, frozenset({name})) for name in names), default=0)


def is_record(node: ast.AST) -> bool:
    """Return whether it is a class of facts: a frozen dataclass or a struct."""
    if not isinstance(node, ast.ClassDef):
        return False
    heads = [ast.unparse(head) for head in (*node.decorator_list, *node.bases)]
    return any("Struct" in head or "frozen=True" in head for head in heads)


def n_lines(*files: Path) -> int:
    """Return how many lines the files have together."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def main() -> int:
    """Print the tables; 1 where something is above its ceiling."""
    known = modules(PACKAGE)
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in known.items()}
    graph = {
        name: {other for other in imports(tree, known) if other in known and other != name}
        for name, tree in trees.items()
    }
    rooms: dict[str, Room] = {}
    for name, file in known.items():
        is_top = file.parent == PACKAGE
        room = rooms.setdefault("top" if is_top else file.relative_to(PACKAGE).parts[0], Room())
        room.files += 1
        room.lines += n_lines(file)
        room.statements += statements(trees[name])
        room.classes += sum(isinstance(node, ast.ClassDef) for node in ast.walk(trees[name]))
        room.records += sum(map(is_record, ast.walk(trees[name])))
        room.modules.append(name)
    for file in PACKAGE.rglob("*"):
        if file.suffix in {".c", ".j2", ".toml"}:
            rooms[file.relative_to(PACKAGE).parts[0]].lines += n_lines(file)

    print(f"{'room':10} {'files':>5} {'lines':>6} {'statements':>10} {'classes':>7} {'floors':>6}")
    for title, room in sorted(rooms.items()):
        print(
            f"{title:10} {room.files:5} {room.lines:6} {room.statements:10} {room.classes:7} "
            f"{floors(room.modules, graph):6}"
        )
    circles = sorted(in_circles(graph))
    print(f"files in circles of imports: {len(circles)} {' '.join(circles)}".rstrip())
    print(
        f"records {sum(room.records for room in rooms.values())}, public names "
        f"{len(batchlab.__all__)}, commands {len(COMMANDS)}, "
        f"sentences {len(SENTENCES) + len(CAUSES)}"
    )
    lines = {
        "src": sum(room.lines for room in rooms.values()),
        "tests": n_lines(*(ROOT / "tests").rglob("*.py")),
    }
    faults = ["no file may lie in a circle of imports"] if circles else []
    for name, ceiling in CEILINGS.items():
        print(f"{name:10} {lines[name]:6} lines, ceiling {ceiling}")
        if lines[name] > ceiling:
            faults.append(f"{name} has {lines[name]} lines, its ceiling is {ceiling}")
    for sentence in faults:
        print(f"scripts/house.py: {sentence}", file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())
