"""NotebookView: a record in a notebook's cell, the answer first and its numbers in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.fitting.fit import METHOD, PointsFit
from batchlab.profiling.profile import Profile
from batchlab.report.advice.objective_words import share_text, target_text
from batchlab.report.advice.sentences import whole_sentence
from batchlab.report.advice.tables import candidates_table, expected_table
from batchlab.report.fit.text import across_text, group_facts, group_name, group_table
from batchlab.report.parts.estimate_text import estimate_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.table import Table
from batchlab.report.profile.text import profile_facts, profile_table
from batchlab.words.reasons import reason_text

_VERDICTS = {
    "recommend": "Recommended",
    "indifferent": "It does not matter within these; with the least memory",
    "cannot_tell": "Can't tell",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Words and a table that belong together."""

    title: str = ""
    facts: tuple[str, ...] = ()
    table: Table | None = None


def notebook_view(shown: object) -> str:
    """The record as a piece of HTML with its answer first: no script, no style sheet, no address.

    Raises:
        TypeError: it is no record that has a view.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("notebook.html.j2").render(parts=list(_parts(shown)))


@singledispatch
def _parts(shown: object) -> Iterator[_Part]:
    raise TypeError(f"a {type(shown).__name__} has no view; an Advice, Profile or PointsFit has")


@_parts.register
def _(shown: Advice) -> Iterator[_Part]:
    yield _Part(title=_answer(shown), facts=tuple(_advice_facts(shown)))
    if shown.expected is not None:
        yield _Part(table=expected_table(shown.expected))
    yield _Part(table=candidates_table(shown))
    if shown.caveats:
        yield _Part(title="Caveats", facts=tuple(map(whole_sentence, shown.caveats)))


def _answer(advice: Advice) -> str:
    """The verdict, with what to set where there is anything."""
    found = advice.recommendation
    verdict = _VERDICTS[advice.verdict]
    if found is None:
        return verdict
    pieces = (
        f" ({found.accumulation_steps} micro-batches of {found.micro_batch_size})"
        if found.accumulation_steps > 1
        else ""
    )
    rate = quantity_text("learning_rate", found.learning_rate)
    return f"{verdict}: batch size {found.batch_size}{pieces}, learning rate {rate}"


def _advice_facts(advice: Advice) -> Iterator[str]:
    yield whole_sentence(advice.reason)
    if advice.target is not None:
        yield f"Target: {target_text(advice.target)}."
    if advice.flat_interval is not None:
        low, high = advice.flat_interval
        yield f"As good, within {share_text(advice.delta)} of the best: {low} to {high}."
    if advice.gain.estimate is not None or advice.gain.low is not None:
        gain = estimate_text("ratio", advice.gain)
        yield f"Gain over the configuration as it is, on fresh seeds (ratio): {gain}."
    if advice.missing is not None and advice.missing != advice.reason:
        yield f"Missing: {reason_text(advice.missing).rstrip('.')}."
    runs = f"{advice.n_trials} training run{'s' if advice.n_trials != 1 else ''}"
    spent, budget = (quantity_text("train_s", s) for s in (advice.spent_s, advice.budget_s))
    yield f"{runs}, {spent} of {budget} spent."


@_parts.register
def _(shown: Profile) -> Iterator[_Part]:
    yield _Part(
        title=f"{shown.workload} on {shown.device_name} ({shown.device})",
        facts=tuple(profile_facts(shown)),
        table=profile_table(shown),
    )


@_parts.register
def _(shown: PointsFit) -> Iterator[_Part]:
    for group in shown.groups:
        yield _Part(
            title=group_name(group.group) or f"Steps to target of {shown.source}",
            facts=tuple(group_facts(group, shown.overhead_fraction)),
            table=group_table(group).without_empty_columns(),
        )
    if shown.across:
        yield _Part(title="Across the groups", facts=tuple(map(across_text, shown.across)))
    yield _Part(facts=(f"Fitted by {METHOD}.",))
