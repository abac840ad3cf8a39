"""english: the language of the source, which needs no translations."""

from __future__ import annotations

from batchlab.words.language import Language

LANGUAGE = Language()
