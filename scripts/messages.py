"""Every sentence: what it says, where it is worded, where it is said.

python scripts/messages.py              prints all of them
python scripts/messages.py TEXT ...     prints those whose code or words hold one of the texts

It exits with 1 where a sentence is dead (worded but never said) or missing (said but not worded).
Names, labels and headings stand where they are shown, as `text("...")`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import batchlab
from batchlab.words.catalogue import CAUSES, SENTENCES

ROOT = Path(__file__).parents[1]
SOURCE = Path(batchlab.__file__).parent
TABLE = SOURCE / "words" / "sentences.toml"
_SAY = ("sentence", "Reason.of", "cls.of")
_CHECK = "accumulation.py"  # finds the causes, whose codes are common words


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sentence is said in the source."""

    file: str  # from the root of the repository
    line: int
    code: str
    values: frozenset[str] | None = None  # the names of the values given to it, if they are known

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT) if file.is_relative_to(ROOT) else file.relative_to(SOURCE))


@cache
def said() -> tuple[Place, ...]:
    """Return each place where the source has the code of a sentence or says one."""
    return tuple(_said())


def _said() -> Iterator[Place]:
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls: dict[int, ast.Call] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _SAY and node.args:
                calls |= {id(code): node for code in _codes(node.args[0])}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            call = calls.get(id(node))
            if call is not None:
                names = [keyword.arg for keyword in call.keywords]
                known = None if None in names else frozenset(name for name in names if name)
                yield Place(_name(file), node.lineno, node.value, known)
            elif node.value in SENTENCES or (file.name == _CHECK and node.value in CAUSES):
                yield Place(_name(file), node.lineno, node.value)
    for file in sorted(SOURCE.rglob("*.j2")):
        for line, words in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            for code in re.findall(r'say_sentence\("(\w+)"', words):
                yield Place(_name(file), line, code)


def _codes(argument: ast.expr) -> Iterator[ast.expr]:
    """Yield the constants that an argument may be: itself, or both sides of a choice."""
    if isinstance(argument, ast.IfExp):
        yield from _codes(argument.body)
        yield from _codes(argument.orelse)
    elif isinstance(argument, ast.Constant):
        yield argument


def dead() -> list[str]:
    """Return the codes that have words, but that nothing says."""
    return sorted({*SENTENCES, *CAUSES} - {place.code for place in said()})


def missing() -> list[Place]:
    """Return the places that say a code without words."""
    return [place for place in said() if place.code not in {*SENTENCES, *CAUSES}]


def main(wanted: Sequence[str]) -> int:
    """Print the sentences, and what is wrong with them."""
    worded = {line.partition(" = ")[0]: n for n, line in enumerate(_lines(), 1)}
    for code, words in (SENTENCES | CAUSES).items():
        if not wanted or any(each in code or each in words for each in wanted):
            print(f"{code}\n  {words}\n  worded  {_name(TABLE)}:{worded[code]}")
            for place in said():
                if place.code == code:
                    print(f"  said    {place}")
    for code in dead():
        print(f"dead: {code}", file=sys.stderr)
    for place in missing():
        print(f"missing: {place.code} of {place}", file=sys.stderr)
    return 1 if dead() or missing() else 0


def _lines() -> list[str]:
    return TABLE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
