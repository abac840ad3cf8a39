"""Sentences: what a study has shown and what it has not, in words that follow the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from batchlab.laws.plateau import plateau_of
from batchlab.laws.statistics import mean_interval
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
from batchlab.report.sweep.cells import Cell, cells, chosen_cells, deciding_split, held_out_split
from batchlab.report.sweep.claims import (
    Evidence,
    batch_text,
    claim_sentences,
    rate_basis,
)
from batchlab.report.sweep.comparison import difference_text
from batchlab.report.sweep.equal_budget import NAMES, EqualBudget, budget_split, metric_text
from batchlab.report.sweep.trial_ending import trial_words

__all__ = ["Sentence", "ClaimVerdict", "sentences"]


def sentences(study: Study) -> tuple[Sentence, ...]:
    """Everything that can be said of a study, the answer first and what it rests on after it.

    Args:
        study: the study; trials that ended badly are named and are in no mean.

    Returns:
        The sentences in reading order; a study without trials has one that says so.
    """
    if not study.records:
        return (Sentence(topic="trials", text="No trial has been run, so nothing was seen."),)
    evidence = Evidence.of(study)
    if not evidence.cells:
        none = Sentence(topic="trials", text="No trial ended well, so nothing can be compared.")
        return (none, *_failed(study))
    return (
        _basis(evidence),
        *_finals(evidence),
        *_budgets(evidence),
        *_plateaus(evidence),
        *_speed(evidence),
        *_gap(evidence),
        *claim_sentences(evidence),
        *_edges(study),
        *_failed(study),
    )


def _basis(evidence: Evidence) -> Sentence:
    study = evidence.study
    n_seeds = {len(cell.ended_well) for cell in evidence.cells}
    seeds = " or ".join(map(str, sorted(n_seeds)))
    text = (
        f"{len(evidence.cells)} batch size{_s(len(evidence.cells))} "
        f"{rate_basis(study)}, {seeds} seed{_s(max(n_seeds))} each"
    )
    if max(n_seeds) == 1:
        text += "; one seed gives no interval, so no order of batch sizes is certain"
    tried = cells(study)
    if len(tried) > len({cell.batch_size for cell in tried}):
        text += (
            f". On the {deciding_split(study)} data and seeds by which a rate was chosen, the best "
            f"of several looks better than it is"
        )
    return Sentence(topic="what was compared", text=f"Compared: {text}.")


def _finals(evidence: Evidence) -> Iterator[Sentence]:
    """One sentence a batch size: the final metric of each split."""
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for cell in evidence.cells:
        parts = [
            f"{metric_text(split, evidence.metric)} {_final_text(evidence, cell, split)}"
            for split in splits
            if cell.final(split, evidence.metric) is not None
        ]
        longest = max(cell.ended_well, key=lambda record: record.steps)
        rate = quantity_text("learning_rate", cell.learning_rate)
        yield Sentence(
            topic="final metrics",
            text=(
                f"{_capitalised(evidence.name(cell))} at learning rate {rate}: "
                f"{', '.join(parts) or 'nothing was measured'}, after {longest.epochs:.4g} "
                f"epoch{_s(longest.epochs)} ({longest.steps:,} step{_s(longest.steps)})."
            ),
        )


def _final_text(evidence: Evidence, cell: Cell, split: Split) -> str:
    final = cell.final(split, evidence.metric)
    assert final is not None, "asked for known splits only"
    found = mean_interval(final.values)
    mean = quantity_text(evidence.metric, found.estimate)
    if found.low is None or found.high is None:
        return mean
    low, high = (quantity_text(evidence.metric, bound) for bound in (found.low, found.high))
    return f"{mean} (95 %: {low} to {high}, {found.n} seeds)"


def _budgets(evidence: Evidence) -> Iterator[Sentence]:
    """The winner under equal epochs, steps and time, and whether it is the same one."""
    if len(evidence.cells) < 2:
        return
    leaders: dict[str, str] = {}
    for budget in evidence.budgets:
        ranked = _ranked(evidence, budget)
        if len(ranked) > 1:
            race = _Race.of(evidence, budget, ranked)
            leaders[budget.name] = race.leader
            yield Sentence(topic=f"equal {budget.name}", text=race.text)
    for name in NAMES:
        if name not in [budget.name for budget in evidence.budgets]:
            yield Sentence(
                topic=f"equal {name}",
                text=f"Equal {name}: cannot tell, step times were not measured alone.",
                verdict="cannot_tell",
            )
    if len(leaders) > 1:
        same = "have the same leader" if len(set(leaders.values())) == 1 else "do not agree"
        named = ", ".join(f"{leader} under equal {name}" for name, leader in leaders.items())
        yield Sentence(topic="equal budgets", text=f"The budgets {same}: {named}.")


def _ranked(evidence: Evidence, budget: EqualBudget) -> list[Cell]:
    """The cells with a known value under the budget, the best mean first."""
    split = budget_split(evidence.study)
    means = {
        cell.batch_size: mean_interval(
            list(budget.by_seed(cell, split, evidence.metric).values())
        ).estimate
        for cell in evidence.cells
    }
    known = [cell for cell in evidence.cells if means[cell.batch_size] is not None]
    return sorted(
        known, key=lambda cell: means[cell.batch_size] or 0.0, reverse=evidence.better == "higher"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Race:
    """Who leads under one budget, and the sentence that says so."""

    leader: str
    text: str

    @classmethod
    def of(cls, evidence: Evidence, budget: EqualBudget, ranked: list[Cell]) -> _Race:
        """Hold the best mean against all others.

        The best of many is always ahead of some, so each interval is as wide as it takes for all
        of them to hold together.
        """
        split, metric = budget_split(evidence.study), evidence.metric
        values = [budget.by_seed(cell, split, metric) for cell in ranked]
        best, others = evidence.name(ranked[0]), ranked[1:]
        comparisons = [
            evidence.compare(values[0], value, n_comparisons=len(others)) for value in values[1:]
        ]
        levels = ", ".join(
            f"{quantity_text(metric, mean_interval(list(value.values())).estimate)} at "
            f"{evidence.name(cell)}"
            for cell, value in zip(ranked, values, strict=True)
        )
        start = f"{budget.words.capitalize()}: {metric_text(split, metric)} was {levels}"
        missing = [comparison.missing for comparison in comparisons]
        if missing[0] is not None and None not in missing:
            return cls(leader=f"{best} (no interval)", text=f"{start} ({missing[0]}).")
        tied = [
            evidence.name(other)
            for other, comparison in zip(others, comparisons, strict=True)
            if comparison.outcome != "better"
        ]
        if tied:
            least = quantity_text(metric, evidence.tolerance)
            end = (
                f"no difference beyond scatter, or of more than {least}, between {best} and "
                f"{', '.join(tied)}"
            )
            return cls(leader="no clear leader", text=f"{start}; {end}.")
        ahead = difference_text(metric, comparisons[0])
        return cls(leader=best, text=f"{start}; {best} was best, ahead of the next by {ahead}.")


def _plateaus(evidence: Evidence) -> Iterator[Sentence]:
    """Whether the epochs were enough, of all trials shown."""
    if not evidence.study.workload.n_validation:
        yield Sentence(
            topic="plateau",
            text=(
                "Whether the epochs were enough cannot be told: there are no validation data, "
                "and test data must not decide it."
            ),
            verdict="cannot_tell",
        )
        return
    verdicts = Counter(
        (cell.batch_size, plateau_of(r, metric=evidence.metric, better=evidence.better).verdict)
        for cell in evidence.cells
        for r in cell.ended_well
    )
    not_yet = [
        evidence.name(cell) for cell in evidence.cells if verdicts[cell.batch_size, "not_yet"]
    ]
    open_ones = [
        evidence.name(cell) for cell in evidence.cells if verdicts[cell.batch_size, "cannot_tell"]
    ]
    if not_yet:
        yield Sentence(
            topic="plateau",
            text=(
                f"Still improving at the end: {', '.join(not_yet)}; their differences are of "
                "speed as well as of level, and more epochs may change the order."
            ),
        )
    if open_ones:
        yield Sentence(
            topic="plateau",
            text=f"Whether the plateau was reached cannot be told for {', '.join(open_ones)}.",
            verdict="cannot_tell",
        )
    if not not_yet and not open_ones:
        yield Sentence(topic="plateau", text="All of these trials reached their plateau.")


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
        topic="speed",
        text=(
            f"{_capitalised(evidence.name(fast[1]))} had the highest throughput, "
            f"{fast[0].samples_per_s:,.0f} examples per second, {ratio:.3g} times that of "
            f"{evidence.name(slow[1])} (a step takes "
            f"{quantity_text('step_s', fast[0].step_s)} and "
            f"{quantity_text('step_s', slow[0].step_s)}; measured alone)."
        ),
    )


def _gap(evidence: Evidence) -> Iterator[Sentence]:
    """The generalization gap of every batch size."""
    split = held_out_split(evidence.study)
    if split is None:
        return
    parts = [
        f"{quantity_text(evidence.metric, gap.mean)} at {evidence.name(cell)}"
        for cell in evidence.cells
        if (gap := cell.final_gap(split, evidence.metric)) is not None
    ]
    if parts:
        yield Sentence(
            topic="generalization gap",
            text=(
                f"Generalization gap (training − {split} {evidence.metric}): {', '.join(parts)}."
            ),
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
        edge = "highest" if cell.learning_rate == max(own) else "lowest"
        yield Sentence(
            topic="learning rate",
            text=(
                f"The best learning rate of {batch_text(study, cell.batch_size)}, "
                f"{quantity_text('learning_rate', cell.learning_rate)}, is the {edge} of the "
                f"{len(own)} tried: the search has not finished, and a "
                f"{'higher' if edge == 'highest' else 'lower'} one may be better."
            ),
            verdict="cannot_tell",
        )


def _failed(study: Study) -> Iterator[Sentence]:
    """The trials that are in no mean, each by name."""
    for record in study.records:
        if record.ended_well:
            continue
        rate = quantity_text("learning_rate", record.trial.learning_rate)
        reason = f": {record.reason}" if record.reason else ""
        name = batch_text(study, record.trial.batch_size)
        yield Sentence(
            topic="in no mean",
            text=f"In no mean: {name} at learning rate {rate}, {trial_words(record)}{reason}.",
        )


def _capitalised(name: str) -> str:
    return name[0].upper() + name[1:]


def _s(count: float) -> str:
    return "" if count == 1 else "s"
