"""Chart: draws a panel as SVG for a page, or as an image file.

The kinds of rows (see `figure`), by what they show:

    point, mean         an estimate; the mean of the observations
    expected            an estimate without an observation of its own, an open mark
    run, bound, failed  one run; a run with only a lower bound; a failed run
    curve, lone         the mean over seeds along training; a single trial
    band, rule          a fitted law with its interval; a theory or rule of thumb, dashed
    level, place, span  a value, a batch size, a range of batch sizes marked across the chart
    verified            an estimate of the answer's configuration, in a ring
    words, named        words next to a mark; words next to the mark of the answer's configuration

Rows of other kinds are not drawn. The words of a row are in its field `text`.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Literal

import vl_convert

from batchlab.records.quantities import FRACTION_METRICS
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    SizeLook,
    drawn_kind,
    drawn_looks,
    drawn_sizes,
    is_point,
    point_words,
)
from batchlab.report.text import axis_text, label_text, shown_quantity

Spec = dict[str, Any]
_SERIES_DASHES = [[1, 0], [6, 3]]  # the first series is drawn solid
# CSS variables, so that a page uses the reader's color scheme.
_INK, _FAINT, _GROUND = "var(--text)", "var(--grid)", "var(--ground)"


# ---- marks


def plot(panel: Panel, looks: Sequence[SizeLook]) -> Spec:
    """Return the Vega-Lite specification of a panel, without width and height."""
    marks = _Marks(panel, looks)
    layers = [*marks.behind(), *marks.lines(), *marks.words(), *marks.points()]
    return {"encoding": marks.axes, "layer": layers}


# Encodings that replace the horizontal or vertical position of a mark, or add to the position.
_INTERVAL = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
_WHOLE_HEIGHT = {"y": {"value": 0}, "y2": {"value": "height"}}
_WHOLE_WIDTH = {"x": {"value": 0}, "x2": {"value": "width"}}
_WORDS = {"text": {"field": "text", "type": "nominal"}}
_BY_SERIES = {"detail": {"field": "series", "type": "nominal"}}
# A text for each point, which a browser shows on hovering.
_SHOWN = {"description": {"field": "words", "type": "nominal"}}
_POINT: Spec = {"type": "point", "aria": True}
# Words and marks get an edge in the background color, so that they are legible across lines.
_EDGE: Spec = {"stroke": _GROUND, "strokeWidth": 3}
_CROSS: Spec = {"type": "text", "text": "×", "fontSize": 16, "fontWeight": "bold", "aria": True}


class _Marks:
    """The layers of a panel, from back to front; each layer draws the rows of some kinds."""

    def __init__(self, panel: Panel, looks: Sequence[SizeLook]) -> None:
        self.panel = panel
        frame = panel.frame or panel.rows
        up = value_axis(panel.quantity, frame, is_metric=panel.is_metric)
        self.axes = {"x": _horizontal_axis(panel), "y": up}
        labels = dict(map(attrgetter("kind", "label"), looks))
        title = label_text("batch_size")
        if str in set(map(type, labels)):
            title = "batch size or plan"
        self.rows = []
        for row in panel.rows:
            drawn = {**row, "batch": labels.get(drawn_kind(row, labels))}
            if is_point(row):
                drawn["words"] = f"{title}: {drawn['batch']}\n{point_words(row, panel.quantity)}"
            self.rows.append(drawn)

        def by_size(values: list[Any]) -> Spec:
            scale = {"domain": list(labels.values()), "range": values}
            return {"field": "batch", "type": "nominal", "title": title, "scale": scale}

        self.color = {"color": by_size([f"var({look.css_name})" for look in looks])}
        self.pointed = {**self.color, **_SHOWN}
        self.shaped = {**self.pointed, "shape": by_size(list(map(attrgetter("shape"), looks)))}
        # An empty list is no dash pattern in Vega; [1, 0] is a solid line.
        self.dashed = {"strokeDash": by_size([list(look.dash) or [1, 0] for look in looks])}
        # Only for several series: the panels of an image share one scale of dashes, the first one.
        self.of_series: Spec = {}
        if len(panel.series) > 1:
            scale = {"domain": panel.series, "range": _SERIES_DASHES}
            dash = {"field": "series", "type": "nominal", "legend": None, "scale": scale}
            self.of_series = {"strokeDash": dash}

    def _of(
        self,
        kinds: str,
        mark: str | Spec,
        encoding: Spec | None = None,
        having: str = "kind",
        **style: Any,
    ) -> Iterator[Spec]:
        """Yield a layer of the rows of `kinds` whose field `having` is set, if there are rows."""
        rows, wanted = [], kinds.split()
        for row in self.rows:
            if row["kind"] in wanted and row.get(having) not in (None, False):
                rows.append(row)
        if isinstance(mark, str):
            mark = {"type": mark}
        if rows:
            yield {"data": {"values": rows}, "mark": mark | style, "encoding": encoding or {}}

    def behind(self) -> Iterator[Spec]:
        """Yield the layers behind all data: marks across the whole chart, laws and theories."""
        across: Spec = {"color": _INK, "opacity": 0.6}
        to_size = {"x2": {"field": "to_size"}, **_WHOLE_HEIGHT}
        yield from self._of("span", "rect", to_size, color=_INK, opacity=0.09, clip=True)
        yield from self._of("place", "rule", _WHOLE_HEIGHT, strokeDash=[2, 3], clip=True, **across)
        band = {**_INTERVAL, **_BY_SERIES}
        yield from self._of("band", "area", band, color=_INK, opacity=0.13, clip=True)
        line: Spec = {"color": _INK, "opacity": 0.5, "strokeWidth": 1.5, "clip": True}
        yield from self._of("band", "line", _BY_SERIES, **line)
        yield from self._of("level", "rule", _WHOLE_WIDTH, strokeDash=[5, 3], **across)
        yield from self._of("rule", "line", _BY_SERIES, strokeDash=[4, 3], clip=True, **across)

    def lines(self) -> Iterator[Spec]:
        """Yield lines with their points, and bars of intervals, in the text's or a size's color."""
        mean: Spec = {"color": _INK, "opacity": 0.45, "strokeWidth": 1.5}
        yield from self._of("mean", "line", self.of_series, **mean)
        band = {**_INTERVAL, **self.color}
        yield from self._of("curve", "area", band, "low", opacity=0.18, clip=True)
        mark: Spec = {"filled": True, "size": 46, "opacity": 1, "clip": True}
        yield from self._of("curve", _POINT, self.shaped, "marked", **mark)
        by_run = {**self.color, "detail": {"field": "run", "type": "nominal"}}
        lone: Spec = {"strokeWidth": 1, "opacity": 0.75, "clip": True, "strokeDash": [1, 3]}
        yield from self._of("lone", "line", by_run, **lone)
        yield from self._of("lone", _CROSS, self.pointed, "marked", clip=True)
        by_size = {**self.color, **self.dashed}
        yield from self._of("curve", "line", by_size, strokeWidth=2, clip=True)
        interval = {**_INTERVAL, **self.color}
        bar: Spec = {"strokeWidth": 2, "clip": True}
        yield from self._of("point mean expected verified", "rule", interval, **bar)

    def points(self) -> Iterator[Spec]:
        """Yield the points from back to front: single runs, estimates and means, failed runs."""
        yield from self._of("run", _POINT, self.pointed, size=26, opacity=0.8, strokeWidth=1.2)
        yield from self._of("bound", _CROSS, self.pointed, text="↑", dy=-5)
        yield from self._of("expected", _POINT, self.shaped, size=70, opacity=1, strokeWidth=1.6)
        filled: Spec = {"filled": True, "size": 90, "opacity": 1, **_EDGE}
        yield from self._of("point mean verified", _POINT, self.shaped, **filled)
        yield from self._of("failed", _CROSS, self.pointed, clip=True)

    def words(self) -> Iterator[Spec]:
        """Yield a ring around the answer's configuration, and all words.

        The words of one mark are on its side towards the middle of the chart; those of two marks
        are above the higher one and below the other, so that they do not overlap.
        """
        ring: Spec = {"size": 260, "strokeWidth": 1.6, "shape": "circle", "color": _INK}
        yield from self._of("verified", "point", **ring)
        at_top, at_right = {"y": {"value": 0}}, {"x": {"value": "width"}}
        yield from self._words("place", 11, at_top, align="left", dx=4, dy=8)
        yield from self._words("level", 11, at_right, align="right", dx=-3, dy=-8)
        yield from self._words("rule", 11, align="right", dx=-6, dy=-9)
        marked = [row for row in self.rows if row["kind"] in ("words", "named")]
        marked.sort(key=lambda row: float(row["mean"] or 0.0))
        for row in marked:
            is_right = float(row[self.panel.axis] or 0.0) > _middle(self.axes["x"]["scale"])
            is_above = float(row["mean"] or 0.0) < _middle(self.axes["y"]["scale"])
            if (
                len(marked) > 1
            ):  # the words of the higher mark stand above it: apart from the others
                is_above = row is marked[-1]
            row["align"] = "right" if is_right else "left"
            row["down"] = -20 if is_above else 20
        place = {"align": {"expr": "datum.align"}, "dy": {"expr": "datum.down"}}
        yield from self._words("words", 12, **place)
        yield from self._words("named", 13, **place, fontWeight="bold")

    def _words(self, kind: str, size: int, at: Spec | None = None, **style: Any) -> Iterator[Spec]:
        style |= {"baseline": "middle", "color": _INK, "fontSize": size, **_EDGE}
        yield from self._of(kind, "text", {**_WORDS, **(at or {})}, "text", **style)


# ---- axes


def _middle(scale: Spec) -> float:
    """Return the value in the middle of a numeric axis."""
    low, high = scale["domain"]
    if scale["type"] == "log":
        return math.sqrt(low * high)
    return float(low + high) / 2


def _horizontal_axis(panel: Panel) -> Spec:
    if panel.axis == "batch_size":
        return _size_axis(drawn_sizes(panel.rows))
    if panel.axis == "configuration":
        return _configuration_axis(panel.rows)
    places = [float(row[panel.axis] or 0.0) for row in panel.rows if panel.axis in row]
    if panel.axis == "learning_rate":
        return _rate_axis(places)
    return _along_axis(panel.axis, places)


def _size_axis(sizes: Sequence[int]) -> Spec:
    room = max(1.4, (sizes[-1] / sizes[0]) ** 0.07)
    ends = [sizes[0] / room, sizes[-1] * room]
    axis = {"title": axis_text("batch_size"), "values": sizes, "format": "d", "grid": False}
    axis |= {"labelSeparation": 5}
    return _quantitative("batch_size", {"type": "log", "base": 2, "domain": ends}, axis)


def _quantitative(field: str, scale: Spec, axis: Spec) -> Spec:
    """Return a numeric encoding whose axis covers exactly the domain of `scale`."""
    scale = scale | {"nice": False}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def _configuration_axis(rows: Iterable[Row]) -> Spec:
    """Return an axis of configurations, whose labels have a line break before a bracket."""
    names = list(dict.fromkeys(row["configuration"] for row in rows if "configuration" in row))
    scale = {"domain": names, "type": "point", "padding": 0.5}
    lines = "split(replace(datum.label, ' (', '|('), '|')"
    axis = {"title": None, "labelExpr": lines, "labelAngle": 0, "labelOverlap": False}
    return {"field": "configuration", "type": "nominal", "scale": scale, "axis": axis}


def _rate_axis(places: Iterable[float]) -> Spec:
    """Return an axis with a label at each learning rate, or at round values if there are many."""
    run = sorted(set(places))
    axis = _axis("learning_rate", grid=False)
    if len(run) <= 6:
        # Request as many ticks as values, because with fewer Vega drops every other value.
        axis |= {"tickCount": len(run), "values": run}
    scale = {"type": "log", "domain": [run[0] / 1.3, run[-1] * 1.3]}
    return _quantitative("learning_rate", scale, axis)


def _along_axis(view: str, places: Sequence[float]) -> Spec:
    """Return an axis along training, linear in epochs and logarithmic in steps or time."""
    first, last = min(places), max(places)
    if view == "epoch":
        room = 0.02 * (last - first)
        scale: Spec = {"type": "linear", "domain": [first - min(room, first), last + room]}
    else:
        times = (last / first) ** 0.02
        scale = {"type": "log", "domain": [first / times, last * times]}
    return _quantitative(view, scale, _axis(view, grid=False))


# A vertical axis is logarithmic if highest / lowest value exceeds this: for quantities, metrics.
_LOG_RATIO, _LOG_METRIC = 2.5, 30.0
# Empty space for words, as shares of the values' range: below, above, at each logarithmic end.
_ROOM_BELOW, _ROOM_ABOVE, _LOG_ROOM = 0.14, 0.2, 0.14


def value_axis(quantity: str, rows: Sequence[Row], *, is_metric: bool = False) -> Spec:
    """Return the vertical axis for the rows; its range ignores single trials, as they may diverge.

    Most quantities are compared by ratio, so their axis is logarithmic. A metric is compared by
    difference on a linear axis, unless that would hide small values, such as the last of a loss. A
    linear axis has empty space at its ends, so that no mark lies on the frame.
    """
    low, high = _domain([row for row in rows if row["kind"] != "lone"] or rows)
    least_ratio = _LOG_METRIC if is_metric else _LOG_RATIO
    if low > 0 and high / low > least_ratio:
        room = (high / low) ** _LOG_ROOM
        scale: Spec = {"domain": [low / room, high * room], "type": "log"}
        return _quantitative("mean", scale, _axis(quantity))
    span = high - low
    # An axis that starts or ends at 0 gets no empty space there.
    ends = [low and low - _ROOM_BELOW * span, high and high + _ROOM_ABOVE * span]
    axis = _axis(quantity)
    if quantity in FRACTION_METRICS and 0 <= low and high <= 1:
        ends = [max(ends[0], 0.0), min(ends[1], 1.0)]
        percent = "datum.label === '' ? '' : format(100 * datum.value, '~g') + ' %'"
        axis |= {"labelExpr": percent}
    scale = {"domain": ends, "type": "linear", "zero": False}
    return _quantitative("mean", scale, axis)


def _domain(rows: Iterable[Row]) -> tuple[float, float]:
    """Return the rows' lowest and highest value, moved apart if equal; 0 and 1 without values."""
    values: list[float] = []
    for row, field in itertools.product(rows, ("mean", "low", "high")):
        value = row.get(field)
        if value is not None:
            values.append(float(value))
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high > low:
        return low, high
    room = abs(low) * 0.05 or 0.5
    return low - room, high + room


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


def page_svg(panel: Panel, looks: Sequence[SizeLook], *, width: int = 360) -> str:
    """Draw a panel as SVG text for a page, in the page's color scheme, with hover texts."""
    # The default is about the width of a chart in a row of three, so that labels are not scaled.
    size = {"width": width, "height": 252, "autosize": {"type": "fit", "contains": "padding"}}
    return _svg(plot(panel, looks) | size | {"config": _CONFIG}, prefix=panel.key)


def paper_svg(panel: Panel, looks: Sequence[SizeLook], *, prefix: str) -> str:
    """Draw a panel as SVG text with title and legend on a white ground.

    `prefix` makes the identifiers in the SVG unique on a page.
    """
    return _on_paper(_svg(_paper_spec(panel, looks) | _PAPER, prefix=prefix), looks)


def _paper_spec(panel: Panel, looks: Sequence[SizeLook]) -> Spec:
    return plot(panel, looks) | {"width": 320, "height": 220, "title": panel.title}


def _on_paper(svg: str, looks: Sequence[SizeLook]) -> str:
    """Return an SVG whose CSS variables are replaced by colors for a white ground."""
    for look in looks:
        svg = svg.replace(f"var({look.css_name})", look.light)
    for variable, color in ((_INK, "#1b1f24"), (_FAINT, "#d5d9df"), (_GROUND, "#ffffff")):
        svg = svg.replace(variable, color)
    return svg.replace("system-ui, ", "")


def _svg(spec: Spec, *, prefix: str) -> str:
    """Draw a specification as SVG; `prefix` makes the SVG's identifiers unique on a page."""
    drawn = str(vl_convert.vegalite_to_svg(spec, vl_version=_version()))
    # Draw edges behind letters, so that they do not cover thin letters; Vega has no such option.
    edge = f'stroke="{_GROUND}"'
    drawn = drawn.replace(edge, f'{edge} paint-order="stroke"')
    # Replace labels of marks by titles, because a browser shows only titles on hovering.
    drawn = re.sub(r'aria-label="([^"]*)"([^>]*)/>', r"\2><title>\1</title></path>", drawn)
    drawn = re.sub(r'aria-label="([^"]*)"([^>]*)>', r"\2><title>\1</title>", drawn)
    # The renderer numbers clip paths across images; restart at 0 to draw equal charts equally.
    place = r'(?<= id=")clip\d+|(?<=url\(#)clip\d+'
    names = list(dict.fromkeys(re.findall(place, drawn)))
    return re.sub(place, lambda match: f"{prefix}-clip{names.index(match[0])}", drawn)


def prepare() -> None:
    """Start the renderer in advance, so that the first chart is not delayed by half a second."""
    vl_convert.vegalite_to_svg({"data": {"values": []}, "mark": "point"}, vl_version=_version())


@functools.cache
def _version() -> str:
    """Return the newest Vega-Lite version that vl_convert supports, such as "6.4"."""
    return str(vl_convert.get_vegalite_versions()[-1])


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
        "labelLimit": 0,  # cut no label, because Vega would measure each label again
    },
    # Leave space, because a reader's font may be wider than the font that Vega measured.
    "axisY": {"titlePadding": 12},
    # A chart has no legend, because the page has one for all charts.
    "legend": {**_LABELS, "symbolSize": 90, "symbolOpacity": 1, "disable": True},
    "title": {"color": _INK, "fontWeight": "normal", "anchor": "start"},
    "view": {"stroke": None},
}


_LEGEND: Spec = _CONFIG["legend"] | {"disable": False}
_PAPER: Spec = {"config": _CONFIG | {"legend": _LEGEND, "background": "white"}}


# ---- as images

ImageFormat = Literal["svg", "png"]


def figure_images(
    figures: Iterable[Figure], looks: Sequence[SizeLook], image_format: ImageFormat
) -> dict[str, bytes]:
    """Return one image for each view of each figure, by name: "b-epochs"."""
    images: dict[str, bytes] = {}
    for figure in figures:
        for view, panels in figure.views.items():
            name = f"{figure.key}-{view or figure.name}"
            images[name] = figure_image(figure, panels, looks, image_format)
    return images


def figure_image(
    figure: Figure, shown: Sequence[Panel], looks: Sequence[SizeLook], image_format: ImageFormat
) -> bytes:
    """Return panels of a figure with a legend, on white, as the bytes of an SVG or PNG file."""
    looks = drawn_looks(looks, shown)
    panels = [_paper_spec(panel, looks) for panel in shown]
    # Three panels per row (train, validation, test), but two if there are four (no validation).
    in_a_row = 2 if len(panels) == 4 else 3
    rows = [{"hconcat": panels[i : i + in_a_row]} for i in range(0, len(panels), in_a_row)]
    title = f"({figure.key}) {figure.title}"
    svg = _on_paper(_svg({"vconcat": rows, "title": title} | _PAPER, prefix=figure.key), looks)
    if image_format == "svg":
        return svg.encode()
    return bytes(vl_convert.svg_to_png(svg, scale=2))
