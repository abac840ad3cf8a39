"""Chart: how a panel is drawn with Altair, as Vega-Lite for a page and as an image.

This file is imported where a chart is made: Altair costs a third of a second. The kinds of rows:

    point, open, mean   an estimate, one read off a curve (hollow), the mean of what was observed
    run, bound, as_is   one run; one that had not got there yet; one of the user's own settings
    lost                a run without a value, at the top
    curve, lone, line   along training the mean over seeds, one trial alone; a line without points
    band, rule          a law with its interval; what theory or a rule of thumb says, dashed
    level, place, span  a value, a batch size, a range of batch sizes marked across the chart
    ring, verified      a ring around what an answer names, the second with an interval
    words, named        words beside a mark; those of what an answer names

Rows of other kinds are in the data only.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Literal

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode

from batchlab.errors import BatchlabError
from batchlab.report.figure import Figure, Panel, Row, drawn_sizes
from batchlab.report.output_file import kept_text, write_output_file
from batchlab.report.palette import Look
from batchlab.report.pointer import IS_POINT, lost_tooltip, point_tooltip
from batchlab.report.text import axis_text, label_text, shown_quantity

Spec = dict[str, Any]
_ROWS = "rows"  # what a chart calls the rows of its figure
_PROBE = "probe"  # the layer of a chart that answers the pointer, which a still image cannot
_MOST_CROSSES = 6  # at one place: more of them above each other would hide what is drawn


class NothingToDrawError(BatchlabError):
    """A report without anything that a figure could show."""


# ---- marks


def plot(panel: Panel, looks: Sequence[Look]) -> alt.LayerChart:
    """The chart of a panel, without its rows."""
    marks = _Marks(panel, looks)
    return alt.LayerChart(
        layer=[
            *marks.behind(),
            *marks.lines(),
            *marks.points(),
            *marks.words(),
            marks.probe(),
            *marks.lost(),  # they answer the pointer themselves
        ]
    )


class _Marks:
    """The layers of a panel, each of the rows of a kind; what lies behind comes first."""

    def __init__(self, panel: Panel, looks: Sequence[Look]) -> None:
        self.panel = panel
        self.kinds = {row["kind"] for row in panel.rows}
        rows = alt.Chart(alt.NamedData(name=_ROWS))
        for name, value in (panel.where or {"panel": panel.key}).items():
            rows = rows.transform_filter(alt.FieldEqualPredicate(field=name, equal=value))
        labels = {look.batch_size: look.label for look in looks}
        rows = rows.transform_calculate(batch=f"({json.dumps(labels)})[datum.batch_size]")
        self.across = rows.encode(x=_horizontal_axis(panel))
        frame = panel.frame or panel.rows
        self.placed = self.across.encode(
            y=value_axis(panel.quantity, frame, is_metric=panel.is_metric)
        )
        names, title = list(labels.values()), label_text("batch_size")
        colors = [f"var({look.css_name})" for look in looks]
        # An empty list is no dash pattern in Vega; [1, 0] is a solid line.
        dashes = [list(look.dash) or [1, 0] for look in looks]
        shapes = [look.shape for look in looks]
        self.color = alt.Color("batch:N", title=title).scale(domain=names, range=colors)
        self.dash = alt.StrokeDash("batch:N", title=title).scale(domain=names, range=dashes)
        self.shape = alt.Shape("batch:N", title=title).scale(domain=names, range=shapes)
        # One series has no dashes: the panels of an image share theirs, and the first sets them.
        self.of_series = None
        if len(panel.series) > 1:
            dash = alt.StrokeDash("series:N").legend(None)
            self.of_series = dash.scale(domain=panel.series, range=[[1, 0], [6, 3], [1, 3]])

    def _of(self, *kinds: str) -> Iterator[alt.Chart]:
        """The chart of the rows of these kinds, where there are any."""
        if self.kinds & set(kinds):
            yield _of_kinds(self.placed, *kinds)

    def _colored(self, *kinds: str) -> Iterator[alt.Chart]:
        """The same in the color of each batch size."""
        yield from (rows.encode(color=self.color) for rows in self._of(*kinds))

    def behind(self) -> Iterator[alt.Chart]:
        """What is marked across the chart, and what laws say."""
        for _ in self._of("span"):
            rows = _of_kinds(self.across, "span")
            yield rows.mark_rect(color=_INK, opacity=0.09, clip=True).encode(x2=alt.X2("to_size"))
        for _ in self._of("place"):
            rows = _of_kinds(self.across, "place")
            yield rows.mark_rule(color=_INK, opacity=0.6, strokeDash=[2, 3], clip=True)
            words = self._beside(rows, away=4, fontSize=11, baseline="top")
            yield words.encode(y=alt.value(2))
        for rows in self._of("band"):
            rows = rows.encode(detail=alt.Detail("series:N"))
            area = rows.mark_area(color=_INK, opacity=0.13, clip=True)
            yield area.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
            yield rows.mark_line(color=_INK, opacity=0.5, strokeWidth=1.5, clip=True)
        for rows in self._of("level"):
            rule = rows.mark_rule(color=_INK, opacity=0.6, strokeDash=[5, 3])
            yield rule.encode(x=alt.value(0), x2=alt.value("width"))
            words = rows.mark_text(color=_INK, fontSize=11, align="left", baseline="bottom", dy=-2)
            yield words.encode(text=alt.Text("text:N"), x=alt.value(3))
        for rows in self._of("rule"):
            line = rows.mark_line(color=_INK, opacity=0.6, strokeDash=[4, 3], clip=True)
            yield line.encode(detail=alt.Detail("series:N"))
            named = rows.transform_filter("isValid(datum.text)")
            words = named.mark_text(color=_INK, fontSize=11, align="right", dy=-9)
            yield words.encode(text=alt.Text("text:N"))

    def lines(self) -> Iterator[alt.Chart]:
        """Lines through what was seen, in ink by batch size, along training one a batch size."""
        for rows in self._of("mean"):
            line = rows.mark_line(color=_INK, opacity=0.45, strokeWidth=1.5)
            yield line if self.of_series is None else line.encode(strokeDash=self.of_series)
        if self.panel.axis == "configuration" and "point" not in self.kinds:
            for rows in self._of("run"):
                line = rows.mark_line(color=_INK, opacity=0.35, strokeWidth=1)
                yield line.encode(detail=alt.Detail("seed:N"))
        for rows in self._colored("curve"):
            area = rows.transform_filter("isValid(datum.low)").mark_area(opacity=0.18, clip=True)
            yield area.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
            marks = rows.transform_filter("datum.marked").mark_point(
                filled=True, size=46, opacity=1
            )
            yield marks.encode(shape=self.shape)
        for rows in self._colored("lone"):
            line = rows.mark_line(strokeWidth=1, opacity=0.75, clip=True, strokeDash=[1, 3])
            yield line.encode(detail=alt.Detail("run:N"))
            yield _cross(rows.transform_filter("datum.marked"))
        for rows in self._colored("curve", "line"):
            line = rows.mark_line(strokeWidth=2, clip=True)
            yield line.encode(strokeDash=self.of_series or self.dash, detail=alt.Detail("seed:N"))

    def points(self) -> Iterator[alt.Chart]:
        """Single runs, and before them what stands for several."""
        for rows in self._colored("run"):
            yield rows.mark_point(size=26, opacity=0.8, strokeWidth=1.2)
        for rows in self._colored("bound"):
            yield rows.mark_text(text="↑", fontSize=15, fontWeight="bold", dy=-5)
        for rows in self._colored("point", "mean"):
            yield rows.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
            yield rows.mark_point(filled=True, size=90, opacity=1).encode(shape=self.shape)
        for rows in self._colored("open"):
            bar = rows.mark_rule(strokeWidth=1.2, strokeDash=[3, 2])
            yield bar.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
            yield rows.mark_point(size=80, strokeWidth=1.5).encode(shape=self.shape)
        for rows in self._colored("as_is"):
            yield _cross(rows)

    def words(self) -> Iterator[alt.Chart]:
        """What an answer names in a ring, and words beside their marks."""
        for rows in self._of("verified"):
            bar = rows.mark_rule(strokeWidth=2, color=_INK)
            yield bar.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q"))
        for rows in self._of("words"):
            yield self._beside(rows, away=11)
        for rows in self._of("named"):
            yield self._beside(rows, away=0, fontSize=13, fontWeight="bold", dy=-20)
        is_chosen = "datum.chosen || datum.kind == 'ring' || datum.kind == 'verified'"
        ringed = self.placed.transform_filter(is_chosen)
        yield ringed.mark_point(size=260, strokeWidth=1.6, shape="circle", color=_INK)

    def _beside(self, rows: alt.Chart, *, away: int, **style: Any) -> alt.Chart:
        """Words on the side of their place that has room; in the middle of it, but at the edges."""
        side = "'left'"
        if self.panel.axis == "batch_size":
            sizes = drawn_sizes(self.panel.rows)
            middle = sizes[(len(sizes) - 1) // 2]
            side = f"datum.batch_size <= {middle} ? 'left' : 'right'"
            if away == 0:
                inside = f"datum.batch_size > {sizes[0]} && datum.batch_size < {sizes[-1]}"
                side = f"{inside} ? 'center' : {side}"
        drawn: dict[str, Any] = {"color": _INK, "fontSize": 12, "baseline": "middle"} | style
        words = rows.mark_text(
            **drawn, align=alt.expr(side), dx=alt.expr(f"({side}) == 'left' ? {away} : -{away}")
        )
        told: alt.Chart = words.encode(text=alt.Text("text:N"))
        return told

    def lost(self) -> Iterator[alt.Chart]:
        """Runs without a value: crosses beside each other at the worse edge, with their words."""
        is_top = not self.panel.is_metric
        for rows in self._colored("lost"):
            rows = rows.transform_calculate(said=lost_tooltip()).transform_window(
                place="row_number()", groupby=["learning_rate"]
            )
            cross = rows.transform_filter(f"datum.place <= {_MOST_CROSSES}").mark_text(
                **_CROSS,
                baseline="top" if is_top else "bottom",
                dy=alt.expr(f"{12 if is_top else -14} * (datum.place - 1)"),
                tooltip=alt.ExprRef(expr="datum.said"),
            )
            yield cross.encode(y=alt.value(0 if is_top else "height"))

    def probe(self) -> alt.Chart:
        """A halo on the point nearest to the pointer, with its numbers.

        The tooltip is one expression and no channel: of a channel, Vega-Lite reads words in the
        wrong place for the nearest point ("undefined").
        """
        hover = alt.selection_point(
            name="hover", on="pointerover", clear="pointerout", nearest=True, empty=False
        )
        rows = self.placed.transform_filter(IS_POINT).transform_calculate(
            said=point_tooltip(self.panel.quantity, self.panel.series)
        )
        # Around each point the chart has a cell, whose datum holds the point.
        said = alt.ExprRef(expr="(datum.datum || datum).said")
        halo = rows.mark_point(filled=True, size=250, clip=True, tooltip=said)
        opacity = alt.condition(hover, alt.value(0.4), alt.value(0))
        halo = halo.encode(color=self.color, opacity=opacity).properties(name=_PROBE)
        answering: alt.Chart = halo.add_params(hover)
        return answering


_CROSS: dict[str, Any] = {"text": "×", "fontSize": 16, "fontWeight": "bold"}


def _cross(rows: alt.Chart) -> alt.Chart:
    cross: alt.Chart = rows.mark_text(**_CROSS, clip=True)
    return cross


def _of_kinds(rows: alt.Chart, *kinds: str) -> alt.Chart:
    found: alt.Chart = rows.transform_filter(alt.FieldOneOfPredicate(field="kind", oneOf=kinds))
    return found


# ---- axes


def _horizontal_axis(panel: Panel) -> alt.X:
    """The axis of a panel, with labels that fit."""
    if panel.axis == "batch_size":
        return _size_axis(drawn_sizes(panel.rows))
    if panel.axis == "configuration":
        return _configuration_axis(panel.rows)
    places = [
        float(row[panel.axis] or 0.0) for row in panel.frame or panel.rows if panel.axis in row
    ]
    return _rate_axis(places) if panel.axis == "learning_rate" else _along_axis(panel.axis, places)


def _size_axis(sizes: Sequence[int]) -> alt.X:
    """Batch sizes in powers of two."""
    room = max(1.4, (sizes[-1] / sizes[0]) ** 0.07)
    return (
        alt.X("batch_size:Q")
        .scale(type="log", base=2, domain=[sizes[0] / room, sizes[-1] * room], nice=False)
        .axis(title=axis_text("batch_size"), values=list(sizes), format="d", grid=False)
    )


def _configuration_axis(rows: Iterable[Row]) -> alt.X:
    """A few configurations, from left to right; a bar breaks their lines."""
    names = list(dict.fromkeys(row["configuration"] for row in rows if "configuration" in row))
    return (
        alt.X("configuration:N")
        .scale(domain=names, type="point", padding=0.5)
        .axis(title=None, labelAngle=0, labelExpr="split(datum.label, '|')", labelOverlap=False)
    )


def _rate_axis(places: Iterable[float]) -> alt.X:
    """A label at each of a few learning rates, else at round ones."""
    run = sorted(set(places))
    values = run if len(run) <= 6 else _round_values(run[0], run[-1], room=1.3)
    scale = alt.Scale(type="log", nice=False, domain=[run[0] / 1.3, run[-1] * 1.3])
    return alt.X("learning_rate:Q").scale(scale).axis(_axis("learning_rate", values, grid=False))


def _along_axis(view: str, places: Sequence[float]) -> alt.X:
    """Along training, with a little room for what ends at the right.

    Epochs are linear, steps and time logarithmic, with equal ratios far from the initial weights
    where these are among the places.
    """
    first, last = min(places), max(places)
    if view == "epoch":
        values = None
        scale = alt.Scale(domain=[first, last + 0.02 * (last - first)], nice=False)
    elif first > 0:
        values = _round_values(first, last)
        scale = alt.Scale(type="log", domain=[first, last * (last / first) ** 0.02], nice=False)
    else:
        last = max(1.0, last)
        values = [0, *_round_values(1.0, last)]
        scale = alt.Scale(type="symlog", constant=1, domain=[0, last * 1.05], nice=False)
    return alt.X(f"{view}:Q").scale(scale).axis(_axis(view, values, grid=False))


# A vertical axis is logarithmic where its values span such a factor: of a quantity, of a metric.
_LOG_RATIO, _LOG_METRIC = 2.5, 30.0
# Shares of an axis that are free at both ends, and above what needs more room than a circle.
_LINEAR_ROOM, _LOG_ROOM = 0.05, 0.08
_ROOM_ABOVE = {"bound": 0.12, "named": 0.1}


def value_axis(quantity: str, rows: Sequence[Row], *, is_metric: bool = False) -> alt.Y:
    """The vertical axis of the rows; a trial alone that diverged does not flatten the rest.

    Ratios count for most quantities. Of a metric differences do, but where a linear axis would
    hide its small values: a loss over its run. A linear axis has a share of itself free above, so
    that no mark lies on the frame.
    """
    low, high = _domain([row for row in rows if row["kind"] != "lone"] or rows)
    if low > 0 and high / low > (_LOG_METRIC if is_metric else _LOG_RATIO):
        room = (high / low) ** _LOG_ROOM
        values = _round_values(low, high, room=room)
        scale = alt.Scale(domain=[low / room, high * room], type="log", nice=False)
        return alt.Y("mean:Q").scale(scale).axis(_axis(quantity, values))
    span = high - low
    above = max(_ROOM_ABOVE.get(str(row["kind"]), _LINEAR_ROOM) for row in rows)
    # An axis that reaches to 0 ends there.
    ends = [low - _LINEAR_ROOM * span if low else low, high + above * span if high else high]
    scale = alt.Scale(domain=ends, type="linear", nice=True, zero=False)
    return alt.Y("mean:Q").scale(scale).axis(_axis(quantity))


def _domain(rows: Iterable[Row]) -> tuple[float, float]:
    """Lowest and highest value of the rows that have one, a little apart; 0 to 1 without any."""
    values = [
        float(row[field] or 0.0)
        for row in rows
        for field in ("mean", "low", "high")
        if row.get(field) is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.0 if high > low else (abs(low) * 0.05 or 0.5)
    return low - room, high + room


# How many decades a logarithmic axis may span for these leading digits to have a label each.
_DIGITS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.8, (1, 2, 3, 4, 6, 8)),
    (1.7, (1, 2, 5)),
    (3.5, (1, 3)),
    (math.inf, (1,)),
)


def _round_values(low: float, high: float, *, room: float = 1.0) -> list[float]:
    """Round values for a logarithmic axis, more of them where there is less than one decade.

    The axis reaches beyond the least and the greatest value by the factor `room`.
    """
    decades = math.log10(high / low)
    digits = next(digits for most, digits in _DIGITS if decades < most)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [digit * 10.0**power for power in powers for digit in digits]
    return [value for value in values if low / room <= value <= high * room]


def _axis(quantity: str, values: Sequence[float] | None = None, *, grid: bool = True) -> alt.Axis:
    """The axis of a quantity. Where labels carry the unit (2 ms, 30 MB) the title does not."""
    after = {"s": "s", "B": "B", "1/s": "/s"}.get(shown_quantity(quantity).unit)
    si = f"replace(format(datum.value, '~s'), /([a-zµ]*)$/i, ' $1') + '{after}'"
    axis = alt.Axis(
        title=axis_text(quantity) if after is None else label_text(quantity),
        grid=grid,
        # Of more values than it counts Vega drops every other.
        tickCount=5 if values is None else len(values),
        labelExpr=_PLAIN_LABEL if after is None else f"datum.label === '' ? '' : {si}",
    )
    if values is not None:
        axis.values = list(values)
    return axis


# Whole numbers from 10,000 on get a k, and small rates stay 0.0003 and not 3e-4 or 300µ.
_PLAIN_LABEL = (
    "datum.label === '' ? '' : abs(datum.value) >= 10000 ? format(datum.value, '~s')"
    " : abs(datum.value) >= 1e-4 || datum.value === 0 ? format(datum.value, '~g')"
    " : format(datum.value, '~e')"
)


# ---- as Vega-Lite


def page_spec(panel: Panel, looks: Sequence[Look]) -> Spec:
    """The Vega-Lite specification of a panel without its data, for its place on a page."""
    # A theme that the user switched on in a notebook is none of the report's business.
    # The tests validate every plot, which takes as long as all the rest.
    with alt.theme.enable("none"), debug_mode(False):
        spec: Spec = plot(panel, looks).to_dict(validate=False)
    size = {"width": 400, "height": 280, "autosize": {"type": "fit", "contains": "padding"}}
    return spec | size | {"config": _CONFIG}


def paper_spec(panel: Panel, looks: Sequence[Look]) -> Spec:
    """The same with title, legend and plain colors, on white ground."""
    spec = _still(page_spec(panel, looks)) | {"title": panel.title, "width": 320, "height": 220}
    del spec["autosize"]
    legend = spec["config"]["legend"] | {"disable": False}
    spec["config"] = spec["config"] | {"legend": legend, "background": "white"}
    colors = {look.css_name: look.light for look in looks} | _ON_PAPER
    plain = re.sub(r"var\((--[\w-]+)\)", lambda found: colors[found[1]], json.dumps(spec))
    drawn: Spec = json.loads(plain.replace("system-ui, ", ""))
    return drawn


def still_svg(spec: Spec, rows: Sequence[Row], *, prefix: str) -> str:
    """The specification of a panel with its rows as SVG text.

    The prefix goes before the identifiers within, which are otherwise the same in every SVG and
    would meet each other on one page.
    """
    whole = _still(spec) | {"datasets": {_ROWS: list(rows)}}
    drawn = str(vl_convert.vegalite_to_svg(whole, vl_version=_version()))
    # The renderer counts on from image to image: numbered anew, a page is the same every time.
    place = r'(?<= id=")clip\d+|(?<=url\(#)clip\d+'
    found = list(dict.fromkeys(re.findall(place, drawn)))
    return re.sub(place, lambda match: f"{prefix}-clip{found.index(match[0])}", drawn)


def prepare() -> None:
    """Load and start what draws: half a second, best spent while something else is waited for."""
    script()
    vl_convert.vegalite_to_svg({"data": {"values": []}, "mark": "point"}, vl_version=_version())


@functools.cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs nothing else: a second to make."""
    text, version = "window.vegaEmbed = vegaEmbed;", _version()
    return kept_text(
        f"vega-lite-{version}-by-{version_of('vl-convert-python')}.js",
        lambda: str(vl_convert.javascript_bundle(text, vl_version=version)),
    )


def _version() -> str:
    """The Vega-Lite that Altair writes for, as "6.4"."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _still(spec: Spec) -> Spec:
    """The same specification without what answers the pointer."""
    layers = [layer for layer in spec["layer"] if layer.get("name") != _PROBE]
    return {key: value for key, value in spec.items() if key != "params"} | {"layer": layers}


# Colors are CSS variables, which follow the reader's color scheme.
_INK, _FAINT, _FONT = "var(--text)", "var(--grid)", "system-ui, sans-serif"
_ON_PAPER = {"--text": "#1b1f24", "--grid": "#d5d9df"}
_WORDS = {"labelColor": _INK, "titleColor": _INK, "labelFont": _FONT, "titleFont": _FONT}
_CONFIG: Spec = {
    # The panel's own description speaks; a label for each of a thousand marks would not help.
    "aria": False,
    "background": None,
    "font": _FONT,
    "axis": {
        **_WORDS,
        "domainColor": _INK,
        "tickColor": _INK,
        "gridColor": _FAINT,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
    },
    # The page has one legend for all its charts.
    "legend": {**_WORDS, "symbolSize": 90, "symbolOpacity": 1, "disable": True},
    "title": {"color": _INK, "font": _FONT, "fontWeight": "normal", "anchor": "start"},
    "view": {"stroke": None},
}


# ---- as files


def write_figure_images(
    figures: Iterable[Figure],
    looks: Sequence[Look],
    path: Path,
    image_format: Literal["svg", "png"],
) -> tuple[Path, ...]:
    """Write one image a figure: `report.svg` gives `report-a-epochs.svg`, `report-d-gap.svg`, ...

    Figures that have nothing to show are left out.

    Raises:
        NothingToDrawError: no figure has anything to show; the message says why for each.
        OutputFileError: a file cannot be written.
    """
    figures = tuple(figures)
    drawn = [figure for figure in figures if figure.panels]
    if not drawn:
        raise NothingToDrawError(
            "no figure has anything to show: "
            + " ".join(f"({figure.key}) {figure.absent}" for figure in figures)
        )
    written = []
    for figure in drawn:
        file = path.with_name(f"{path.stem}-{figure.key}-{figure.name}.{image_format}")
        write_output_file(file, figure_image(figure, looks, image_format))
        written.append(file)
    return tuple(written)


def figure_image(
    figure: Figure, looks: Sequence[Look], image_format: Literal["svg", "png"]
) -> bytes:
    """A whole figure with its legend on white ground, as the bytes of an SVG or PNG file."""
    panels = [paper_spec(panel, looks) for panel in figure.panels]
    # Train, validation and test side by side; four panels are two metrics without validation.
    in_a_row = 2 if len(panels) == 4 else 3
    rows = [{"hconcat": panels[i : i + in_a_row]} for i in range(0, len(panels), in_a_row)]
    spec = {
        "vconcat": rows,
        "title": f"({figure.key}) {figure.title}",
        "config": panels[0]["config"],
        "datasets": {_ROWS: list(figure.rows)},
    }
    for panel in panels:
        del panel["config"]
    if image_format == "svg":
        return str(vl_convert.vegalite_to_svg(spec, vl_version=_version())).encode()
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=_version(), scale=2))
