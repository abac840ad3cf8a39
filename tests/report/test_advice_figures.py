"""The figures of an advice: their rows against what it rests on, one for each kind of answer."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from json import dumps

import altair as alt
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up_advice import (
    KINDS,
    KINDS_BY_DAY,
    advice_study,
    cannot_tell_advice,
    made_up_advice,
)
from tests.reference.shown import table_rows

from batchlab.records.estimate import Estimate
from batchlab.report.advice_figures import advice_looks, kind_notes
from batchlab.report.advice_run_figures import advice_figures
from batchlab.report.advice_tables import answer_table
from batchlab.report.chart import plot
from batchlab.report.figure import Figure, interval_mark
from batchlab.report.text import quantity_text

ADVICE = made_up_advice()


def figures(advice, profile=None) -> dict[str, Figure]:
    return {figure.key: figure for figure in advice_figures(advice, advice_study(advice), profile)}


def rows(figure, kind, panel=None) -> list[dict]:
    return [r for r in figure.rows if r["kind"] == kind and panel in (None, r["panel"])]


class LimitedProfile:
    """As much of a profile as a figure reads."""

    memory_limit_bytes = 100_000_000
    device_name = "a made-up processor"


@pytest.mark.slow
@pytest.mark.parametrize("kind", by_day(KINDS, KINDS_BY_DAY))
def test_every_plot_of_every_kind_is_valid_vega_lite_of_finite_numbers_and_has_words(kind):
    advice = KINDS[kind]()
    looks = advice_looks(advice, advice_study(advice))
    for figure in figures(advice).values():
        for row in figure.rows:
            assert all(math.isfinite(v) for v in row.values() if isinstance(v, float)), row
        for panel in figure.panels:
            spec = plot(panel, looks)
            assert alt.LayerChart.from_dict(spec, validate=True).layer
            undrawn = {r["kind"] for r in panel.rows} - set(re.findall(r'"(\w+)"', dumps(spec)))
            assert not undrawn - {"ring"}  # which has a layer for what is chosen too
            assert any(character.isdigit() for character in panel.alternative)


def test_picture_table_and_bars_show_the_same_numbers():
    """What is expected of what is named, whatever is estimated of its batch size."""
    slower = ADVICE.expected.time_to_target_s.times(1.3)
    advice = replace(ADVICE, expected=replace(ADVICE.expected, time_to_target_s=slower))
    figure = figures(advice)["a"]
    (verified,) = rows(figure, "verified")
    (point,) = [row for row in rows(figure, "point") if row["batch_size"] == 1024]

    cells = table_rows(answer_table(advice))
    (mine,) = [row["cost"] for row in cells if row["named"]]
    (own,) = [row["cost"] for row in cells if row["which"] == "← yours"]
    yours, recommended = (quantity_text("time_to_target_s", each.estimate) for each in (own, mine))

    assert verified["mean"] == pytest.approx(1.3 * point["mean"], rel=0.05)
    assert recommended == quantity_text("time_to_target_s", verified["mean"])
    assert [row["text"] for row in rows(figure, "named")] == [f"recommended: {recommended}"]
    assert [row["text"] for row in rows(figure, "words")] == [f"yours: {yours}"]


def test_marks_of_single_runs_are_read_in_other_words_than_estimates() -> None:
    alone, known = Estimate.of(2.0, n=1), Estimate.of(2.0, interval=(1.0, 3.0), n=3)
    lone, barred = (tuple(interval_mark("point", each, batch_size=64)) for each in (alone, known))

    of_lone, of_barred = (list(kind_notes(ADVICE, marks)) for marks in (lone, barred))

    assert len(of_lone) == len(of_barred) == 1
    assert sorted(kind_notes(ADVICE, lone + barred)) == sorted(of_lone + of_barred)
    assert of_lone != of_barred


def test_where_the_tuned_rate_stays_each_configuration_has_a_name_of_its_own() -> None:
    tuned = ADVICE.reference_tuned
    advice = replace(cannot_tell_advice(), is_usual=True, provisional=tuned, reference_tuned=tuned)

    drawn = [row for figure in figures(advice).values() for row in figure.rows]

    told = {row["series"] for row in drawn if "reference" in str(row.get("series"))}
    assert told == {"reference, tuned", "reference"}
    assert "looked best" not in str(drawn)


def test_laws_of_the_machine_run_under_its_points_and_its_limit_is_a_line():
    figure = figures(ADVICE, LimitedProfile())["e"]

    law = {r["batch_size"]: r for r in rows(figure, "band", "e-step_s")}
    (place,) = rows(figure, "place", "e-step_s")
    (level,) = rows(figure, "level", "e-peak_bytes")
    assert {row["series"] for row in law.values()} == {"law"}
    assert law[64]["low"] < law[64]["mean"] < law[64]["high"]
    assert len(law) > len(rows(figure, "point", "e-step_s"))
    assert (place["batch_size"], place["text"]) == (1000, "knee")
    assert level["mean"] == 100_000_000
    assert rows(figures(ADVICE)["e"], "level") == []


def test_what_one_run_saw_is_a_mark_beside_the_band_and_no_certain_place_of_it() -> None:
    advice = made_up_advice()
    whole = rows(figures(advice)["a"], "band")
    seen, *others = [c for c in advice.candidates if c.cost.estimate is not None]
    once = Estimate.of(seen.cost.estimate, interval=(None, None), n=1)
    candidates = tuple(replace(c, cost=once) if c is seen else c for c in advice.candidates)

    figure = figures(replace(advice, candidates=candidates))["a"]

    sizes = [row["batch_size"] for row in rows(figure, "band")]
    assert sizes == [row["batch_size"] for row in whole if row["batch_size"] != seen.batch_size]
    assert seen.batch_size in [row["batch_size"] for row in rows(figure, "point")]
    assert len(sizes) == len(others)
