"""The answer of a sweep: its conclusion, and what else a reader should know."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from batchlab.plans.scaling import moves_adam
from batchlab.records.study import Study
from batchlab.report.cells import (
    cells,
    chosen_cells,
    deciding_split,
    has_plans,
    kind_of,
    plateaus_of,
    trial_words,
)
from batchlab.report.evidence import (
    Evidence,
    Race,
    budget_split,
    races,
)
from batchlab.report.text import (
    Kind,
    Sentence,
    batch_sizes_text,
    batch_text,
    best_so_far_text,
    quantity_text,
)
from batchlab.words.catalogue import capitalized, number_text, plural, term_text, text
from batchlab.words.reasons import reason_text

# ---- the conclusion


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """The first sentences: which batch size did best after equal epochs, and what was compared."""

    headline: str
    lead: str = ""


def conclusion(study: Study) -> Conclusion:
    """Return the conclusion of a study, which may be that no trial ended well.

    For an advice without an answer it names what leads, because its runs end at the target.
    """
    if study.best_so_far is not None:
        best = capitalized(best_so_far_text(study.best_so_far))
        return Conclusion(
            headline=text("{best}.", best=best),
            lead=text("It is not certain yet: this question has no answer so far."),
        )
    evidence = Evidence.of(study)
    if not evidence.cells or not evidence.budgets:
        nothing = "No trial has ended well, so nothing can be compared."
        if not study.records:
            nothing = "No trial has been run."
        return Conclusion(headline=text(nothing))
    raced = {race.budget.name: race for race in races(evidence)}
    headline = _of_one(evidence)
    if "epochs" in raced:
        headline = _headline(evidence, raced["epochs"])
    return Conclusion(headline=headline, lead=_basis_text(evidence))


def _headline(evidence: Evidence, race: Race) -> str:
    amount = race.budget.amount
    n = 1 if amount == 1 else 2
    end = ""
    if race.standing == "no_interval":
        end = text(" One seed each: this may be chance.")
    elif race.as_good:
        others = capitalized(batch_sizes_text(evidence.study, race.as_good))
        end = text(" {others} may be as good.", others=others)
    return capitalized(
        evidence.say(
            "{best} did best in {epochs}: {metric} {value}.{end}",
            best=race.best,
            epochs=plural("{epochs:.4g} epoch", "{epochs:.4g} epochs", n, epochs=amount),
            value=quantity_text(evidence.metric, race.level),
            end=end,
        )
    )


def _of_one(evidence: Evidence) -> str:
    """Say what one batch size ended with, or several that have no equal epochs."""
    ranked = evidence.ranked(evidence.final(budget_split(evidence.study)))
    if not ranked:
        return evidence.say("The {metric} was never measured.")
    (cell, level), *others = ranked
    message = "{size} ended at {metric} {value}."
    if others:
        message = "{size} ended best, at {metric} {value}, each after its own number of epochs."
    value = quantity_text(evidence.metric, level)
    return capitalized(evidence.say(message, size=cell, value=value))


def _basis_text(evidence: Evidence) -> str:
    """Say what was compared, at which learning rates and with how many seeds."""
    n, n_seeds = len(evidence.cells), sorted({len(cell.ended_well) for cell in evidence.cells})
    which = number_text(n_seeds[-1], "")
    if n_seeds[0] < n_seeds[-1]:
        which = text("{few} to {more}", few=n_seeds[0], more=n_seeds[-1])
    message = "Compared: {n} batch sizes {rates}, {seeds} each."
    if has_plans(evidence.cells):
        message = "Compared: {n} plans {rates}, {seeds} each."
    if n == 1:
        message = "Trained {rates}, {seeds}."
    rates = _rates_text(evidence.study)
    if (n_devices := evidence.study.records[0].trial.world_size) > 1:
        rates = text("on {n} devices together {rates}", n=n_devices, rates=rates)
    seeds = plural("{which} seed", "{which} seeds", n_seeds[-1], which=which)
    return text(message, n=n, rates=rates, seeds=seeds)


def _rates_text(study: Study) -> str:
    """Say which learning rates were used, and which rule set them."""
    by_kind: dict[Kind, set[float]] = {}
    for record in study.records:
        by_kind.setdefault(kind_of(record.trial), set()).add(record.trial.learning_rate)
    distinct = set().union(*by_kind.values())
    rules = {record.trial.scaling_rule for record in study.records}
    rule = next(iter(rules))
    if not study.workload.takes_rate:
        message = "at the learning rate of the command"
    elif len(distinct) == 1 and len(by_kind) == 1:
        message = "at learning rate {rate:learning_rate}"
    elif len(distinct) == 1:
        message = "at one fixed learning rate, {rate:learning_rate}, not tuned for each"
    elif any(len(own) > 1 for own in by_kind.values()):
        message = "at the best learning rate of each on {split} data"
    elif len(rules) != 1 or rule == "none":
        message = "at one learning rate each, not tuned"
    else:
        also = " (which moves other settings of Adam too)" if moves_adam(rule) else ""
        message = f"at one learning rate each, set by the rule {{rule}}{also}, not tuned"
    split = deciding_split(study)
    chosen_on = term_text("training" if split == "train" else split)
    return text(message, rate=min(distinct), split=chosen_on, rule=rule)


# ---- other findings

_Seen = Iterator[tuple[str, str]]  # topics and their sentences


def sentences(study: Study) -> tuple[Sentence, ...]:
    """Return what else a reader should know about a study, the most important first."""
    evidence = Evidence.of(study)
    seen = [*_failed(study)]
    for tell in (_edges, _other_budgets, _epochs, _speed) if evidence.cells else ():
        seen += tell(evidence)
    return tuple(Sentence(topic=topic, text=said) for topic, said in seen)


def _failed(study: Study) -> _Seen:
    """Yield how many trials no mean includes, and describe the first of them."""
    failed = [record for record in study.records if not record.ended_well]
    if not failed:
        return
    first, n_more = failed[0], len(failed) - 1
    trial = trial_words(first)
    if first.reason:
        trial = text("{trial}: {reason}", trial=trial, reason=reason_text(first.reason))
    message = "Left out of every mean: {size}, {trial}"
    if study.workload.takes_rate:
        message = "Left out of every mean: {size} at learning rate {rate:learning_rate}, {trial}"
    said = text(
        message,
        size=batch_text(study, kind_of(first.trial)),
        rate=first.trial.learning_rate,
        trial=trial,
    ).rstrip(".")
    more = ""
    if n_more:
        more = plural(
            ", and {n} more trial; the table of all trials has the reasons",
            ", and {n} more trials; the table of all trials has the reasons",
            n_more,
        )
    yield "left out", f"{said}{more}."


def _edges(evidence: Evidence) -> _Seen:
    """Yield the batch sizes whose best learning rate is the lowest or highest that was tried."""
    study = evidence.study
    rates: dict[Kind, list[float]] = {}
    for cell in cells(study):
        rates.setdefault(cell.kind, []).append(cell.learning_rate)
    several = [
        cell for cell in chosen_cells(study) if len(rates[cell.kind]) > 1 and cell.ended_well
    ]
    message = (
        "The best learning rate is the {edge} that was tried at {sizes}: a {other} one may be "
        "better."
    )
    for edge, other, of in (("highest", "higher", max), ("lowest", "lower", min)):
        at_edge = [c.kind for c in several if c.learning_rate == of(rates[c.kind])]
        if at_edge:
            yield "learning rate", evidence.say(message, edge=edge, other=other, sizes=at_edge)


def _other_budgets(evidence: Evidence) -> _Seen:
    """Yield which size leads in equal time and in equal steps, or why they were not compared."""
    if has_plans(evidence.cells):
        yield (
            "plans",
            text(
                "A plan changes at set places of its own run, so plans are compared in equal "
                "epochs only."
            ),
        )
        return
    raced = {race.budget.name: race for race in races(evidence)}
    if len(evidence.cells) > 1 and "time" not in raced:
        message = "Equal time was not compared: the step times were not all measured alone."
        yield "equal time", text(message)
    for name, topic in (("time", "equal time"), ("steps", "equal steps")):
        race = next((race for key, race in raced.items() if key == name), None)
        if race is None:
            continue
        message = "In {budget}, {best} did best, with {value}.{others}"
        if name == "steps":
            message = (
                "In {budget}, where larger batches see more examples, {best} did best, with "
                "{value}.{others}"
            )
        others = ""
        if race.standing == "tied" and race.as_good:
            as_good = capitalized(batch_sizes_text(evidence.study, race.as_good))
            others = text(" {others} may be as good.", others=as_good)
        value = quantity_text(evidence.metric, race.level)
        yield (
            topic,
            evidence.say(message, budget=race.budget, best=race.best, value=value, others=others),
        )


def _epochs(evidence: Evidence) -> _Seen:
    """Yield how many epochs are enough, and which batch sizes were still improving."""
    study, sizes = evidence.study, evidence.of_sizes.cells
    if not study.workload.has_validation:
        message = "Whether the epochs were enough is shown by validation data, and there are none."
        yield "epochs", text(message)
        return
    plateau = plateaus_of(study)
    by_size = {c.batch_size: [plateau(record) for record in c.ended_well] for c in sizes}
    improving = [n for n, found in by_size.items() if any(p.verdict == "not_yet" for p in found)]
    unknown = [n for n, found in by_size.items() if any(p.verdict == "cannot_tell" for p in found)]
    enough = [p.epoch for found in by_size.values() for p in found if p.epoch is not None]
    if enough and not improving and not unknown:
        n = math.ceil(max(enough))
        yield "epochs", plural("{n} epoch is enough.", "{n} epochs are enough.", n)
    if improving:
        message = "Still improving at the end: {sizes}."
        if len(sizes) > 1:
            message += " More epochs may change the order."
        yield "epochs", evidence.say(message, sizes=improving)
    if unknown:
        message = (
            "Whether the epochs were enough cannot be told for {sizes}. The table of all trials "
            "says why."
        )
        yield "epochs", evidence.say(message, sizes=unknown)


def _speed(evidence: Evidence) -> _Seen:
    """Yield the throughput of the slowest and the fastest batch size, measured in isolation."""
    timings = [evidence.study.timing(cell.batch_size) for cell in evidence.of_sizes.cells]
    timed = [timing for timing in timings if timing is not None]
    if len(timed) < 2:
        return
    slow, fast = (choose(timed, key=lambda each: each.samples_per_s) for choose in (min, max))
    said = text(
        "{fast} is the fastest: {per_s:count} examples a second, {times:.3g} times as many as "
        "{slow}.",
        fast=batch_text(evidence.study, fast.batch_size),
        per_s=fast.samples_per_s,
        times=fast.samples_per_s / slow.samples_per_s,
        slow=batch_text(evidence.study, slow.batch_size),
    )
    yield "speed", capitalized(said)
