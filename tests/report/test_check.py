"""The check of accumulation as text and as JSON."""

from __future__ import annotations

from pathlib import Path

from batchlab.report.check import CheckDocument
from batchlab.words.document import schema_text
from batchlab.words.reasons import CAUSES

SOURCE = Path(__file__).parents[2] / "src" / "batchlab" / "measure" / "accumulation.py"


SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "check.json"


def test_every_cause_that_has_words_is_found() -> None:
    source = SOURCE.read_text()

    assert all(f'"{cause}"' in source for cause in CAUSES)


def test_the_schema_is_that_of_the_document() -> None:
    assert SCHEMA.read_text() == schema_text(CheckDocument)
