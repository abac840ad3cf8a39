"""Redraw: a figure's rows as CSV, the code that draws it again from them, and its caption."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from batchlab.report.parts.figure import Figure, Panel, Row
from batchlab.report.parts.vega import Spec

# Fields that place words in a chart and say nothing of what was measured.
LAYOUT = ("text", "side", "place", "marked", "chosen", "to_size")
# Rows that are drawn again as points; what has no field `kind` is drawn as far as it is a mean.
_POINTS = ("bound", "point", "open", "run", "as_is", "verified", "curve", "line")
_ALONG = ("epoch", "step", "equal_time_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Redraw:
    """What a reader takes along to use a figure elsewhere.

    Attributes:
        file_name: of the CSV file with the figure's rows, which the code reads.
        caption: title and notes as one paragraph.
        code: Python that draws the figure with pandas and Matplotlib.
    """

    file_name: str
    caption: str
    code: str


def redraw(figure: Figure, specs: Mapping[str, Spec], *, source: str) -> Redraw:
    """How to draw a figure again.

    Args:
        figure: one with panels.
        specs: the specification of each panel by its key; see `specification`.
        source: where it is from: ends the caption.
    """
    file_name = f"batchlab-{figure.data}.csv"
    return Redraw(
        file_name=file_name,
        caption=" ".join((f"{figure.title}.", *figure.notes, source)),
        code="\n".join(_code(figure, specs, file_name)) + "\n",
    )


def rows_csv(rows: Iterable[Row]) -> str:
    """Rows of charts as CSV, each field a column; empty where a row has none."""
    rows = list(rows)
    fields = list(dict.fromkeys(field for row in rows for field in row if field not in LAYOUT))
    file = io.StringIO()
    writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _code(figure: Figure, specs: Mapping[str, Spec], file_name: str) -> Iterator[str]:
    panels = figure.panels
    yield "import matplotlib.pyplot as plt"
    yield "import pandas as pd"
    yield ""
    yield f"rows = pd.read_csv({file_name!r}, dtype={{'batch': str}})"
    if any("kind" in row for row in figure.rows):
        yield f"rows = rows[rows['kind'].isna() | rows['kind'].isin({[*_POINTS]})]"
    elif any(row.get("run") == "mean" for row in figure.rows):
        yield "rows = rows[rows['run'] == 'mean']"
    size = f"figsize=({5 * len(panels)}, 4), layout='constrained'"
    yield f"figure, axes = plt.subplots(1, {len(panels)}, squeeze=False, {size})"
    # Several runs of a batch size are no one line.
    along = "." if any(row.get("kind") == "curve" for row in figure.rows) else "-"
    has_interval = any("low" in row for row in figure.rows)
    for place, panel in enumerate(panels):
        own, spec = f"axes[0, {place}]", specs[panel.key]
        yield from _panel_code(panel, spec, own, along=along, has_interval=has_interval)
    yield "axes[0, 0].legend()"
    yield f"figure.suptitle({figure.title!r})"
    yield "plt.show()"


def _panel_code(
    panel: Panel, spec: Spec, axes: str, *, along: str, has_interval: bool
) -> Iterator[str]:
    across, up = _channel(spec, "x"), _channel(spec, "y")
    x = across["field"]
    yield ""
    where = _query(spec)
    yield f"panel = rows.query({where!r})" if where else "panel = rows"
    yield "for label, part in panel.groupby('batch', sort=False):"
    style = along if x in _ALONG else "o"
    yield f"    {axes}.plot(part[{x!r}], part['mean'], {style!r}, label=label)"
    if style == "o" and has_interval:
        yield f"    {axes}.vlines(part[{x!r}], part['low'], part['high'])"
    yield f"{axes}.set(title={panel.title!r}, xlabel={_title(across)!r})"
    if x == "configuration":
        yield f"{axes}.tick_params('x', rotation=20)"
    else:
        yield f"{axes}.set(xscale={_scale(across)!r}, yscale={_scale(up)!r})"


def _channel(spec: Spec, side: str) -> Spec:
    """What a chart has on one side: the first of its layers with a field there."""
    for layer in spec["layer"]:
        channel: Spec = layer.get("encoding", {}).get(side, {})
        if "field" in channel and channel["field"] not in ("low", "high"):
            return channel
    raise AssertionError(f"no layer of the chart has a field on {side}")


def _scale(channel: Spec) -> str:
    return str(channel.get("scale", {}).get("type", "linear"))


def _title(channel: Spec) -> str:
    return str((channel.get("axis") or {}).get("title") or "")


def _query(spec: Spec) -> str:
    """The rows of one panel as pandas asks for them; empty: all."""
    for layer in spec["layer"]:
        for transform in layer.get("transform", ()):
            where = transform.get("filter")
            if isinstance(where, str) and not where.startswith("datum.kind"):
                known = re.sub(r"isValid\(datum\.(\w+)\)", r"`\1` == `\1`", where)
                return re.sub(r"datum\.(\w+)", r"`\1`", known).replace("&&", "and")
    return ""
