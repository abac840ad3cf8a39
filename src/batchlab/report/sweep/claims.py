"""Claims: what people say of batch sizes, each held against this study's own numbers.

A claim is one function and one row of `CLAIMS`. Its verdict follows from intervals over seeds;
with one seed there is none, and the verdict is "cannot_tell" whatever the numbers look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from batchlab.laws.statistics import mean_interval
from batchlab.planning.scaling import moves_adam
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell, held_out_split
from batchlab.report.sweep.comparison import Comparison, Seeds, difference_text
from batchlab.report.sweep.equal_budget import (
    NAMES,
    EqualBudget,
    budget_split,
    metric_text,
)
from batchlab.report.sweep.evidence import Evidence
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


def larger_batches_generalise_worse(evidence: Evidence) -> Sentence:
    """Whether the held-out metric falls as the batch size grows, after equal epochs."""
    claim = N_("Larger batches generalise worse")
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, text("there are no test and no validation data"))
    values = [(cell, evidence.at_end(cell, split)) for cell in evidence.cells]
    found = _ordered(
        evidence, claim, what=metric_text(split, evidence.metric), values=values, sign=1.0
    )
    if found.verdict != "held" or not _largest_is_less_trained(evidence):
        return found
    return found.with_note(
        text(
            "The largest batch also fits its training data less well, so part of it is less "
            "training."
        )
    )


def larger_batches_overfit_more(evidence: Evidence) -> Sentence:
    """Whether training gets further ahead of held-out data as the batch size grows."""
    claim = N_("Larger batches overfit more")
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, text("there are no test and no validation data"))
    gaps = [(cell, _gaps(evidence, cell, split)) for cell in evidence.cells]
    # Ahead in training means a gap above 0 for a metric that goes up, below 0 for one that goes
    # down; a cell that overfits more is the "worse" one either way.
    found = _ordered(
        evidence,
        claim,
        what=text("generalization gap ({what})", what=gap_what(split, evidence.metric)),
        values=gaps,
        sign=-1.0,
    )
    if found.verdict == "held" or not _largest_is_less_trained(evidence):
        return found
    return found.with_note(
        text(
            "The largest batch also fits its training data less well: a smaller gap there is a "
            "sign of less training."
        )
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
                budgets=listing([_equal_text(name) for name in ahead]),
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
    larger_batches_generalise_worse,
    larger_batches_overfit_more,
    good_start_between_32_and_128,
    full_batch_converges_better,
)

_WORDS: dict[ClaimVerdict, str] = {
    "held": N_("held here"),
    "did_not_hold": N_("did not hold here"),
    "cannot_tell": N_("cannot tell"),
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
    *,
    what: str,
    values: Sequence[tuple[Cell, Seeds]],
    sign: float,
) -> Sentence:
    """A claim that the first of `values` is better than the last, and nothing reverses between.

    `sign` is 1 where the values have the metric's own direction, -1 where they have the other.
    """
    turned = [(cell, {s: sign * v for s, v in seeds.items()}) for cell, seeds in values]
    (_, first), (_, last) = turned[0], turned[-1]
    ends = evidence.compare(first, last)
    reversed_pairs = [
        text("from {first} to {last}", first=evidence.name(earlier), last=evidence.name(later))
        for (earlier, one), (later, two) in pairwise(turned)
        if evidence.compare(one, two, n_comparisons=len(turned) - 1).outcome == "worse"
    ]
    small, large = (_mean_text(evidence, *values[place]) for place in (0, -1))
    levels = text("{what} was {small} and {large}", what=what, small=small, large=large)
    verdict, seen = _order_found(evidence, ends, levels, reversed_pairs)
    after = text("after {budget}, {seen}", budget=evidence.budgets[0].words, seen=seen)
    return _sentence(claim, verdict, after, evidence)


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
        "{levels}: no difference beyond scatter, {size}", levels=levels, size=size
    )


def _held_everywhere(
    evidence: Evidence, cell: Cell, others: Sequence[Cell], budgets: Sequence[EqualBudget]
) -> _Held:
    """`cell` against each of `others` under each budget, all intervals holding together."""
    split, n = budget_split(evidence.study), len(others) * len(budgets)
    return [
        (
            budget,
            other,
            evidence.compare(
                budget.by_seed(cell, split, evidence.metric),
                budget.by_seed(other, split, evidence.metric),
                n_comparisons=n,
            ),
        )
        for budget in budgets
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


def _gaps(evidence: Evidence, cell: Cell, split: Split) -> Seeds:
    train, held_out = evidence.at_end(cell, "train"), evidence.at_end(cell, split)
    return {seed: train[seed] - held_out[seed] for seed in train if seed in held_out}


def _largest_is_less_trained(evidence: Evidence) -> bool:
    first, last = (evidence.at_end(evidence.cells[place], "train") for place in (0, -1))
    return evidence.compare(last, first).outcome == "worse"


def _mean_text(evidence: Evidence, cell: Cell, seeds: Seeds) -> str:
    mean = mean_interval(list(seeds.values())).estimate
    return text(
        "{value} at {size}", value=quantity_text(evidence.metric, mean), size=evidence.name(cell)
    )


def _tolerance_text(evidence: Evidence) -> str:
    return quantity_text(evidence.metric, evidence.tolerance)


def _budget_names(budgets: Sequence[EqualBudget]) -> str:
    return listing([_equal_text(budget.name) for budget in budgets])


def _equal_text(name: str) -> str:
    return text("equal {what}", what=term_text(name))


def _untold(claim: str, why: str) -> Sentence:
    told = text("“{claim}”: cannot tell, {why}.", claim=text(claim), why=why)
    return Sentence(topic=claim, text=told, verdict="cannot_tell")


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
