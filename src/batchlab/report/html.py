"""HTML: a study as one self-contained page."""

from __future__ import annotations

import base64
import gzip
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from batchlab.report.figure import Figure, figure_looks, list_text
from batchlab.report.figures import FIGURES
from batchlab.report.observations_table import observations_table
from batchlab.report.output_file import write_output_file
from batchlab.report.palette import Look
from batchlab.report.plots import PAGE
from batchlab.report.sentences import Sentence, Verdict, sentences
from batchlab.report.table import Table
from batchlab.report.trial_ending import trial_counts
from batchlab.report.trials_table import IDENTITY, REASONS, trials_table
from batchlab.report.vega import Spec, script, script_json, specification, still_svg
from batchlab.study import Study
from batchlab.version import __version__

# Browsers refuse to save a data: address of more than 2 MiB; a larger file is embedded packed.
MOST_ADDRESS_CHARACTERS = 1_900_000


VERDICT_WORDS: dict[Verdict, str] = {
    "held": "held",
    "did_not_hold": "did not hold",
    "cannot_tell": "can't tell",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """A file embedded in the page.

    Attributes:
        name: its file name.
        words: what it holds.
        address: its data: address; None: too large to embed.
        n_rows: rows of the table.
    """

    name: str
    words: str
    address: str | None
    n_rows: int


def write_html(study: Study, path: Path) -> None:
    """Write the report of a study as one self-contained HTML file.

    Args:
        study: the study; trials that have not ended are shown as such.
        path: the file; an old one is replaced whole, or left as it is if this fails.

    Raises:
        OutputFileError: the file cannot be written.
    """
    write_output_file(Path(path), html_page(study).encode())


def html_page(study: Study) -> str:
    """The report of a study as the text of a self-contained HTML page, at most 5 MB."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    figures = [row.build(study) for row in FIGURES]
    specs = {
        panel.key: specification(panel.plot(canvas=PAGE), PAGE)
        for figure in figures
        for panel in figure.panels
    }
    trials = trials_table(study)
    return environment.get_template("page.html.j2").render(
        study=study,
        version=__version__,
        findings=_findings(study),
        verdict_words=VERDICT_WORDS,
        summary=trial_counts(study),
        looks=figure_looks(study),
        legend_shape=_legend_shape,
        switched=[
            (row, figure) for row, figure in zip(FIGURES, figures, strict=True) if row.key in "abc"
        ],
        others=[figure for figure in figures if figure.key not in "abc"],
        stills={
            panel.key: still_svg(specs[panel.key], {figure.data: figure.rows}, prefix=panel.key)
            for figure in figures
            for panel in figure.panels
        },
        figures_json=script_json(_figures_json(figures, specs)),
        vega_script=script(),
        trials=_numbers_table(trials),
        reasons=replace(
            _columns(trials, (*IDENTITY[1:], *REASONS, "trial_id")),
            caption="Why a trial ended so, has this plateau and this diagnosis",
        ),
        environment=list(_environment(study)),
        downloads=(
            _download("batchlab-trials.csv", "one row a trial", trials),
            _download(
                "batchlab-observations.csv",
                "one row a number that was seen, joined by trial_id",
                observations_table(study),
            ),
        ),
    )


def _findings(study: Study) -> list[tuple[str, list[Sentence]]]:
    """The sentences, those that follow each other on one topic together under its name."""
    groups = itertools.groupby(sentences(study), key=lambda sentence: sentence.topic)
    return [(topic, list(group)) for topic, group in groups]


def _figures_json(figures: list[Figure], specs: dict[str, Spec]) -> dict[str, Any]:
    """What the page's script draws: the rows once, a specification a panel."""
    return {
        "rows": {figure.data: figure.rows for figure in figures if figure.panels},
        "panels": {
            panel.key: {"data": figure.data, "spec": specs[panel.key]}
            for figure in figures
            for panel in figure.panels
        },
    }


def _columns(table: Table, keys: Iterable[str]) -> Table:
    """The columns called `keys`, in that order, without those that know nothing."""
    place = {column.key: i for i, column in enumerate(table.columns)}
    kept = [place[key] for key in keys]
    return Table(
        caption=table.caption,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    ).without_empty_columns()


def _numbers_table(table: Table) -> Table:
    """The trials as people compare them: without the reasons, the hash at the end."""
    first = (*IDENTITY[1:], "status", "plateau", "plateau_epoch", "diagnosis")
    last = ("batch_mode", "micro_batch_size", "engine", "threads", "trial_id")
    named = {*first, *last, *REASONS}
    rest = [column.key for column in table.columns if column.key not in named]
    return _columns(table, (*first, *rest, *last))


def _environment(study: Study) -> Iterator[tuple[str, str]]:
    """Where and with what the trials ran; a library of two versions is named with both."""
    yield from study.environment
    said = {name for name, _ in study.environment}
    versions: dict[str, set[str]] = {}
    for record in study.records:
        for name, version in (*record.versions, ("engine", record.engine)):
            versions.setdefault(name, set()).add(version)
    for name, found in versions.items():
        if name not in said or len(found) > 1:
            yield (name if name not in said else f"{name} of the trials"), list_text(sorted(found))


def _download(name: str, words: str, table: Table) -> Download:
    """A table as a file within the page: plain where it is small enough, else packed."""
    text = table.to_csv()
    address = "data:text/csv;charset=utf-8," + quote(text, safe=",.:;-_ ()/")
    if len(address) > MOST_ADDRESS_CHARACTERS:
        packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
        name, address = f"{name}.gz", f"data:application/gzip;base64,{packed}"
    return Download(
        name=name,
        words=words,
        address=address if len(address) <= MOST_ADDRESS_CHARACTERS else None,
        n_rows=len(table.rows),
    )


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


def _legend_shape(look: Look) -> str:
    """The outline of a batch size's points, around (0, 0), as an SVG path."""
    return _SHAPES[look.shape]
