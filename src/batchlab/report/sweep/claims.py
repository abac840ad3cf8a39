"""Claims: what people say of batch sizes, each held against this study's own numbers.

A claim is one function and one row of `CLAIMS`. Its verdict follows from intervals over seeds;
with one seed there is none, and the verdict is "cannot_tell" whatever the numbers look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from batchlab.laws.plateau import default_delta
from batchlab.laws.statistics import mean_interval
from batchlab.planning.scaling import moves_adam
from batchlab.records.quantities import Better
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
from batchlab.report.sweep.cells import Cell, chosen_cells, held_out_split
from batchlab.report.sweep.comparison import Comparison, Seeds, compare, difference_text
from batchlab.report.sweep.equal_budget import (
    NAMES,
    EqualBudget,
    budget_split,
    equal_budget,
    metric_text,
)

GOOD_START = (32, 128)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the claims are held against.

    Attributes:
        study: the study.
        cells: of every batch size the cell that the report shows, where a trial ended well.
        budgets: the equal budgets that exist, epochs first.
    """

    study: Study
    cells: tuple[Cell, ...]
    budgets: tuple[EqualBudget, ...]

    @classmethod
    def of(cls, study: Study) -> Evidence:
        """Gather the cells and the budgets of a study."""
        cells = tuple(cell for cell in chosen_cells(study) if cell.ended_well)
        budgets = (equal_budget(study, cells, name) for name in NAMES)
        return cls(
            study=study,
            cells=cells,
            budgets=tuple(budget for budget in budgets if budget is not None),
        )

    @property
    def metric(self) -> str:
        """The metric that counts."""
        return self.study.workload.metrics[0].name

    @property
    def better(self) -> Better:
        """Its direction."""
        return self.study.workload.metrics[0].better

    @property
    def tolerance(self) -> float:
        """The difference that does not matter: the delta of the plateau rule."""
        finals = [cell.final(budget_split(self.study), self.metric) for cell in self.cells]
        values = [final.mean for final in finals if final is not None]
        return default_delta(self.metric, values) if values else 0.0

    def at_end(self, cell: Cell, split: Split) -> Seeds:
        """By seed, the metric after equal epochs."""
        return self.budgets[0].by_seed(cell, split, self.metric)

    def compare(self, first: Seeds, second: Seeds, *, n_comparisons: int = 1) -> Comparison:
        """Compare two cells on the metric that counts."""
        return compare(
            first,
            second,
            better=self.better,
            tolerance=self.tolerance,
            n_comparisons=n_comparisons,
        )

    def name(self, cell: Cell) -> str:
        """A batch size in words."""
        return batch_text(self.study, cell.batch_size)


def batch_text(study: Study, batch_size: int) -> str:
    """A batch size in words: "batch size 64", "full batch"."""
    return "full batch" if batch_size == study.workload.n_train else f"batch size {batch_size}"


def claim_sentences(evidence: Evidence) -> tuple[Sentence, ...]:
    """Every claim with its verdict; none where fewer than two batch sizes can be compared."""
    if len(evidence.cells) < 2 or not evidence.budgets:
        return ()
    return tuple(claim(evidence) for claim in CLAIMS)


def larger_batches_generalise_worse(evidence: Evidence) -> Sentence:
    """Whether the held-out metric falls as the batch size grows, after equal epochs."""
    claim = "Larger batches generalise worse"
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, "there are no test and no validation data")
    values = [(cell, evidence.at_end(cell, split)) for cell in evidence.cells]
    found = _ordered(
        evidence, claim, what=metric_text(split, evidence.metric), values=values, sign=1.0
    )
    if found.verdict != "held" or not _largest_is_less_trained(evidence):
        return found
    return found.with_note(
        "The largest batch also fits its training data less well, so part of it is less training."
    )


def larger_batches_overfit_more(evidence: Evidence) -> Sentence:
    """Whether training gets further ahead of held-out data as the batch size grows."""
    claim = "Larger batches overfit more"
    split = held_out_split(evidence.study)
    if split is None:
        return _untold(claim, "there are no test and no validation data")
    gaps = [(cell, _gaps(evidence, cell, split)) for cell in evidence.cells]
    # Ahead in training means a gap above 0 for a metric that goes up, below 0 for one that goes
    # down; a cell that overfits more is the "worse" one either way.
    found = _ordered(
        evidence,
        claim,
        what=f"generalization gap (training − {split} {evidence.metric})",
        values=gaps,
        sign=-1.0,
    )
    if found.verdict == "held" or not _largest_is_less_trained(evidence):
        return found
    return found.with_note(
        "The largest batch also fits its training data less well: a smaller gap there is a sign of "
        "less training."
    )


def good_start_between_32_and_128(evidence: Evidence) -> Sentence:
    """Whether the size nearest 64 within 32 to 128 is about as good as every size outside.

    Under equal epochs and equal time: under equal steps a larger batch sees more data, and wins
    for that reason alone.
    """
    low, high = GOOD_START
    claim = f"{low} to {high} is a good start"
    inside = [cell for cell in evidence.cells if low <= cell.batch_size <= high]
    outside = [cell for cell in evidence.cells if cell not in inside]
    if not inside or not outside:
        where = f"from {low} to {high}" if not inside else f"outside {low} to {high}"
        return _untold(claim, f"no batch size {where} was run")
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
        seen = (
            f"{evidence.name(start)} was no more than {_tolerance_text(evidence)} worse than any "
            f"size outside, under {_budget_names(budgets)}"
        )
    else:
        verdict, seen = "cannot_tell", _open(evidence, start, held, budgets)
    return _sentence(claim, verdict, seen, evidence)


def full_batch_converges_better(evidence: Evidence) -> Sentence:
    """Whether full batch is better than every mini-batch size under every budget."""
    claim = "Full batch converges better"
    full = [cell for cell in evidence.cells if cell.batch_size == evidence.study.workload.n_train]
    minis = [cell for cell in evidence.cells if cell not in full]
    if not full:
        return _untold(claim, "full batch was not run, or no trial of it ended well")
    held = _held_everywhere(evidence, full[0], minis, evidence.budgets)
    worse = _findings(held, "worse")
    ahead = sorted({budget.name for budget, _, _ in _findings(held, "better")}, key=NAMES.index)
    if worse:
        verdict: ClaimVerdict = "did_not_hold"
        seen = _beaten(evidence, full[0], worse)
        if ahead:
            seen += f"; it was ahead of some size under equal {' and equal '.join(ahead)}"
    elif len(_findings(held, "better")) == len(held):
        verdict = "held"
        seen = f"it was better than every other size under {_budget_names(evidence.budgets)}"
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
    "held": "held here",
    "did_not_hold": "did not hold here",
    "cannot_tell": "cannot tell",
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
        rate = quantity_text("learning_rate", distinct.pop())
        return f"at one fixed learning rate, {rate}, not tuned for each batch size"
    if all(len(own) == 1 for own in rates.values()):
        return f"at one learning rate for each batch size{_by_rule(rules)}, not tuned"
    chosen_on = "validation" if study.workload.n_validation else "training"
    return f"each at the best of its learning rates on {chosen_on} data"


def _by_rule(rules: set[str]) -> str:
    """The one rule that set the rates, in words; empty: there was none, or several."""
    if len(rules) != 1 or rules == {"none"}:
        return ""
    (rule,) = rules
    with_adam = ", which moves Adam's betas and eps too" if moves_adam(rule) else ""
    return f", set by the rule {rule}{with_adam}"


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
        f"{evidence.name(earlier)} to {evidence.name(later)}"
        for (earlier, one), (later, two) in pairwise(turned)
        if evidence.compare(one, two, n_comparisons=len(turned) - 1).outcome == "worse"
    ]
    small, large = (_mean_text(evidence, *values[place]) for place in (0, -1))
    seen = f"{what} was {small} and {large}"
    size = difference_text(evidence.metric, ends)
    verdict: ClaimVerdict
    if ends.outcome == "better":
        verdict = "did_not_hold" if reversed_pairs else "held"
        seen += f", a difference of {size}"
        if reversed_pairs:
            seen += f", but it went the other way from {' and from '.join(reversed_pairs)}"
    elif ends.outcome == "worse":
        verdict, seen = "did_not_hold", f"{seen}, the reverse, by {size}"
    elif ends.outcome == "same":
        verdict = "did_not_hold"
        seen += f": no difference that matters, {size}, within {_tolerance_text(evidence)}"
    else:
        verdict = "cannot_tell"
        seen += f" ({ends.missing})" if ends.missing else f": no difference beyond scatter, {size}"
    return _sentence(claim, verdict, f"after {evidence.budgets[0].words}, {seen}", evidence)


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
    return (
        f"under {budget.words}, {evidence.name(other)} was better than {evidence.name(cell)} in "
        f"{what} by {difference_text(evidence.metric, comparison)}"
    )


def _open(evidence: Evidence, cell: Cell, held: _Held, budgets: Sequence[EqualBudget]) -> str:
    missing = [comparison.missing for _, _, comparison in held]
    if missing[0] is not None and None not in missing:
        return missing[0]
    return (
        f"{evidence.name(cell)} and the others differ by no more than the seeds scatter, in some "
        f"comparison under {_budget_names(budgets)}; more seeds would tell"
    )


def _gaps(evidence: Evidence, cell: Cell, split: Split) -> Seeds:
    train, held_out = evidence.at_end(cell, "train"), evidence.at_end(cell, split)
    return {seed: train[seed] - held_out[seed] for seed in train if seed in held_out}


def _largest_is_less_trained(evidence: Evidence) -> bool:
    first, last = (evidence.at_end(evidence.cells[place], "train") for place in (0, -1))
    return evidence.compare(last, first).outcome == "worse"


def _mean_text(evidence: Evidence, cell: Cell, seeds: Seeds) -> str:
    mean = mean_interval(list(seeds.values())).estimate
    return f"{quantity_text(evidence.metric, mean)} at {evidence.name(cell)}"


def _tolerance_text(evidence: Evidence) -> str:
    return quantity_text(evidence.metric, evidence.tolerance)


def _budget_names(budgets: Sequence[EqualBudget]) -> str:
    names = [f"equal {budget.name}" for budget in budgets]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _untold(claim: str, why: str) -> Sentence:
    return Sentence(topic=claim, text=f"“{claim}”: cannot tell, {why}.", verdict="cannot_tell")


def _sentence(claim: str, verdict: ClaimVerdict, seen: str, evidence: Evidence) -> Sentence:
    return Sentence(
        topic=claim,
        text=(
            f"“{claim}”: {_WORDS[verdict]}. {seen[0].upper()}{seen[1:]}. "
            f"Compared {rate_basis(evidence.study)}."
        ),
        verdict=verdict,
    )
