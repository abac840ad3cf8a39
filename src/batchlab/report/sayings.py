"""Common claims about batch size, each tested against the numbers of one study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from statistics import fmean

from batchlab.belief.cells import Cell, budget_split, held_out_split
from batchlab.belief.equal_budget import EqualBudget
from batchlab.belief.evidence import Evidence, Measured
from batchlab.belief.statements import (
    Array,
    Verdict,
    better_than_all,
    falls,
    no_worse_than_any,
    rises,
    seeds_to_tell,
)
from batchlab.laws.plateau import STARTED_DELTAS
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Split
from batchlab.report.cells import budget_text, gap_quantity, level_text, measured_text
from batchlab.report.text import (
    ClaimVerdict,
    Sentence,
    batch_sizes_text,
    batch_text,
    estimate_text,
    quantity_text,
    split_label,
)
from batchlab.words.catalogue import listing, sentence

_GOOD_START = (32, 128)
_MOST_SEEDS = 50  # a larger number of seeds is reported as "more than 50"

# Batch sizes count as equally well trained if their train metrics are at most this many times
# `Evidence.improvement` from the best (0.01 in accuracy, or 5 % of a loss). Only then does a
# difference on held-out data show how well they generalize, not how far they were trained.
_IMPROVEMENTS = 5
_EQUALLY = "at two batch sizes under an equal budget"

_Judged = tuple[ClaimVerdict, str]


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Judge each common claim, with the reason; return nothing for fewer than two batch sizes.

    The claim is the `topic` of the returned sentence.
    """
    evidence = evidence.of_sizes
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    sentences: list[Sentence] = []
    for topic, claim in CLAIMS.items():
        verdict, reason = claim(evidence)
        sentences.append(Sentence(topic=topic, text=reason, verdict=verdict))
    return tuple(sentences)


def good_start_between_32_and_128(evidence: Evidence) -> _Judged:
    """Judge whether a batch size of 32 to 128 is a good start.

    The claim holds if, of the trained sizes from 32 to 128, the one nearest to 64 is at most a
    margin worse than every size outside. Equal epochs and equal time are compared, but not equal
    steps, under which a larger batch wins by seeing more data.
    """
    low, high = _GOOD_START
    inside = [cell for cell in evidence.cells if low <= cell.batch_size <= high]
    outside = [cell for cell in evidence.cells if cell not in inside]
    for where, trained in (("from", inside), ("outside", outside)):
        if not trained:
            what = f"a whole training with a batch size {where} {low} to {high}"
            return "not_tested", sentence("not_measured", what=what)
    # Choose by size, not by result, because the best of several noisy results would be too good.
    start = min(inside, key=lambda cell: abs(math.log2(cell.batch_size / 64)))
    budgets = [budget for budget in evidence.budgets if budget.name != "steps"]
    how = "at most {margin} worse than any size outside"
    return _against_others(evidence, start, outside, budgets, no_worse_than_any, how=how)


def full_batch_converges_better(evidence: Evidence) -> _Judged:
    """Judge whether the full batch is better than every mini-batch size under every budget."""
    n_train = evidence.study.workload.n_train
    by_size = dict(zip(map(attrgetter("batch_size"), evidence.cells), evidence.cells, strict=True))
    full = by_size.pop(n_train, None)
    if full is None:
        return "not_tested", sentence("not_measured", what="a whole training with full batch")
    others, how = list(by_size.values()), "better than every other size"
    return _against_others(evidence, full, others, evidence.budgets, better_than_all, how=how)


# ---- does a metric fall as the batch size grows


def cells_alike_in_training(evidence: Evidence) -> list[Cell]:
    """Return the configurations whose train metric is at most `_fit_margin` from the best.

    The list is empty if even the best configuration has hardly learned. A held-out metric then
    shows how far training got, not how well the model generalizes.
    """
    fits = evidence.ends("train", evidence.budgets[0])
    if not fits.ranked:
        return []
    best, untrained = fits.level(fits.ranked[0]), evidence.untrained("train")
    if untrained and abs(best - fmean(untrained)) <= STARTED_DELTAS * evidence.improvement:
        return []
    margin = _fit_margin(evidence)
    measured = filter(fits.values, evidence.cells)
    return [cell for cell in measured if abs(fits.level(cell) - best) <= margin]


def _fit_margin(evidence: Evidence) -> float:
    return _IMPROVEMENTS * evidence.improvement


def _falls_with_size(
    evidence: Evidence, measure: Callable[[Evidence, Split, EqualBudget], Measured]
) -> _Judged:
    """Judge whether larger batch sizes give worse values of `measure`.

    The smallest size must beat the largest, and no size may beat the next smaller size.
    """
    split, epochs = held_out_split(evidence.study), evidence.budgets[0]
    if split is None:
        return "cannot_tell", sentence("not_measured", what="test or validation data")
    measured, fits = measure(evidence, split, epochs), evidence.ends("train", epochs)
    alike = cells_alike_in_training(evidence)
    compared = list(filter(measured.values, alike))
    if len(fits.ranked) < 2:
        return "not_tested", sentence("not_measured", what=f"{measured_text(fits)} {_EQUALLY}")
    if len(alike) < 2:
        return "not_tested", sentence(
            "trained_unequally",
            budget=budget_text(epochs),
            train=measured_text(fits),
            best=level_text(fits, fits.ranked[0]),
            worst=level_text(fits, fits.ranked[-1]),
        )
    if len(compared) < 2:
        return "not_tested", sentence("not_measured", what=f"{measured_text(measured)} {_EQUALLY}")
    draws = measured.draws(compared)
    verdict: Verdict = "cannot_tell" if draws is None else falls(draws, measured.margin)
    reason = _pair_text(measured, compared[0], compared[-1], verdict)
    if draws is not None and verdict == "held" and rises(draws):
        verdict = "did_not_hold"
        names = [batch_text(evidence.study, cell.kind) for cell in compared]
        steps = [f"from {names[i]} to {names[i + 1]}" for i in rises(draws)]
        reason += f" {sentence('goes_other_way', steps=listing(steps))}"
    others = [cell.batch_size for cell in evidence.cells if cell not in alike]
    if others:
        left_out = sentence(
            "left_out_of_claim",
            sizes=batch_sizes_text(evidence.study, others),
            train=measured_text(fits),
            apart=quantity_text(gap_quantity(evidence.study), _fit_margin(evidence)),
        )
        reason += f" {left_out}"
    return verdict, reason


# ---- is one batch size as good as all others


def _against_others(
    evidence: Evidence,
    cell: Cell,
    others: Sequence[Cell],
    budgets: Sequence[EqualBudget],
    statement: Callable[[Array, float], Verdict],
    *,
    how: str,
) -> _Judged:
    """Judge whether a statement that compares `cell` with `others` holds under each budget.

    `how` says in words what the statement claims, for the returned sentence.
    """
    split = budget_split(evidence.study)
    compared: list[str] = []
    # For each sentence that compares two configurations without a verdict: the number of seeds that
    # would give a verdict.
    undecided: dict[str, float] = {}
    for budget in budgets:
        measured = evidence.ends(split, budget)
        best_first = [other for other in measured.ranked if other in others]
        if not best_first or not measured.values(cell):
            continue
        compared.append(f"equal {budget.name}")
        draws = measured.draws([cell, *best_first])
        verdict = "cannot_tell" if draws is None else statement(draws, measured.margin)
        if verdict == "did_not_hold":
            return verdict, _pair_text(measured, cell, best_first[0], verdict)
        if verdict == "cannot_tell":
            for other in best_first:
                n_seeds = seeds_to_tell(measured.difference(cell, other), measured.margin)
                undecided[_pair_text(measured, cell, other, verdict)] = n_seeds
    if not compared:
        what = f"{split_label(split, evidence.metric)} {_EQUALLY}"
        return "not_tested", sentence("not_measured", what=what)
    if undecided:
        return "cannot_tell", max(undecided, key=undecided.__getitem__)
    size = batch_text(evidence.study, cell.kind)
    how = how.format(margin=quantity_text(gap_quantity(evidence.study), evidence.margin))
    return "held", sentence("compares_with_all", budgets=listing(compared), size=size, how=how)


# ---- in words


def _pair_text(measured: Measured, one: Cell, other: Cell, verdict: Verdict) -> str:
    """Compare two configurations in a sentence.

    If the verdict is open, the sentence says how many seeds would decide; else it may say by how
    much one configuration is better.
    """
    difference = measured.difference(one, other)
    if (difference.estimate or 0.0) < 0:
        difference = measured.difference(other, one)
    quantity = gap_quantity(measured.study)
    pair = sentence(
        "pair_differs",
        budget=budget_text(measured.budget),
        what=measured_text(measured),
        one=level_text(measured, one),
        other=level_text(measured, other),
        difference=estimate_text(quantity, difference),
    )
    if verdict == "cannot_tell":
        return f"{pair} {_seeds_text(difference, measured.margin)}"
    if verdict == "did_not_hold" and (difference.estimate or 0.0) < measured.margin:
        margin = quantity_text(quantity, measured.margin)
        return f"{pair} {sentence('margin_counts', margin=margin)}"
    return pair


def _seeds_text(difference: Estimate, margin: float) -> str:
    if difference.low is None:
        return sentence("one_seed_each")
    # With one seed each, the scatter between seeds is assumed, so no number of seeds is computed.
    seeds = "a second seed of each, and perhaps more,"
    if difference.n > 2:
        n = max(seeds_to_tell(difference, margin), difference.n // 2 + 1)
        about = f"about {n}" if n <= _MOST_SEEDS else f"more than {_MOST_SEEDS}"
        seeds = f"{about} seeds of each"
    return sentence("seeds_would_tell", seeds=seeds)


CLAIMS: dict[str, Callable[[Evidence], _Judged]] = {
    "Larger batches generalize worse": partial(_falls_with_size, measure=Evidence.ends),
    "Larger batches overfit more": partial(_falls_with_size, measure=Evidence.gaps),
    "32 to 128 is a good start": good_start_between_32_and_128,
    "Full batch converges better": full_batch_converges_better,
}
