"""A record as dicts and as a data frame, with pandas and without."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice

from batchlab.errors import BatchlabError
from batchlab.report.advice_tables import candidates_table
from batchlab.report.sweep_tables import trials_table


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pandas that keeps what it is given."""

    def frame(rows: list[Any], *, columns: list[str]) -> SimpleNamespace:
        return SimpleNamespace(rows=rows, columns=columns)

    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=frame))  # type: ignore[arg-type]


@pytest.mark.usefixtures("frames")
def test_a_sweep_is_a_frame_with_a_row_a_trial() -> None:
    study = made_up_study(batch_sizes=(64, 256), seeds=2)

    frame = study.to_pandas()

    assert frame.columns[:2] == ["trial_id", "status"]
    assert frame.columns == [column.key for column in trials_table(study).columns]
    place = frame.columns.index("batch_size")
    assert [row[place] for row in frame.rows] == [r.trial.batch_size for r in study.records]


@pytest.mark.usefixtures("frames")
def test_an_advice_is_a_frame_with_a_row_a_batch_size() -> None:
    advice = made_up_advice()

    frame = advice.to_pandas()

    assert frame.columns == [column.key for column in candidates_table(advice).columns]
    assert [row[0] for row in frame.rows] == [c.batch_size for c in advice.candidates]


def test_pandas_itself_takes_the_table() -> None:
    pandas = pytest.importorskip("pandas")
    study = made_up_study(batch_sizes=(64, 256))

    frame = study.to_pandas()

    assert isinstance(frame, pandas.DataFrame)
    assert sorted(frame["batch_size"].unique()) == [64, 256]
    assert frame["test_accuracy"].between(0.9, 1).all()


def test_without_pandas_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(BatchlabError) as caught:
        made_up_study(batch_sizes=(64,)).to_pandas()

    told = "to_pandas needs pandas, which is not installed: pip install pandas"
    assert str(caught.value) == told
    assert isinstance(caught.value, ImportError)


def test_a_sweep_as_a_dict_is_what_json_prints_without_store_and_page() -> None:
    study = made_up_study(batch_sizes=(64,))

    found = study.to_dict()

    assert (found["command"], found["store"], found["report"]) == ("sweep", None, None)
    assert [trial["trial_id"] for trial in found["trials"]] == [study.records[0].trial.trial_id]
    json.dumps(found, allow_nan=False)


def test_a_study_is_one_short_line() -> None:
    told = repr(made_up_study(batch_sizes=(64, 256)))

    assert told == "Study(workload='made-up', batch_sizes=(64, 256), trials=2, ended_well=2)"
