"""ConfigTemplate: a configuration file with placeholders, copied for each trial."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from batchlab.errors import UsageError
from batchlab.launching.placeholders import (
    COUNTS,
    Value,
    placeholders_in,
    with_values,
    written_value,
)

Syntax = Literal["json", "toml", "yaml"]

_SYNTAXES: dict[str, Syntax] = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_NOTHING = {"json": "null", "yaml": "null"}
# A YAML value that is a placeholder and nothing else: "lr: {learning_rate}  # a comment".
_WHOLE_BEFORE, _WHOLE_AFTER = re.compile(r"(?:[:,\[-]\s+|^\s*|\[)$"), re.compile(r"\s*(?:$|[,\]#])")


class ConfigTemplate:
    """The text of a YAML, JSON or TOML file with placeholders where its values belong.

    Attributes:
        path: the template.
        syntax: by the end of its name.
        placeholders: the names in it.
    """

    def __init__(self, path: Path) -> None:
        """Read a template, and see that it is valid once its placeholders are filled.

        Raises:
            UsageError: no such file, another kind of file, an unknown placeholder, or a text that
                is not valid with values in it.
        """
        self.path = path
        self.syntax = _syntax_of(path)
        self._text = _text_of(path)
        self.placeholders = frozenset(placeholders_in(self._text, where=str(path)))
        if "config" in self.placeholders:
            raise UsageError(f"{path} holds {{config}}, which is the file itself; leave it out")
        if self.syntax == "toml" and "resume_from" in self.placeholders:
            raise UsageError(
                f"{path} holds {{resume_from}}, and TOML has no value for nothing to resume from; "
                f"put it into the command, as in --resume {{resume_from}}"
            )
        self.filled(dict.fromkeys(COUNTS, 1) | {"learning_rate": 0.5, "output_dir": "out"})

    def filled(self, values: Mapping[str, Value | None]) -> str:
        """The text with these values, written as the file's own syntax writes them.

        Args:
            values: by placeholder; those that the file does not have are passed over.

        Raises:
            UsageError: a placeholder has no value, or the text is not valid with it.
        """
        filled = with_values(
            self._text, lambda name, start, end: self._written(name, values.get(name), start, end)
        )
        self._check(filled)
        return filled

    def write(self, values: Mapping[str, Value | None], folder: Path) -> Path:
        """Write the filled file into a folder, under the template's name.

        Args:
            values: as for `filled`.
            folder: it is there.

        Returns:
            The file.
        """
        written = folder / self.path.name
        written.write_text(self.filled(values), encoding="utf-8")
        return written

    def _written(self, name: str, value: Value | None, start: int, end: int) -> str:
        if name == "resume_from" and value is None:
            return "" if self._quote_around(start) else _NOTHING[self.syntax]
        text = written_value(name, value)
        is_number = name in COUNTS or name == "learning_rate"
        if is_number:
            # YAML 1.1 takes 1e-05 for a text: its numbers have a point.
            return re.sub(r"^(-?\d+)e", r"\1.0e", text)
        quote = self._quote_around(start)
        if quote == '"':
            return json.dumps(text, ensure_ascii=False)[1:-1]
        if quote == "'":
            return text.replace("'", "''") if self.syntax == "yaml" else text
        if self.syntax == "yaml" and not self._is_whole(start, end):
            return text  # part of a plain text, as in out: {output_dir}/logs
        return json.dumps(text, ensure_ascii=False)  # YAML and TOML read JSON's texts, too

    def _quote_around(self, start: int) -> str | None:
        """The quotation mark that is open at this place of its line; None: none is."""
        line_start = self._text.rfind("\n", 0, start) + 1
        quote: str | None = None
        escaped = False
        for character in self._text[line_start:start]:
            if quote == '"' and character == "\\" and not escaped:
                escaped = True
                continue
            if character == quote and not escaped:
                quote = None
            elif (
                quote is None
                and character in "\"'"
                and not (character == "'" and self.syntax == "json")
            ):
                quote = character
            escaped = False
        return quote

    def _is_whole(self, start: int, end: int) -> bool:
        line_start = self._text.rfind("\n", 0, start) + 1
        line_end = self._text.find("\n", end)
        after = self._text[end : len(self._text) if line_end < 0 else line_end]
        before = self._text[line_start:start]
        return bool(_WHOLE_BEFORE.search(before) and _WHOLE_AFTER.match(after))

    def _check(self, filled: str) -> None:
        try:
            if self.syntax == "json":
                json.loads(filled)
            elif self.syntax == "toml":
                tomllib.loads(filled)
        except ValueError as error:
            raise UsageError(
                f"{self.path} is not valid {self.syntax.upper()} once its placeholders have "
                f"values: {error}"
            ) from None


def _syntax_of(path: Path) -> Syntax:
    syntax = _SYNTAXES.get(path.suffix.lower())
    if syntax is None:
        raise UsageError(
            f"configuration template {path}: expected a file that ends in {', '.join(_SYNTAXES)}"
        )
    return syntax


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"configuration template {path} can't be read: {why}") from None
