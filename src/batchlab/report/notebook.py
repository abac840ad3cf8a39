"""A record in a notebook's cell, and as Python's own dicts, lists and frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from batchlab.advice.advice import Advice
from batchlab.errors import MissingLibraryError
from batchlab.fitting.fit import PointsFit
from batchlab.measure.noise import Noise
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.report.advice_bars import bars
from batchlab.report.advice_claims import advice_sentences
from batchlab.report.advice_tables import candidates_table, expected_table, side_by_side
from batchlab.report.advice_text import SCREEN_TOPICS, cost_text
from batchlab.report.cells import chosen_cells, deciding_split, figure_looks
from batchlab.report.fit import across_text, group_facts, group_name, group_table, method_text
from batchlab.report.noise import noise_facts, noise_table, noise_title
from batchlab.report.page import rendered
from batchlab.report.profile import profile_facts, profile_table, profile_title
from batchlab.report.sweep_claims import conclusion
from batchlab.report.sweep_figures import curve_figures
from batchlab.report.sweep_page import sweep_document
from batchlab.report.sweep_tables import summary_table, trials_table
from batchlab.report.table import Table
from batchlab.report.text import whole_sentence
from batchlab.words.catalogue import text


def study_curves(study: Study) -> tuple[str, str] | None:
    """The deciding metric by epoch as a still SVG, and in words; None: nothing was seen."""
    from batchlab.report.chart import paper_spec, still_svg

    figure, split = next(curve_figures(study)), deciding_split(study)
    for panel in figure.panels:
        if panel.key.startswith(f"{figure.key}-{split}-"):
            spec = paper_spec(panel, figure_looks(study))
            still = still_svg(spec, figure.rows, prefix=study.study_id)
            return still, panel.alternative
    return None


def study_dict(study: Study) -> dict[str, Any]:
    """What `batchlab sweep --json` prints of a study; its store and its page are None."""
    document: dict[str, Any] = json.loads(sweep_document(study, store=None, report=None))
    return document


def data_frame(record: Advice | Study) -> Any:
    """A row a batch size in question, of a study a row a trial, as a pandas DataFrame.

    Raises:
        MissingLibraryError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingLibraryError(
            "to_pandas needs pandas, which is not installed: pip install pandas"
        ) from error
    table = trials_table(record) if isinstance(record, Study) else candidates_table(record)
    return pandas.DataFrame(list(table.rows), columns=[column.key for column in table.columns])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Words and a table that belong together."""

    title: str = ""
    facts: tuple[str, ...] = ()
    table: Table | None = None
    drawing: tuple[str, ...] = ()
    picture: tuple[str, str] | None = None  # an SVG, and what it shows in words


def notebook_view(shown: object) -> str:
    """The record as a piece of HTML with its answer first: no script, no style sheet, no address.

    Raises:
        TypeError: it is no record that has a view.
    """
    return rendered("notebook.html.j2", parts=list(_parts(shown)))


@singledispatch
def _parts(shown: object) -> Iterator[_Part]:
    raise TypeError(
        f"a {type(shown).__name__} has no view; an Advice, Study, Profile, Noise or PointsFit has"
    )


@_parts.register
def _(shown: Advice) -> Iterator[_Part]:
    said = {
        sentence.topic: f"{sentence} {sentence.command}".rstrip()
        for sentence in advice_sentences(shown, None)
    }
    lead = (said["why"],) if "why" in said else ()
    yield _Part(title=said["answer"], facts=lead, table=side_by_side(shown))
    yield _Part(drawing=tuple(bars(shown)))
    findings = [said[topic] for topic in SCREEN_TOPICS if topic in said]
    yield _Part(facts=(*findings, f"{cost_text(shown)}."))
    if shown.expected is not None:
        yield _Part(table=expected_table(shown.expected))
    yield _Part(table=candidates_table(shown))
    if shown.caveats:
        yield _Part(title=text("Caveats"), facts=tuple(map(whole_sentence, shown.caveats)))


@_parts.register
def _(shown: Study) -> Iterator[_Part]:
    found = conclusion(shown)
    facts = (found.lead,) if found.lead else ()
    yield _Part(title=found.headline, facts=facts, table=summary_table(shown, chosen_cells(shown)))
    yield _Part(picture=study_curves(shown))


@_parts.register
def _(shown: Profile) -> Iterator[_Part]:
    facts = tuple(profile_facts(shown))
    yield _Part(title=profile_title(shown), facts=facts, table=profile_table(shown))


@_parts.register
def _(shown: Noise) -> Iterator[_Part]:
    yield _Part(title=noise_title(shown), facts=tuple(noise_facts(shown)), table=noise_table(shown))


@_parts.register
def _(shown: PointsFit) -> Iterator[_Part]:
    for group in shown.groups:
        all_points = text("Steps to target of {source}", source=shown.source)
        yield _Part(
            title=group_name(group.group) or all_points,
            facts=tuple(group_facts(group, shown.overhead_fraction)),
            table=group_table(group).without_empty_columns(),
        )
    if shown.across:
        yield _Part(title=text("Across the groups"), facts=tuple(map(across_text, shown.across)))
    yield _Part(facts=(method_text(),))
