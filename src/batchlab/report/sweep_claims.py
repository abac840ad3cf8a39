"""What a sweep says: its conclusion, the claims it holds, what else was seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from batchlab.plans.scaling import moves_adam
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.cells import (
    Cell,
    Plateaus,
    cells,
    chosen_cells,
    deciding_split,
    held_out_split,
    none_ended_well,
    plateaus_of,
    trial_words,
)
from batchlab.report.sweep_evidence import (
    NAMES,
    BudgetName,
    Comparison,
    EqualBudget,
    Evidence,
    Measured,
    Race,
    TrainingFit,
    budget_split,
    difference_text,
    equal_text,
    metric_text,
    paired_sentences,
    races,
)
from batchlab.report.text import (
    VERDICT_WORDS,
    ClaimVerdict,
    Sentence,
    batch_sizes_text,
    batch_text,
    best_so_far_text,
    label_text,
    quantity_text,
    term_text,
)
from batchlab.words.catalogue import capitalized, listing, number_text, plural, text
from batchlab.words.reasons import reason_text


def basis_text(evidence: Evidence) -> str:
    """What was compared, for evidence of one trial or more that ended well."""
    n_sizes, rates = len(evidence.cells), _rates_text(evidence.study)
    if n_sizes == 1:
        told = text("Trained {rates}, {seeds}.", rates=rates, seeds=_seeds_text(evidence))
    else:
        told = text(
            "Compared: {n} batch sizes {rates}, {seeds} each.",
            n=n_sizes,
            rates=rates,
            seeds=_seeds_text(evidence),
        )
    tried = cells(evidence.study)
    if len(tried) == len({cell.batch_size for cell in tried}):
        return told
    return text(
        "{told} The best of several rates looks better than it is on the {split} data that chose "
        "it.",
        told=told,
        split=term_text(_chosen_on(evidence.study)),
    )


def _seeds_text(evidence: Evidence) -> str:
    n_seeds = sorted({len(cell.ended_well) for cell in evidence.cells})
    fewest, most = (number_text(n, "") for n in (n_seeds[0], n_seeds[-1]))
    which = most if fewest == most else text("{few} to {more}", few=fewest, more=most)
    return plural("{which} seed", "{which} seeds", n_seeds[-1], which=which)


def _rates_text(study: Study) -> str:
    """At which learning rates, in words."""
    rates: dict[int, set[float]] = {}
    for record in study.records:
        rates.setdefault(record.trial.batch_size, set()).add(record.trial.learning_rate)
    distinct = set().union(*rates.values())
    if len(distinct) == 1 and len(rates) == 1:
        return text("at learning rate {rate:learning_rate}", rate=distinct.pop())
    if len(distinct) == 1:
        return text(
            "at one fixed learning rate, {rate:learning_rate}, not tuned for each",
            rate=distinct.pop(),
        )
    if all(len(own) == 1 for own in rates.values()):
        return _one_rate_each({record.trial.scaling_rule for record in study.records})
    split = term_text(_chosen_on(study))
    if len(rates) == 1:
        return text("at the best of its learning rates on {split} data", split=split)
    return text("each at the best of its learning rates on {split} data", split=split)


def _chosen_on(study: Study) -> str:
    split = deciding_split(study)
    return "training" if split == "train" else split


def _one_rate_each(rules: set[str]) -> str:
    """That each batch size has one rate, and by which rule where it was one alone."""
    if len(rules) != 1 or rules == {"none"}:
        return text("at one learning rate each, not tuned")
    (rule,) = rules
    if moves_adam(rule):
        return text(
            "at one learning rate each, set by the rule {rule} (which moves Adam's betas and eps "
            "too), not tuned",
            rule=rule,
        )
    return text("at one learning rate each, set by the rule {rule}, not tuned", rule=rule)


GOOD_START = (32, 128)


def gap_what(split: Split, metric: str) -> str:
    """What is less what in a generalization gap: "training − test accuracy"."""
    return text(
        "{train} − {split} {metric}",
        train=term_text("training"),
        split=term_text(split),
        metric=label_text(metric),
    )


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Every claim with its verdict and why; none where fewer than two batch sizes are compared.

    The topic is the claim. At which learning rates they were compared stands in `basis_text`.
    """
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    told = [claim(evidence) for claim in CLAIMS]
    reasons = [sentence.text for sentence in told]
    return tuple(
        replace(sentence, text=text("For the same reason as the one above."))
        if i and sentence.verdict == "not_tested" and sentence.text == reasons[i - 1]
        else sentence
        for i, sentence in enumerate(told)
    )


def claim_text(claim: Sentence) -> str:
    """A claim, its verdict and why, in one line."""
    assert claim.verdict is not None, "every claim has a verdict"
    return text(
        "“{claim}”: {verdict}. {why}",
        claim=text(claim.topic),
        verdict=text(VERDICT_WORDS[claim.verdict]),
        why=claim.text,
    )


def larger_batches_generalize_worse(evidence: Evidence) -> Sentence:
    """Whether the held-out metric falls as the batch size grows, after equal epochs."""
    claim = "Larger batches generalize worse"
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, text("There are no test and no validation data."))
    what = metric_text(split, evidence.metric)
    note = "The largest also learned its training data less well, which is part of this."
    return _ordered(evidence, claim, what, evidence.at_end(split), {"held": note})


def larger_batches_overfit_more(evidence: Evidence) -> Sentence:
    """Whether training gets further ahead of held-out data as the batch size grows."""
    claim = "Larger batches overfit more"
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, text("There are no test and no validation data."))
    what = text("generalization gap ({what})", what=gap_what(split, evidence.metric))
    note = (
        "The largest also learned its training data less well, and less training makes the gap "
        "smaller."
    )
    return _ordered(
        evidence, claim, what, evidence.gaps(split), {"did_not_hold": note, "cannot_tell": note}
    )


def good_start_between_32_and_128(evidence: Evidence) -> Sentence:
    """Whether the size nearest 64 within 32 to 128 is about as good as every size outside.

    Under equal epochs and equal time: under equal steps a larger batch sees more data, and wins
    for that reason alone.
    """
    low, high = GOOD_START
    claim = "32 to 128 is a good start"
    inside = [cell for cell in evidence.cells if low <= cell.batch_size <= high]
    outside = [cell for cell in evidence.cells if cell not in inside]
    if not inside or not outside:
        why = (
            text("No batch size from {low} to {high} was run.", low=low, high=high)
            if not inside
            else text("No batch size outside {low} to {high} was run.", low=low, high=high)
        )
        return _untold(claim, why)
    # Chosen by its size and not by its result, which would look better than it is.
    start = min(inside, key=lambda cell: abs(math.log2(cell.batch_size / 64)))
    budgets = [budget for budget in evidence.budgets if budget.name != "steps"]
    held = _held_everywhere(evidence, start, outside, budgets)
    worse = _findings(held, "worse")
    if worse:
        verdict: ClaimVerdict = "did_not_hold"
        seen = _beaten(evidence, start, worse)
    elif all(comparison.at_most_slightly_worse for _, _, comparison in held):
        verdict = "held"
        seen = text(
            "In {budgets}, {size} is at most {tolerance} worse than any size outside.",
            size=evidence.name(start),
            tolerance=_tolerance_text(evidence),
            budgets=_budget_names(budgets),
        )
    else:
        verdict, seen = "cannot_tell", _open(evidence, start, held, budgets)
    return Sentence(topic=claim, text=seen, verdict=verdict)


def full_batch_converges_better(evidence: Evidence) -> Sentence:
    """Whether full batch is better than every mini-batch size under every budget."""
    claim = "Full batch converges better"
    full = [cell for cell in evidence.cells if cell.batch_size == evidence.study.workload.n_train]
    minis = [cell for cell in evidence.cells if cell not in full]
    if not full:
        return _untold(claim, text("Full batch was not run, or no trial of it ended well."))
    held = _held_everywhere(evidence, full[0], minis, evidence.budgets)
    worse = _findings(held, "worse")
    ahead = sorted({budget.name for budget, _, _ in _findings(held, "better")}, key=NAMES.index)
    if worse:
        verdict: ClaimVerdict = "did_not_hold"
        seen = _beaten(evidence, full[0], worse)
        if ahead:
            seen = text(
                "{seen} In {budgets}, full batch is ahead of some other size.",
                seen=seen,
                budgets=listing([equal_text(name) for name in ahead]),
            )
    elif same := _findings(held, "same"):
        verdict, seen = "did_not_hold", _no_better(evidence, full[0], same[0])
    elif len(_findings(held, "better")) == len(held):
        verdict = "held"
        seen = text(
            "In {budgets}, it is better than every other size.",
            budgets=_budget_names(evidence.budgets),
        )
    else:
        verdict, seen = "cannot_tell", _open(evidence, full[0], held, evidence.budgets)
    return Sentence(topic=claim, text=seen, verdict=verdict)


CLAIMS: tuple[Callable[[Evidence], Sentence], ...] = (
    larger_batches_generalize_worse,
    larger_batches_overfit_more,
    good_start_between_32_and_128,
    full_batch_converges_better,
)

_Held = Sequence[tuple[EqualBudget, Cell, Comparison]]


def _ordered(
    evidence: Evidence,
    claim: str,
    what: str,
    measured: Measured,
    less_trained: Mapping[ClaimVerdict, str],
) -> Sentence:
    """A claim that the smallest batch size is better than the largest, and none between reverses.

    Only batch sizes of similar training fit are compared.

    Args:
        evidence: of the study.
        claim: what is said.
        what: was measured, in words.
        measured: its values.
        less_trained: what to add, by verdict, where the largest fits its training data less well.
    """
    fit = TrainingFit.of(evidence)
    if fit is None:
        none = text("No training metric was measured in equal epochs.")
        return Sentence(topic=claim, text=none, verdict="not_tested")
    compared = [cell for cell in fit.alike if measured.level(cell) is not None]
    if len(compared) < 2 or not fit.begun:
        why = fit.why_not_tested(evidence)
        return Sentence(topic=claim, text=why, verdict="not_tested")
    first, last = compared[0], compared[-1]
    reversed_pairs = [
        text("from {first} to {last}", first=evidence.name(earlier), last=evidence.name(later))
        for earlier, later in pairwise(compared)
        if measured.compare(earlier, later, n_comparisons=len(compared) - 1).outcome == "worse"
    ]
    small, large = (evidence.level_text(cell, measured.level(cell)) for cell in (first, last))
    levels = text(
        "In {budget}, {what} is {small} and {large}",
        budget=evidence.budgets[0].words,
        what=what,
        small=small,
        large=large,
    )
    verdict, seen = _order_found(evidence, measured.compare(first, last), levels, reversed_pairs)
    told = Sentence(topic=claim, text=seen, verdict=verdict)
    if evidence.at_end("train").compare(last, first).outcome == "worse" and verdict in less_trained:
        told = told.with_note(text(less_trained[verdict]))
    left_out = fit.left_out(evidence)
    return told if left_out is None else told.with_note(left_out)


def _order_found(
    evidence: Evidence, ends: Comparison, levels: str, reversed_pairs: Sequence[str]
) -> tuple[ClaimVerdict, str]:
    """What the first and the last of several say of their order, and the verdict that follows."""
    size = difference_text(evidence.metric, ends)
    if ends.outcome == "better":
        seen = text("{levels}, a difference of {size}.", levels=levels, size=size)
        if not reversed_pairs:
            return "held", seen
        return "did_not_hold", text(
            "{seen} But it goes the other way {where}.", seen=seen, where=listing(reversed_pairs)
        )
    if ends.outcome == "worse":
        return "did_not_hold", text("{levels}: the reverse, by {size}.", levels=levels, size=size)
    if ends.outcome == "same":
        return "did_not_hold", text(
            "{levels}: no difference that matters, {size}.", levels=levels, size=size
        )
    if ends.missing:
        return "cannot_tell", text(
            "{levels}. {missing}.", levels=levels, missing=capitalized(ends.missing)
        )
    return "cannot_tell", text(
        "{levels}: too close for these seeds to tell, {size}. More seeds would.",
        levels=levels,
        size=size,
    )


def _held_everywhere(
    evidence: Evidence, cell: Cell, others: Sequence[Cell], budgets: Sequence[EqualBudget]
) -> _Held:
    """`cell` against each of `others` under each budget, all intervals holding together."""
    split, n = budget_split(evidence.study), len(others) * len(budgets)
    return [
        (budget, other, measured.compare(cell, other, n_comparisons=n))
        for budget in budgets
        for measured in (evidence.measured(budget, split),)
        for other in others
    ]


def _findings(held: _Held, outcome: str) -> _Held:
    return [finding for finding in held if finding[2].outcome == outcome]


def _beaten(evidence: Evidence, cell: Cell, worse: _Held) -> str:
    """The comparison in which `cell` lost most clearly."""
    budget, other, comparison = min(worse, key=lambda found: found[2].difference.estimate or 0.0)
    what = metric_text(budget_split(evidence.study), evidence.metric)
    return text(
        "In {budget}, {better} has a better {what} than {worse}, by {difference}.",
        budget=budget.words,
        better=evidence.name(other),
        worse=evidence.name(cell),
        what=what,
        difference=difference_text(evidence.metric, comparison),
    )


def _no_better(evidence: Evidence, cell: Cell, found: tuple[EqualBudget, Cell, Comparison]) -> str:
    budget, other, comparison = found
    return text(
        "In {budget}, {size} is no better than {other}: {metric} differs by {difference}.",
        budget=budget.words,
        size=evidence.name(cell),
        other=evidence.name(other),
        metric=metric_text(budget_split(evidence.study), evidence.metric),
        difference=difference_text(evidence.metric, comparison),
    )


def _open(evidence: Evidence, cell: Cell, held: _Held, budgets: Sequence[EqualBudget]) -> str:
    missing = [comparison.missing for _, _, comparison in held]
    if missing[0] is not None and None not in missing:
        return text("{missing}.", missing=capitalized(missing[0]))
    unsure = {
        other.batch_size for _, other, comparison in held if comparison.outcome == "cannot_tell"
    }
    return text(
        "In {budgets}, {size} and {others} are too close for these seeds to tell. More seeds "
        "would.",
        budgets=_budget_names(budgets),
        size=evidence.name(cell),
        others=batch_sizes_text(evidence.study, sorted(unsure)),
    )


def _tolerance_text(evidence: Evidence) -> str:
    return quantity_text(evidence.metric, evidence.tolerance)


def _budget_names(budgets: Sequence[EqualBudget]) -> str:
    return listing([equal_text(budget.name) for budget in budgets])


def _untold(claim: str, why: str) -> Sentence:
    return Sentence(topic=claim, text=why, verdict="cannot_tell")


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
