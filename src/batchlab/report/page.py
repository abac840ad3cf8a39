"""Page: one self-contained HTML page for an advice, a sweep or a noise measurement."""

from __future__ import annotations

import base64
import gzip
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from batchlab.records.study import Study
from batchlab.report.figure import Figure, Look, rows_table
from batchlab.report.table import Table, marked_table
from batchlab.report.text import VERDICT_WORDS, Sentence, unbroken
from batchlab.version import __version__
from batchlab.words.catalogue import sentence, text

_PAGE = Path(__file__).with_name("page.html.j2")


def rendered(template: str, **values: object) -> str:
    """Fill an HTML template with values; text by users is escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(template).render(**values)


# ---- tables as files

Tables = Mapping[str, tuple[str, Table]]
"""The downloads of a page by name: what a row of the table is, and the table."""

# A larger file is packed, because it would be most of a page of a few megabytes.
_MOST_PLAIN_CHARACTERS = 100_000
# Browsers refuse to save a data: address of more than 2 MiB.
MOST_ADDRESS_CHARACTERS = 1_900_000


def download(
    name: str, table: Table, *, most: int = MOST_ADDRESS_CHARACTERS
) -> tuple[str, str | None]:
    """Return the name and the data: address of a table as CSV, packed if it is large.

    The address is None if it is longer than `most`.
    """
    content = table.to_csv()
    if len(content) > min(_MOST_PLAIN_CHARACTERS, most):
        packed = base64.b64encode(gzip.compress(content.encode(), mtime=0)).decode()
        name, address = f"{name}.gz", f"data:application/gzip;base64,{packed}"
    else:
        address = "data:text/csv;charset=utf-8," + quote(content, safe=",.:;-_ ()/")
    return name, address if len(address) <= most else None


def csv_files(tables: Tables, figures: Iterable[Figure]) -> dict[str, bytes]:
    """Return the tables and the rows of the figures as CSV files, by name."""
    contents = {name: table for name, (_, table) in tables.items()}
    contents |= {figure.data: rows_table(figure.rows) for figure in figures if figure.panels}
    return {name: table.to_csv().encode() for name, table in contents.items()}


# ---- where the numbers come from

Facts = Sequence[tuple[str, object]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the numbers of a page come from."""

    name: str  # of the workload
    command: str
    created_at: str  # ISO 8601
    study_id: str = ""
    facts: Facts  # on the workload and on what it ran on: names and values

    @property
    def source(self) -> str:
        """The last note under a figure."""
        message = "Measured with batchlab {version}: {command}"
        if self.study_id:
            message = "Study {study}. Measured with batchlab {version}: {command}"
        return text(message, study=self.study_id, version=__version__, command=self.command)


def study_origin(study: Study) -> Origin:
    """Return the origin of a page about a study."""
    workload = study.workload
    examples = text(
        "{train} train, {validation} validation, {test} test",
        train=workload.n_train,
        validation=workload.n_validation or text("no"),
        test=workload.n_test or text("no"),
    )
    metrics = [
        text("{metric} ({direction} is better)", metric=metric.name, direction=text(metric.better))
        for metric in workload.metrics
    ]
    return Origin(
        name=workload.name,
        command=study.command,
        created_at=study.created_at,
        study_id=study.study_id,
        facts=(
            (text("workload"), f"{workload.name} ({workload.reference})"),
            (text("identity"), workload.workload_id),
            (text("examples"), examples),
            (text("trainable parameters"), str(workload.n_parameters)),
            (text("metrics"), ", ".join(metrics)),
            *workload.settings,
            *((text("odd when it was checked"), warning) for warning in workload.warnings),
            *_study_environment(study),
        ),
    )


def _study_environment(study: Study) -> Facts:
    """Return what the trials ran on and with; a library of two versions has both."""
    named = dict(study.environment)
    versions: dict[str, set[str]] = {}
    for record in study.records:
        for name, version in (*record.versions, ("engine", record.engine)):
            versions.setdefault(name, set()).add(version)
    facts = [*study.environment]
    for name, own_versions in versions.items():
        if name not in named or len(own_versions) > 1:
            own = text("{name} of the trials", name=name) if name in named else name
            facts.append((own, ", ".join(sorted(own_versions))))
    return [*facts, (text("report"), f"batchlab {__version__}")]


# ---- the page

Legend = Iterable[tuple[Look, str]]


def render_page(
    origin: Origin,
    *,
    brand: str,  # a few words above the headline
    headline: str,  # the answer
    lead: str = "",  # the reason for it
    table: Table,  # the results of each batch size
    figures: Sequence[Figure],  # the picture next to the table, then the evidence
    looks: Sequence[Look],  # how batch sizes are drawn
    legends: tuple[Legend, Legend] = ((), ()),  # of the picture, and of the evidence
    below: Iterable[str] = (),  # sentences below the table
    findings: Iterable[Sentence] = (),  # other things a reader should know, by topic
    paste: str = "",  # lines for the user's script
    claims: Sequence[Sentence] = (),  # common claims, each with its verdict
    summary: str,  # a sentence on the runs
    run: Mapping[str, Table] | None = None,  # tables of the runs, folded
    research: Sequence[Sentence] = (),  # findings in the words of researchers, folded
    files: Tables,  # tables that can be saved
) -> str:
    """Return a page as text that fetches nothing and needs no script to show every chart."""
    from batchlab.report.chart import page_svg

    first, *others = figures
    drawn = [figure for figure in figures if figure.panels]
    first_legend, others_legend = map(list, legends)
    absent = list(dict.fromkeys(figure.absent for figure in others if figure.absent))
    if drawn and len(table.rows) == 1:
        absent = []  # all that is missing is a second batch size, and the first figure says so
    return rendered(
        _PAGE.read_text(encoding="utf-8"),
        say=text,
        say_sentence=sentence,
        unbroken=unbroken,
        version=__version__,
        verdict_words=VERDICT_WORDS,
        outlines=_OUTLINES,
        origin=origin,
        source=origin.source,
        brand=brand,
        headline=headline,
        lead=lead,
        first=first,
        first_legend=first_legend,
        others=[figure for figure in others if figure.panels],
        others_legend=others_legend,
        marked_table=marked_table,
        absent=absent,
        looks=looks,
        compared=table,
        below=list(below),
        findings=_by_topic(findings, "{topic}"),
        paste=paste,
        claims=_by_topic(claims, "“{topic}”"),
        summary=summary,
        runs=run or {},
        research=_by_topic(research, "{topic}"),
        downloads=[
            (*download(f"batchlab-{name}.csv", shown), words, len(shown.rows))
            for name, (words, shown) in files.items()
        ],
        rows={
            figure.key: download(f"batchlab-{figure.data}.csv", rows_table(figure.rows))
            for figure in drawn
        },
        charts={
            panel.key: page_svg(panel, looks, width=410 if figure is first else 360)
            for figure in drawn
            for panel in figure.panels
        },
    )


def _by_topic(sentences: Iterable[Sentence], heading: str) -> list[tuple[str, list[Sentence]]]:
    topics: dict[str, list[Sentence]] = {}
    for one in sentences:
        topics.setdefault(one.topic, []).append(one)
    return [(text(heading, topic=text(topic)), group) for topic, group in topics.items()]


_STATUS = (
    '<aside role="status" style="position: sticky; bottom: 0; padding: .5rem 1rem; '
    "font: .9rem/1.4 system-ui, sans-serif; background: Canvas; color: CanvasText; "
    'border-top: 1px solid GrayText">{status}</aside>'
)


def with_status(page: str, status: str, *, reload_s: int | None) -> str:
    """Add a line at the bottom of a page, which reloads itself every `reload_s` seconds, if any."""
    if reload_s is not None:
        reload = f'<meta http-equiv="refresh" content="{reload_s}">'
        page = page.replace("<head>", f"<head>\n{reload}", 1)
    head, tag, tail = page.rpartition("</body>")
    return f"{head}{_STATUS.format(status=html.escape(status))}{tag}{tail}"


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
