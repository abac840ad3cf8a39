"""The figures of an advice: their rows against what it rests on, one for each kind of answer."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from json import dumps
from types import SimpleNamespace

import altair as alt
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up_advice import (
    KINDS,
    KINDS_BY_DAY,
    advice_study,
    made_up_advice,
    with_endings,
)
from tests.reference.shown import table_rows

from batchlab.records.estimate import Estimate
from batchlab.report.advice_figures import advice_figures, advice_looks, trained_cells
from batchlab.report.advice_rows import answer_table
from batchlab.report.chart import plot
from batchlab.report.figure import Figure
from batchlab.report.text import quantity_text

ADVICE = made_up_advice()


def figures(advice, profile=None) -> dict[str, Figure]:
    return {figure.key: figure for figure in advice_figures(advice, advice_study(advice), profile)}


def rows(figure, kind, panel=None) -> list[dict]:
    return [r for r in figure.rows if r["kind"] == kind and panel in (None, r["panel"])]


@pytest.mark.slow
@pytest.mark.parametrize("kind", by_day(KINDS, KINDS_BY_DAY))
def test_every_plot_of_every_kind_is_valid_vega_lite_of_finite_numbers_and_has_words(kind):
    advice = KINDS[kind]()
    looks = advice_looks(advice)
    for figure in figures(advice).values():
        for row in figure.rows:
            assert all(math.isfinite(v) for v in row.values() if isinstance(v, float)), row
        for panel in figure.panels:
            spec = plot(panel, looks)
            assert alt.LayerChart.from_dict(spec, validate=True).layer
            assert {r["kind"] for r in panel.rows} <= set(re.findall(r'"(\w+)"', dumps(spec)))


def test_picture_and_table_show_the_same_numbers():
    """What is expected of what is named, whatever is estimated of its batch size."""
    slower = ADVICE.expected.time_to_target_s.times(1.3)
    advice = replace(ADVICE, expected=replace(ADVICE.expected, time_to_target_s=slower))
    figure = figures(advice)["a"]
    (verified,) = rows(figure, "verified", "a-objective")

    cells = table_rows(answer_table(advice))
    (mine,) = [row["cost"] for row in cells if row["named"]]
    (own,) = [row["cost"] for row in cells if row["which"] == "← yours"]
    yours, recommended = (quantity_text("time_to_target_s", each.estimate) for each in (own, mine))

    assert recommended == quantity_text("time_to_target_s", verified["mean"])
    assert [row["text"] for row in rows(figure, "named")] == [f"recommended: {recommended}"]
    words = [row["text"] for row in rows(figure, "words", "a-objective")]
    assert words == [f"yours: {yours}", *words[1:]]


def test_the_axis_is_made_for_what_was_measured_or_else_for_every_bar_of_the_belief():
    """The interval of a batch size that nothing is known of leaves the frame."""
    advice = with_endings(ADVICE)
    *known, last = advice.believed
    vague = replace(last, end=Estimate.of(0.96, interval=(0.1, 0.99), n=0))

    (end, *_) = figures(replace(advice, believed=(*known, vague)))["a"].panels
    (unmeasured, _) = figures(ADVICE)["a"].panels

    low, _ = plot(end, advice_looks(advice))["encoding"]["y"]["scale"]["domain"]
    assert 0.9 < low < 0.96
    low, high = plot(unmeasured, advice_looks(ADVICE))["encoding"]["y"]["scale"]["domain"]
    bars = [row for row in unmeasured.rows if row["kind"] == "expected"]
    assert low < min(row["low"] for row in bars)
    assert high > max(row["high"] for row in bars)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_line_by_seconds_has_the_ends_that_no_shorter_training_beats(better):
    advice = replace(with_endings(ADVICE), better=better)
    sign = 1 if better == "higher" else -1

    figure = figures(advice)["a"]
    line = {(row["train_s"], sign * row["mean"]) for row in rows(figure, "band", "a-frontier")}
    marks = rows(figure, "point", "a-frontier") + rows(figure, "verified", "a-frontier")
    drawn = {(row["train_s"], sign * row["mean"]) for row in marks}

    beaten = {
        (seconds, value)
        for (seconds, value), (other_s, other) in itertools.permutations(drawn, 2)
        if other_s <= seconds and other >= value
    }
    assert len(drawn) == len(marks) > 1
    assert line == (drawn - beaten if len(drawn - beaten) > 1 else set())


def test_the_curve_of_a_batch_size_is_that_of_its_longest_runs():
    advice = with_endings(ADVICE)
    study = advice_study(advice)

    cells = {cell.batch_size: cell for cell in trained_cells(advice, study)}

    assert advice.named is not None
    named = cells[advice.named.batch_size]
    assert named.learning_rate == advice.named.learning_rate
    same = [r for r in study.records if advice.is_of(r.trial, advice.named)]
    longest = max(record.steps for record in same)
    assert [r.steps for r in named.records] == [longest] * len(named.records)
    assert len(named.records) < len(same)


def test_the_limit_of_the_machine_is_a_line():
    limited = SimpleNamespace(memory_limit_bytes=100_000_000, device_name="a made-up processor")

    (level,) = rows(figures(ADVICE, limited)["d"], "level", "d-peak_bytes")

    assert level["mean"] == 100_000_000
    assert rows(figures(ADVICE)["d"], "level") == []
