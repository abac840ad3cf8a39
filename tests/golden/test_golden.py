"""The product's answers, held from outside: simulated, stored and tiny real studies."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.golden.compare import DOCUMENTS, differences, read
from tests.golden.studies import NIGHTLY, SLOW, STUDIES, document_of

MARKS = dict.fromkeys(SLOW, pytest.mark.slow) | dict.fromkeys(NIGHTLY, pytest.mark.nightly)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in STUDIES]
)
def test_a_study_gives_its_golden_document(name: str, tmp_path: Path) -> None:
    found = json.loads(json.dumps(document_of(name, tmp_path)))

    assert list(differences(found, read(name))) == []


def test_every_document_has_its_study_and_all_are_small() -> None:
    files = list(DOCUMENTS.glob("*.json"))

    assert {path.stem for path in files} == set(STUDIES)
    assert sum(path.stat().st_size for path in files) < 1_000_000
    verdicts = {read(name).get("verdict") for name in STUDIES if name.startswith("advise-")}
    assert verdicts >= {"recommend", "cannot_tell"}


@pytest.mark.parametrize(
    ("found", "n"),
    [
        ({"a": 1, "b": [0.5, "x", None]}, 0),
        ({"a": 1, "b": [0.5 * (1 + 1e-8), "x", None]}, 0),
        ({"a": 1, "b": [0.5 * (1 + 1e-5), "x", None]}, 1),
        ({"a": True, "b": [0.5, "y", 0]}, 3),
        ({"a": 2, "b": [0.5]}, 2),
        ({"b": [0.5, "x", None], "c": 0}, 2),
    ],
)
def test_what_differs_is_found(found: Any, n: int) -> None:
    assert len(list(differences(found, {"a": 1, "b": [0.5, "x", None]}))) == n
