"""Vega: a panel as a Vega-Lite specification, a still SVG or PNG, and the script that draws it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchlab.report.parts.charts.canvas import PAPER, Canvas
from batchlab.report.parts.charts.probe import PROBE
from batchlab.report.parts.figure import Figure, Row

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, Any]


def specification(
    chart: alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart, canvas: Canvas
) -> Spec:
    """The Vega-Lite specification of a chart, without its data."""
    import altair as alt

    # A theme that the user switched on in a notebook is none of the report's business.
    with alt.theme.enable("none"):
        spec: Spec = chart.to_dict(validate=False)  # the tests validate every plot
    spec["config"] = _config(canvas)
    return spec


def still_svg(spec: Spec, data: Mapping[str, Sequence[Row]], *, prefix: str) -> str:
    """A specification with its data as SVG text.

    Args:
        spec: see `specification`.
        data: the rows by name.
        prefix: goes before the identifiers within, which are otherwise the same in every SVG and
            would meet each other on one page.
    """
    import vl_convert

    spec = _still(spec) | {"datasets": dict(data)}
    drawn = str(vl_convert.vegalite_to_svg(spec, vl_version=_version()))
    # The renderer counts on from image to image: numbered anew, a page is the same every time.
    place = r'(?<= id=")clip\d+|(?<=url\(#)clip\d+'
    found = list(dict.fromkeys(re.findall(place, drawn)))
    numbered = re.sub(place, lambda match: f"{prefix}-clip{found.index(match[0])}", drawn)
    return _slim(numbered)


def paper_image(figure: Figure, image_format: str) -> bytes:
    """A whole figure with its legend on white ground, as the bytes of an SVG or PNG file."""
    import altair as alt
    import vl_convert

    plots = [panel.plot(canvas=PAPER).properties(title=panel.title) for panel in figure.panels]
    # Train, validation and test side by side; four panels are two metrics without validation.
    in_a_row = 2 if len(plots) == 4 else 3
    rows = [alt.hconcat(*plots[i : i + in_a_row]) for i in range(0, len(plots), in_a_row)]
    chart = alt.vconcat(*rows).properties(title=f"({figure.key}) {figure.title}")
    spec = specification(chart, PAPER) | {"datasets": {figure.data: list(figure.rows)}}
    if image_format == "svg":
        return str(vl_convert.vegalite_to_svg(spec, vl_version=_version())).encode()
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=_version(), scale=2))


@functools.cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that needs nothing else."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_version()))


def script_json(value: object) -> str:
    """JSON that may stand inside a script element whatever a user's text holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _still(spec: Spec) -> Spec:
    """The same specification without what answers the pointer, which a still image cannot."""
    layers = [layer for layer in spec["layer"] if layer.get("name") != PROBE]
    return {key: value for key, value in spec.items() if key != "params"} | {"layer": layers}


# What an SVG of Vega repeats for every mark, though it is so anyway or the page's style says it.
_NEEDLESS = re.compile(
    r' (?:opacity="1"|pointer-events="none"|aria-hidden="true"|stroke-miterlimit="10"|role="[^"]*"'
    r'|aria-roledescription="[^"]*"|font-family="system-ui, sans-serif"|font-weight="normal"'
    r'|class="[^"]*"'
    r'|xmlns:xlink="[^"]*"|version="1.1")'
    r'|<path d="(?:M0,0h0v0h0Z)?"(?: display="none")?/>'
)
_PLACES = re.compile(r' (?:d|transform|x|x1|x2|y|y1|y2)="[^"]*"')


def _slim(svg: str) -> str:
    """The same drawing in half the bytes: a page has dozens of them."""
    without = _NEEDLESS.sub("", svg)
    without = _NEEDLESS.sub("", without)  # an empty path shows once its attributes are gone
    # A tenth of a pixel is finer than a screen.
    return _PLACES.sub(lambda match: re.sub(r"(?<=\.\d)\d+", "", match[0]), without)


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows with the names of their fields told once; None where a row has no such field."""
    fields = list(dict.fromkeys(field for row in rows for field in row))
    return {"fields": fields, "values": [[row.get(field) for field in fields] for row in rows]}


def shared_parts(value: object, found: dict[str, int]) -> object:
    """JSON with its long parts told once: each is replaced by its number after "§".

    Args:
        value: specifications of charts, which have axes, colours and whole expressions in common.
        found: the parts as JSON text by their numbers; new ones are added. A part may have the
            numbers of others in it.
    """
    if isinstance(value, dict):
        value = {key: shared_parts(each, found) for key, each in value.items()}
    elif isinstance(value, list):
        value = [shared_parts(each, found) for each in value]
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if len(written) > _LONG or written.startswith('"§'):
        return f"§{found.setdefault(written, len(found))}"
    return value


_LONG = 40  # characters


def _version() -> str:
    """The Vega-Lite that Altair writes for, as "6.4"."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _config(canvas: Canvas) -> Spec:
    font = "system-ui, sans-serif" if canvas.in_page else "sans-serif"
    words = {
        "labelColor": canvas.text,
        "titleColor": canvas.text,
        "labelFont": font,
        "titleFont": font,
    }
    return {
        # The panel's own description speaks; a label for each of a thousand marks would not help.
        "aria": False,
        "background": None if canvas.in_page else "white",
        "font": font,
        "axis": {
            **words,
            "domainColor": canvas.text,
            "tickColor": canvas.text,
            "gridColor": canvas.faint,
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelOverlap": "greedy",
        },
        "legend": {**words, "symbolSize": 90, "symbolOpacity": 1},
        "title": {"color": canvas.text, "font": font, "fontWeight": "normal", "anchor": "start"},
        "view": {"stroke": None},
    }
