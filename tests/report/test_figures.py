"""Figures as charts: valid on a page and on paper, with the axes, colors and numbers they need."""

import html
import math
import re
from dataclasses import replace
from json import dumps

import altair as alt
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import (
    KINDS,
    KINDS_BY_DAY,
    advice_study,
    made_up_advice,
    with_endings,
)
from tests.reference.made_up_profile import made_up_profile
from tests.reference.shown import rows_of

from batchlab.records.estimate import Estimate
from batchlab.records.trial import Status
from batchlab.report.advice_figures import advice_figures, advice_looks
from batchlab.report.cells import figure_looks
from batchlab.report.chart import figure_images, page_svg, plot, value_axis
from batchlab.report.figure import Figure, Panel, interval_mark, looks, mark
from batchlab.report.sweep_page import sweep_figures
from batchlab.report.text import quantity_text

STUDY = made_up_study(
    learning_rates=(0.01, 0.1),
    seeds=2,
    epochs=3,
    endings={(64, 0.01, 0): (Status.DIVERGED, "the loss grew", 2)},
)
LOOKS = figure_looks(STUDY)
FIGURE = {figure.key: figure for figure in sweep_figures(STUDY)}
PANELS = {panel.key: panel for figure in FIGURE.values() for panel in figure.panels}


def test_a_rate_failed_if_all_its_trials_did_and_not_if_their_time_ran_out():
    at = ((64, 0.01, 0), (64, 0.01, 1), (1024, 0.1, 0), (1024, 0.1, 1))
    diverged, timed_out = (Status.DIVERGED, "it grew", 2), (Status.TIMEOUT, "no time", 2)
    endings = dict(zip(at, (diverged, diverged, timed_out, diverged), strict=True))

    study = made_up_study(learning_rates=(0.01, 0.1), seeds=2, epochs=3, endings=endings)

    (figure,) = [each for each in sweep_figures(study) if each.key == "c"]
    kinds = {}
    for row in rows_of(figure):
        if row["kind"] in ("run", "failed"):
            kinds[row["batch_size"], row["mean"]] = row["kind"]
    assert (kinds[64, 0.01], kinds[1024, 0.1]) == ("failed", "run")


@pytest.mark.parametrize("has_end", [True, False])
def test_a_value_at_the_end_is_never_that_of_the_untrained_model(has_end):
    study = made_up_study(learning_rates=(0.01,), seeds=1, epochs=3)
    records = []
    for record in study.records:
        first, *between, last = record.evaluations
        first = replace(first, measured=(("sharpness", 9.0),))
        last = replace(last, measured=(("sharpness", 3.0),) if has_end else ())
        records.append(replace(record, evaluations=(first, *between, last)))

    values = set()
    for figure in sweep_figures(replace(study, records=tuple(records))):
        values |= {row["mean"] for row in rows_of(figure) if row["panel"] == "f-sharpness"}
    assert values == ({3.0} if has_end else set())


def test_a_chart_is_the_same_every_time_with_identifiers_and_words_of_its_own():
    panel = PANELS["b-epochs-train-1"]
    marked = [row for row in panel.rows if row["marked"]]

    svg = page_svg(panel, LOOKS, width=360)

    assert svg == page_svg(panel, LOOKS, width=360)
    assert f'id="{panel.key}-clip0"' in svg
    assert "url(#clip" not in svg
    assert "var(--batch-64)" in svg
    assert svg.count("<title>batch size: ") == svg.count("<title>") == len(marked) > 3
    assert not re.search("<title>[^<]*(undefined|null|NaN)", svg)
    (words,) = re.findall("<title>batch size: 1024\n([^<]*epoch 3,[^<]*)", html.unescape(svg))
    seconds = quantity_text("equal_time_s", 12 * STUDY.timing(1024).step_s)
    details = f"mean, epoch 3, step 12, {seconds} of training, 2 observations"
    assert re.fullmatch(rf"accuracy: [\d.]+ % \(range: .*\)\n{details}", words)


def test_images_for_paper_have_plain_colours_and_a_legend():
    figure = FIGURE["a"]
    svg = figure_images([figure], LOOKS, "svg")["a-answer"].decode()

    assert "var(--" not in svg
    assert "#D06000" in svg
    assert ">1024<" in svg
    assert figure_images([figure], LOOKS, "png")["a-answer"].startswith(b"\x89PNG")


def test_words_of_two_marks_stand_above_the_higher_and_below_the_lower():
    rows = [
        mark(kind, y, batch_size=64, text=kind) for kind, y in (("point", 1.0), ("verified", 2.0))
    ]

    layers = plot(Panel("p", "time", "time_to_target_s", rows), LOOKS)["layer"]

    down = {row["text"]: row["down"] for layer in layers for row in layer["data"]["values"]}
    assert down["verified"] < 0 < down["point"]


@pytest.mark.parametrize(
    ("low", "high", "is_metric", "scale"),
    [
        (1.0, 1.0, False, "linear"),
        (1.0, 2.0, False, "linear"),
        (1.0, 3.0, False, "log"),
        (1.0, 3.0, True, "linear"),
        (1.0, 31.0, True, "log"),
        (0.0, 31.0, True, "linear"),
        (-1.0, 31.0, False, "linear"),
    ],
)
def test_an_axis_is_logarithmic_where_its_values_span_enough(low, high, is_metric, scale):
    rows = [{"kind": "run", "mean": low}, {"kind": "run", "mean": high}, {"kind": "span"}]

    found = value_axis("step_s", rows, is_metric=is_metric)["scale"]

    assert found["type"] == scale
    # No mark lies on the frame, but an axis that reaches to 0 ends there.
    assert found["domain"][0] < low or low == 0
    assert found["domain"][1] > high + 0.1 * (high - low)  # words at the top have room, too


def test_the_points_of_a_chart_have_words_in_its_table():
    known = Estimate.of(4.0, interval=(3.0, 5.0), n=3)
    rows = [
        *interval_mark("band", known, batch_size=64),
        *interval_mark("point", known, batch_size=64),
        mark("run", 4.5, batch_size=64),
        mark("run", 6.0, batch_size=128, learning_rate=0.1),
        mark("bound", 9.0, batch_size=128, learning_rate=0.2),
        mark("level", 5.0, text="limit"),
    ]
    panel = Panel("p", "time to target", "time_to_target_s", rows)
    figure = Figure("x", "x", "A figure", [panel], notes=())

    assert list(figure.table.texts()) == [
        ("64", "4 s (95 %: 3 s to 5 s)", "3 observations"),
        ("64", "4.5 s", "one run"),
        ("128", "6 s", "one run, learning rate 0.1"),
        ("128", "more than 9 s", "one run, learning rate 0.2"),
    ]


# ---- the figures of an advice: their rows against what it rests on, one for each kind of answer


ADVICE = made_up_advice()


def figures(advice) -> dict[str, Figure]:
    drawn = advice_figures(advice, advice_study(advice), made_up_profile())
    return {figure.key: figure for figure in drawn}


CHECKED: set[str] = set()


def without_values(part: dict) -> str:
    """A part of a chart without its numbers, which are finite, and the words of its titles."""
    return re.sub(r'-?\d[\d.e+-]*|(?<="title": ")[^"]*', "0", dumps(part))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*by_day(KINDS, KINDS_BY_DAY), "sweep"])
def test_every_plot_of_every_kind_is_valid_vega_lite_of_finite_numbers_and_has_words(kind):
    advice = KINDS[kind]() if kind != "sweep" else None
    shown = (figures(advice) if advice else FIGURE).values()
    looks = advice_looks(advice) if advice else LOOKS
    for panel in (panel for figure in shown for panel in figure.panels):
        for row in panel.rows:
            assert all(math.isfinite(v) for v in row.values() if isinstance(v, float)), row
        spec = plot(panel, looks)
        assert {r["kind"] for r in panel.rows} <= set(re.findall(r'"(\w+)"', dumps(spec)))
        for layer in spec["layer"]:
            assert layer.pop("data")["values"]
        # A check takes long: a frame or a layer is checked in the first chart that has it.
        layers = {without_values(layer): layer for layer in spec["layer"]}
        new = {shape: layer for shape, layer in layers.items() if shape not in CHECKED}
        frame = without_values(spec | {"layer": []})
        if new or frame not in CHECKED:
            checked = spec | {"layer": [*new.values()]}
            assert alt.LayerChart.from_dict(checked, validate=True).encoding
        CHECKED.update((frame, *new))


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


# ---- looks of batch sizes


EIGHT = looks((8, 16, 32, 64, 128, 256, 1024, 50_000), n_train=50_000)


def test_batch_sizes_differ_by_dash_and_shape_too_and_keep_theirs_whatever_else_was_run():
    many, few = looks(range(2, 22), n_train=50_000), looks([64, 1024], n_train=50_000)

    assert len({look.dash for look in EIGHT}) == len({look.shape for look in EIGHT}) == 8
    assert len({(look.light, look.dash, look.shape) for look in many}) == 20
    assert list(few) == [look for look in EIGHT if look.kind in (64, 1024)]
    assert looks([4096], n_train=4096)[0].label == "4096 (full)"
