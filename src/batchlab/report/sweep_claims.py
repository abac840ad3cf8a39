"""What a sweep says: its conclusion, the claims it holds, what else was seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from batchlab.plans.scaling import moves_adam
from batchlab.records.study import Study
from batchlab.report.cells import (
    Cell,
    cells,
    chosen_cells,
    deciding_split,
    held_out_split,
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
    budget_split,
    difference_text,
    equal_text,
    metric_text,
    paired,
    races,
    training_fit,
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

# What a sweep says, by its code. `{metric}` is the metric that counts on the data that decide.
_SAID = {
    # ---- The conclusion.
    "best_in_epochs": "{best} did best in {epochs}: {metric} {value}",
    "may_be_chance": "{said}. One seed each: this may be chance.",
    "surely": "{said}.",
    "others_as_good": "{said}. {rivals} may be as good.",
    "is_best": "In {budget}, {best} is best with {value}",
    "is_ahead": "In {budget}, {best} is ahead with {value}",
    "many_as_good": "{said}; {n} others may be as good.",
    "some_as_good": "{said}; {rivals} may be as good.",
    "never_measured": "The {metric} was never measured.",
    "ended_at": "{size} ended at {metric} {value}.",
    # ---- The claims, where something is missing.
    "nothing_held_out": "There are no test and no validation data.",
    "none_inside": "No batch size from {low} to {high} was run.",
    "none_outside": "No batch size outside {low} to {high} was run.",
    "no_full_batch": "Full batch was not run, or no trial of it ended well.",
    "no_train_metric": "No training metric was measured in equal epochs.",
    "little_learned": (
        "Little has been learned yet: in {budget} the best {metric} is {best}, hardly better than "
        "before training. More epochs or a higher learning rate would tell."
    ),
    "trained_apart": (
        "Some have trained further than others: in {budget} {metric} is {best}, but {worst}, more "
        "than {margin} apart. More epochs, or a tuned rate for each, would tell."
    ),
    "left_out": (
        "Left out: {sizes}, whose {metric} is more than {margin} off the best. That shows how far "
        "training got, not how it generalizes."
    ),
    "same_reason": "For the same reason as the one above.",
    # ---- The claims that the smallest batch size is better than the largest.
    "levels": "In {budget}, {what} is {small} and {large}",
    "differs": "{levels}, a difference of {difference}.",
    "but_reversed": "{seen} But it goes the other way {where}.",
    "reverse": "{levels}: the reverse, by {difference}.",
    "no_difference": "{levels}: no difference that matters, {difference}.",
    "no_interval": "{levels}. {missing}.",
    "too_close": "{levels}: too close for these seeds to tell, {difference}. More seeds would.",
    "less_trained_too": (
        "The largest also learned its training data less well, which is part of this."
    ),
    "less_trained_less_gap": (
        "The largest also learned its training data less well, and less training makes the gap "
        "smaller."
    ),
    # ---- The claims that one batch size is as good as all others, or better.
    "never_much_worse": "In {budgets}, {size} is at most {tolerance} worse than any size outside.",
    "always_better": "In {budgets}, it is better than every other size.",
    "beaten": "In {budget}, {better} has a better {metric} than {worse}, by {difference}.",
    "ahead_of_some": "{seen} In {budgets}, full batch is ahead of some other size.",
    "no_better": (
        "In {budget}, {size} is no better than {other}: {metric} differs by {difference}."
    ),
    "all_too_close": (
        "In {budgets}, {size} and {others} are too close for these seeds to tell. More seeds would."
    ),
    # ---- What else was seen.
    "paired": (
        "On the same {n:,} {split} examples, {best} (the best on {chosen_on} data) {found}."
    ),
    "right_more": "is right more often than {sizes}",
    "right_less": "is right less often than {sizes}",
    "right_alike": "cannot be told from {sizes}",
    "no_race": "{budget} was not compared: the step times were not measured alone.",
    "no_validation": (
        "Whether the epochs were enough is shown by validation data, and there are none. Test data "
        "must not decide it."
    ),
    "open_plateaus": (
        "Whether the epochs were enough cannot be told for {sizes}. The table of trials in the "
        "report says why."
    ),
    "speed": (
        "{fast} is the fastest: {per_s:count} examples a second, {times:.3g} times as many as "
        "{slow}. A step takes {fast_s:step_s}, at {slow} {slow_s:step_s}."
    ),
    "highest_rate": (
        "The best learning rate is the highest that was tried at {sizes}: a higher one may be "
        "better."
    ),
    "lowest_rate": (
        "The best learning rate is the lowest that was tried at {sizes}: a lower one may be better."
    ),
    "bad_end": "Left out of every mean: {size} at learning rate {rate:learning_rate}, {trial}.",
}


def _say(evidence: Evidence, code: str, **values: object) -> str:
    """What is said by a code; cells, budgets and differences in the values become words."""
    metric = metric_text(budget_split(evidence.study), evidence.metric)
    found = {"metric": metric} | values
    return text(_SAID[code], **{name: _word(evidence, value) for name, value in found.items()})


def _word(evidence: Evidence, value: object) -> object:
    match value:
        case Cell():
            return evidence.name(value)
        case EqualBudget():
            return value.words
        case Comparison():
            return difference_text(evidence.metric, value)
        case _:
            return value


# ---- the conclusion

_MOST_NAMED = 3  # rivals in one sentence; the rest are in a table


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What is read first: which batch size ended best after equal epochs, and how sure that is."""

    headline: str
    lead: str  # what equal time and steps say, and what was compared; "" if no trial ended well


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
    evidence = Evidence.of(study)
    if not evidence.cells or not evidence.budgets:
        return Conclusion(headline=_nothing_compared(study), lead="")
    raced = {race.budget.name: race for race in races(evidence)}
    if "epochs" not in raced:
        return Conclusion(headline=_of_one(evidence), lead=_basis_text(evidence))
    others = [_other(evidence, raced[name]) for name in ("time", "steps") if name in raced]
    return Conclusion(
        headline=_headline(evidence, raced["epochs"]),
        lead=" ".join((*others, _basis_text(evidence))),
    )


def _nothing_compared(study: Study) -> str:
    if not study.records:
        return text("No trial has been run.")
    if any(record.status is None for record in study.records):
        return text("No trial has ended well so far, so nothing can be compared yet.")
    return text("No trial ended well, so nothing can be compared.")


def _headline(evidence: Evidence, race: Race) -> str:
    amount = race.budget.amount
    n = 1 if amount == 1 else 2
    epochs = plural("{epochs:.4g} epoch", "{epochs:.4g} epochs", n, epochs=amount)
    value = quantity_text(evidence.metric, race.level)
    said = _say(evidence, "best_in_epochs", best=race.leader, epochs=epochs, value=value)
    rivals = capitalized(batch_sizes_text(evidence.study, race.rivals)) if race.rivals else ""
    code = {"no_interval": "may_be_chance", "clear": "surely", "tied": "others_as_good"}
    return _say(evidence, code[race.standing], said=capitalized(said), rivals=rivals)


def _other(evidence: Evidence, race: Race) -> str:
    """Who leads when something else is equal."""
    value = quantity_text(evidence.metric, race.level)
    code = "is_best" if race.standing == "clear" else "is_ahead"
    said = _say(evidence, code, budget=race.budget, best=race.leader, value=value)
    if race.standing != "tied":
        return _say(evidence, "surely", said=said)  # the headline has said that it may be chance
    if len(race.rivals) > _MOST_NAMED:
        return _say(evidence, "many_as_good", said=said, n=len(race.rivals))
    rivals = batch_sizes_text(evidence.study, race.rivals)
    return _say(evidence, "some_as_good", said=said, rivals=rivals)


def _of_one(evidence: Evidence) -> str:
    """One batch size, or none of the others has the metric: there is no order to tell."""
    cell, *_ = evidence.cells
    level = evidence.final(budget_split(evidence.study)).level(cell)
    if level is None:
        return _say(evidence, "never_measured")
    value = quantity_text(evidence.metric, level)
    return capitalized(_say(evidence, "ended_at", size=cell, value=value))


def _basis_text(evidence: Evidence) -> str:
    """What was compared, at which learning rates and with how many seeds."""
    study, seeds = evidence.study, _seeds_text(evidence)
    by_size: dict[int, set[float]] = {}
    for record in study.records:
        by_size.setdefault(record.trial.batch_size, set()).add(record.trial.learning_rate)
    n, rates = len(evidence.cells), _rates_text(study, by_size)
    if n == 1:
        told = text("Trained {rates}, {seeds}.", rates=rates, seeds=seeds)
    else:
        message = "Compared: {n} batch sizes {rates}, {seeds} each."
        told = text(message, n=n, rates=rates, seeds=seeds)
    if all(len(own) == 1 for own in by_size.values()):
        return told
    return text(
        "{told} The best of several rates looks better than it is on the {split} data that chose "
        "it.",
        told=told,
        split=_chosen_on(study),
    )


def _seeds_text(evidence: Evidence) -> str:
    n_seeds = sorted({len(cell.ended_well) for cell in evidence.cells})
    fewest, most = (number_text(n, "") for n in (n_seeds[0], n_seeds[-1]))
    which = most if fewest == most else text("{few} to {more}", few=fewest, more=most)
    return plural("{which} seed", "{which} seeds", n_seeds[-1], which=which)


def _rates_text(study: Study, by_size: Mapping[int, set[float]]) -> str:
    """At which learning rates, in words."""
    distinct = set().union(*by_size.values())
    if len(distinct) == 1:
        message = (
            "at learning rate {rate:learning_rate}"
            if len(by_size) == 1
            else "at one fixed learning rate, {rate:learning_rate}, not tuned for each"
        )
        return text(message, rate=distinct.pop())
    if all(len(own) == 1 for own in by_size.values()):
        return _one_rate_each({record.trial.scaling_rule for record in study.records})
    message = "at the best of its learning rates on {split} data"
    if len(by_size) > 1:
        message = "each at the best of its learning rates on {split} data"
    return text(message, split=_chosen_on(study))


def _chosen_on(study: Study) -> str:
    split = deciding_split(study)
    return term_text("training" if split == "train" else split)


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


# ---- the claims: what people say of batch sizes, each held against this study's own numbers

# A claim's verdict follows from intervals over seeds; with one seed there is none, and the verdict
# is "cannot_tell" whatever the numbers look like. What says something of generalization compares
# batch sizes of similar training fit, else it is "not_tested".
_Found = tuple[ClaimVerdict, str]
_GOOD_START = (32, 128)


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Every claim with its verdict and why; none where fewer than two batch sizes are compared.

    The topic is the claim.
    """
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    found = [claim(evidence) for claim in CLAIMS.values()]
    told = []
    for i, (topic, (verdict, why)) in enumerate(zip(CLAIMS, found, strict=True)):
        if i and verdict == "not_tested" and why == found[i - 1][1]:
            why = _say(evidence, "same_reason")
        told.append(Sentence(topic=topic, text=why, verdict=verdict))
    return tuple(told)


def claim_text(claim: Sentence) -> str:
    """A claim, its verdict and why, in one line."""
    assert claim.verdict is not None, "every claim has a verdict"
    return text(
        "“{claim}”: {verdict}. {why}",
        claim=text(claim.topic),
        verdict=text(VERDICT_WORDS[claim.verdict]),
        why=claim.text,
    )


def larger_batches_generalize_worse(evidence: Evidence) -> _Found:
    """Whether the held-out metric falls as the batch size grows, after equal epochs."""
    split = held_out_split(evidence.study)
    if split is None:
        return "cannot_tell", _say(evidence, "nothing_held_out")
    what = metric_text(split, evidence.metric)
    return _ordered(evidence, what, evidence.at_end(split), {"held": "less_trained_too"})


def larger_batches_overfit_more(evidence: Evidence) -> _Found:
    """Whether training gets further ahead of held-out data as the batch size grows."""
    split = held_out_split(evidence.study)
    if split is None:
        return "cannot_tell", _say(evidence, "nothing_held_out")
    what = text(
        "generalization gap ({train} − {split} {metric})",
        train=term_text("training"),
        split=term_text(split),
        metric=label_text(evidence.metric),
    )
    noted: tuple[ClaimVerdict, ...] = ("did_not_hold", "cannot_tell")
    notes = dict.fromkeys(noted, "less_trained_less_gap")
    return _ordered(evidence, what, evidence.gaps(split), notes)


def good_start_between_32_and_128(evidence: Evidence) -> _Found:
    """Whether the size nearest 64 within 32 to 128 is about as good as every size outside.

    Under equal epochs and equal time: under equal steps a larger batch sees more data, and wins
    for that reason alone.
    """
    low, high = _GOOD_START
    inside = [cell for cell in evidence.cells if low <= cell.batch_size <= high]
    outside = [cell for cell in evidence.cells if cell not in inside]
    if not inside or not outside:
        code = "none_outside" if inside else "none_inside"
        return "cannot_tell", _say(evidence, code, low=low, high=high)
    # Chosen by its size and not by its result, which would look better than it is.
    start = min(inside, key=lambda cell: abs(math.log2(cell.batch_size / 64)))
    budgets = [budget for budget in evidence.budgets if budget.name != "steps"]
    held = _held_everywhere(evidence, start, outside, budgets)
    if worse := _with_outcome(held, "worse"):
        return "did_not_hold", _beaten(evidence, start, worse)
    if all(comparison.at_most_slightly_worse for _, _, comparison in held):
        least = quantity_text(evidence.metric, evidence.tolerance)
        said = _say(
            evidence, "never_much_worse", budgets=_names(budgets), size=start, tolerance=least
        )
        return "held", said
    return "cannot_tell", _open(evidence, start, held, budgets)


def full_batch_converges_better(evidence: Evidence) -> _Found:
    """Whether full batch is better than every mini-batch size under every budget."""
    n_train, budgets = evidence.study.workload.n_train, evidence.budgets
    full = next((cell for cell in evidence.cells if cell.batch_size == n_train), None)
    if full is None:
        return "cannot_tell", _say(evidence, "no_full_batch")
    minis = [cell for cell in evidence.cells if cell is not full]
    held = _held_everywhere(evidence, full, minis, budgets)
    better = _with_outcome(held, "better")
    if worse := _with_outcome(held, "worse"):
        seen = _beaten(evidence, full, worse)
        if not better:
            return "did_not_hold", seen
        won = {budget.name for budget, _, _ in better}
        ahead = [budget for budget in budgets if budget.name in won]
        return "did_not_hold", _say(evidence, "ahead_of_some", seen=seen, budgets=_names(ahead))
    if same := _with_outcome(held, "same"):
        budget, other, difference = same[0]
        found = {"budget": budget, "size": full, "other": other, "difference": difference}
        return "did_not_hold", _say(evidence, "no_better", **found)
    if len(better) == len(held):
        return "held", _say(evidence, "always_better", budgets=_names(budgets))
    return "cannot_tell", _open(evidence, full, held, budgets)


CLAIMS: dict[str, Callable[[Evidence], _Found]] = {
    "Larger batches generalize worse": larger_batches_generalize_worse,
    "Larger batches overfit more": larger_batches_overfit_more,
    "32 to 128 is a good start": good_start_between_32_and_128,
    "Full batch converges better": full_batch_converges_better,
}


def _ordered(
    evidence: Evidence, what: str, measured: Measured, less_trained: Mapping[ClaimVerdict, str]
) -> _Found:
    """That the smallest batch size is better than the largest, and none between reverses.

    Only batch sizes of similar training fit are compared. `what` was measured, in words;
    `less_trained` is added, by verdict, where the largest fits its training data less well.
    """
    fit = training_fit(evidence)
    if fit is None:
        return "not_tested", _say(evidence, "no_train_metric")
    compared = [cell for cell in fit.alike if measured.level(cell) is not None]
    metric, margin = (
        metric_text("train", evidence.metric),
        quantity_text(evidence.metric, fit.margin),
    )
    if len(compared) < 2 or not fit.begun:
        code, budget = "trained_apart" if fit.begun else "little_learned", evidence.budgets[0]
        best, worst = evidence.level_text(*fit.best), evidence.level_text(*fit.worst)
        found = {"budget": budget, "metric": metric, "best": best, "worst": worst}
        return "not_tested", _say(evidence, code, margin=margin, **found)
    verdict, seen = _order_found(evidence, what, measured, compared)
    notes = [seen]
    ends = evidence.at_end("train").compare(compared[-1], compared[0])
    if ends.outcome == "worse" and verdict in less_trained:
        notes.append(_say(evidence, less_trained[verdict]))
    if fit.others:
        sizes = batch_sizes_text(evidence.study, [cell.batch_size for cell in fit.others])
        notes.append(_say(evidence, "left_out", sizes=sizes, metric=metric, margin=margin))
    return verdict, " ".join(notes)


def _order_found(
    evidence: Evidence, what: str, measured: Measured, compared: Sequence[Cell]
) -> _Found:
    """What the first and the last of several say of their order, and the verdict that follows."""
    first, last = compared[0], compared[-1]
    small, large = (evidence.level_text(cell, measured.level(cell)) for cell in (first, last))
    budget, ends = evidence.budgets[0], measured.compare(first, last)
    levels = _say(evidence, "levels", budget=budget, what=what, small=small, large=large)

    def said(code: str, **values: object) -> str:
        return _say(evidence, code, levels=levels, difference=ends, **values)

    if ends.outcome == "better":
        reversed_pairs = [
            text("from {first} to {last}", first=evidence.name(one), last=evidence.name(next_one))
            for one, next_one in pairwise(compared)
            if measured.compare(one, next_one, n_comparisons=len(compared) - 1).outcome == "worse"
        ]
        if not reversed_pairs:
            return "held", said("differs")
        where = listing(reversed_pairs)
        return "did_not_hold", said("but_reversed", seen=said("differs"), where=where)
    if ends.outcome == "worse":
        return "did_not_hold", said("reverse")
    if ends.outcome == "same":
        return "did_not_hold", said("no_difference")
    if ends.missing:
        return "cannot_tell", said("no_interval", missing=capitalized(ends.missing))
    return "cannot_tell", said("too_close")


_Held = tuple[EqualBudget, Cell, Comparison]


def _held_everywhere(
    evidence: Evidence, cell: Cell, others: Sequence[Cell], budgets: Sequence[EqualBudget]
) -> list[_Held]:
    """`cell` against each of `others` under each budget, all intervals holding together."""
    split, n = budget_split(evidence.study), len(others) * len(budgets)
    held = []
    for budget in budgets:
        measured = evidence.measured(budget, split)
        held += [
            (budget, other, measured.compare(cell, other, n_comparisons=n)) for other in others
        ]
    return held


def _with_outcome(held: Sequence[_Held], outcome: str) -> list[_Held]:
    return [found for found in held if found[2].outcome == outcome]


def _beaten(evidence: Evidence, cell: Cell, worse: Sequence[_Held]) -> str:
    """The comparison in which `cell` lost most clearly."""
    budget, other, difference = min(worse, key=lambda found: found[2].difference.estimate or 0.0)
    found = {"budget": budget, "better": other, "worse": cell, "difference": difference}
    return _say(evidence, "beaten", **found)


def _open(
    evidence: Evidence, cell: Cell, held: Sequence[_Held], budgets: Sequence[EqualBudget]
) -> str:
    missing = [comparison.missing for _, _, comparison in held]
    if missing[0] is not None and None not in missing:
        return text("{missing}.", missing=capitalized(missing[0]))
    unsure = {other.batch_size for _, other, _ in _with_outcome(held, "cannot_tell")}
    others = batch_sizes_text(evidence.study, sorted(unsure))
    return _say(evidence, "all_too_close", budgets=_names(budgets), size=cell, others=others)


def _names(budgets: Sequence[EqualBudget]) -> str:
    return listing([equal_text(budget.name) for budget in budgets])


# ---- what else was seen

_TOPICS: dict[BudgetName, str] = {
    "epochs": "equal epochs",
    "steps": "equal steps",
    "time": "equal time",
}


def sentences(study: Study) -> tuple[Sentence, ...]:
    """What else can be said of a study, beside its conclusion, its effects and the claims."""
    evidence = Evidence.of(study)
    seen = (_paired, _no_race, _open_plateaus, _speed, _edges) if evidence.cells else ()
    return tuple(
        Sentence(topic=topic, text=said)
        for tell in (*seen, _failed)
        for topic, said in tell(evidence)
    )


_Seen = Iterator[tuple[str, str]]  # topics, and what is said


def _paired(evidence: Evidence) -> _Seen:
    """Which batch sizes the best one is told apart from on the same held-out examples."""
    found = paired(evidence)
    if found is None:
        return
    ahead = [size for size, each in found.more.items() if (each.low or 0.0) > 0]
    behind = [size for size, each in found.more.items() if (each.high or 0.0) < 0]
    alike = [size for size in found.more if size not in (*ahead, *behind)]
    said = [
        _say(evidence, code, sizes=batch_sizes_text(evidence.study, sizes))
        for code, sizes in (("right_more", ahead), ("right_less", behind), ("right_alike", alike))
        if sizes
    ]
    split, chosen_on = term_text(found.split), term_text(deciding_split(evidence.study))
    values = {"n": found.n, "split": split, "best": found.best, "chosen_on": chosen_on}
    yield "held-out examples", _say(evidence, "paired", found="; ".join(said), **values)


def _no_race(evidence: Evidence) -> _Seen:
    """The budgets under which batch sizes cannot be compared."""
    known = {budget.name for budget in evidence.budgets}
    for name in NAMES if len(evidence.cells) > 1 else ():
        if name not in known:
            budget = capitalized(text(_TOPICS[name]))
            yield _TOPICS[name], _say(evidence, "no_race", budget=budget)


def _open_plateaus(evidence: Evidence) -> _Seen:
    """Where it cannot be told whether the epochs were enough."""
    if not evidence.study.workload.has_validation:
        yield "plateau", _say(evidence, "no_validation")
        return
    plateau = plateaus_of(evidence.study)
    open_sizes = [
        cell.batch_size
        for cell in evidence.cells
        if any(plateau(record).verdict == "cannot_tell" for record in cell.ended_well)
    ]
    if open_sizes:
        sizes = batch_sizes_text(evidence.study, open_sizes)
        yield "plateau", _say(evidence, "open_plateaus", sizes=sizes)


def _speed(evidence: Evidence) -> _Seen:
    """Throughput, measured alone, of the slowest and the fastest batch size."""
    timings = [evidence.study.timing(cell.batch_size) for cell in evidence.cells]
    timed = [timing for timing in timings if timing is not None]
    if len(timed) < 2:
        return
    slow, fast = (choose(timed, key=lambda each: each.samples_per_s) for choose in (min, max))
    said = _say(
        evidence,
        "speed",
        fast=batch_text(evidence.study, fast.batch_size),
        per_s=fast.samples_per_s,
        times=fast.samples_per_s / slow.samples_per_s,
        slow=batch_text(evidence.study, slow.batch_size),
        fast_s=fast.step_s,
        slow_s=slow.step_s,
    )
    yield "speed", capitalized(said)


def _edges(evidence: Evidence) -> _Seen:
    """Batch sizes whose best learning rate is the first or last of those tried."""
    study = evidence.study
    rates: dict[int, list[float]] = {}
    for cell in cells(study):
        rates.setdefault(cell.batch_size, []).append(cell.learning_rate)
    several = [
        cell for cell in chosen_cells(study) if len(rates[cell.batch_size]) > 1 and cell.ended_well
    ]
    for code, edge in (("highest_rate", max), ("lowest_rate", min)):
        found = [c.batch_size for c in several if c.learning_rate == edge(rates[c.batch_size])]
        if found:
            yield "learning rate", _say(evidence, code, sizes=batch_sizes_text(study, found))


def _failed(evidence: Evidence) -> _Seen:
    """The trials that are in no mean, each by name."""
    for record in evidence.study.records:
        if record.ended_well:
            continue
        trial, rate = trial_words(record), record.trial.learning_rate
        if record.reason:
            trial = text("{trial}: {reason}", trial=trial, reason=reason_text(record.reason))
        size = batch_text(evidence.study, record.trial.batch_size)
        yield "left out", _say(evidence, "bad_end", size=size, rate=rate, trial=trial)
