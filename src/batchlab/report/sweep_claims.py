"""What a sweep says: its conclusion, the claims it holds, what else was seen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from batchlab.belief.statements import (
    Verdict,
    better_than_all,
    falls,
    no_worse_than_any,
    rises,
)
from batchlab.plans.scaling import moves_adam
from batchlab.records.study import Study
from batchlab.report.cells import (
    Cell,
    cells,
    chosen_cells,
    deciding_split,
    has_plans,
    held_out_split,
    kind_of,
    plateaus_of,
    trial_words,
)
from batchlab.report.sweep_evidence import (
    Array,
    Comparison,
    EqualBudget,
    Evidence,
    Measured,
    Race,
    budget_split,
    metric_text,
    races,
    training_fit,
)
from batchlab.report.text import (
    VERDICT_WORDS,
    ClaimVerdict,
    Kind,
    Sentence,
    batch_sizes_text,
    batch_text,
    best_so_far_text,
    label_text,
    quantity_text,
)
from batchlab.words.catalogue import capitalized, listing, number_text, plural, term_text, text
from batchlab.words.reasons import reason_text

# ---- the conclusion

_MOST_NAMED = 3  # rivals in one sentence; the rest are in a table


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What is read first: which batch size ended best after equal epochs, and how sure that is."""

    headline: str
    lead: str = ""  # what equal time and steps say, and what was compared


def conclusion(study: Study) -> Conclusion:
    """The conclusion of a study; without a trial that ended well it says so.

    Of an advice without an answer it is what leads: its runs end at the target, not alike.
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
    if "epochs" not in raced:
        return Conclusion(headline=_of_one(evidence), lead=_basis_text(evidence))
    others = [_other(evidence, raced[name]) for name in ("time", "steps") if name in raced]
    return Conclusion(
        headline=_headline(evidence, raced["epochs"]),
        lead=" ".join((*others, _basis_text(evidence))),
    )


def _headline(evidence: Evidence, race: Race) -> str:
    amount = race.budget.amount
    n = 1 if amount == 1 else 2
    said = evidence.say(
        "{best} did best in {epochs}: {metric} {value}",
        best=race.best,
        epochs=plural("{epochs:.4g} epoch", "{epochs:.4g} epochs", n, epochs=amount),
        value=quantity_text(evidence.metric, race.level),
    )
    end = ""
    if race.standing == "no_interval":
        end = text(" One seed each: this may be chance.")
    elif race.as_good:
        others = capitalized(batch_sizes_text(evidence.study, race.as_good))
        end = text(" {others} may be as good.", others=others)
    return f"{capitalized(said)}.{end}"


def _other(evidence: Evidence, race: Race) -> str:
    """Who leads when something else is equal."""
    message = "In {budget}{more}, {best} {is} {ahead} with {value}{others}."
    more = ", where larger batches see more examples" if race.budget.name == "steps" else ""
    ahead = text("best" if race.standing == "clear" else "ahead")
    others = ""
    if race.standing == "tied" and race.as_good:  # of one seed each the headline has said it
        others = text("; {n} others may be as good", n=len(race.as_good))
        if len(race.as_good) <= _MOST_NAMED:
            others = evidence.say("; {others} may be as good", others=race.as_good)
    value = quantity_text(evidence.metric, race.level)
    return evidence.say(
        message,
        budget=race.budget,
        more=text(more),
        best=race.best,
        ahead=ahead,
        value=value,
        others=others,
        **{"is": text("is" if len(race.best) == 1 else "are")},
    )


def _of_one(evidence: Evidence) -> str:
    """One batch size, or none of the others has the metric after as many epochs."""
    ranked = evidence.ranked(evidence.final(budget_split(evidence.study)))
    if not ranked:
        return evidence.say("The {metric} was never measured.")
    (cell, level), *others = ranked
    message = "{size} ended at {metric} {value}."
    if others:
        message = (
            "{size} ended best, at {metric} {value}, each at its own end: they have "
            "no evaluation after equal epochs."
        )
    value = quantity_text(evidence.metric, level)
    return capitalized(evidence.say(message, size=cell, value=value))


def _basis_text(evidence: Evidence) -> str:
    """What was compared, at which learning rates and with how many seeds."""
    study, n = evidence.study, len(evidence.cells)
    n_seeds = sorted({len(cell.ended_well) for cell in evidence.cells})
    fewest, most = (number_text(count, "") for count in (n_seeds[0], n_seeds[-1]))
    which = most if fewest == most else text("{few} to {more}", few=fewest, more=most)
    seeds = plural("{which} seed", "{which} seeds", n_seeds[-1], which=which)
    by_kind: dict[Kind, set[float]] = {}
    for record in study.records:
        by_kind.setdefault(kind_of(record.trial), set()).add(record.trial.learning_rate)
    message = "Compared: {n} batch sizes {rates}, {seeds} each."
    if has_plans(evidence.cells):
        message = "Compared: {n} plans {rates}, {seeds} each."
    if n == 1:
        message = "Trained {rates}, {seeds}."
    if any(len(own) > 1 for own in by_kind.values()):
        message += (
            " The best of several rates looks better than it is on the {split} data that chose it."
        )
    rates = _rates_text(study, by_kind)
    if (n_devices := study.records[0].trial.world_size) > 1:
        rates = text("on {n} devices together {rates}", n=n_devices, rates=rates)
    return text(message, n=n, rates=rates, seeds=seeds, split=_chosen_on(study))


def _rates_text(study: Study, by_kind: Mapping[Kind, set[float]]) -> str:
    """At which learning rates, and by which rule where it was one alone."""
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
        message = "at the best of its learning rates on {split} data"
        if len(by_kind) > 1:
            message = "each at the best of its learning rates on {split} data"
    elif len(rules) != 1 or rule == "none":
        message = "at one learning rate each, not tuned"
    else:
        also = " (which moves other settings of Adam too)" if moves_adam(rule) else ""
        message = f"at one learning rate each, set by the rule {{rule}}{also}, not tuned"
    return text(message, rate=min(distinct), split=_chosen_on(study), rule=rule)


def _chosen_on(study: Study) -> str:
    split = deciding_split(study)
    return term_text("training" if split == "train" else split)


# ---- the claims: what people say of batch sizes, each held against this study's own numbers

# A claim's verdict follows from intervals over seeds; with one seed there is none, and the verdict
# is "cannot_tell" whatever the numbers look like. What says something of generalization compares
# batch sizes of similar training fit, else it is "not_tested".
_Found = tuple[ClaimVerdict, str]
_GOOD_START = (32, 128)
_MOST_SEEDS = 50  # an estimate beyond it is too vague to be a number


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Every claim with its verdict and why; none where fewer than two batch sizes are compared.

    The topic is the claim.
    """
    evidence = evidence.of_sizes
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    found = [claim(evidence) for claim in CLAIMS.values()]
    told = []
    for i, (topic, (verdict, why)) in enumerate(zip(CLAIMS, found, strict=True)):
        if i and verdict == "not_tested" and why == found[i - 1][1]:
            why = text("For the same reason as the one above.")
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
        return "cannot_tell", text(_NOTHING_HELD_OUT)
    note = "The largest also learned its training data less well, which may be part of this."
    what = metric_text(split, evidence.metric)
    return _ordered(evidence, what, evidence.at_end(split), {"held": note})


def larger_batches_overfit_more(evidence: Evidence) -> _Found:
    """Whether training gets further ahead of held-out data as the batch size grows."""
    split = held_out_split(evidence.study)
    if split is None:
        return "cannot_tell", text(_NOTHING_HELD_OUT)
    what = text(
        "generalization gap ({train} − {split} {metric})",
        train=term_text("training"),
        split=term_text(split),
        metric=label_text(evidence.metric),
    )
    note = (
        "The largest also learned its training data less well, and less training makes the gap "
        "smaller."
    )
    notes: dict[ClaimVerdict, str] = {"did_not_hold": note, "cannot_tell": note}
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
        message = "No batch size {which} {low} to {high} was run."
        which = text("outside" if inside else "from")
        return "cannot_tell", text(message, which=which, low=low, high=high)
    # Chosen by its size and not by its result, which would look better than it is.
    start = min(inside, key=lambda cell: abs(math.log2(cell.batch_size / 64)))
    judged = [
        _judged(evidence, budget, start, outside, no_worse_than_any)
        for budget in evidence.budgets
        if budget.name != "steps"
    ]
    if lost := [each for each in judged if each.verdict == "did_not_hold"]:
        return "did_not_hold", _beaten(evidence, start, lost[0])
    if all(each.verdict == "held" for each in judged):
        return "held", evidence.say(
            "In {budgets}, {size} is at most {margin} worse than any size outside.",
            budgets=_names(judged),
            size=start,
            margin=quantity_text(evidence.metric, evidence.margin),
        )
    return "cannot_tell", _open(evidence, start, judged)


def full_batch_converges_better(evidence: Evidence) -> _Found:
    """Whether full batch is better than every mini-batch size under every budget."""
    n_train, budgets = evidence.study.workload.n_train, evidence.budgets
    full = next((cell for cell in evidence.cells if cell.batch_size == n_train), None)
    if full is None:
        was_run = any(record.trial.batch_size == n_train for record in evidence.study.records)
        why = "No trial of full batch ended well." if was_run else "Full batch was not run."
        return "cannot_tell", text(why)
    minis = [cell for cell in evidence.cells if cell is not full]
    judged = [_judged(evidence, budget, full, minis, better_than_all) for budget in budgets]
    if lost := [each for each in judged if each.verdict == "did_not_hold"]:
        seen = _beaten(evidence, full, lost[0])
        ahead = [each for each in judged if _is_ahead_of_some(each)]
        if ahead:
            also = text(
                "In {budgets}, full batch is ahead of some other size.", budgets=_names(ahead)
            )
            seen = f"{seen} {also}"
        return "did_not_hold", seen
    if all(each.verdict == "held" for each in judged):
        message = "In {budgets}, it is better than every other size."
        return "held", text(message, budgets=_names(judged))
    return "cannot_tell", _open(evidence, full, judged)


CLAIMS: dict[str, Callable[[Evidence], _Found]] = {
    "Larger batches generalize worse": larger_batches_generalize_worse,
    "Larger batches overfit more": larger_batches_overfit_more,
    "32 to 128 is a good start": good_start_between_32_and_128,
    "Full batch converges better": full_batch_converges_better,
}
_NOTHING_HELD_OUT = "There are no test and no validation data."
_LITTLE_LEARNED = (
    "Little has been learned yet: in {budget} the best {metric} is {best}, hardly better than "
    "before training. More epochs or a higher learning rate would tell."
)
_TRAINED_APART = (
    "Some have trained further than others: in {budget} {metric} is {best}, but {worst}, more "
    "than {margin} apart. More epochs, or a tuned rate for each, would tell."
)
_LEFT_OUT = (
    "Left out: {sizes}, whose {metric} is more than {margin} off the best. That shows how far "
    "training got, not how it generalizes."
)


def _ordered(
    evidence: Evidence, what: str, measured: Measured, less_trained: Mapping[ClaimVerdict, str]
) -> _Found:
    """That the smallest batch size is better than the largest, and none between reverses.

    Only batch sizes of similar training fit are compared. `what` was measured, in words;
    `less_trained` is added, by verdict, where the largest fits its training data less well.
    """
    fit = training_fit(evidence)
    if fit is None:
        return "not_tested", text("No training metric was measured in equal epochs.")
    compared = [cell for cell in fit.alike if measured.level(cell) is not None]
    metric = metric_text("train", evidence.metric)
    margin = quantity_text(evidence.metric, fit.margin)
    if len(compared) < 2 <= len(fit.alike) and fit.begun:
        why = text("{what} was not measured in equal epochs.", what=capitalized(what))
        return "not_tested", why
    if len(compared) < 2 or not fit.begun:
        return "not_tested", evidence.say(
            _TRAINED_APART if fit.begun else _LITTLE_LEARNED,
            budget=evidence.budgets[0],
            metric=metric,
            margin=margin,
            best=evidence.level_text(*fit.best),
            worst=evidence.level_text(*fit.worst),
        )
    verdict, seen = _order_found(evidence, what, measured, compared)
    ends = evidence.at_end("train").compare(compared[-1], compared[0])
    if ends.outcome == "worse" and verdict in less_trained:
        seen = f"{seen} {text(less_trained[verdict])}"
    if fit.others:
        sizes = [cell.batch_size for cell in fit.others]
        seen = f"{seen} {evidence.say(_LEFT_OUT, sizes=sizes, metric=metric, margin=margin)}"
    return verdict, seen


def _order_found(
    evidence: Evidence, what: str, measured: Measured, compared: Sequence[Cell]
) -> _Found:
    """What the first and the last of several say of their order, and the verdict that follows."""
    first, last = compared[0], compared[-1]
    ends, draws, more, where = measured.compare(first, last), measured.draws(compared), "", ""
    verdict = "cannot_tell" if draws is None else falls(draws, measured.margin)
    if ends.missing or draws is None:
        end, more = ". {more}.", capitalized(ends.missing or "")
    elif verdict == "cannot_tell":
        end, more = ": too close for these seeds to tell, {difference}. {more}", _more_seeds(ends)
    elif verdict == "did_not_hold":
        end = ": at most {margin} worse, {difference}."
        if ends.outcome == "worse":
            end = ": the reverse, by {difference}."
        elif ends.outcome == "same":
            end = ": no difference that matters, {difference}."
        elif (ends.difference.estimate or 0.0) < 0:
            end = ": if anything the reverse, by {difference}."
    elif places := rises(draws):
        verdict = "did_not_hold"
        pairs = [(compared[i], compared[i + 1]) for i in places]
        where = listing([evidence.say("from {first} to {last}", first=a, last=b) for a, b in pairs])
        end = ", a difference of {difference}. But it goes the other way {where}."
    else:
        end = ", a difference of {difference}."
    seen = evidence.say(
        "In {budget}, {what} is {small} and {large}" + end,
        budget=evidence.budgets[0],
        what=what,
        small=evidence.level_text(first, measured.level(first)),
        large=evidence.level_text(last, measured.level(last)),
        difference=ends,
        margin=quantity_text(evidence.metric, measured.margin),
        more=more,
        where=where,
    )
    return verdict, seen


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """A batch size held against others under one budget."""

    budget: EqualBudget
    verdict: ClaimVerdict
    against: Sequence[tuple[Cell, Comparison]]  # the others, the best first


def _judged(
    evidence: Evidence,
    budget: EqualBudget,
    cell: Cell,
    others: Sequence[Cell],
    statement: Callable[[Array, float], Verdict],
) -> _Judged:
    measured = evidence.measured(budget, budget_split(evidence.study))
    best_first = [other for other, _ in evidence.ranked(measured) if other in others]
    draws = measured.draws([cell, *best_first]) if best_first else None
    return _Judged(
        budget=budget,
        verdict="cannot_tell" if draws is None else statement(draws, measured.margin),
        against=[(other, measured.compare(cell, other)) for other in best_first],
    )


def _is_ahead_of_some(judged: _Judged) -> bool:
    return any(comparison.outcome == "better" for _, comparison in judged.against)


def _beaten(evidence: Evidence, cell: Cell, judged: _Judged) -> str:
    """Say which of the others was best, and by how much."""
    other, comparison = judged.against[0]
    message = "In {budget}, {other} has a better {metric} than {cell}, by {difference}."
    if comparison.outcome != "worse":
        message = "In {budget}, {cell} is at most {margin} better than {other}: {difference}."
        if (comparison.difference.estimate or 0.0) < 0:
            message = (
                "In {budget}, {cell} is at most {margin} better than {other}, and if anything "
                "worse, by {difference}."
            )
    return evidence.say(
        message,
        budget=judged.budget,
        other=other,
        cell=cell,
        margin=quantity_text(evidence.metric, comparison.margin),
        difference=comparison,
    )


def _open(evidence: Evidence, cell: Cell, judged: Sequence[_Judged]) -> str:
    """Say which sizes cannot be told apart from a cell, and how many seeds would."""
    unsure = [each for each in judged if each.verdict == "cannot_tell"]
    pairs = [pair for each in unsure for pair in each.against]
    missing = [comparison.missing for _, comparison in pairs]
    if not pairs:
        message = "The {metric} of {size} and others was not measured in {budgets}."
        return evidence.say(message, size=cell, budgets=_names(unsure))
    if missing[0] is not None and None not in missing:
        return text("{missing}.", missing=capitalized(missing[0]))
    close = [pair for pair in pairs if pair[1].outcome == "cannot_tell"] or pairs[:1]
    return evidence.say(
        "In {budgets}, {size} and {others} are too close for these seeds to tell. {more}",
        budgets=_names(unsure),
        size=cell,
        others=sorted({other.batch_size for other, _ in close}),
        more=_more_seeds(max((pair[1] for pair in close), key=lambda c: c.seeds_to_tell or 0)),
    )


def _more_seeds(comparison: Comparison) -> str:
    """Say about how many seeds would tell two cells apart."""
    n = comparison.seeds_to_tell
    if n is None:
        return text("More seeds would.")
    if comparison.difference.n <= 2:
        # From one seed each the interval is as wide as the usual scatter is uncertain.
        return text("A second seed of each would tell more.")
    if n > _MOST_SEEDS:
        return text("More than {n} seeds of each would.", n=_MOST_SEEDS)
    return text("About {n} seeds of each would.", n=n)


def _names(judged: Sequence[_Judged]) -> str:
    return listing([text("equal {what}", what=text(each.budget.name)) for each in judged])


# ---- what else was seen

_Seen = Iterator[tuple[str, str]]  # topics, and what is said


def sentences(study: Study) -> tuple[Sentence, ...]:
    """What else can be said of a study, beside its conclusion, its effects and the claims."""
    evidence = Evidence.of(study)
    tells = (_no_race, _open_plateaus, _speed, _edges) if evidence.cells else ()
    seen = (found for tell in tells for found in tell(evidence))
    return tuple(
        Sentence(topic=topic, text=said) for topic, said in itertools.chain(seen, _failed(study))
    )


def _no_race(evidence: Evidence) -> _Seen:
    """The budgets under which batch sizes cannot be compared."""
    if has_plans(evidence.cells):
        yield (
            "plans",
            text(
                "A plan changes at set places of its own run. So the plans are compared at their "
                "ends, in equal epochs, and not in equal steps or time."
            ),
        )
        return
    if len(evidence.cells) > 1 and "time" not in {budget.name for budget in evidence.budgets}:
        message = "Equal time was not compared: the step times were not all measured alone."
        yield "equal time", text(message)


def _open_plateaus(evidence: Evidence) -> _Seen:
    """Where it cannot be told whether the epochs were enough."""
    if not evidence.study.workload.has_validation:
        yield (
            "plateau",
            text(
                "Whether the epochs were enough is shown by validation data, and there are none. "
                "Test data must not decide it."
            ),
        )
        return
    plateau = plateaus_of(evidence.study)
    open_sizes = [
        cell.batch_size
        for cell in evidence.of_sizes.cells
        if any(plateau(record).verdict == "cannot_tell" for record in cell.ended_well)
    ]
    if open_sizes:
        message = (
            "Whether the epochs were enough cannot be told for {sizes}. The table of trials in the "
            "report says why."
        )
        yield "plateau", evidence.say(message, sizes=open_sizes)


def _speed(evidence: Evidence) -> _Seen:
    """Throughput, measured alone, of the slowest and the fastest batch size."""
    timings = [evidence.study.timing(cell.batch_size) for cell in evidence.of_sizes.cells]
    timed = [timing for timing in timings if timing is not None]
    if len(timed) < 2:
        return
    slow, fast = (choose(timed, key=lambda each: each.samples_per_s) for choose in (min, max))
    said = text(
        "{fast} is the fastest: {per_s:count} examples a second, {times:.3g} times as many as "
        "{slow}. A step takes {fast_s:step_s}; with {slow} it takes {slow_s:step_s}.",
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
        found = [c.kind for c in several if c.learning_rate == of(rates[c.kind])]
        if found:
            yield "learning rate", evidence.say(message, edge=edge, other=other, sizes=found)


def _failed(study: Study) -> _Seen:
    """The trials that are in no mean, each by name."""
    for record in study.records:
        if record.ended_well:
            continue
        trial = trial_words(record)
        if record.reason:
            trial = text("{trial}: {reason}", trial=trial, reason=reason_text(record.reason))
        message = "Left out of every mean: {size}, {trial}."
        if study.workload.takes_rate:
            message = (
                "Left out of every mean: {size} at learning rate {rate:learning_rate}, {trial}."
            )
        said = text(
            message,
            size=batch_text(study, kind_of(record.trial)),
            rate=record.trial.learning_rate,
            trial=trial,
        )
        yield "left out", said
