"""How the source is built, a row a room, each beside its ceiling; a ceiling only falls.

python scripts/house.py          prints the table; exits with 1 where a room is above its ceiling
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "batchlab"

# Lines of Python, C and templates a room. Whoever makes a room smaller lowers its number; an issue
# has to say that one may rise.
CEILINGS = {
    "advice": 6_550,
    "app": 5_055,
    "cli": 2_145,
    "datasets": 510,
    "fitting": 470,
    "laws": 3_790,
    "measure": 5_580,
    "plans": 1_460,
    "processes": 1_025,
    "records": 2_140,
    "replications": 2_100,
    "report": 11_650,
    "runs": 3_045,
    "script": 5_130,
    "store": 1_370,
    "training": 7_355,
    "words": 1_400,
    "workload": 3_460,
    "top": 557,
}
CEILING = 64_750

Graph = dict[str, set[str]]


@dataclass
class Room:
    """What a room holds, counted."""

    files: int = 0
    lines: int = 0
    statements: int = 0
    classes: int = 0
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


def takes_batch_size(tree: ast.Module) -> tuple[int, int]:
    """The classes with a field `batch_size`, and the functions with a parameter of that name."""
    classes = functions = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            classes += any(
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and line.target.id == "batch_size"
                for line in node.body
            )
        elif isinstance(node, ast.FunctionDef):
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            functions += any(argument.arg == "batch_size" for argument in given)
    return classes, functions


def main() -> int:
    """Print the table; 1 where something is above its ceiling."""
    known = modules(PACKAGE)
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in known.items()}
    graph = {
        name: {other for other in imports(tree, known) if other in known and other != name}
        for name, tree in trees.items()
    }
    rooms: dict[str, Room] = {}
    with_field = with_parameter = 0
    for name, file in known.items():
        is_top = file.parent == PACKAGE
        room = rooms.setdefault("top" if is_top else file.relative_to(PACKAGE).parts[0], Room())
        room.files += 1
        room.lines += len(file.read_text(encoding="utf-8").splitlines())
        room.statements += statements(trees[name])
        room.classes += sum(isinstance(node, ast.ClassDef) for node in ast.walk(trees[name]))
        room.modules.append(name)
        classes, functions = takes_batch_size(trees[name])
        with_field += classes
        with_parameter += functions
    for file in PACKAGE.rglob("*"):
        if file.suffix in {".c", ".j2", ".js", ".css"}:
            room = rooms[file.relative_to(PACKAGE).parts[0]]
            room.lines += len(file.read_text(encoding="utf-8").splitlines())

    print(
        f"{'room':10} {'files':>5} {'lines':>6} {'ceiling':>7} {'statements':>10} "
        f"{'classes':>7} {'floors':>6}"
    )
    too_many = []
    for title, room in sorted(rooms.items()):
        ceiling = CEILINGS.get(title, 0)
        print(
            f"{title:10} {room.files:5} {room.lines:6} {ceiling:7} {room.statements:10} "
            f"{room.classes:7} {floors(room.modules, graph):6}"
        )
        if room.lines > ceiling:
            too_many.append(f"{title} has {room.lines} lines, its ceiling is {ceiling}")
    lines = sum(room.lines for room in rooms.values())
    print(
        f"{'all':10} {sum(room.files for room in rooms.values()):5} {lines:6} {CEILING:7} "
        f"{sum(room.statements for room in rooms.values()):10} "
        f"{sum(room.classes for room in rooms.values()):7}"
    )
    if lines > CEILING:
        too_many.append(f"src has {lines} lines, its ceiling is {CEILING}")
    circles = sorted(in_circles(graph))
    print(
        f"classes with a field batch_size: {with_field}; "
        f"functions with a parameter of that name: {with_parameter}"
    )
    print(f"files in circles of imports: {len(circles)} {' '.join(circles)}".rstrip())
    if circles:
        too_many.append("no file may lie in a circle of imports")
    for sentence in too_many:
        print(f"scripts/house.py: {sentence}", file=sys.stderr)
    return bool(too_many)


if __name__ == "__main__":
    raise SystemExit(main())
