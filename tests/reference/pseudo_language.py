"""A language that no one speaks: every text of the catalogue in brackets, and wider than English.

What is read outside of brackets did not come from the catalogue.
"""

from __future__ import annotations

import gettext
import string

from batchlab.words.language import Language
from batchlab.words.numbers import english_number

OPEN, CLOSE = "⟦", "⟧"


class _Bracketed(gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return _in_brackets(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return _in_brackets(msgid1 if n == 1 else msgid2)


def pseudo_language() -> Language:
    """The language: its texts and numbers are English in brackets, the texts wider by a third."""
    return Language(
        translations=_Bracketed(),
        number=lambda value, form: f"{OPEN}{english_number(value, form)}{CLOSE}",
    )


def letters_outside(text: str) -> list[str]:
    """The pieces of `text` with a letter that stand outside of all brackets."""
    depth, piece, pieces = 0, "", []
    for character in text:
        depth += (character == OPEN) - (character == CLOSE)
        assert depth >= 0, f"a bracket closes that did not open: {text!r}"
        if depth == 0 and character != CLOSE:
            piece += character
        elif piece:
            pieces.append(piece)
            piece = ""
    return [found for found in [*pieces, piece] if any(map(str.isalpha, found))]


def _in_brackets(message: str) -> str:
    """Brackets around what the text says itself, so that its values must bring their own."""
    return "".join(
        _widened(words) + ("" if name is None else f"{{{name}:{form}}}")
        for words, name, form, _ in string.Formatter().parse(message)
    )


def _widened(words: str) -> str:
    if not words.strip():
        return words
    return f"{OPEN}{words}{'~' * (len(words) // 3)}{CLOSE}".replace("{", "{{").replace("}", "}}")
