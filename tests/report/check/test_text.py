"""The check of accumulation as text: the answer first, then each cause with what to do."""

from __future__ import annotations

from pathlib import Path

from batchlab.records.study import Accumulation, Finding
from batchlab.report.check import CheckDocument, check_text
from batchlab.words.document import schema_text
from batchlab.words.reasons import CAUSES

SOURCE = Path(__file__).parents[3] / "src" / "batchlab" / "measure" / "accumulation.py"
SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "check.json"


def found(*findings: Finding, in_double: bool = True, rounding: float | None = None) -> str:
    made = Accumulation(
        workload="mine", n_examples=6, in_double=in_double, rounding=rounding, findings=findings
    )
    return " ".join(check_text(made).split())


def test_nothing_found_is_said_with_the_rounding() -> None:
    said = found(rounding=1.2e-7)

    assert said.startswith("mine: a batch and its micro-batches have the same gradient.")
    assert "differ by 1e-07 of the gradient. That is rounding." in said


def test_a_cause_has_its_place_its_size_and_what_to_do() -> None:
    said = found(Finding(cause="sum", where="`loss`", size=5.0))

    assert "mine: a batch and its micro-batches do NOT have the same gradient." in said
    assert "- `loss` (500 % of the gradient): The loss is a sum over the batch" in said
    assert "Divide it by the number of examples." in said


def test_random_draws_alone_are_the_same_on_average() -> None:
    said = found(Finding(cause="dropout", where="2 (Dropout)", size=0.4, by_chance=True))

    assert "the same gradient on average; the two differ by chance." in said


def test_without_float64_it_says_so() -> None:
    assert "because it takes no float64" in found(in_double=False)
    assert "Compared in float64, on 6 training examples." in found()


def test_every_cause_that_has_words_is_found() -> None:
    source = SOURCE.read_text()

    assert all(f'"{cause}"' in source for cause in CAUSES)


def test_the_schema_is_that_of_the_document() -> None:
    assert SCHEMA.read_text() == schema_text(CheckDocument)
