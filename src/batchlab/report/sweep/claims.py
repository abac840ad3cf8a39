"""Claims: what people say of batch sizes, each held against this study's own numbers.

A claim is one function and one row of `CLAIMS`. Its verdict follows from intervals over seeds;
with one seed there is none, and the verdict is "cannot_tell" whatever the numbers look like. What
says something of generalization compares batch sizes of similar training fit, else it is
"not_tested".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from batchlab.planning.scaling import moves_adam
from batchlab.records.evaluation import Split
from batchlab.records.study import Study
from batchlab.report.parts.held_out import held_out_split
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
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
from batchlab.words.catalogue import listing, text
from batchlab.words.message import N_

GOOD_START = (32, 128)


def capitalised(words: str) -> str:
    """The words with their first letter in upper case."""
    place = next((i for i, character in enumerate(words) if character.isalpha()), 0)
    return words[:place] + words[place : place + 1].upper() + words[place + 1 :]


def gap_what(split: Split, metric: str) -> str:
    """What is less what in a generalization gap: "training − test accuracy"."""
    return text(
        "{train} − {split} {metric}",
        train=term_text("training"),
        split=term_text(split),
        metric=label_text(metric),
    )


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Every claim with its verdict; none where fewer than two batch sizes can be compared."""
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    return tuple(claim(evidence) for claim in CLAIMS)


def larger_batches_generalize_worse(evidence: Evidence) -> Sentence:
    """Whether the held-out metric falls as the batch size grows, after equal epochs."""
    claim = N_("Larger batches generalize worse")
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, text("there are no test and no validation data"))
    what = metric_text(split, evidence.metric)
    note = N_(
        "The largest of them also fits its training data less well, so part of it is less training."
    )
    return _ordered(evidence, claim, what, evidence.at_end(split), {"held": note})


def larger_batches_overfit_more(evidence: Evidence) -> Sentence:
    """Whether training gets further ahead of held-out data as the batch size grows."""
    claim = N_("Larger batches overfit more")
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, text("there are no test and no validation data"))
    what = text("generalization gap ({what})", what=gap_what(split, evidence.metric))
    note = N_(
        "The largest of them also fits its training data less well: a smaller gap there is a sign "
        "of less training."
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
    claim = N_("32 to 128 is a good start")
    inside = [cell for cell in evidence.cells if low <= cell.batch_size <= high]
    outside = [cell for cell in evidence.cells if cell not in inside]
    if not inside or not outside:
        why = (
            text("no batch size from {low} to {high} was run", low=low, high=high)
            if not inside
            else text("no batch size outside {low} to {high} was run", low=low, high=high)
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
            "{size} was no more than {tolerance} worse than any size outside, under {budgets}",
            size=evidence.name(start),
            tolerance=_tolerance_text(evidence),
            budgets=_budget_names(budgets),
        )
    else:
        verdict, seen = "cannot_tell", _open(evidence, start, held, budgets)
    return _sentence(claim, verdict, seen, evidence)


def full_batch_converges_better(evidence: Evidence) -> Sentence:
    """Whether full batch is better than every mini-batch size under every budget."""
    claim = N_("Full batch converges better")
    full = [cell for cell in evidence.cells if cell.batch_size == evidence.study.workload.n_train]
    minis = [cell for cell in evidence.cells if cell not in full]
    if not full:
        return _untold(claim, text("full batch was not run, or no trial of it ended well"))
    held = _held_everywhere(evidence, full[0], minis, evidence.budgets)
    worse = _findings(held, "worse")
    ahead = sorted({budget.name for budget, _, _ in _findings(held, "better")}, key=NAMES.index)
    if worse:
        verdict: ClaimVerdict = "did_not_hold"
        seen = _beaten(evidence, full[0], worse)
        if ahead:
            seen = text(
                "{seen}; it was ahead of some size under {budgets}",
                seen=seen,
                budgets=listing([equal_text(name) for name in ahead]),
            )
    elif len(_findings(held, "better")) == len(held):
        verdict = "held"
        seen = text(
            "it was better than every other size under {budgets}",
            budgets=_budget_names(evidence.budgets),
        )
    else:
        verdict, seen = "cannot_tell", _open(evidence, full[0], held, evidence.budgets)
    return _sentence(claim, verdict, seen, evidence)


CLAIMS: tuple[Callable[[Evidence], Sentence], ...] = (
    larger_batches_generalize_worse,
    larger_batches_overfit_more,
    good_start_between_32_and_128,
    full_batch_converges_better,
)

_WORDS: dict[ClaimVerdict, str] = {
    "held": N_("held here"),
    "did_not_hold": N_("did not hold here"),
    "cannot_tell": N_("cannot tell"),
    "not_tested": N_("not tested"),
}

_Held = Sequence[tuple[EqualBudget, Cell, Comparison]]


def rate_basis(study: Study) -> str:
    """At which learning rates the batch sizes were compared, in words."""
    rates: dict[int, set[float]] = {}
    rules = set()
    for record in study.records:
        rates.setdefault(record.trial.batch_size, set()).add(record.trial.learning_rate)
        rules.add(record.trial.scaling_rule)
    distinct = set().union(*rates.values())
    if len(distinct) == 1:
        return text(
            "at one fixed learning rate, {rate:learning_rate}, not tuned for each batch size",
            rate=distinct.pop(),
        )
    if all(len(own) == 1 for own in rates.values()):
        return _one_rate_each(rules)
    chosen_on = "validation" if study.workload.n_validation else "training"
    return text(
        "each at the best of its learning rates on {split} data", split=term_text(chosen_on)
    )


def _one_rate_each(rules: set[str]) -> str:
    """That each batch size has one rate, and by which rule where it was one alone."""
    if len(rules) != 1 or rules == {"none"}:
        return text("at one learning rate for each batch size, not tuned")
    (rule,) = rules
    if moves_adam(rule):
        return text(
            "at one learning rate for each batch size, set by the rule {rule}, which moves Adam's "
            "betas and eps too, not tuned",
            rule=rule,
        )
    return text(
        "at one learning rate for each batch size, set by the rule {rule}, not tuned", rule=rule
    )


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
        return _not_tested(claim, text("no train metric was measured after equal epochs"))
    compared = [cell for cell in fit.alike if measured.level(cell) is not None]
    if len(compared) < 2 or not fit.begun:
        why = text("after {budget}, {why}", budget=evidence.budgets[0].words,
                   why=fit.why_not_tested)  # fmt: skip
        return _not_tested(claim, why)
    first, last = compared[0], compared[-1]
    reversed_pairs = [
        text("from {first} to {last}", first=evidence.name(earlier), last=evidence.name(later))
        for earlier, later in pairwise(compared)
        if measured.compare(earlier, later, n_comparisons=len(compared) - 1).outcome == "worse"
    ]
    small, large = (_level_text(evidence, measured, cell) for cell in (first, last))
    levels = text("{what} was {small} and {large}", what=what, small=small, large=large)
    verdict, seen = _order_found(evidence, measured.compare(first, last), levels, reversed_pairs)
    after = text("after {budget}, {seen}", budget=evidence.budgets[0].words, seen=seen)
    told = _sentence(claim, verdict, after, evidence)
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
        seen = text("{levels}, a difference of {size}", levels=levels, size=size)
        if not reversed_pairs:
            return "held", seen
        other_way = text(
            "{seen}, but it went the other way {where}", seen=seen, where=listing(reversed_pairs)
        )
        return "did_not_hold", other_way
    if ends.outcome == "worse":
        return "did_not_hold", text("{levels}, the reverse, by {size}", levels=levels, size=size)
    if ends.outcome == "same":
        return "did_not_hold", text(
            "{levels}: no difference that matters, {size}, within {tolerance}",
            levels=levels,
            size=size,
            tolerance=_tolerance_text(evidence),
        )
    if ends.missing:
        return "cannot_tell", text("{levels} ({missing})", levels=levels, missing=ends.missing)
    return "cannot_tell", text(
        "{levels}: not told apart by these seeds, {size}", levels=levels, size=size
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
        "under {budget}, {better} was better than {worse} in {what} by {difference}",
        budget=budget.words,
        better=evidence.name(other),
        worse=evidence.name(cell),
        what=what,
        difference=difference_text(evidence.metric, comparison),
    )


def _open(evidence: Evidence, cell: Cell, held: _Held, budgets: Sequence[EqualBudget]) -> str:
    missing = [comparison.missing for _, _, comparison in held]
    if missing[0] is not None and None not in missing:
        return missing[0]
    return text(
        "{size} and the others differ by no more than the seeds scatter, in some comparison under "
        "{budgets}; more seeds would tell",
        size=evidence.name(cell),
        budgets=_budget_names(budgets),
    )


def _level_text(evidence: Evidence, measured: Measured, cell: Cell) -> str:
    return text(
        "{value} at {size}",
        value=quantity_text(evidence.metric, measured.level(cell)),
        size=evidence.name(cell),
    )


def _tolerance_text(evidence: Evidence) -> str:
    return quantity_text(evidence.metric, evidence.tolerance)


def _budget_names(budgets: Sequence[EqualBudget]) -> str:
    return listing([equal_text(budget.name) for budget in budgets])


def _untold(claim: str, why: str) -> Sentence:
    told = text("“{claim}”: cannot tell, {why}.", claim=text(claim), why=why)
    return Sentence(topic=claim, text=told, verdict="cannot_tell")


def _not_tested(claim: str, why: str) -> Sentence:
    told = text("“{claim}”: not tested, because {why}.", claim=text(claim), why=why)
    return Sentence(topic=claim, text=told, verdict="not_tested")


def _sentence(claim: str, verdict: ClaimVerdict, seen: str, evidence: Evidence) -> Sentence:
    return Sentence(
        topic=claim,
        text=text(
            "“{claim}”: {verdict}. {seen}. Compared {basis}.",
            claim=text(claim),
            verdict=text(_WORDS[verdict]),
            seen=capitalised(seen),
            basis=rate_basis(evidence.study),
        ),
        verdict=verdict,
    )
