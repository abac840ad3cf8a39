"""Page: the frame, charts and downloads that every self-contained HTML page has."""

from __future__ import annotations

import base64
import functools
import gzip
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from batchlab.records.study import Study
from batchlab.report.figure import LAYOUT, Figure, Look, columns, script_json, write_figure_rows
from batchlab.report.output_file import write_output_file
from batchlab.report.table import Table
from batchlab.report.text import VERDICT_WORDS, unbroken
from batchlab.version import __version__
from batchlab.words.catalogue import plural, text

_FOLDER = Path(__file__).parent / "templates"


def rendered(template: str, **values: object) -> str:
    """Fill an HTML template, given by file name, with values; text by users is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)


# ---- tables as files

# A larger file is packed, because it would be most of a page of a few megabytes.
_MOST_PLAIN_CHARACTERS = 100_000
# Browsers refuse to save a data: address of more than 2 MiB.
MOST_ADDRESS_CHARACTERS = 1_900_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A table as a file within a page, described in words; it has no address if too large."""

    name: str
    words: str
    address: str | None
    n_rows: int


def download(
    name: str, words: str, table: Table, *, most: int = MOST_ADDRESS_CHARACTERS
) -> Download:
    """Return a table as a file within the page, plain if it is small, else packed."""
    content = table.to_csv()
    if len(content) > min(_MOST_PLAIN_CHARACTERS, most):
        packed = base64.b64encode(gzip.compress(content.encode(), mtime=0)).decode()
        name, address = f"{name}.gz", f"data:application/gzip;base64,{packed}"
    else:
        address = "data:text/csv;charset=utf-8," + quote(content, safe=",.:;-_ ()/")
    fits = len(address) <= most
    return Download(
        name=name, words=words, address=address if fits else None, n_rows=len(table.rows)
    )


Tables = Mapping[str, tuple[str, Table]]
"""The downloads of a page by name: what a row of the table is, and the table."""


def downloads(tables: Tables) -> list[Download]:
    """Return each table as a file within the page."""
    return [
        download(f"batchlab-{name}.csv", words, table) for name, (words, table) in tables.items()
    ]


def write_tables(tables: Tables, figures: Iterable[Figure], path: Path) -> tuple[Path, ...]:
    """Write the tables and the rows of the figures as CSV files.

    The first table goes to `path` itself, all others next to it: `report-observations.csv`, ...

    Raises:
        OutputFileError: a file cannot be written.
    """
    written: list[Path] = []
    for name, (_, table) in tables.items():
        file = path.with_name(f"{path.stem}-{name}.csv") if written else path
        write_output_file(file, table.to_csv().encode())
        written.append(file)
    return (*written, *write_figure_rows(figures, path))


# ---- the page


def render_page(
    template: str,
    *,
    environment: Sequence[tuple[str, str]],
    figures: Sequence[Figure],
    looks: Sequence[Look],
    command: str,
    study_id: str = "",
    **contents: object,
) -> str:
    """Return a page as text that fetches nothing and holds every chart both still and live.

    `template` is a file name, `contents` is what it needs in addition to what all templates get.
    """
    from batchlab.report.chart import page_spec, script, still_svg

    panels = [(figure, panel) for figure in figures for panel in figure.panels]
    specs = {panel.key: page_spec(panel, looks) for _, panel in panels}
    # The page's script draws these: the rows only once, and one specification per panel.
    drawn = {
        "layout": LAYOUT,
        "rows": {figure.data: columns(figure.rows) for figure in figures if figure.panels},
        "panels": {
            panel.key: {"data": figure.data, "spec": specs[panel.key]} for figure, panel in panels
        },
    }
    return rendered(
        template,
        version=__version__,
        figures=figures,
        verdict_words={verdict: text(words) for verdict, words in VERDICT_WORDS.items()},
        say=text,
        unbroken=unbroken,
        say_n=plural,
        looks=looks,
        legend_shapes=_SHAPES,
        stills={
            panel.key: still_svg(panel, specs[panel.key], figure.rows, prefix=panel.key)
            for figure, panel in panels
        },
        source=_source(command, study_id),
        figures_json=script_json(drawn),
        vega_script=script(),
        environment=environment,
        command=command,
        **contents,
    )


def _source(command: str, study_id: str) -> str:
    """Say where the numbers of a page come from, for its captions."""
    made = text("Measured with batchlab {version}: {made}", version=__version__, made=command)
    study = text("Study {study}.", study=study_id) if study_id else ""
    commit = text("Drawn at commit {commit}.", commit=_commit()) if _commit() else ""
    return " ".join(filter(None, (study, commit, made)))


@functools.cache
def _commit() -> str:
    """Return the commit of batchlab's own source; empty if that is not a checkout."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return ""
    called = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(called, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def with_status(page: str, status: str, *, reload_s: int | None) -> str:
    """Add a line at the bottom of a page, which reloads itself every `reload_s` seconds, if any."""
    if reload_s is not None:
        reload = f'<meta http-equiv="refresh" content="{reload_s}">'
        page = page.replace("<head>", f"<head>\n{reload}", 1)
    # The script that draws the charts has this tag in a string, so take the last one.
    head, tag, tail = page.rpartition("</body>")
    return f"{head}{rendered('status.html.j2', status=status)}{tag}{tail}"


def study_environment(study: Study) -> list[tuple[str, str]]:
    """Return what the trials of a study ran on and with; a library of two versions has both."""
    found, said = [*study.environment], {name for name, _ in study.environment}
    versions: dict[str, set[str]] = {}
    for record in study.records:
        for name, version in (*record.versions, ("engine", record.engine)):
            versions.setdefault(name, set()).add(version)
    for name, own_versions in versions.items():
        if name not in said or len(own_versions) > 1:
            own = text("{name} of the trials", name=name) if name in said else name
            found.append((own, ", ".join(sorted(own_versions))))
    return found


# The outlines of the points in a legend, around (0, 0), as SVG paths.
_SHAPES = {
    "circle": "M5 0A5 5 0 1 1 -5 0A5 5 0 1 1 5 0Z",
    "square": "M-4.5-4.5H4.5V4.5H-4.5Z",
    "triangle-up": "M0-5.5L5.5 4.5H-5.5Z",
    "triangle-down": "M0 5.5L5.5-4.5H-5.5Z",
    "triangle-right": "M5.5 0L-4.5 5.5V-5.5Z",
    "triangle-left": "M-5.5 0L4.5 5.5V-5.5Z",
    "diamond": "M0-6.5L5 0L0 6.5L-5 0Z",
    "cross": "M-2-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
}
