"""loud: English in capitals, the smallest other language."""

from __future__ import annotations

import gettext
import re

from batchlab.words.language import Language


class _Loud(gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return "".join(
            part if part.startswith("{") else part.upper()
            for part in re.split(r"({[^}]*})", message)
        )

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


LANGUAGE = Language(translations=_Loud())
