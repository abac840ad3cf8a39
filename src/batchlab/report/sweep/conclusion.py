"""Conclusion: what a study says of batch sizes in one sentence, and what it holds for."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.study import Study
from batchlab.report.parts.best_so_far_text import best_so_far_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.sweep.claims import capitalised, rate_basis
from batchlab.report.sweep.equal_budget import BudgetName, budget_split, metric_text
from batchlab.report.sweep.evidence import Evidence, batch_sizes_text
from batchlab.report.sweep.race import Race
from batchlab.report.sweep.trial_ending import none_ended_well
from batchlab.words.catalogue import number_text, plural, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What is read first.

    Attributes:
        headline: the batch size that ended best after equal epochs, and how sure that is; of an
            advice without an answer what leads.
        lead: what equal time and equal steps say instead, and what was compared; "" where there is
            nothing to compare.
    """

    headline: str
    lead: str


def conclusion(study: Study) -> Conclusion:
    """The conclusion of a study; without a trial that ended well it says so.

    Of an advice without an answer it is what leads: its runs end at the target, so that they say
    nothing of equal epochs.
    """
    if study.best_so_far is not None:
        best = capitalised(best_so_far_text(study.best_so_far))
        return Conclusion(
            headline=text("{best}.", best=best),
            lead=text("It is not certain yet: this question has no answer so far."),
        )
    if not study.records:
        return Conclusion(headline=text("No trial has been run."), lead="")
    evidence = Evidence.of(study)
    if not evidence.cells or not evidence.budgets:
        return Conclusion(headline=none_ended_well(study), lead="")
    races: dict[BudgetName, Race] = {
        budget.name: race
        for budget in evidence.budgets
        if (race := Race.of(evidence, budget)) is not None
    }
    if "epochs" not in races:
        return Conclusion(headline=_of_one(evidence), lead="")
    others = [_other(evidence, races[name]) for name in ("time", "steps") if name in races]
    return Conclusion(
        headline=_headline(evidence, races["epochs"]),
        lead=" ".join((*others, _basis(evidence))),
    )


def _headline(evidence: Evidence, race: Race) -> str:
    best = text(
        "{best} did best in {epochs}: {metric} {value}",
        best=capitalised(race.best),
        epochs=_epochs(race.budget.amount),
        metric=metric_text(budget_split(evidence.study), evidence.metric),
        value=quantity_text(evidence.metric, race.value),
    )
    if race.standing == "no_interval":
        return text("{best}. One seed each: this may be chance.", best=best)
    if race.standing == "clear":
        return text("{best}.", best=best)
    rivals = capitalised(batch_sizes_text(evidence.study, race.rivals))
    return text("{best}. {rivals} may be as good.", best=best, rivals=rivals)


def _other(evidence: Evidence, race: Race) -> str:
    """Who leads when something else is equal."""
    value = quantity_text(evidence.metric, race.value)
    if race.standing == "clear":
        return text(
            "In {budget}, {best} is best with {value}.",
            budget=race.budget.words,
            best=race.best,
            value=value,
        )
    return text(
        "In {budget}, {best} is ahead with {value}, not for certain.",
        budget=race.budget.words,
        best=race.best,
        value=value,
    )


def _of_one(evidence: Evidence) -> str:
    """One batch size, or none of the others has the metric: there is no order to tell."""
    (cell, *_), split = evidence.cells, budget_split(evidence.study)
    level = evidence.final(split).level(cell)
    if level is None:
        return text("The {metric} was never measured.", metric=metric_text(split, evidence.metric))
    return text(
        "{size} ended at {metric} {value}.",
        size=capitalised(evidence.name(cell)),
        metric=metric_text(split, evidence.metric),
        value=quantity_text(evidence.metric, level),
    )


def _epochs(amount: float) -> str:
    return plural("{epochs:.4g} epoch", "{epochs:.4g} epochs", 1 if amount == 1 else 2,
                  epochs=amount)  # fmt: skip


def _basis(evidence: Evidence) -> str:
    seeds = sorted({len(cell.ended_well) for cell in evidence.cells})
    many = number_text(seeds[-1], "")
    if len(seeds) > 1:
        many = text("{few} to {more}", few=number_text(seeds[0], ""), more=many)
    return text(
        "Compared {basis}, {seeds} each.",
        basis=rate_basis(evidence.study),
        seeds=plural("{which} seed", "{which} seeds", seeds[-1], which=many),
    )
