"""Page: renders an advice or a sweep as one self-contained HTML page."""

from __future__ import annotations

import base64
import functools
import gzip
import itertools
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from batchlab.records.study import Study
from batchlab.report.figure import Figure, SizeLook, drawn_looks
from batchlab.report.table import Table
from batchlab.report.text import unbroken
from batchlab.version import __version__
from batchlab.words.catalogue import sentence, term_text, text

if TYPE_CHECKING:
    import jinja2

# Browsers refuse to save a data: URL of more than 2 MiB, so a larger file gets no link.
MOST_ADDRESS_CHARACTERS = 1_900_000


def rendered(template: str, **values: object) -> str:
    """Fill an HTML template with values; special characters in the values are escaped."""
    return _environment().get_template(template).render(**values)


@functools.cache  # because compiling a template takes longer than filling it with values
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["unbroken"] = unbroken
    return environment


def csv_address(table: Table) -> str | None:
    """Return a data: URL of a table as compressed CSV, or None if the URL is too long."""
    packed = base64.b64encode(gzip.compress(table.to_csv().encode(), mtime=0)).decode()
    address = f"data:application/gzip;base64,{packed}"
    return address if len(address) <= MOST_ADDRESS_CHARACTERS else None


# ---- where the numbers come from


def study_facts(study: Study) -> list[tuple[str, object]]:
    """Return (name, value) pairs that describe a study's workload and environment."""
    workload = study.workload
    validation, test = workload.n_validation or "no", workload.n_test or "no"
    examples = f"{workload.n_train} train, {validation} validation, {test} test"
    metrics = []
    for metric in workload.metrics:
        metrics.append(f"{metric.name} ({metric.better} is better)")
    return [
        ("workload", f"{workload.name} ({workload.reference})"),
        ("identity", workload.workload_id),
        (text("examples"), examples),
        ("trainable parameters", str(workload.n_parameters)),
        ("metrics", ", ".join(metrics)),
        *workload.settings,
        *zip(itertools.repeat("odd when it was checked"), workload.warnings, strict=False),
        *study.environment,
        ("report", f"batchlab {__version__}"),
    ]


# ---- the page


def render_page(
    study: Study, figures: Sequence[Figure], looks: Sequence[SizeLook], **parts: object
) -> str:
    """Return a page as HTML text that loads no other file and shows all charts without scripts.

    Args:
        study: the study that the numbers come from.
        figures: the figure next to the table, then the figures of the evidence.
        looks: the color, dash and shape of each batch size or plan.
        **parts: the other parts of the page, as the template's first lines describe them.
    """
    from batchlab.report.chart import page_svg

    first, *others = figures
    charts: dict[str, str] = {}
    for figure in figures:
        # Draw about as wide as the page shows the chart, because scaling would resize the labels.
        width = 410 if figure is first else 360
        for panel in figure.panels:
            charts[panel.key] = page_svg(panel, looks, width=width)
    of_others = list(itertools.chain.from_iterable(map(attrgetter("panels"), others)))
    return rendered(
        "page.html.j2",
        say=text,
        say_sentence=sentence,
        term_text=term_text,
        csv_address=csv_address,
        by_topic=functools.partial(itertools.groupby, key=attrgetter("topic")),
        version=__version__,
        outlines=_OUTLINES,
        study=study,
        looks=looks,
        source=f"Study {study.study_id}. Measured with batchlab {__version__}: {study.command}",
        facts=study_facts(study),
        first=first,
        first_looks=drawn_looks(looks, first.panels),
        others=list(filter(attrgetter("panels"), others)),
        others_looks=drawn_looks(looks, of_others),
        charts=charts,
        **parts,
    )


# The outlines of the points in a legend, around (0, 0), as SVG paths.
_OUTLINES = {
    "circle": "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z",
    "square": "M-4.5-4.5H4.5V4.5H-4.5Z",
    "triangle-up": "M0-5.5L5.5 4.5H-5.5Z",
    "triangle-down": "M0 5.5L5.5-4.5H-5.5Z",
    "triangle-right": "M5.5 0L-4.5 5.5V-5.5Z",
    "triangle-left": "M-5.5 0L4.5 5.5V-5.5Z",
    "diamond": "M0-6.5L5 0L0 6.5L-5 0Z",
    "cross": "M-2-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
}
