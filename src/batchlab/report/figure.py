"""Figure: one question of a report, answered by charts, sentences, rows and a table.

A page draws its charts live, and has each as a still image until then; a figure is an image file
and a CSV file too.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from batchlab.errors import BatchlabError
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Split
from batchlab.report.output_file import write_output_file
from batchlab.report.palette import Look
from batchlab.report.table import Column, Table, Value

if TYPE_CHECKING:
    import altair as alt

Row = dict[str, Value | bool]
Spec = dict[str, Any]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Fields that place words in a chart and say nothing of what was measured.
LAYOUT = ("text", "side", "place", "marked", "chosen", "alone", "to_size")
ROWS = "rows"  # what a chart calls the rows of its figure
PROBE = "probe"  # the layer of a chart that answers the pointer, which a still image cannot


class NothingToDrawError(BatchlabError):
    """A report without anything that a figure could show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One chart.

    Attributes:
        key: its identity on the page.
        title: a few words above it.
        alternative: what it shows, in words, for those who do not see it.
        plot: makes the chart, without its rows.
    """

    key: str
    title: str
    alternative: str
    plot: Callable[[], alt.LayerChart]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure of a report.

    Attributes:
        key: the letter that names it in text and in file names.
        name: a word for it, on the switch of a page and in file names.
        title: its heading.
        notes: sentences under it: how to read it, what was left out.
        nothing: what is said where it has no panel: why there is nothing to show.
        panels: its charts.
        data: name of the rows that its charts read; figures with one name have the same rows.
        rows: those rows.
        looks: how the batch sizes in it are drawn.
        table: its numbers.
    """

    key: str
    name: str
    title: str
    notes: tuple[str, ...]
    nothing: str
    panels: tuple[Panel, ...]
    data: str
    rows: tuple[Row, ...]
    looks: tuple[Look, ...]
    table: Table

    @property
    def absent(self) -> str | None:
        """Why there is nothing to show, None where there is."""
        return None if self.panels else self.nothing


def rounded(value: float) -> float:
    """Seven digits: finer than a screen, and a third of the bytes."""
    return float(f"{value:.7g}")


def interval_row(value: float | None, low: float | None, high: float | None, n: int) -> Row:
    """A known value with its interval as fields of a row; a missing bound is the value itself."""
    assert value is not None, "what has no value has no place in a chart"
    low, high = value if low is None else low, value if high is None else high
    return {"mean": rounded(value), "low": rounded(low), "high": rounded(high), "n": n}


def estimate_row(estimate: Estimate) -> Row:
    """The same of an estimate."""
    return interval_row(estimate.estimate, estimate.low, estimate.high, estimate.n)


def size_rows(named: Row, batch_size: int, middle: float, values: Sequence[float]) -> Iterator[Row]:
    """What was seen of a batch size: its middle with the range, and each of several observations.

    Args:
        named: fields of every row.
        batch_size: examples per step.
        middle: what stands for all of the values.
        values: at least one.
    """
    base: Row = {**named, "batch_size": batch_size}
    yield {**base, "kind": "mean", **interval_row(middle, min(values), max(values), len(values))}
    if len(values) > 1:
        for value in values:
            yield {**base, "kind": "run", "mean": rounded(value)}


def drawn_panels(panels: Iterable[Panel], rows: Iterable[Row]) -> tuple[Panel, ...]:
    """The panels that a row lies in."""
    keys = {row["panel"] for row in rows}
    return tuple(panel for panel in panels if panel.key in keys)


def row_column(field: str, quantity: str | None = None, label: str | None = None) -> Column:
    """A column of a table whose items are rows."""
    return Column(field, quantity, label, of=lambda row: row.get(field))


def value_of(
    rows: Iterable[Row], panel: str, field: str = "mean", series: str | None = None
) -> Callable[[int], Value]:
    """What stands for each batch size in a panel, for a column of a table."""
    found = {
        row["batch_size"]: row[field]
        for row in rows
        if (row["panel"], row["kind"], row.get("series")) == (panel, "mean", series)
    }
    return found.get


def write_figure_images(
    figures: Iterable[Figure], path: Path, image_format: Literal["svg", "png"]
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
        write_output_file(file, figure_image(figure, image_format))
        written.append(file)
    return tuple(written)


def write_figure_rows(figures: Iterable[Figure], path: Path) -> tuple[Path, ...]:
    """Write the rows of each figure beside `path`: `report.csv` gives `report-objective.csv`, ...

    Figures that share their rows share a file.

    Raises:
        OutputFileError: a file cannot be written.
    """
    rows = {figure.data: figure.rows for figure in figures if figure.panels}
    written = []
    for data, its_rows in rows.items():
        file = path.with_name(f"{path.stem}-{data}.csv")
        write_output_file(file, rows_csv(its_rows).encode())
        written.append(file)
    return tuple(written)


def rows_csv(rows: Sequence[Row]) -> str:
    """Rows of charts as CSV, each field a column; empty where a row has none."""
    fields = [field for field in row_fields(rows) if field not in LAYOUT]
    file = io.StringIO()
    writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def row_fields(rows: Iterable[Row]) -> list[str]:
    """The fields of all rows, each once."""
    return list(dict.fromkeys(field for row in rows for field in row))


def figure_image(figure: Figure, image_format: Literal["svg", "png"]) -> bytes:
    """A whole figure with its legend on white ground, as the bytes of an SVG or PNG file."""
    import vl_convert

    panels = [paper_spec(figure, panel) for panel in figure.panels]
    # Train, validation and test side by side; four panels are two metrics without validation.
    in_a_row = 2 if len(panels) == 4 else 3
    rows = [{"hconcat": panels[i : i + in_a_row]} for i in range(0, len(panels), in_a_row)]
    spec = {
        "vconcat": rows,
        "title": f"({figure.key}) {figure.title}",
        "config": panels[0]["config"],
        "datasets": {ROWS: list(figure.rows)},
    }
    for panel in panels:
        del panel["config"]
    if image_format == "svg":
        return str(vl_convert.vegalite_to_svg(spec, vl_version=_version())).encode()
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=_version(), scale=2))


def page_spec(panel: Panel) -> Spec:
    """The Vega-Lite specification of a panel without its data, for its place on a page."""
    import altair as alt

    # A theme that the user switched on in a notebook is none of the report's business.
    with alt.theme.enable("none"):
        spec: Spec = panel.plot().to_dict(validate=False)  # the tests validate every plot
    size = {"width": 400, "height": 280, "autosize": {"type": "fit", "contains": "padding"}}
    return spec | size | {"config": _CONFIG}


def paper_spec(figure: Figure, panel: Panel) -> Spec:
    """The same with title, legend and plain colors, on white ground."""
    spec = _still(page_spec(panel)) | {"title": panel.title, "width": 320, "height": 220}
    del spec["autosize"]
    legend = spec["config"]["legend"] | {"disable": False}
    spec["config"] = spec["config"] | {"legend": legend, "background": "white"}
    colors = {look.css_name: look.light for look in figure.looks} | _ON_PAPER
    plain = re.sub(r"var\((--[\w-]+)\)", lambda found: colors[found[1]], json.dumps(spec))
    drawn: Spec = json.loads(plain.replace("system-ui, ", ""))
    return drawn


def still_svg(spec: Spec, rows: Sequence[Row], *, prefix: str) -> str:
    """The specification of a panel with its rows as SVG text.

    The prefix goes before the identifiers within, which are otherwise the same in every SVG and
    would meet each other on one page.
    """
    import vl_convert

    whole = _still(spec) | {"datasets": {ROWS: list(rows)}}
    drawn = str(vl_convert.vegalite_to_svg(whole, vl_version=_version()))
    # The renderer counts on from image to image: numbered anew, a page is the same every time.
    place = r'(?<= id=")clip\d+|(?<=url\(#)clip\d+'
    found = list(dict.fromkeys(re.findall(place, drawn)))
    return re.sub(place, lambda match: f"{prefix}-clip{found.index(match[0])}", drawn)


@functools.cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs nothing else."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_version()))


def script_json(value: object) -> str:
    """JSON that may stand inside a script element whatever a user's text holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows with the names of their fields told once; None where a row has no such field."""
    fields = row_fields(rows)
    return {"fields": fields, "values": [[row.get(field) for field in fields] for row in rows]}


def _version() -> str:
    """The Vega-Lite that Altair writes for, as "6.4"."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _still(spec: Spec) -> Spec:
    """The same specification without what answers the pointer."""
    layers = [layer for layer in spec["layer"] if layer.get("name") != PROBE]
    return {key: value for key, value in spec.items() if key != "params"} | {"layer": layers}


# Colors are CSS variables, which follow the reader's color scheme.
INK, _FAINT, _FONT = "var(--text)", "var(--grid)", "system-ui, sans-serif"
_ON_PAPER = {"--text": "#1b1f24", "--grid": "#d5d9df"}
_WORDS = {"labelColor": INK, "titleColor": INK, "labelFont": _FONT, "titleFont": _FONT}
_CONFIG: Spec = {
    # The panel's own description speaks; a label for each of a thousand marks would not help.
    "aria": False,
    "background": None,
    "font": _FONT,
    "axis": {
        **_WORDS,
        "domainColor": INK,
        "tickColor": INK,
        "gridColor": _FAINT,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
    },
    # The page has one legend for all its charts.
    "legend": {**_WORDS, "symbolSize": 90, "symbolOpacity": 1, "disable": True},
    "title": {"color": INK, "font": _FONT, "fontWeight": "normal", "anchor": "start"},
    "view": {"stroke": None},
}
