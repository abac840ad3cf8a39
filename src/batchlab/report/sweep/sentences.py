"""Sentences: what else a study has shown and what it has not, in words that follow the numbers."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.study import Study
from batchlab.report.parts.batch_text import batch_sizes_text, batch_text
from batchlab.report.parts.plateaus import Plateaus, plateaus_of
from batchlab.report.parts.sentence import Sentence
from batchlab.report.sweep.cells import cells, chosen_cells
from batchlab.report.sweep.equal_budget import NAMES, BudgetName
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.paired import paired_sentences
from batchlab.report.sweep.trial_ending import trial_words
from batchlab.words.catalogue import capitalized, text
from batchlab.words.reasons import reason_text

_TOPICS: dict[BudgetName, str] = {
    "epochs": "equal epochs",
    "steps": "equal steps",
    "time": "equal time",
}


def sentences(study: Study, plateaus: Plateaus | None = None) -> tuple[Sentence, ...]:
    """What else can be said of a study, beside its conclusion, its effects and the claims.

    Args:
        study: the study; trials that ended badly are named and are in no mean.
        plateaus: of its trials, where some are known already; None: they are fitted here.

    Returns:
        The sentences in reading order.
    """
    evidence = Evidence.of(study)
    if not evidence.cells:
        return tuple(_failed(study))
    return (
        *paired_sentences(evidence),
        *_no_race(evidence),
        *_open_plateaus(evidence, plateaus or plateaus_of(study)),
        *_speed(evidence),
        *_edges(study),
        *_failed(study),
    )


def _no_race(evidence: Evidence) -> Iterator[Sentence]:
    """The budgets under which batch sizes cannot be compared."""
    if len(evidence.cells) < 2:
        return
    for name in NAMES:
        if name not in [budget.name for budget in evidence.budgets]:
            yield Sentence(
                topic=_TOPICS[name],
                text=text(
                    "{budget} was not compared: the step times were not measured alone.",
                    budget=capitalized(text(_TOPICS[name])),
                ),
            )


def _open_plateaus(evidence: Evidence, plateaus: Plateaus) -> Iterator[Sentence]:
    """Where it cannot be told whether the epochs were enough."""
    if not evidence.study.workload.has_validation:
        yield Sentence(
            topic="plateau",
            text=text(
                "Whether the epochs were enough is shown by validation data, and there are none. "
                "Test data must not decide it."
            ),
        )
        return
    open_sizes = [
        cell.batch_size
        for cell in evidence.cells
        if any(plateaus.of(record).verdict == "cannot_tell" for record in cell.ended_well)
    ]
    if open_sizes:
        yield Sentence(
            topic="plateau",
            text=text(
                "Whether the epochs were enough cannot be told for {sizes}. The table of trials in "
                "the report says why.",
                sizes=batch_sizes_text(evidence.study, open_sizes),
            ),
        )


def _speed(evidence: Evidence) -> Iterator[Sentence]:
    """Throughput, measured alone, of the slowest and the fastest batch size."""
    timed = [
        (timing, cell)
        for cell in evidence.cells
        if (timing := evidence.study.timing(cell.batch_size)) is not None
    ]
    if len(timed) < 2:
        return
    slow, fast = (choose(timed, key=lambda pair: pair[0].samples_per_s) for choose in (min, max))
    yield Sentence(
        topic="speed",
        text=text(
            "{fast} is the fastest: {per_s:count} examples a second, {times:.3g} times as many as "
            "{slow}. A step takes {fast_s:step_s}, at {slow} {slow_s:step_s}.",
            fast=capitalized(evidence.name(fast[1])),
            per_s=fast[0].samples_per_s,
            times=fast[0].samples_per_s / slow[0].samples_per_s,
            slow=evidence.name(slow[1]),
            fast_s=fast[0].step_s,
            slow_s=slow[0].step_s,
        ),
    )


_HIGHEST = (
    "The best learning rate is the highest that was tried at {sizes}: a higher one may be better."
)
_LOWEST = (
    "The best learning rate is the lowest that was tried at {sizes}: a lower one may be better."
)


def _edges(study: Study) -> Iterator[Sentence]:
    """Batch sizes whose best learning rate is the first or last of those tried."""
    rates: dict[int, list[float]] = {}
    for cell in cells(study):
        rates.setdefault(cell.batch_size, []).append(cell.learning_rate)
    several = [
        cell for cell in chosen_cells(study) if len(rates[cell.batch_size]) > 1 and cell.ended_well
    ]
    highest = [c.batch_size for c in several if c.learning_rate == max(rates[c.batch_size])]
    lowest = [c.batch_size for c in several if c.learning_rate == min(rates[c.batch_size])]
    for message, sizes in ((_HIGHEST, highest), (_LOWEST, lowest)):
        if sizes:
            told = text(message, sizes=batch_sizes_text(study, sizes))
            yield Sentence(topic="learning rate", text=told)


def _failed(study: Study) -> Iterator[Sentence]:
    """The trials that are in no mean, each by name."""
    for record in study.records:
        if record.ended_well:
            continue
        trial = trial_words(record)
        if record.reason:
            trial = text("{trial}: {reason}", trial=trial, reason=reason_text(record.reason))
        yield Sentence(
            topic="left out",
            text=text(
                "Left out of every mean: {size} at learning rate {rate:learning_rate}, {trial}.",
                size=batch_text(study, record.trial.batch_size),
                rate=record.trial.learning_rate,
                trial=trial,
            ),
        )
