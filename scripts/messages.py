"""Every sentence: what it says, where it is worded, where it is said.

python scripts/messages.py              prints all of them
python scripts/messages.py TEXT ...     prints those whose code or words hold one of the texts

It exits with 1 where a sentence is dead (worded but never said) or missing (said but not worded).
Names, labels and headings stand where they are shown.
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
    """A place in the source that says a sentence, or that holds its code."""

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
    """Return each place that says a sentence or holds the code of one."""
    return tuple(_said())


def _said() -> Iterator[Place]:
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        places: dict[ast.Constant, frozenset[str] | None] = {}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if ast.unparse(call.func) in _SAY and call.args:
                    names = [keyword.arg for keyword in call.keywords]
                    values = None if None in names else frozenset(filter(None, names))
                    codes = _codes(call.args[0], function, tree)
                    places |= {code: values for code in codes if isinstance(code.value, str)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node not in places and _is_code(node, file):
                places[node] = None
        for code, values in places.items():
            yield Place(_name(file), code.lineno, str(code.value), values)
    for file in sorted(SOURCE.rglob("*.j2")):
        for line, words in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            for code, values in re.findall(r'say_sentence\("(\w+)"(.*?)\)', words):
                yield Place(_name(file), line, code, frozenset(re.findall(r"(\w+)=", values)))


def _is_code(node: ast.Constant, file: Path) -> bool:
    """Return whether a text of the source can only be a code; those of causes are common words."""
    if file.name == _CHECK and node.value in CAUSES:
        return True
    return isinstance(node.value, str) and "_" in node.value and node.value in SENTENCES


def _codes(argument: ast.expr, function: ast.FunctionDef, tree: ast.Module) -> list[ast.Constant]:
    """Return the texts that an argument may be: one, both of a choice, or those of a name."""
    if isinstance(argument, ast.Constant):
        return [argument]
    if isinstance(argument, ast.IfExp):
        return [
            code
            for side in (argument.body, argument.orelse)
            for code in _codes(side, function, tree)
        ]
    if isinstance(argument, ast.Subscript) and isinstance(argument.value, ast.Name):
        tables = _assigned(argument.value.id, tree)
        dicts = [table for table in tables if isinstance(table, ast.Dict)]
        return [each for table in dicts for each in table.values if isinstance(each, ast.Constant)]
    if isinstance(argument, ast.Name):
        values = _assigned(argument.id, function)
        return [code for value in values for code in _codes(value, function, tree)]
    return []


def _assigned(name: str, inside: ast.AST) -> list[ast.expr]:
    return [
        node.value
        for node in ast.walk(inside)
        if isinstance(node, ast.Assign)
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    ]


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
