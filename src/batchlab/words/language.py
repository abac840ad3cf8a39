"""Language: how people are spoken to."""

from __future__ import annotations

import gettext
from collections.abc import Callable
from dataclasses import dataclass, field

from batchlab.words.numbers import english_number


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """How people are spoken to.

    Attributes:
        translations: the texts of the source in this language.
        number: how it writes a number in a given form (see `english_number`).
    """

    translations: gettext.NullTranslations = field(default_factory=gettext.NullTranslations)
    number: Callable[[float, str], str] = english_number
