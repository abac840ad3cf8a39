"""Common sayings about batch size, each tested against the numbers of one study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from batchlab.belief.statements import (
    Verdict,
    better_than_all,
    falls,
    no_worse_than_any,
    rises,
)
from batchlab.report.cells import (
    Cell,
    held_out_split,
)
from batchlab.report.evidence import (
    Array,
    Comparison,
    EqualBudget,
    Evidence,
    Measured,
    budget_split,
    metric_text,
    training_fit,
)
from batchlab.report.text import (
    ClaimVerdict,
    Sentence,
)
from batchlab.words.catalogue import capitalized, listing, text

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
