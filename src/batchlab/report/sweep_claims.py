"""The sentences of a sweep: its conclusion, verdicts on common claims, and other findings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
    ClaimVerdict,
    Kind,
    Sentence,
    batch_sizes_text,
    batch_text,
    best_so_far_text,
    quantity_text,
)
from batchlab.words.catalogue import capitalized, listing, number_text, plural, term_text, text
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


# ---- common claims about batch sizes, each checked with this study's own numbers

_GOOD_START = (32, 128)
_MOST_SEEDS = 50  # a larger estimate is too vague to give as a number
_NOTHING_HELD_OUT = "There are no test and no validation data."

_Found = tuple[ClaimVerdict, str]


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Return every claim with verdict and reason, or nothing for fewer than two batch sizes.

    The topic of each sentence is the claim.
    """
    evidence = evidence.of_sizes
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    sentences: list[Sentence] = []
    for topic, claim in CLAIMS.items():
        verdict, why = claim(evidence)
        if sentences and verdict == sentences[-1].verdict == "not_tested":
            if why == sentences[-1].text:
                why = text("For the same reason as the one above.")
        sentences.append(Sentence(topic=topic, text=why, verdict=verdict))
    return tuple(sentences)


def larger_batches_generalize_worse(evidence: Evidence) -> _Found:
    """Judge whether the held-out metric falls as the batch size grows, after equal epochs."""
    split = held_out_split(evidence.study)
    if split is None:
        return "cannot_tell", text(_NOTHING_HELD_OUT)
    what = metric_text(split, evidence.metric)
    return _falls_with_size(evidence, what, evidence.at_end(split), part_of=("held",))


def larger_batches_overfit_more(evidence: Evidence) -> _Found:
    """Judge whether training gets further ahead of held-out data as the batch size grows."""
    split = held_out_split(evidence.study)
    if split is None:
        return "cannot_tell", text(_NOTHING_HELD_OUT)
    what = text("training minus {metric}", metric=metric_text(split, evidence.metric))
    part_of: tuple[ClaimVerdict, ...] = ("did_not_hold", "cannot_tell")
    return _falls_with_size(evidence, what, evidence.gaps(split), part_of=part_of)


def good_start_between_32_and_128(evidence: Evidence) -> _Found:
    """Judge whether the size nearest 64 within 32 to 128 is about as good as every size outside.

    Only equal epochs and equal time are compared. Under equal steps a larger batch sees more
    data, and wins for that reason.
    """
    low, high = _GOOD_START
    inside = [cell for cell in evidence.cells if low <= cell.batch_size <= high]
    outside = [cell for cell in evidence.cells if cell not in inside]
    if not inside or not outside:
        which = text("outside" if inside else "from")
        message = "No batch size {which} {low} to {high} was run."
        return "not_tested", text(message, which=which, low=low, high=high)
    # Choose by size. The best result of several would look better than it is.
    start = min(inside, key=lambda cell: abs(math.log2(cell.batch_size / 64)))
    budgets = [budget for budget in evidence.budgets if budget.name != "steps"]
    held = "In {budgets}, {size} is at most {margin} worse than any size outside."
    return _against_others(evidence, start, outside, budgets, no_worse_than_any, held=held)


def full_batch_converges_better(evidence: Evidence) -> _Found:
    """Judge whether full batch is better than every mini-batch size under every budget."""
    n_train = evidence.study.workload.n_train
    full = next((cell for cell in evidence.cells if cell.batch_size == n_train), None)
    if full is None:
        was_run = any(record.trial.batch_size == n_train for record in evidence.study.records)
        why = "No trial of full batch ended well." if was_run else "Full batch was not run."
        return "not_tested", text(why)
    others = [cell for cell in evidence.cells if cell is not full]
    held = "In {budgets}, it is better than every other size."
    return _against_others(evidence, full, others, evidence.budgets, better_than_all, held=held)


CLAIMS: dict[str, Callable[[Evidence], _Found]] = {
    "Larger batches generalize worse": larger_batches_generalize_worse,
    "Larger batches overfit more": larger_batches_overfit_more,
    "32 to 128 is a good start": good_start_between_32_and_128,
    "Full batch converges better": full_batch_converges_better,
}


def _falls_with_size(
    evidence: Evidence, what: str, measured: Measured, *, part_of: Sequence[ClaimVerdict]
) -> _Found:
    """Judge whether the smallest batch size beats the largest and no step between them reverses.

    Only batch sizes of similar training fit are compared, because how far training got says
    nothing about generalization.

    Args:
        evidence: the evidence on batch sizes, without plans.
        what: the name of what was measured, in words.
        measured: its values under equal epochs.
        part_of: the verdicts that a worse training fit of the largest size may partly explain.
    """
    fit = training_fit(evidence)
    if fit is None:
        return "not_tested", text("No training metric was measured in equal epochs.")
    compared = [cell for cell in fit.alike if measured.level(cell) is not None]
    values: dict[str, str | EqualBudget] = {
        "budget": evidence.budgets[0],
        "train": metric_text("train", evidence.metric),
        "apart": evidence.difference_text(fit.margin),
        "best": evidence.level_text(*fit.best),
        "worst": evidence.level_text(*fit.worst),
    }
    if not fit.begun:
        message = (
            "Little has been learned yet: in {budget} the best {train} is {best}. More epochs or a "
            "higher learning rate would tell."
        )
        return "not_tested", evidence.say(message, **values)
    if len(fit.alike) < 2:
        message = (
            "Some have trained further than others: in {budget} {train} is {best}, but {worst}. "
            "More epochs, or a tuned rate for each, would tell."
        )
        return "not_tested", evidence.say(message, **values)
    if len(compared) < 2:
        return "not_tested", text(
            "{what} was not measured in equal epochs.", what=capitalized(what)
        )
    verdict, seen = _judged_order(evidence, what, measured, compared)
    if evidence.at_end("train").compare(compared[-1], compared[0]).outcome == "worse":
        if verdict in part_of:
            note = (
                "The largest also learned its training data less well, which may be part of this."
            )
            seen = f"{seen} {text(note)}"
    if fit.others:
        sizes = [cell.batch_size for cell in fit.others]
        message = "Left out: {sizes}, whose {train} is more than {apart} off the best."
        seen = f"{seen} {evidence.say(message, sizes=sizes, **values)}"
    return verdict, seen


def _judged_order(
    evidence: Evidence, what: str, measured: Measured, compared: Sequence[Cell]
) -> _Found:
    """Compare the last of several cells with the first."""
    first, last = compared[0], compared[-1]
    ends, draws = measured.compare(first, last), measured.draws(compared)
    verdict = "cannot_tell" if draws is None else falls(draws, measured.margin)
    places = [] if draws is None or verdict != "held" else rises(draws)
    end = ", a difference of {difference}."
    if ends.missing is not None:
        end = ". {missing}."
    elif verdict == "cannot_tell":
        end = ": too close for these seeds to tell, {difference}. {more}"
    elif verdict == "did_not_hold":
        end = ": at most {margin} worse, {difference}."
        if ends.outcome == "worse":
            end = ": the reverse, by {difference}."
    elif places:
        verdict = "did_not_hold"
        end = ", a difference of {difference}. But it goes the other way {where}."
    where = [
        evidence.say("from {first} to {last}", first=compared[i], last=compared[i + 1])
        for i in places
    ]
    seen = evidence.say(
        "In {budget}, {what} is {small} and {large}" + end,
        budget=evidence.budgets[0],
        what=what,
        small=evidence.level_text(first, measured.level(first), measured.quantity),
        large=evidence.level_text(last, measured.level(last), measured.quantity),
        difference=ends,
        margin=evidence.difference_text(measured.margin),
        more=_more_seeds(ends),
        missing=capitalized(ends.missing or ""),
        where=listing(where) if where else "",
    )
    return verdict, seen


def _against_others(
    evidence: Evidence,
    cell: Cell,
    others: Sequence[Cell],
    budgets: Sequence[EqualBudget],
    statement: Callable[[Array, float], Verdict],
    *,
    held: str,
) -> _Found:
    """Judge a statement on a cell and all others in every budget; `held` is the text if so."""
    undecided: list[tuple[EqualBudget, list[tuple[Cell, Comparison]]]] = []
    for budget in budgets:
        measured = evidence.measured(budget, budget_split(evidence.study))
        best_first = [other for other, _ in evidence.ranked(measured) if other in others]
        draws = measured.draws([cell, *best_first]) if best_first else None
        verdict = "cannot_tell" if draws is None else statement(draws, measured.margin)
        pairs = [(other, measured.compare(cell, other)) for other in best_first]
        if verdict == "did_not_hold":
            return verdict, _beaten(evidence, budget, cell, *pairs[0])
        if verdict == "cannot_tell":
            undecided.append((budget, pairs))
    if not undecided:
        margin = evidence.difference_text(evidence.margin)
        return "held", evidence.say(held, budgets=_names(budgets), size=cell, margin=margin)
    return "cannot_tell", _undecided_text(evidence, cell, undecided)


def _beaten(
    evidence: Evidence, budget: EqualBudget, cell: Cell, other: Cell, comparison: Comparison
) -> str:
    """Say which of the others was best, and by how much."""
    message = "In {budget}, {other} has a better {metric} than {cell}, by {difference}."
    if comparison.outcome != "worse":
        message = "In {budget}, {cell} is at most {margin} better than {other}: {difference}."
    margin = evidence.difference_text(comparison.margin)
    return evidence.say(
        message, budget=budget, other=other, cell=cell, margin=margin, difference=comparison
    )


def _undecided_text(
    evidence: Evidence,
    cell: Cell,
    undecided: Sequence[tuple[EqualBudget, Sequence[tuple[Cell, Comparison]]]],
) -> str:
    """Say which sizes are too close to a cell, and how many seeds would separate them."""
    names = _names([budget for budget, _ in undecided])
    pairs = [pair for _, of_budget in undecided for pair in of_budget]
    missing = [comparison.missing for _, comparison in pairs]
    if not pairs:
        message = "The {metric} of {size} and others was not measured in {budgets}."
        return evidence.say(message, size=cell, budgets=names)
    if missing[0] is not None and None not in missing:
        return text("{missing}.", missing=capitalized(missing[0]))
    close = [pair for pair in pairs if pair[1].outcome == "cannot_tell"] or pairs[:1]
    hardest = max((comparison for _, comparison in close), key=lambda c: c.seeds_to_tell or 0)
    return evidence.say(
        "In {budgets}, {size} and {others} are too close for these seeds to tell. {more}",
        budgets=names,
        size=cell,
        others=sorted({other.batch_size for other, _ in close}),
        more=_more_seeds(hardest),
    )


def _more_seeds(comparison: Comparison) -> str:
    """Say about how many seeds would separate two cells."""
    n = comparison.seeds_to_tell
    if n is None:
        return text("More seeds would.")
    if comparison.difference.n <= 2:
        # With one seed each, the width of the interval comes from the uncertain usual scatter.
        return text("A second seed of each would tell more.")
    if n > _MOST_SEEDS:
        return text("More than {n} seeds of each would.", n=_MOST_SEEDS)
    return text("About {n} seeds of each would.", n=n)


def _names(budgets: Sequence[EqualBudget]) -> str:
    return listing([text("equal {what}", what=text(budget.name)) for budget in budgets])


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
