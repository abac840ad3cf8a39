"""Conclusion: what a study says of batch sizes in one sentence, and what it holds for."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.study import Study
from batchlab.report.parts.batch_text import batch_sizes_text
from batchlab.report.parts.best_so_far_text import best_so_far_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.sweep.basis import basis_text
from batchlab.report.sweep.equal_budget import budget_split, metric_text
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.race import Race, races
from batchlab.report.sweep.trial_ending import none_ended_well
from batchlab.words.catalogue import capitalized, plural, text

_MOST_NAMED = 3  # rivals in one sentence; the rest are in a table


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What is read first.

    Attributes:
        headline: the batch size that ended best after equal epochs, and how sure that is; of an
            advice without an answer what leads.
        lead: what equal time and equal steps say instead, and what was compared; "" where no trial
            ended well.
    """

    headline: str
    lead: str


def conclusion(study: Study) -> Conclusion:
    """The conclusion of a study; without a trial that ended well it says so.

    Of an advice without an answer it is what leads: its runs end at the target, so that they say
    nothing of equal epochs.
    """
    if study.best_so_far is not None:
        best = capitalized(best_so_far_text(study.best_so_far))
        return Conclusion(
            headline=text("{best}.", best=best),
            lead=text("It is not certain yet: this question has no answer so far."),
        )
    if not study.records:
        return Conclusion(headline=text("No trial has been run."), lead="")
    evidence = Evidence.of(study)
    if not evidence.cells or not evidence.budgets:
        return Conclusion(headline=none_ended_well(study), lead="")
    basis = basis_text(evidence)
    raced = {race.budget.name: race for race in races(evidence)}
    if "epochs" not in raced:
        return Conclusion(headline=_of_one(evidence), lead=basis)
    others = [_other(evidence, raced[name]) for name in ("time", "steps") if name in raced]
    return Conclusion(
        headline=_headline(evidence, raced["epochs"]), lead=" ".join((*others, basis))
    )


def _headline(evidence: Evidence, race: Race) -> str:
    best = text(
        "{best} did best in {epochs}: {metric} {value}",
        best=capitalized(evidence.name(race.leader)),
        epochs=_epochs(race.budget.amount),
        metric=metric_text(budget_split(evidence.study), evidence.metric),
        value=quantity_text(evidence.metric, race.level),
    )
    if race.standing == "no_interval":
        return text("{best}. One seed each: this may be chance.", best=best)
    if race.standing == "clear":
        return text("{best}.", best=best)
    rivals = capitalized(batch_sizes_text(evidence.study, race.rivals))
    return text("{best}. {rivals} may be as good.", best=best, rivals=rivals)


def _other(evidence: Evidence, race: Race) -> str:
    """Who leads when something else is equal."""
    leader, value = evidence.name(race.leader), quantity_text(evidence.metric, race.level)
    if race.standing == "clear":
        return text(
            "In {budget}, {best} is best with {value}.",
            budget=race.budget.words,
            best=leader,
            value=value,
        )
    ahead = text(
        "In {budget}, {best} is ahead with {value}",
        budget=race.budget.words,
        best=leader,
        value=value,
    )
    if race.standing == "no_interval":
        return text("{ahead}.", ahead=ahead)  # the headline has said that it may be chance
    if len(race.rivals) > _MOST_NAMED:
        return text("{ahead}; {n} others may be as good.", ahead=ahead, n=len(race.rivals))
    rivals = batch_sizes_text(evidence.study, race.rivals)
    return text("{ahead}; {rivals} may be as good.", ahead=ahead, rivals=rivals)


def _of_one(evidence: Evidence) -> str:
    """One batch size, or none of the others has the metric: there is no order to tell."""
    (cell, *_), split = evidence.cells, budget_split(evidence.study)
    level = evidence.final(split).level(cell)
    if level is None:
        return text("The {metric} was never measured.", metric=metric_text(split, evidence.metric))
    return text(
        "{size} ended at {metric} {value}.",
        size=capitalized(evidence.name(cell)),
        metric=metric_text(split, evidence.metric),
        value=quantity_text(evidence.metric, level),
    )


def _epochs(amount: float) -> str:
    return plural("{epochs:.4g} epoch", "{epochs:.4g} epochs", 1 if amount == 1 else 2,
                  epochs=amount)  # fmt: skip
