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
    N_TRAIN,
    advice_study,
    cannot_tell_advice,
    cooled_advice,
    law,
    made_up_advice,
    made_up_gap,
    one_sided_advice,
    tried,
    with_endings,
)
from tests.reference.shown import rows_of, table_rows

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_figures import advice_looks
from batchlab.report.advice_run_figures import advice_figures
from batchlab.report.advice_tables import answer_table
from batchlab.report.advice_text import bars
from batchlab.report.chart import plot
from batchlab.report.figure import Figure, Row
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


def test_the_flat_set_is_shaded_and_the_recommendation_marked():
    figure = figures(ADVICE)["a"]

    (span,) = rows(figure, "span")
    (verified,) = rows(figure, "verified")
    assert 256 < span["batch_size"] < 512
    assert 1024 < span["to_size"] < 4096
    assert verified["batch_size"] == 1024


def test_picture_table_and_bars_show_the_same_numbers():
    """The verification's: what was estimated before it is marked apart."""
    slower = ADVICE.expected.time_to_target_s.times(1.3)
    advice = replace(ADVICE, expected=replace(ADVICE.expected, time_to_target_s=slower))
    figure = figures(advice)["a"]
    (verified,) = rows(figure, "verified")
    (point,) = [row for row in rows(figure, "point") if row["batch_size"] == 1024]

    cells = {row["which"]: row["cost"] for row in table_rows(answer_table(advice))}
    yours, recommended = (
        quantity_text("time_to_target_s", cells[name].estimate) for name in ("yours", "use")
    )
    drawn = [line.strip() for line in bars(advice)]

    assert verified["mean"] == pytest.approx(1.3 * point["mean"], rel=0.05)
    assert recommended == quantity_text("time_to_target_s", verified["mean"])
    assert [row["text"] for row in rows(figure, "named")] == [f"recommended: {recommended}"]
    assert [row["text"] for row in rows(figure, "words")] == [f"yours: {yours}"]
    assert any(line.endswith(f"{recommended}  recommended") for line in drawn)
    assert any(line.endswith(f"{yours}  yours") for line in drawn)
    assert any("fresh seeds" in note for note in figure.notes)


def test_the_reference_as_it_is_stands_apart_as_a_bound_where_it_missed():
    figure, missed = figures(ADVICE)["a"], figures(made_up_advice(reference_misses=True))

    as_is = [row["mean"] for row in rows(figure, "as_is")]
    (tuned,) = [row["mean"] for row in rows(figure, "point") if row["batch_size"] == 64]
    assert len(as_is) == 4
    assert min(as_is) > 2 * tuned
    assert rows(missed["a"], "as_is") == []
    assert len(rows(missed["a"], "bound")) == len(rows(missed["b"], "bound")) == 4
    assert "more than" in missed["b"].panels[0].alternative


def without_estimate(candidate):
    """One run is too few for an interval, so there is no estimate."""
    unknown = Estimate.cannot_tell(Reason.as_written("one run"))
    return replace(candidate, cost=unknown, steps_to_target=unknown)


def only_single_runs():
    """Nothing was settled, and no batch size but the reference was trained on a fresh seed."""
    advice = replace(cannot_tell_advice(), head_to_head=None, flat_set=(), laws=None)
    trained = {c.batch_size: without_estimate(c) for c in advice.candidates}
    trained = {
        size: c if size == 64 else replace(c, learning_rate=None) for size, c in trained.items()
    }
    return replace(advice, candidates=tuple(trained.values()))


def test_runs_too_few_for_an_estimate_are_drawn_one_by_one():
    advice = only_single_runs()
    found = figures(advice)
    step_s = advice.candidate(64).step_s.estimate
    own = [
        (run.steps_to_target or run.steps) * step_s
        for run in advice.tried
        if (run.purpose, run.batch_size) == ("verify", 64)
        and run.learning_rate == advice.reference.learning_rate
    ]

    timed = [row["mean"] for row in rows(found["a"], "run")]
    as_is = rows(found["a"], "as_is") + rows(found["a"], "bound")
    assert {row["batch_size"] for row in rows(found["a"], "run")} == {64}
    by_view = [
        [row["mean"] for row in rows(found["d"], "run", f"d-{view}") if row["batch_size"] == 64]
        for view in ("time", "epochs", "steps")
    ]
    assert by_view[0] == pytest.approx(timed)
    assert by_view[1] == pytest.approx([each / -(-N_TRAIN // 64) for each in by_view[2]])
    assert by_view[0] == pytest.approx([step_s * each for each in by_view[2]], rel=1e-3)
    assert sorted(row["mean"] for row in as_is) == pytest.approx(sorted(own), rel=1e-3)


def test_after_a_race_every_run_that_met_the_target_is_drawn():
    """No batch size was valued on fresh seeds: these runs are all there is."""
    advice = only_single_runs()
    tuning = tuple(t for t in advice.tried if t.purpose == "tune")
    own = tried(rate=advice.reference.learning_rate, purpose="pilot", met=8000.0)
    advice = replace(advice, tried=(own, *tuning), reason=Reason.of("single_runs"))
    found = figures(advice)

    met = [t for t in tuning if t.steps_to_target is not None]
    assert len(rows(found["a"], "run")) == len(met)
    assert len({row["batch_size"] for row in rows(found["a"], "run")}) > 1
    (as_is,) = rows(found["a"], "as_is")
    (words,) = rows(found["a"], "words")
    assert as_is["batch_size"] == words["batch_size"] == 64
    assert rows(found["a"], "bound") == []
    assert any("at the rates that raced" in note for note in found["a"].notes)


def test_what_is_named_for_now_has_a_ring_too():
    """The eye looks for what the title names."""
    raced = replace(only_single_runs(), reason=Reason.of("single_runs"))
    run = next(t for t in raced.tried if t.steps_to_target is not None and t.batch_size == 256)
    seen = replace(ADVICE.recommendation, batch_size=256, learning_rate=run.learning_rate)
    unseen = replace(seen, learning_rate=1.5 * run.learning_rate)

    after_a_race = figures(replace(raced, provisional=seen))["a"]
    half_the_rate = figures(replace(raced, provisional=unseen))["a"]
    settled = figures(replace(ADVICE, recommendation=None, provisional=ADVICE.recommendation))["a"]

    for figure in (after_a_race, settled):
        (named,) = rows(figure, "named")
        assert named["text"].startswith("best so far: ")
    runs = {row["mean"] for row in rows(after_a_race, "run") if row["batch_size"] == 256}
    ringed = {row["mean"] for row in rows(after_a_race, "ring")}
    assert ringed
    assert ringed <= runs
    assert [row["text"] for row in rows(half_the_rate, "place")] == ["best so far"]
    assert rows(half_the_rate, "ring") == []  # nothing was run at that rate
    assert rows(settled, "ring")


def test_a_batch_size_that_was_not_trained_is_hollow():
    first, *others = ADVICE.candidates
    found = figures(replace(ADVICE, candidates=(replace(first, learning_rate=None), *others)))

    for panel in ("a-objective", "d-time", "d-epochs", "d-steps"):
        figure = found[panel[0]]
        assert [row["batch_size"] for row in rows(figure, "open", panel)] == [16]
        assert 16 not in [row["batch_size"] for row in rows(figure, "point", panel)]
        assert any("Hollow" in note for note in figure.notes)


@pytest.mark.parametrize(
    ("advice", "places"), [(ADVICE, [500]), (one_sided_advice(), []), (cannot_tell_advice(), [])]
)
def test_the_critical_batch_size_is_marked_only_where_it_is_known(advice, places):
    assert [row["batch_size"] for row in rows(figures(advice)["d"], "place")] == places


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


def test_a_rate_that_most_runs_missed_is_not_on_the_line():
    advice = replace(
        ADVICE,
        tried=(
            tried(rate=0.01, steps=100, met=100.0, status="target_reached"),
            tried(rate=0.1, steps=80, met=80.0, status="target_reached"),
            tried(rate=0.1, steps=300, seed=1),
            tried(rate=1.0, steps=5, status="diverged"),
        ),
    )

    figure = figures(advice)["f"]

    assert [row["learning_rate"] for row in rows(figure, "line")] == [0.01]
    assert [row["mean"] for row in rows(figure, "bound")] == [300]
    assert [row["learning_rate"] for row in rows(figure, "lost")] == [1.0]


def test_rules_are_lines_beside_the_tuned_rates():
    figure = figures(ADVICE)["f"]

    linear = {r["batch_size"]: r["mean"] for r in rows(figure, "rule") if r["series"] == "linear"}
    assert linear[1024] == pytest.approx(16 * linear[64])
    assert {row["text"] for row in rows(figure, "rule")} == {None, "none", "linear", "sqrt"}


def test_progress_draws_the_recommendation_beside_the_reference():
    figure = figures(ADVICE)["c"]

    series = {row["series"] for row in rows(figure, "curve")}
    assert series == {"recommended", "reference, tuned", "reference"}
    lines = {(row["series"], row["seed"]) for row in rows(figure, "curve")}
    assert len(figure.table.rows) == len(lines)
    assert rows(figure, "level")[0]["mean"] == 0.95


def test_progress_draws_what_is_named_for_now_on_every_seed_that_compared_it():
    named = replace(ADVICE, recommendation=None, provisional=ADVICE.recommendation)
    figure = figures(named)["c"]

    (size,) = {r["batch_size"] for r in rows(figure, "curve") if r["series"] == "best so far"}
    seeds = {row["seed"] for row in rows(figure, "curve")}
    assert size == ADVICE.recommendation.batch_size
    assert seeds <= set(ADVICE.head_to_head.seeds)
    assert len(seeds) > 1
    assert any("Solid: best so far" in note for note in figure.notes)


def test_whole_trainings_are_drawn_beside_the_line_that_counts_those_with_a_cool_down_apart():
    figure, cooled = (figures(each)["b"] for each in (with_endings(ADVICE), cooled_advice()))

    three = ["recommended", "tuned rate only", "yours as it is"]
    assert len(rows(figure, "run", "b-ends")) == 9
    assert [round(row["mean"], 4) for row in rows(figure, "point")] == [0.9784, 0.9772, 0.978]
    assert [level["mean"] for level in rows(figure, "level")] == [
        pytest.approx(0.978 - 0.05 * (1 - 0.978))
    ]
    names = [(row["panel"], row["configuration"].split("|")[0]) for row in rows(cooled, "point")]
    assert names == [("b-ends", name) for name in three]


def test_quality_is_drawn_as_the_metric_itself():
    advice = made_up_advice(objective="quality")

    drawn = figures(advice)
    shown = {row["batch_size"]: row for row in rows(drawn["a"], "point")}
    for candidate in advice.candidates:
        row, cost = shown[candidate.batch_size], candidate.cost
        assert row["mean"] == pytest.approx(1 - cost.estimate)
        assert (row["low"], row["high"]) == pytest.approx((1 - cost.high, 1 - cost.low))
    assert all(0.5 < row["mean"] < 1 for row in rows(drawn["b"], "run"))
    assert drawn["a"].panels[0].title == "validation accuracy"


WHOLE = with_endings(made_up_advice(sizes=(64, 256, 1024)))


def effect_rows(advice: Advice, panel: str, **fields: object) -> list[Row]:
    return rows_of(figures(advice)[panel[0]], panel=panel, **fields)


def test_epochs_are_points_with_their_interval_and_fresh_runs_as_circles() -> None:
    (point,) = effect_rows(WHOLE, "d-epochs", batch_size=256, kind="point")
    epochs = law(256) * 256 / N_TRAIN

    found = [point["mean"], point["low"], point["high"]]
    assert found == pytest.approx([epochs, 0.95 * epochs, 1.05 * epochs])
    fresh = [t for t in WHOLE.tried if (t.batch_size, t.purpose) == (256, "value")]
    circles = [row["mean"] for row in effect_rows(WHOLE, "d-epochs", batch_size=256, kind="run")]
    assert circles == pytest.approx([t.steps_to_target * 256 / N_TRAIN for t in fresh])


def test_a_run_that_missed_the_target_is_an_arrow_and_no_mark_stands_for_its_batch_size() -> None:
    advice = replace(WHOLE, tried=(*WHOLE.tried, tried(512, steps=80)))

    shown = figures(advice)["d"]

    (bound,) = effect_rows(advice, "d-epochs", batch_size=512)
    assert (bound["kind"], bound["mean"]) == ("bound", 80 * 512 / N_TRAIN)
    assert "512: more than 10" in shown.views["epochs"][0].alternative
    assert any(note.startswith("↑") for note in shown.notes)


@pytest.mark.parametrize("size", [64, 1024])
def test_train_and_test_metric_stand_as_far_apart_as_the_gap(size: int) -> None:
    train, test = effect_rows(WHOLE, "g-gap", batch_size=size, kind="mean")

    assert (train["series"], test["series"]) == ("train", "test")
    gap = float(train["mean"] or 0) - float(test["mean"] or 0)
    assert gap == pytest.approx(made_up_gap(size), abs=1e-6)


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
