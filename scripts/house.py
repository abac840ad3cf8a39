"""How the source is built: files, circles of imports, lengths.

python scripts/house.py [FOLDER OF A PACKAGE]
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

Graph = dict[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """Every module's full name and its file."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The package's own modules that a file imports, also inside functions, not for types only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def circles(graph: Graph) -> list[set[str]]:
    """The sets of modules that reach one another."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        todo = [start]
        while todo:
            for other in graph[todo.pop()] - seen:
                seen.add(other)
                todo.append(other)
        reached[start] = seen
    found: list[set[str]] = []
    for name in graph:
        circle = {other for other in reached[name] if name in reached[other]}
        if name in circle and circle not in found:
            found.append(circle)
    return found


def main() -> None:
    """Print the table's rows."""
    package = Path(sys.argv[1] if len(sys.argv) > 1 else "src/batchlab")
    known = modules(package)
    graph = {
        name: {other for other in imports(name, file, known) if other in known and other != name}
        for name, file in known.items()
    }
    lines = {name: len(file.read_text().splitlines()) for name, file in known.items()}
    longest = max(lines, key=lambda name: lines[name])
    found = circles(graph)
    inside = sum(len(graph[name] & circle) for circle in found for name in circle)
    top = [path for path in package.iterdir() if path.suffix == ".py"]
    rooms = [path for path in package.iterdir() if (path / "__init__.py").exists()]
    code = [n for name, n in lines.items() if known[name].name != "__init__.py"]
    print(f"files on the top floor: {len(top)}, rooms: {len(rooms)}")
    print(f"files: {len(known)}, lines: {sum(lines.values())}")
    median = statistics.median(code)
    print(f"lines of a file: median {median:.0f}, longest {lines[longest]} ({longest})")
    print(f"files of more than 400 lines: {sum(n > 400 for n in code)}")
    print(f"files in circles of imports: {sum(map(len, found))}, imports within them: {inside}")


if __name__ == "__main__":
    main()
