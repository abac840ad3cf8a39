"""Chart: how a panel is drawn, as Vega-Lite for a page and as an image.

The kinds of rows:

    point, mean         an estimate, the mean of what was observed
    expected            an estimate without an observation of its own, an open mark
    run, bound, failed  one run; one that had not got there yet; one that failed
    curve, lone, line   along training the mean over seeds, one trial alone; a line without points
    band, rule          a law with its interval; what theory or a rule of thumb says, dashed
    level, place, span  a value, a batch size, a range of batch sizes marked across the chart
    verified            an estimate of what an answer names, in a ring
    words, named        words beside a mark; those of what an answer names

Rows of other kinds are in the data only. Where a row has words, `text` holds them.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Literal

import vl_convert

from batchlab.errors import BatchlabError
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.report.figure import Figure, Panel, Row, drawn_sizes
from batchlab.report.output_file import kept_text, write_output_file
from batchlab.report.palette import SERIES_DASHES, Look, drawn_looks
from batchlab.report.pointer import IS_POINT, point_tooltip
from batchlab.report.text import axis_text, label_text, shown_quantity
from batchlab.words.catalogue import text

Spec = dict[str, Any]
_ROWS = "rows"  # what a chart calls the rows of its figure
_PROBE = "probe"  # the layer of a chart that answers the pointer, which a still image cannot
_LANE = 4  # pixels between lines of the same value
_INK, _FAINT = "var(--text)", "var(--grid)"  # CSS variables, which follow the reader's colors


class NothingToDrawError(BatchlabError):
    """A report without anything that a figure could show."""


# ---- marks


def plot(panel: Panel, looks: Sequence[Look]) -> Spec:
    """The specification of a panel's marks, without its rows and its size."""
    marks = _Marks(panel, looks)
    labels = json.dumps({look.kind: look.label for look in looks})
    plans = json.dumps([look.kind for look in looks if isinstance(look.kind, str)])
    kind = f"indexof({plans}, datum.plan) < 0 ? datum.batch_size : datum.plan"
    frame = panel.frame or panel.rows
    return {
        "data": {"name": _ROWS},
        "transform": [
            *({"filter": {"field": name, "equal": value}} for name, value in panel.whose.items()),
            {"calculate": f"({labels})[{kind}]", "as": "batch"},
        ],
        "encoding": {
            "x": _horizontal_axis(panel),
            "y": value_axis(panel.quantity, frame, is_metric=panel.is_metric),
        },
        "layer": [
            *marks.behind(),
            *marks.lines(),
            *marks.points(),
            *marks.words(),
            marks.probe(),
        ],
    }


# What an encoding has in place of the value of a row.
_INTERVAL = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
_WHOLE_HEIGHT = {"y": {"value": 0}, "y2": {"value": "height"}}
_WHOLE_WIDTH = {"x": {"value": 0}, "x2": {"value": "width"}}
_WORDS = {"text": {"field": "text", "type": "nominal"}}
_BY_SERIES = {"detail": {"field": "series", "type": "nominal"}}
_BY_SEED = {"detail": {"field": "seed", "type": "nominal"}}
_CROSS: Spec = {"type": "text", "text": "×", "fontSize": 16, "fontWeight": "bold"}


class _Marks:
    """The layers of a panel, each of the rows of some kinds; what lies behind comes first."""

    def __init__(self, panel: Panel, looks: Sequence[Look]) -> None:
        self.panel = panel
        self.kinds = {row["kind"] for row in panel.rows}
        names, title = [look.label for look in looks], label_text("batch_size")
        if any(isinstance(look.kind, str) for look in looks):
            title = text("batch size or plan")

        def by_size(values: list[Any]) -> Spec:
            scale = {"domain": names, "range": values}
            return {"field": "batch", "type": "nominal", "title": title, "scale": scale}

        self.color = {"color": by_size([f"var({look.css_name})" for look in looks])}
        self.shaped = {**self.color, "shape": by_size([look.shape for look in looks])}
        # An empty list is no dash pattern in Vega; [1, 0] is a solid line.
        self.dashed = {"strokeDash": by_size([list(look.dash) or [1, 0] for look in looks])}
        # One series has no dashes: the panels of an image share theirs, and the first sets them.
        self.of_series: Spec = {}
        self.lane: Spec = {"yOffset": {"expr": f"{_LANE} * (datum.lane || 0)"}}
        if len(panel.series) > 1:
            scale = {"domain": panel.series, "range": [list(dash) for dash in SERIES_DASHES]}
            dash = {"field": "series", "type": "nominal", "legend": None, "scale": scale}
            self.of_series = {"strokeDash": dash}

    def _of(
        self,
        kinds: str,
        mark: str | Spec,
        encoding: Spec | None = None,
        having: str = "",
        **style: Any,
    ) -> Iterator[Spec]:
        """A layer of the rows of these kinds that have this field, where there are any."""
        wanted = kinds.split()
        rows = [row for row in self.panel.rows if row["kind"] in wanted]
        if any(not having or row.get(having) not in (None, False) for row in rows):
            filters: list[Spec] = [{"filter": {"field": "kind", "oneOf": wanted}}]
            if having:
                has = f"isValid(datum.{having}) && datum.{having} !== false"
                filters.append({"filter": has})
            drawn = {"type": mark} if isinstance(mark, str) else mark
            yield {"transform": filters, "mark": drawn | style, "encoding": encoding or {}}

    def behind(self) -> Iterator[Spec]:
        """What is marked across the chart, and what laws say."""
        across: Spec = {"color": _INK, "opacity": 0.6}
        to_size = {"x2": {"field": "to_size"}, **_WHOLE_HEIGHT}
        yield from self._of("span", "rect", to_size, color=_INK, opacity=0.09, clip=True)
        yield from self._of("place", "rule", _WHOLE_HEIGHT, strokeDash=[2, 3], clip=True, **across)
        yield from self._beside("place", {"y": {"value": 2}}, away=4, fontSize=11, baseline="top")
        band = {**_INTERVAL, **_BY_SERIES}
        yield from self._of("band", "area", band, color=_INK, opacity=0.13, clip=True)
        line: Spec = {"color": _INK, "opacity": 0.5, "strokeWidth": 1.5, "clip": True}
        yield from self._of("band", "line", _BY_SERIES, **line)
        small: Spec = {"color": _INK, "fontSize": 11}
        yield from self._of("level", "rule", _WHOLE_WIDTH, strokeDash=[5, 3], **across)
        at_left = {"x": {"value": 3}, **_WORDS}
        yield from self._of(
            "level", "text", at_left, align="left", baseline="bottom", dy=-2, **small
        )
        yield from self._of("rule", "line", _BY_SERIES, strokeDash=[4, 3], clip=True, **across)
        yield from self._of("rule", "text", _WORDS, "text", align="right", dy=-9, **small)

    def lines(self) -> Iterator[Spec]:
        """Lines through what was seen, in ink by batch size, along training one a batch size."""
        mean: Spec = {"color": _INK, "opacity": 0.45, "strokeWidth": 1.5}
        yield from self._of("mean", "line", self.of_series, **mean)
        if self.panel.axis == "configuration" and "point" not in self.kinds:
            yield from self._of("run", "line", _BY_SEED, color=_INK, opacity=0.35, strokeWidth=1)
        band = {**_INTERVAL, **self.color}
        yield from self._of("curve", "area", band, "low", opacity=0.18, clip=True)
        mark: Spec = {"filled": True, "size": 46, "opacity": 1, "clip": True}
        yield from self._of("curve", "point", self.shaped, "marked", **mark)
        by_run = {**self.color, "detail": {"field": "run", "type": "nominal"}}
        lone: Spec = {"strokeWidth": 1, "opacity": 0.75, "clip": True, "strokeDash": [1, 3]}
        yield from self._of("lone", "line", by_run, **lone)
        yield from self._of("lone", _CROSS, self.color, "marked", clip=True)
        by_seed = {**self.color, **_BY_SEED, **(self.of_series or self.dashed)}
        yield from self._of("curve line", "line", by_seed, strokeWidth=2, clip=True, **self.lane)

    def points(self) -> Iterator[Spec]:
        """Single runs, and before them what stands for several."""
        bar = {**_INTERVAL, **self.color}
        yield from self._of("run", "point", self.color, size=26, opacity=0.8, strokeWidth=1.2)
        arrow: Spec = {"text": "↑", "fontSize": 15, "fontWeight": "bold", "dy": -5}
        yield from self._of("bound", "text", self.color, **arrow)
        bars: Spec = {"strokeWidth": 2, "clip": True}
        yield from self._of("point mean expected verified", "rule", bar, **bars)
        yield from self._of("expected", "point", self.shaped, size=70, opacity=1, strokeWidth=1.6)
        filled: Spec = {"filled": True, "size": 90, "opacity": 1}
        yield from self._of("point mean verified", "point", self.shaped, **filled)
        yield from self._of("failed", _CROSS, self.color, clip=True)

    def words(self) -> Iterator[Spec]:
        """What an answer names in a ring, and words beside their marks."""
        yield from self._beside("words", away=9, dy=9)
        yield from self._beside("named", away=0, fontSize=13, fontWeight="bold", dy=-20)
        ring: Spec = {"size": 260, "strokeWidth": 1.6, "shape": "circle", "color": _INK}
        yield from self._of("verified", "point", **ring)

    def _beside(
        self, kind: str, encoding: Spec | None = None, *, away: int, **style: Any
    ) -> Iterator[Spec]:
        """Words on the side of their place that has room; in the middle of it, but at the edges."""
        side = "'left'"
        if self.panel.axis == "batch_size":
            sizes = drawn_sizes(self.panel.rows)
            middle = sizes[(len(sizes) - 1) // 2]
            side = f"datum.batch_size <= {middle} ? 'left' : 'right'"
            if away == 0:
                third = len(sizes) // 3
                first, last = sizes[third], sizes[-1 - third]
                inside = f"datum.batch_size >= {first} && datum.batch_size <= {last}"
                side = f"{inside} ? 'center' : {side}"
        drawn: Spec = {"color": _INK, "fontSize": 12, "baseline": "middle"}
        drawn["align"] = {"expr": side}
        drawn["dx"] = {"expr": f"({side}) == 'left' ? {away} : -{away}"}
        yield from self._of(kind, "text", {**_WORDS, **(encoding or {})}, **(drawn | style))

    def probe(self) -> Spec:
        """A halo on the point nearest to the pointer, with its numbers.

        The tooltip is one expression and no channel: of a channel, Vega-Lite reads words in the
        wrong place for the nearest point ("undefined").
        """
        select = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
        said = point_tooltip(self.panel.quantity, self.panel.series)
        is_near = {"param": "hover", "value": 0.4, "empty": False}
        return {
            "name": _PROBE,
            "params": [{"name": "hover", "select": select}],
            "transform": [{"filter": IS_POINT}, {"calculate": said, "as": "said"}],
            "mark": {
                "type": "point",
                "filled": True,
                "size": 250,
                "clip": True,
                # Around each point the chart has a cell, whose datum holds the point.
                "tooltip": {"expr": "(datum.datum || datum).said"},
                **self.lane,
            },
            "encoding": {**self.color, "opacity": {"condition": is_near, "value": 0}},
        }


# ---- axes


def _horizontal_axis(panel: Panel) -> Spec:
    """The axis of a panel, with labels that fit."""
    if panel.axis == "batch_size":
        return _size_axis(drawn_sizes(panel.rows))
    if panel.axis == "configuration":
        return _configuration_axis(panel.rows)
    places = [
        float(row[panel.axis] or 0.0) for row in panel.frame or panel.rows if panel.axis in row
    ]
    return _rate_axis(places) if panel.axis == "learning_rate" else _along_axis(panel.axis, places)


def _size_axis(sizes: Sequence[int]) -> Spec:
    """Batch sizes in powers of two."""
    room = max(1.4, (sizes[-1] / sizes[0]) ** 0.07)
    ends = [sizes[0] / room, sizes[-1] * room]
    axis = {"title": axis_text("batch_size"), "values": sizes, "format": "d", "grid": False}
    axis |= {"labelSeparation": 5}
    return _quantitative("batch_size", {"type": "log", "base": 2, "domain": ends}, axis)


def _quantitative(field: str, scale: Spec, axis: Spec) -> Spec:
    """A channel of numbers, its scale as it is given."""
    scale = {"nice": False} | scale
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def _configuration_axis(rows: Iterable[Row]) -> Spec:
    """A few configurations, from left to right; a bar or what is in brackets begins a line."""
    names = list(dict.fromkeys(row["configuration"] for row in rows if "configuration" in row))
    scale = {"domain": names, "type": "point", "padding": 0.5}
    lines = "split(replace(datum.label, ' (', '|('), '|')"
    words = {"labelExpr": lines, "labelAngle": 0, "labelOverlap": False}
    axis = {"title": None, **words}
    return {"field": "configuration", "type": "nominal", "scale": scale, "axis": axis}


def _rate_axis(places: Iterable[float]) -> Spec:
    """Put a label at each of a few learning rates, else at round ones."""
    run = sorted(set(places))
    values = run if len(run) <= 6 else _round_values(run[0], run[-1], room=1.3)
    scale = {"type": "log", "domain": [run[0] / 1.3, run[-1] * 1.3]}
    return _quantitative("learning_rate", scale, _axis("learning_rate", values, grid=False))


def _along_axis(view: str, places: Sequence[float]) -> Spec:
    """Along training, with a little room for what ends at the right.

    Epochs and examples are linear, steps and time logarithmic, with equal ratios far from the
    initial weights where these are among the places.
    """
    first, last = min(places), max(places)
    if view in ("epoch", "samples"):
        values = None
        scale: Spec = {"domain": [first, last + 0.02 * (last - first)]}
    elif first > 0:
        values = _round_values(first, last)
        scale = {"type": "log", "domain": [first, last * (last / first) ** 0.02]}
    else:
        last = max(1.0, last)
        values = [0, *_round_values(1.0, last)]
        scale = {"type": "symlog", "constant": 1, "domain": [0, last * 1.05]}
    return _quantitative(view, scale, _axis(view, values, grid=False))


# A vertical axis is logarithmic where its values span such a factor: of a quantity, of a metric.
_LOG_RATIO, _LOG_METRIC = 2.5, 30.0
# Shares of an axis that are free at both ends, and above what needs more room than a circle.
_LINEAR_ROOM, _LOG_ROOM = 0.05, 0.08
_ROOM_ABOVE = {"bound": 0.12, "named": 0.1, "place": 0.12}


def value_axis(quantity: str, rows: Sequence[Row], *, is_metric: bool = False) -> Spec:
    """The vertical axis of the rows; a trial alone that diverged does not flatten the rest.

    Ratios count for most quantities. Of a metric differences do, but where a linear axis would
    hide its small values: a loss over its run. A linear axis has a share of itself free above, so
    that no mark lies on the frame.
    """
    low, high = _domain([row for row in rows if row["kind"] != "lone"] or rows)
    if low > 0 and high / low > (_LOG_METRIC if is_metric else _LOG_RATIO):
        room = (high / low) ** _LOG_ROOM
        values = _round_values(low, high, room=room)
        if quantity == "batch_size":  # those that were trained are the round ones
            values = sorted({float(row["mean"] or 0.0) for row in rows})
        scale: Spec = {"domain": [low / room, high * room], "type": "log"}
        return _quantitative("mean", scale, _axis(quantity, values))
    span = high - low
    above = max(_ROOM_ABOVE.get(str(row["kind"]), _LINEAR_ROOM) for row in rows)
    # An axis that reaches to 0 ends there.
    ends = [low - _LINEAR_ROOM * span if low else low, high + above * span if high else high]
    axis = _axis(quantity)
    if quantity in FRACTION_METRICS and 0 <= low and high <= 1:
        ends = [max(ends[0], 0.0), min(ends[1], 1.0)]
        percent = "datum.label === '' ? '' : format(100 * datum.value, '~g') + ' %'"
        axis |= {"labelExpr": percent}
    scale = {"domain": ends, "type": "linear", "nice": True, "zero": False}
    return _quantitative("mean", scale, axis)


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


def _axis(quantity: str, values: Sequence[float] | None = None, *, grid: bool = True) -> Spec:
    """The axis of a quantity. Where labels carry the unit (2 ms, 30 MB) the title does not."""
    after = {"s": "s", "B": "B", "1/s": "/s"}.get(shown_quantity(quantity).unit)
    si = f"replace(format(datum.value, '~s'), /([a-zµ]*)$/i, ' $1') + '{after}'"
    return {
        "title": axis_text(quantity) if after is None else label_text(quantity),
        "grid": grid,
        # Of more values than it counts Vega drops every other.
        "tickCount": 5 if values is None else len(values),
        "labelExpr": _PLAIN_LABEL if after is None else f"datum.label === '' ? '' : {si}",
        **({} if values is None else {"values": list(values)}),
    }


# Whole numbers from 10,000 on get a k, and small rates stay 0.0003 and not 3e-4 or 300µ.
_PLAIN_LABEL = (
    "datum.label === '' ? '' : abs(datum.value) >= 10000 ? format(datum.value, '~s')"
    " : abs(datum.value) >= 1e-4 || datum.value === 0 ? format(datum.value, '~g')"
    " : format(datum.value, '~e')"
)


# ---- as Vega-Lite


def page_spec(panel: Panel, looks: Sequence[Look]) -> Spec:
    """The Vega-Lite specification of a panel without its data, for its place on a page."""
    size = {"width": 400, "height": 280, "autosize": {"type": "fit", "contains": "padding"}}
    return plot(panel, looks) | size | {"config": _CONFIG}


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


def still_svg(panel: Panel, spec: Spec, rows: Iterable[Row], *, prefix: str) -> str:
    """The specification of a panel with its own of the rows of its figure as SVG text.

    The prefix goes before the identifiers within, which are otherwise the same in every SVG and
    would meet each other on one page.
    """
    # About as large as the live one with its labels: to fit it exactly takes half as long again.
    size = {"width": 335, "height": 222, "autosize": "pad"}
    own = [row for row in rows if panel.whose.items() <= row.items()]
    rest = spec["transform"][len(panel.whose) :]  # no other panel's rows are left to filter out
    whole = _still(spec) | size | {"transform": rest, "datasets": {_ROWS: own}}
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
    """Return Vega, Vega-Lite and Vega-Embed as one script, packed: gzip in base64.

    It needs nothing else. To make it takes a second, so it is kept.
    """
    version = _version()

    def packed() -> str:
        call = "window.vegaEmbed = vegaEmbed;"
        made = str(vl_convert.javascript_bundle(call, vl_version=version))
        return base64.b64encode(gzip.compress(made.encode(), mtime=0)).decode()

    return kept_text(f"vega-lite-{version}-by-{version_of('vl-convert-python')}.gz.b64", packed)


@functools.cache
def _version() -> str:
    """The newest Vega-Lite that there is, as "6.4"."""
    return str(vl_convert.get_vegalite_versions()[-1])


def _still(spec: Spec) -> Spec:
    """The same specification without what answers the pointer."""
    return spec | {"layer": [layer for layer in spec["layer"] if layer.get("name") != _PROBE]}


_FONT = "system-ui, sans-serif"
_ON_PAPER = {"--text": "#1b1f24", "--grid": "#d5d9df"}
_LABELS = {"labelColor": _INK, "titleColor": _INK, "labelFont": _FONT, "titleFont": _FONT}
_CONFIG: Spec = {
    # The panel's own description speaks; a label for each of a thousand marks would not help.
    "aria": False,
    "background": None,
    "font": _FONT,
    "axis": {
        **_LABELS,
        "domainColor": _INK,
        "tickColor": _INK,
        "gridColor": _FAINT,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
        "labelLimit": 0,  # none is cut, which would take to measure each again
    },
    # The page has one legend for all its charts.
    "legend": {**_LABELS, "symbolSize": 90, "symbolOpacity": 1, "disable": True},
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
    """Write one image a figure: `report.svg` gives `report-a-finals.svg`, ...

    One with a switch has an image for each of its views: `report-c-epochs.svg`.

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
        for view, panels in figure.views.items():
            file = path.with_name(f"{path.stem}-{figure.key}-{view or figure.name}.{image_format}")
            write_output_file(file, figure_image(figure, panels, looks, image_format))
            written.append(file)
    return tuple(written)


def figure_image(
    figure: Figure,
    shown: Iterable[Panel],
    looks: Sequence[Look],
    image_format: Literal["svg", "png"],
) -> bytes:
    """Panels of a figure with its legend on white ground, as the bytes of an SVG or PNG file."""
    looks = drawn_looks(looks, figure.rows)
    panels = [paper_spec(panel, looks) for panel in shown]
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
