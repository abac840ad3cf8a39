"""Every message that has a code: what it says, where it is worded, where it is produced.

python scripts/messages.py              prints all of them
python scripts/messages.py TEXT ...     prints those whose code or words hold one of the texts

It exits with 1 where a code is dead (worded but never produced) or missing (produced but not
worded). Texts without a code stand where they are shown, as `text("...")`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import batchlab
from batchlab.words.reasons import CAUSES, MESSAGES

ROOT = Path(__file__).parents[1]
SOURCE = Path(batchlab.__file__).parent
_TABLES = {"MESSAGES", "CAUSES"}
_PRODUCERS = ("Reason.of", "cls.of")
# The check of an accumulated gradient holds the code of a cause as plain text.
_CAUSES_IN = "measure"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a code stands in the source."""

    file: str  # from the root of the repository
    line: int
    code: str | None  # None where a reason is made of a code that is not written there
    values: frozenset[str] = frozenset()  # the names of the values that it is produced with

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@cache
def _trees() -> tuple[tuple[Path, ast.Module], ...]:
    files = sorted(SOURCE.rglob("*.py"))
    return tuple((file, ast.parse(file.read_text(encoding="utf-8"))) for file in files)


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.relative_to(SOURCE))


@cache
def worded() -> tuple[Place, ...]:
    """Return each row of the tables of words."""
    return tuple(
        Place(_name(file), key.lineno, str(key.value))
        for file, tree in _trees()
        if file.parent.name == "words"
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
        if isinstance(node.target, ast.Name) and node.target.id in _TABLES
        for key in node.value.keys
        if isinstance(key, ast.Constant)
    )


@cache
def produced() -> tuple[Place, ...]:
    """Return each place where the source makes a reason or finds a cause."""
    return tuple(_produced())


def _produced() -> Iterator[Place]:
    for file, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from _of_call(node, file)
            elif isinstance(node, ast.Constant) and node.value in CAUSES:
                if file.parent.name == _CAUSES_IN:
                    yield Place(_name(file), node.lineno, node.value)


def _of_call(call: ast.Call, file: Path) -> Iterator[Place]:
    if ast.unparse(call.func) not in _PRODUCERS or not call.args:
        return
    first = call.args[0]
    code = first.value if isinstance(first, ast.Constant) else None
    if code is None and ast.unparse(call.func) == "cls.of":
        return  # the constructor of another class
    names = frozenset(keyword.arg or "**" for keyword in call.keywords)
    yield Place(_name(file), call.lineno, code if isinstance(code, str) else None, names)


def dead() -> list[str]:
    """Return the codes that have words, but that nothing produces."""
    return sorted({*MESSAGES, *CAUSES} - {place.code for place in produced()})


def missing() -> list[Place]:
    """Return the places that produce a code without words."""
    return [place for place in produced() if place.code not in {*MESSAGES, *CAUSES}]


def _printed(code: str) -> str:
    words = MESSAGES.get(code) or CAUSES[code]
    places = [f"  worded    {place}" for place in worded() if place.code == code]
    places += [f"  produced  {place}" for place in produced() if place.code == code]
    return "\n".join([code, f"  {words}", *places])


def main(wanted: Sequence[str]) -> int:
    """Print the messages, and what is wrong with them."""
    for code, words in sorted((MESSAGES | CAUSES).items()):
        if not wanted or any(each in code or each in words for each in wanted):
            print(_printed(code))
    for code in dead():
        print(f"dead: {code}", file=sys.stderr)
    for place in missing():
        print(f"missing: {place.code} of {place}", file=sys.stderr)
    return 1 if dead() or missing() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
