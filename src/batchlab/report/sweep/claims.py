"""Claims: what people say of batch sizes, each held against this study's own numbers.

A claim is one function and one row of `CLAIMS`. Its verdict follows from intervals over seeds;
with one seed there is none, and the verdict is "cannot_tell" whatever the numbers look like. What
says something of generalization compares batch sizes of similar training fit, else it is
"not_tested".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from batchlab.records.trial import Split
from batchlab.report.parts.batch_text import batch_sizes_text
from batchlab.report.parts.held_out import held_out_split
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.sentence import VERDICT_WORDS, ClaimVerdict, Sentence
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.comparison import Comparison, difference_text
from batchlab.report.sweep.equal_budget import (
    NAMES,
    EqualBudget,
    budget_split,
    equal_text,
    metric_text,
)
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.measured import Measured
from batchlab.report.sweep.training_fit import TrainingFit
from batchlab.words.catalogue import capitalized, listing, text

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
