"""Sentences: what a study has shown and what it has not, in words that follow the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from batchlab.laws.generalization_gap import generalization_gap
from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.records.estimate import Estimate
from batchlab.records.evaluation import Split
from batchlab.records.study import Study
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell, cells, chosen_cells, deciding_split, held_out_split
from batchlab.report.sweep.claims import capitalised, claim_sentences, gap_what, rate_basis
from batchlab.report.sweep.equal_budget import (
    NAMES,
    BudgetName,
    metric_text,
)
from batchlab.report.sweep.evidence import Evidence, batch_text
from batchlab.report.sweep.paired import paired_sentences
from batchlab.report.sweep.plateaus import Plateaus, plateaus_of
from batchlab.report.sweep.race import Race, agreement
from batchlab.report.sweep.trial_ending import none_ended_well, trial_words
from batchlab.words.catalogue import number_text, plural, text
from batchlab.words.message import N_
from batchlab.words.reasons import reason_text

__all__ = ["FIRST_SCREEN", "Sentence", "ClaimVerdict", "folklore", "sentences"]

_FINAL_METRICS = N_("final metrics")
_EQUAL_BUDGETS = N_("equal budgets")
_COMPARED = N_("what was compared")
# What headline, lead and table have said before.
FIRST_SCREEN = (_FINAL_METRICS, _EQUAL_BUDGETS, _COMPARED)
_TOPICS: dict[BudgetName, str] = {
    "epochs": N_("equal epochs"),
    "steps": N_("equal steps"),
    "time": N_("equal time"),
}


def sentences(study: Study, plateaus: Plateaus | None = None) -> tuple[Sentence, ...]:
    """Everything that can be said of a study, the answer first and what it rests on after it.

    Args:
        study: the study; trials that ended badly are named and are in no mean.
        plateaus: of its trials, where some are known already; None: they are fitted here.

    Returns:
        The sentences in reading order; a study without trials has one that says so.
    """
    if not study.records:
        return (
            Sentence(topic=N_("trials"), text=text("No trial has been run, so nothing was seen.")),
        )
    evidence = Evidence.of(study)
    if not evidence.cells:
        none = none_ended_well(study)
        return (Sentence(topic=N_("trials"), text=none), *_failed(study))
    return (
        _basis(evidence),
        *_finals(evidence),
        *paired_sentences(evidence),
        *_budgets(evidence),
        *_plateaus(evidence, plateaus or plateaus_of(study)),
        *_speed(evidence),
        *_gap(evidence),
        *claim_sentences(evidence),
        *_edges(study),
        *_failed(study),
    )


def folklore(study: Study) -> tuple[Sentence, ...]:
    """What people say of batch sizes, each with its verdict here; part of `sentences`."""
    return claim_sentences(Evidence.of(study)) if study.records else ()


def _basis(evidence: Evidence) -> Sentence:
    study = evidence.study
    n_seeds = sorted({len(cell.ended_well) for cell in evidence.cells})
    seeds = number_text(n_seeds[-1], "")
    for n in reversed(n_seeds[:-1]):
        seeds = text("{few} or {more}", few=n, more=seeds)
    compared = text(
        "{sizes} {basis}, {seeds} each",
        sizes=plural("{n} batch size", "{n} batch sizes", len(evidence.cells)),
        basis=rate_basis(study),
        seeds=plural("{which} seed", "{which} seeds", n_seeds[-1], which=seeds),
    )
    if n_seeds[-1] == 1:
        compared = text(
            "{compared}; one seed gives no interval, so no order of batch sizes is certain",
            compared=compared,
        )
    tried = cells(study)
    if len(tried) > len({cell.batch_size for cell in tried}):
        compared = text(
            "{compared}. On the {split} data and seeds by which a rate was chosen, the best of "
            "several looks better than it is",
            compared=compared,
            split=term_text(deciding_split(study)),
        )
    told = text("Compared: {compared}.", compared=compared)
    return Sentence(topic=_COMPARED, text=told)


def _finals(evidence: Evidence) -> Iterator[Sentence]:
    """One sentence a batch size: the final metric of each split."""
    finals = {split: evidence.final(split) for split in SPLITS}
    for cell in evidence.cells:
        parts = [
            text(
                "{metric} {value}",
                metric=metric_text(split, evidence.metric),
                value=_final_text(evidence.metric, final.mean(cell)),
            )
            for split, final in finals.items()
            if final.level(cell) is not None
        ]
        longest = max(cell.ended_well, key=lambda record: record.steps)
        yield Sentence(
            topic=_FINAL_METRICS,
            text=text(
                "{size} at learning rate {rate:learning_rate}: {finals}, after {epochs} ({steps}).",
                size=capitalised(evidence.name(cell)),
                rate=cell.learning_rate,
                finals=", ".join(parts) or text("nothing was measured"),
                epochs=_epochs_text(longest.epochs),
                steps=plural("{n:,} step", "{n:,} steps", longest.steps),
            ),
        )


def _epochs_text(epochs: float) -> str:
    # A part of an epoch counts as several: "0.5 epochs".
    return plural("{epochs:.4g} epoch", "{epochs:.4g} epochs", 1 if epochs == 1 else 2,
                  epochs=epochs)  # fmt: skip


def _final_text(metric: str, found: Estimate) -> str:
    mean = quantity_text(metric, found.estimate)
    if found.low is None or found.high is None:
        return mean
    low, high = (quantity_text(metric, bound) for bound in (found.low, found.high))
    return plural(
        "{mean} (95 %: {low} to {high}, {n} seed)",
        "{mean} (95 %: {low} to {high}, {n} seeds)",
        found.n,
        mean=mean,
        low=low,
        high=high,
    )


def _budgets(evidence: Evidence) -> Iterator[Sentence]:
    """The winner under equal epochs, steps and time, and whether it is the same one."""
    if len(evidence.cells) < 2:
        return
    races = [race for budget in evidence.budgets if (race := Race.of(evidence, budget)) is not None]
    for race in races:
        yield Sentence(topic=_TOPICS[race.budget.name], text=race.text)
    for name in NAMES:
        if name not in [budget.name for budget in evidence.budgets]:
            yield Sentence(
                topic=_TOPICS[name],
                text=text(
                    "{budget}: cannot tell, step times were not measured alone.",
                    budget=capitalised(text(_TOPICS[name])),
                ),
                verdict="cannot_tell",
            )
    if len(races) > 1:
        yield Sentence(topic=_EQUAL_BUDGETS, text=agreement(races))


def _plateaus(evidence: Evidence, plateaus: Plateaus) -> Iterator[Sentence]:
    """Whether the epochs were enough, of all trials shown."""
    if not evidence.study.workload.n_validation:
        yield Sentence(
            topic=N_("plateau"),
            text=text(
                "Whether the epochs were enough cannot be told: there are no validation data, "
                "and test data must not decide it."
            ),
            verdict="cannot_tell",
        )
        return
    verdicts = Counter(
        (cell.batch_size, plateaus.of(record).verdict)
        for cell in evidence.cells
        for record in cell.ended_well
    )
    not_yet = [
        evidence.name(cell) for cell in evidence.cells if verdicts[cell.batch_size, "not_yet"]
    ]
    open_ones = [
        evidence.name(cell) for cell in evidence.cells if verdicts[cell.batch_size, "cannot_tell"]
    ]
    if not_yet:
        yield Sentence(
            topic=N_("plateau"),
            text=text(
                "Still improving at the end: {sizes}; their differences are of speed as well as "
                "of level, and more epochs may change the order.",
                sizes=", ".join(not_yet),
            ),
        )
    if open_ones:
        yield Sentence(
            topic=N_("plateau"),
            text=text(
                "Whether the plateau was reached cannot be told for {sizes}.",
                sizes=", ".join(open_ones),
            ),
            verdict="cannot_tell",
        )
    if not not_yet and not open_ones:
        told = text("All of these trials reached their plateau.")
        yield Sentence(topic=N_("plateau"), text=told)


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
    ratio = fast[0].samples_per_s / slow[0].samples_per_s
    yield Sentence(
        topic=N_("speed"),
        text=text(
            "{fast} had the highest throughput, {per_s:,.0f} examples per second, {ratio:.3g} "
            "times that of {slow} (a step takes {fast_s:step_s} and {slow_s:step_s}; measured "
            "alone).",
            fast=capitalised(evidence.name(fast[1])),
            per_s=fast[0].samples_per_s,
            ratio=ratio,
            slow=evidence.name(slow[1]),
            fast_s=fast[0].step_s,
            slow_s=slow[0].step_s,
        ),
    )


def _gap(evidence: Evidence) -> Iterator[Sentence]:
    """The generalization gap of every batch size."""
    split = held_out_split(evidence.study)
    if split is None:
        return
    parts = [
        _gap_text(evidence, cell, split, gap.mean)
        for cell in evidence.cells
        if (gap := cell.final_gap(split, evidence.metric)) is not None
    ]
    if parts:
        yield Sentence(
            topic=N_("generalization gap"),
            text=text(
                "Generalization gap ({what}): {values}.",
                what=gap_what(split, evidence.metric),
                values=", ".join(parts),
            ),
        )


def _gap_text(evidence: Evidence, cell: Cell, split: Split, gap: float) -> str:
    """The gap of one batch size, of a share of examples with its interval."""
    metric, workload, size = evidence.metric, evidence.study.workload, evidence.name(cell)
    pairs = [
        (train, held_out)
        for record in cell.ended_well
        if (train := record.final("train", metric)) is not None
        and (held_out := record.final(split, metric)) is not None
    ]
    value = quantity_text(metric, gap)
    if metric not in FRACTION_METRICS or not all(0 <= each <= 1 for pair in pairs for each in pair):
        return text("{value} at {size}", value=value, size=size)
    found = generalization_gap(
        [train for train, _ in pairs],
        [held_out for _, held_out in pairs],
        n_train=workload.n_train,
        n_train_evaluated=workload.n_train_evaluated,
        n_held_out=workload.n_test if split == "test" else workload.n_validation,
    )
    if found.low is None or found.high is None:
        return text("{value} at {size}", value=value, size=size)
    return text(
        "{value} (95 %: {low} to {high}) at {size}",
        value=value,
        low=quantity_text(metric, found.low),
        high=quantity_text(metric, found.high),
        size=size,
    )


_HIGHEST = N_(
    "The best learning rate of {size}, {rate:learning_rate}, is the highest of the {n} tried: the "
    "search has not finished, and a higher one may be better."
)
_LOWEST = N_(
    "The best learning rate of {size}, {rate:learning_rate}, is the lowest of the {n} tried: the "
    "search has not finished, and a lower one may be better."
)


def _edges(study: Study) -> Iterator[Sentence]:
    """Batch sizes whose best learning rate is the first or last of those tried."""
    rates: dict[int, list[float]] = {}
    for cell in cells(study):
        rates.setdefault(cell.batch_size, []).append(cell.learning_rate)
    for cell in chosen_cells(study):
        own = rates[cell.batch_size]
        if len(own) < 2 or not cell.ended_well or min(own) < cell.learning_rate < max(own):
            continue
        yield Sentence(
            topic=N_("learning rate"),
            text=text(
                _HIGHEST if cell.learning_rate == max(own) else _LOWEST,
                size=batch_text(study, cell.batch_size),
                rate=cell.learning_rate,
                n=len(own),
            ),
            verdict="cannot_tell",
        )


def _failed(study: Study) -> Iterator[Sentence]:
    """The trials that are in no mean, each by name."""
    for record in study.records:
        if record.ended_well:
            continue
        trial = trial_words(record)
        if record.reason:
            trial = text("{trial}: {reason}", trial=trial, reason=reason_text(record.reason))
        yield Sentence(
            topic=N_("in no mean"),
            text=text(
                "In no mean: {size} at learning rate {rate:learning_rate}, {trial}.",
                size=batch_text(study, record.trial.batch_size),
                rate=record.trial.learning_rate,
                trial=trial,
            ),
        )
