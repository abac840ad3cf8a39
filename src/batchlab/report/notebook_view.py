"""NotebookView: a record in a notebook's cell, the answer first and its numbers in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from batchlab.advice.advice import Advice
from batchlab.fitting.fit import PointsFit
from batchlab.measure.noise import Noise
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.report.advice.bars import bars
from batchlab.report.advice.objective_words import target_text
from batchlab.report.advice.side_by_side import side_by_side
from batchlab.report.advice.tables import candidates_table, expected_table
from batchlab.report.advice.text import cost_text
from batchlab.report.advice.topics.reason import why_in_numbers
from batchlab.report.fit.text import across_text, group_facts, group_name, group_table, method_text
from batchlab.report.noise.tables import noise_table
from batchlab.report.noise.text import noise_facts, noise_title
from batchlab.report.parts.estimate_text import estimate_text
from batchlab.report.parts.reason_clause import whole_sentence
from batchlab.report.parts.table import Table
from batchlab.report.parts.templates import rendered
from batchlab.report.profile.text import profile_facts, profile_table, profile_title
from batchlab.report.study_cell import study_curves, study_lines, study_table
from batchlab.words.catalogue import listing, text
from batchlab.words.reasons import reason_text

_VERDICTS = {
    "recommend": "Recommended",
    "better": "Better than yours, perhaps not the best",
    "indifferent": "Does not matter within these sizes; with the least memory",
    "cannot_tell": "Not settled",
}


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
    lead = why_in_numbers(shown)
    yield _Part(
        title=_answer(shown), facts=() if lead is None else (lead,), table=side_by_side(shown)
    )
    yield _Part(drawing=tuple(bars(shown)))
    yield _Part(facts=tuple(_advice_facts(shown)))
    if shown.expected is not None:
        yield _Part(table=expected_table(shown.expected))
    yield _Part(table=candidates_table(shown))
    if shown.caveats:
        yield _Part(title=text("Caveats"), facts=tuple(map(whole_sentence, shown.caveats)))


def _answer(advice: Advice) -> str:
    """The verdict, with what to set where there is anything."""
    found = advice.named
    verdict = text(_VERDICTS[advice.verdict])
    if found is not None and advice.recommendation is None:
        verdict = text("Not settled; best so far")
    if found is None:
        return verdict
    pieces = ""
    if found.accumulation_steps > 1:
        pieces = text(
            " ({n} micro-batches of {size})",
            n=found.accumulation_steps,
            size=found.micro_batch_size,
        )
    return text(
        "{verdict}: batch size {size}{pieces}, learning rate {rate:learning_rate}",
        verdict=verdict,
        size=found.batch_size,
        pieces=pieces,
        rate=found.learning_rate,
    )


def _advice_facts(advice: Advice) -> Iterator[str]:
    yield whole_sentence(advice.reason)
    if advice.target is not None:
        yield text("Target: {target}.", target=target_text(advice.target))
    if advice.flat_set:
        yield text(
            "As good, within {share:percent} of the best: {sizes}.",
            share=advice.delta,
            sizes=listing([str(batch_size) for batch_size in advice.flat_set]),
        )
    if advice.gain.estimate is not None or advice.gain.low is not None:
        yield text(
            "Gain over yours, on fresh seeds (as a ratio): {gain}.",
            gain=estimate_text("ratio", advice.gain),
        )
    if advice.missing is not None and advice.missing != advice.reason:
        yield text("Missing: {missing}.", missing=reason_text(advice.missing).rstrip("."))
    yield f"{cost_text(advice)}."


@_parts.register
def _(shown: Study) -> Iterator[_Part]:
    title, facts = study_lines(shown)
    yield _Part(title=title, facts=facts, table=study_table(shown))
    yield _Part(picture=study_curves(shown))


@_parts.register
def _(shown: Profile) -> Iterator[_Part]:
    yield _Part(
        title=profile_title(shown),
        facts=tuple(profile_facts(shown)),
        table=profile_table(shown),
    )


@_parts.register
def _(shown: Noise) -> Iterator[_Part]:
    yield _Part(title=noise_title(shown), facts=tuple(noise_facts(shown)), table=noise_table(shown))


@_parts.register
def _(shown: PointsFit) -> Iterator[_Part]:
    for group in shown.groups:
        yield _Part(
            title=group_name(group.group)
            or text("Steps to target of {source}", source=shown.source),
            facts=tuple(group_facts(group, shown.overhead_fraction)),
            table=group_table(group).without_empty_columns(),
        )
    if shown.across:
        yield _Part(title=text("Across the groups"), facts=tuple(map(across_text, shown.across)))
    yield _Part(facts=(method_text(),))
