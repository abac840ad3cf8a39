"""Chart: draws a panel as SVG for a page, or as an image file.

Each row of a panel (see `figure`) is drawn as a mark that depends on the row's kind:

    point, mean         an estimate; the mean of observations
    expected            an estimate where nothing was observed, drawn as an open mark
    run, bound, failed  one run; a run that gives only a lower bound; a failed run
    curve, lone         a line through means over seeds during training; a line of a single trial
    band, rule          a fitted law with its interval; a theory or rule of thumb, dashed
    level, span         a horizontal line across the chart; a shaded range of batch sizes
    verified            an estimate for the recommended configuration, in a ring

Rows of other kinds are not drawn. The field `text` of a row is written next to its mark.
"""

from __future__ import annotations

import itertools
import re
from collections import ChainMap
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Literal

import vl_convert

from batchlab.laws.mean import known
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    SizeLook,
    drawn_kind,
    drawn_looks,
    is_point,
    point_words,
    rows_of_kinds,
)
from batchlab.report.text import axis_text, label_text, shown_quantity

Spec = dict[str, Any]
# CSS variables, so that a page uses the reader's color scheme.
_INK, _FAINT, _GROUND = "var(--text)", "var(--grid)", "var(--ground)"
_ALIGN, _DOWN = {"expr": "datum.align"}, {"expr": "datum.down"}


# ---- marks

# Texts and points get an edge in the background color, so that they stand out from lines.
_EDGE: Spec = {"stroke": _GROUND, "strokeWidth": 3}
_CROSS: Spec = {"type": "text", "text": "×", "fontSize": 16, "fontWeight": "bold", "aria": True}
_POINT: Spec = {"type": "point", "aria": True, "opacity": 1}
_FILLED: Spec = {**_POINT, "filled": True}
_LINE: Spec = {"type": "line", "clip": True, "strokeWidth": 2}
_TEXT: Spec = {"type": "text", "baseline": "middle", "color": _INK, "fontSize": 12, **_EDGE}
_BEHIND: Spec = {"color": _INK, "clip": True}
_LAW: Spec = {**_LINE, **_BEHIND, "opacity": 0.5, "strokeWidth": 1.5}

# The layers of a chart from back to front. Each layer has the kinds of rows that it draws, a field
# that must be set in these rows, a Vega-Lite mark, and the names of the mark's encodings.
_LAYERS: tuple[tuple[str, str, Spec, str], ...] = (
    ("span", "kind", {"type": "rect", "opacity": 0.09, **_BEHIND}, "to_size whole_height"),
    ("band", "kind", {"type": "area", "opacity": 0.13, **_BEHIND}, "interval by_series"),
    ("band", "kind", _LAW, "by_series"),
    ("level", "kind", {**_LAW, "type": "rule", "strokeDash": [5, 3]}, "whole_width"),
    ("rule", "kind", {**_LAW, "strokeDash": [4, 3]}, "by_series"),
    ("mean", "kind", {**_LAW, "opacity": 0.45}, "of_series"),
    ("curve", "low", {"type": "area", "opacity": 0.18, "clip": True}, "interval color"),
    ("curve", "marked", {**_FILLED, "size": 46, "clip": True}, "color shape said"),
    ("lone", "kind", {**_LINE, "strokeWidth": 1, "strokeDash": [1, 3]}, "color by_run"),
    ("lone", "marked", {**_CROSS, "clip": True}, "color said"),
    ("curve", "kind", _LINE, "color dash"),
    ("point mean expected verified", "kind", {**_LINE, "type": "rule"}, "interval color"),
    ("verified", "kind", {"type": "point", "size": 260, "strokeWidth": 1.6, "color": _INK}, ""),
    ("level", "text", {**_TEXT, "align": "right", "dx": -3, "dy": -8}, "text at_right"),
    ("rule", "text", {**_TEXT, "align": "right", "dx": -6, "dy": -9}, "text"),
    ("run", "kind", {**_POINT, "size": 26, "strokeWidth": 1.2}, "color said"),
    ("bound", "kind", {**_CROSS, "text": "↑", "dy": -5}, "color said"),
    ("expected", "kind", {**_POINT, "size": 70, "strokeWidth": 1.6}, "color shape said"),
    ("point mean verified", "kind", {**_FILLED, "size": 90, **_EDGE}, "color shape said"),
    ("failed", "kind", {**_CROSS, "clip": True}, "color said"),
    ("point bound", "text", {**_TEXT, "align": _ALIGN, "dy": _DOWN}, "text"),
    ("verified", "text", {**_TEXT, "align": _ALIGN, "dy": _DOWN, "fontWeight": "bold"}, "text"),
)


def plot(panel: Panel, looks: Sequence[SizeLook]) -> Spec:
    """Return the Vega-Lite specification of a panel, without width and height."""
    encodings = _ENCODINGS | _size_encodings(looks)
    axes = {
        "x": _horizontal_axis(panel),
        "y": value_axis(panel.quantity, panel.frame or panel.rows, is_metric=panel.is_metric),
    }
    rows = _drawn_rows(panel, looks)
    _place_words(panel, rows)
    layers: list[Spec] = []
    for kinds, field, mark, names in _LAYERS:
        of_kinds = rows_of_kinds(rows, *kinds.split())
        values = [row for row in of_kinds if row.get(field) not in (None, False)]
        if values:
            encoding = dict(ChainMap(*map(encodings.__getitem__, names.split())))
            layers.append({"data": {"values": values}, "mark": mark, "encoding": encoding})
    return {"encoding": axes, "layer": layers}


def _size_title(looks: Sequence[SizeLook]) -> str:
    if any(isinstance(look.kind, str) for look in looks):
        return "batch size or plan"
    return label_text("batch_size")


def _size_encodings(looks: Sequence[SizeLook]) -> dict[str, Spec]:

    def by_size(channel: str, values: list[Any]) -> Spec:
        scale = {"domain": list(map(attrgetter("label"), looks)), "range": values}
        title = _size_title(looks)
        return {channel: {"field": "batch", "type": "nominal", "title": title, "scale": scale}}

    return {
        "color": by_size("color", [f"var({look.css_name})" for look in looks]),
        "shape": by_size("shape", list(map(attrgetter("shape"), looks))),
        # An empty list is no dash pattern in Vega; [1, 0] is a solid line.
        "dash": by_size("strokeDash", [list(look.dash) or [1, 0] for look in looks]),
    }


def _drawn_rows(panel: Panel, looks: Sequence[SizeLook]) -> list[Row]:
    """Return the panel's rows with the labels of batch sizes, and with hover texts for points."""
    labels = dict(map(attrgetter("kind", "label"), looks))
    rows: list[Row] = []
    for row in panel.rows:
        drawn = {**row, "batch": labels.get(drawn_kind(row, labels))}
        if is_point(row):
            drawn["said"] = (
                f"{_size_title(looks)}: {drawn['batch']}\n{point_words(row, panel.quantity)}"
            )
        rows.append(drawn)
    return rows


# Vega-Lite encodings by name: they set or extend a mark's position, or add a text or a grouping.
_ENCODINGS: dict[str, Spec] = {
    "interval": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
    "to_size": {"x2": {"field": "to_size"}},
    "whole_height": {"y": {"value": 0}, "y2": {"value": "height"}},
    "whole_width": {"x": {"value": 0}, "x2": {"value": "width"}},
    "at_right": {"x": {"value": "width"}},
    "by_series": {"detail": {"field": "series", "type": "nominal"}},
    # The first series is drawn solid, the second dashed.
    "of_series": {
        "strokeDash": {
            "field": "series",
            "type": "nominal",
            "legend": None,
            "sort": None,
            "scale": {"range": [[1, 0], [6, 3]]},
        }
    },
    "by_run": {"detail": {"field": "run", "type": "nominal"}},
    "text": {"text": {"field": "text", "type": "nominal"}},
    # A text for each point, which a browser shows on hovering.
    "said": {"description": {"field": "said", "type": "nominal"}},
}


def _places(panel: Panel) -> list[float]:
    """Return the sorted horizontal positions of the chart's points.

    If the chart has no points, return the positions of its bands and rules.
    """
    placed = [row for row in panel.rows if panel.axis in row and row["kind"] != "span"]
    marked = [row for row in placed if row["kind"] not in ("band", "rule")]
    return sorted({float(row[panel.axis] or 0.0) for row in marked or placed})


def _place_words(panel: Panel, rows: Iterable[Row]) -> None:
    """Place the texts next to one or two points so that the texts do not overlap.

    Each text is on that side of its point which faces the middle of the chart. The text of the
    higher point is above the point, and the text of the lower point is below.
    """
    marked = [row for row in rows_of_kinds(rows, "point", "bound", "verified") if row.get("text")]
    marked.sort(key=lambda row: float(row["mean"] or 0.0))
    for row in marked:
        places = _places(panel)
        is_right = places.index(float(row[panel.axis] or 0.0)) >= len(places) / 2
        row["align"] = "right" if is_right else "left"
        row["down"] = -20 if row is marked[-1] else 20


# ---- axes


def _horizontal_axis(panel: Panel) -> Spec:
    """Return the horizontal axis, labeled at batch sizes or configurations, or at round values."""
    if panel.axis == "configuration":
        return _configuration_axis(panel.rows)
    axis = _axis(panel.axis, grid=False)
    places = _places(panel)
    scale: Spec = {"type": "log", "padding": 10}
    if panel.axis == "epoch":
        scale["type"] = "linear"
    if panel.axis == "batch_size":
        scale["base"] = 2
        axis |= {"format": "d", "labelSeparation": 5}
        del axis["labelExpr"]
    if panel.axis == "batch_size" or (panel.axis == "learning_rate" and len(places) <= 6):
        # Request as many ticks as values, because with fewer Vega drops every other value.
        axis |= {"values": places, "tickCount": len(places)}
        scale["padding"] = 20
    return _quantitative(panel.axis, scale | {"domain": [places[0], places[-1]]}, axis)


def _quantitative(field: str, scale: Spec, axis: Spec) -> Spec:
    scale = scale | {"nice": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def _configuration_axis(rows: Iterable[Row]) -> Spec:
    """Return an axis of configurations, whose labels have a line break before a bracket."""
    names = list(dict.fromkeys(row["configuration"] for row in rows if "configuration" in row))
    scale = {"domain": names, "type": "point", "padding": 0.5}
    lines = "split(replace(datum.label, ' (', '|('), '|')"
    axis = {"title": None, "labelExpr": lines, "labelAngle": 0, "labelOverlap": False}
    return {"field": "configuration", "type": "nominal", "scale": scale, "axis": axis}


# If the highest value is more than this many times the lowest, a vertical axis is logarithmic. The
# first number is for quantities such as times, the second for metrics.
_LOG_RATIO, _LOG_METRIC = 2.5, 30.0
# Empty space for texts, as shares of the values' range: below, above, both ends of a log axis.
_ROOM_BELOW, _ROOM_ABOVE, _LOG_ROOM = 0.14, 0.2, 0.14


def value_axis(quantity: str, rows: Sequence[Row], *, is_metric: bool = False) -> Spec:
    """Return the vertical axis for the rows.

    The range ignores the rows of single trials, because a trial may diverge.
    Most quantities are compared by ratio, so their axis is logarithmic. A metric is compared by
    difference on a linear axis, unless small values, such as the last values of a loss, would then
    be hidden. A linear axis has empty space at its ends, so that no mark lies on the frame.
    """
    framed = [row for row in rows if row["kind"] != "lone"] or rows
    fields = itertools.product(framed, ("mean", "low", "high"))
    values = known(row.get(field) for row, field in fields)
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        room = abs(low) * 0.05 or 0.5
        low, high = low - room, high + room
    axis = _axis(quantity)
    if low > 0 and high / low > (_LOG_METRIC if is_metric else _LOG_RATIO):
        room = (high / low) ** _LOG_ROOM
        scale: Spec = {"domain": [low / room, high * room], "type": "log"}
        return _quantitative("mean", scale, axis)
    span = high - low
    # An axis that starts or ends at 0 gets no empty space there.
    ends = [low and low - _ROOM_BELOW * span, high and high + _ROOM_ABOVE * span]
    if quantity in FRACTION_METRICS and 0 <= low and high <= 1:
        ends = [max(ends[0], 0.0), min(ends[1], 1.0)]
        axis["labelExpr"] = "datum.label === '' ? '' : format(100 * datum.value, '~g') + ' %'"
    scale = {"domain": ends, "type": "linear", "zero": False}
    return _quantitative("mean", scale, axis)


def _axis(quantity: str, *, grid: bool = True) -> Spec:
    """Return the axis of a quantity, with the unit in its labels (2 ms, 30 MB) or in its title."""
    axis: Spec = {"title": axis_text(quantity), "grid": grid}
    axis |= {"tickCount": 5, "labelExpr": _PLAIN_LABEL}
    axis |= {"gridOpacity": _IF_LABELED, "tickOpacity": _IF_LABELED}
    unit = {"s": "s", "B": "B", "1/s": "/s"}.get(shown_quantity(quantity).unit)
    if unit is not None:
        si = f"replace(format(datum.value, '~s'), /([a-zµ]*)$/i, ' $1') + '{unit}'"
        axis |= {"title": label_text(quantity), "labelExpr": f"datum.label === '' ? '' : {si}"}
    return axis


# Show ticks and grid lines only at labels: on a logarithmic axis Vega has many more ticks.
_IF_LABELED: Spec = {"condition": {"test": "datum.label === ''", "value": 0}, "value": 1}
# Write numbers from 10,000 on with a k, and small rates as 0.0003, not 3e-4 or 300µ.
_PLAIN_LABEL = (
    "datum.label === '' ? '' : abs(datum.value) >= 10000 ? format(datum.value, '~s')"
    " : abs(datum.value) >= 1e-4 || datum.value === 0 ? format(datum.value, '~g')"
    " : format(datum.value, '~e')"
)


# ---- as SVG


def page_svg(panel: Panel, looks: Sequence[SizeLook], *, width: int) -> str:
    """Draw a panel as SVG text for a page, in the page's color scheme, with hover texts."""
    size = {"width": width, "height": 252, "autosize": {"type": "fit", "contains": "padding"}}
    return _svg(plot(panel, looks) | size | {"config": _CONFIG}, prefix=panel.key)


def paper_svg(
    panels: Sequence[Panel], looks: Sequence[SizeLook], *, title: str, prefix: str
) -> str:
    """Draw panels as SVG text with titles and a legend on a white ground.

    `prefix` makes the identifiers in the SVG unique on a page.
    """
    looks = drawn_looks(looks, panels)
    size = {"width": 320, "height": 220}
    specs = [plot(panel, looks) | size | {"title": panel.title} for panel in panels]
    # Three panels per row (train, validation, test), but two if there are four (no validation).
    in_a_row = 2 if len(specs) == 4 else 3
    legend = _CONFIG["legend"] | {"disable": False}
    config = _CONFIG | {"legend": legend, "background": "white"}
    whole = {"concat": specs, "columns": in_a_row, "title": title, "config": config}
    svg = _svg(whole, prefix=prefix)
    for look in looks:
        svg = svg.replace(f"var({look.css_name})", look.light)
    for variable, color in ((_INK, "#1b1f24"), (_FAINT, "#d5d9df"), (_GROUND, "#ffffff")):
        svg = svg.replace(variable, color)
    return svg.replace("system-ui, ", "")


def _svg(spec: Spec, *, prefix: str) -> str:
    """Draw a specification as SVG; `prefix` makes the SVG's identifiers unique on a page."""
    drawn = str(vl_convert.vegalite_to_svg(spec))
    # Draw the edge of a letter behind it, so that thin letters stay legible; Vega can't do this.
    edge = f'stroke="{_GROUND}"'
    drawn = drawn.replace(edge, f'{edge} paint-order="stroke"')
    # Replace `aria-label` of marks by <title>, because browsers show only titles on hovering.
    drawn = re.sub(r'aria-label="([^"]*)"([^>]*)/>', r"\2><title>\1</title></path>", drawn)
    drawn = re.sub(r'aria-label="([^"]*)"([^>]*)>', r"\2><title>\1</title>", drawn)
    # Number the clip paths of each image from 0, so that equal charts give equal SVG texts.
    place = r'(?<= id=")clip\d+|(?<=url\(#)clip\d+'
    names = list(dict.fromkeys(re.findall(place, drawn)))
    return re.sub(place, lambda match: f"{prefix}-clip{names.index(match[0])}", drawn)


def prepare() -> None:
    """Start the renderer in advance, so that the first chart is not delayed by half a second."""
    vl_convert.vegalite_to_svg({"data": {"values": []}, "mark": "point"})


_LABELS = {"labelColor": _INK, "titleColor": _INK}
_CONFIG: Spec = {
    # No labels on single marks: screen readers get only the panel's description.
    "aria": False,
    "background": None,
    # Leave space for words above the frame.
    "padding": {"left": 5, "right": 5, "top": 16, "bottom": 5},
    "font": "system-ui, sans-serif",
    "axis": {
        **_LABELS,
        "domainColor": _INK,
        "tickColor": _INK,
        "gridColor": _FAINT,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
        "labelLimit": 0,  # do not cut labels, because Vega would measure each label again
    },
    # Leave space, because a reader's font may be wider than the font that Vega measured.
    "axisY": {"titlePadding": 12},
    # A chart has no legend, because the page has one for all charts.
    "legend": {**_LABELS, "symbolSize": 90, "symbolOpacity": 1, "disable": True},
    "title": {"color": _INK, "fontWeight": "normal", "anchor": "start"},
    "view": {"stroke": None},
}


# ---- as images

ImageFormat = Literal["svg", "png"]


def figure_images(
    figures: Iterable[Figure], looks: Sequence[SizeLook], image_format: ImageFormat
) -> dict[str, bytes]:
    """Return one image for each view of each figure.

    An image is named by the letter of the figure and its view, such as "b-epochs".
    """
    images: dict[str, bytes] = {}
    for figure in figures:
        title = f"({figure.key}) {figure.title}"
        for view, panels in figure.views.items():
            name = f"{figure.key}-{view or figure.name}"
            svg = paper_svg(panels, looks, title=title, prefix=figure.key)
            is_png = image_format == "png"
            images[name] = vl_convert.svg_to_png(svg, scale=2) if is_png else svg.encode()
    return images
