"""Advice: the answer, with its interval, its evidence and what it does not know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batchlab.advice.parts import (
    Candidate,
    Configuration,
    Endings,
    Expected,
    HeadToHead,
    Laws,
    Objective,
    RateTried,
    Step,
    TargetAnswer,
    TargetOrigin,
    Verdict,
)
from batchlab.errors import UsageError
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.reason import Reason
from batchlab.records.shown import Reported
from batchlab.records.target import Target


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Advice(Reported):
    """The answer to "which batch size should I use?".

    Attributes:
        verdict: "recommend", "indifferent" (it does not matter within the flat set; the
            recommendation takes the least memory), "better" (for sure better than the reference,
            but others may be better still) or "cannot_tell".
        reason: why.
        objective: what was asked to be best.
        metric: the validation metric that says what is trained; empty: an older answer.
        better: its direction.
        target: the level that counts as trained; None: objective quality, or none could be set.
        target_origin: "given", "pilot" (what the reference ends with), "easier" (the budget did not
            reach for more).
        delta: the tolerance of the flat set, a fraction.
        recommendation: what to set; None where it cannot be told.
        provisional: where it cannot be told: the best so far; others may be better. Of those that
            were trained to their end, where what looks fastest was not or seems to end worse.
        flat_set: the batch sizes within it, ascending; empty where it cannot be told.
        expected: what the recommendation takes.
        gain: the reference configuration's figure over the recommendation's, measured on fresh
            seeds: 2.0 is twice as good. Where the reference missed the target: a lower bound. Of
            what a race of single runs names for now: by these, with an interval from how far such
            figures were off on recorded trainings.
        gain_from_batch_size: the same over the reference batch size at its tuned rate.
        reference: the workload's own configuration, or what stands in for it.
        stand_in_for: the workload's own batch size, where it cannot be had and `reference` stands
            in for it; None: `reference` is its own.
        reference_tuned: the reference batch size at its tuned rate; None: not tuned.
        candidates: all batch sizes in question, ascending.
        laws: fitted laws; None where nothing could be fitted.
        tried: every training run, in the order they were asked.
        head_to_head: the verification; None where there was none.
        endings: how whole trainings of the recommendation (or of what came nearest to one), of the
            reference and of the tuned reference end; None: the level was given, or no end was seen.
        other_targets: the decision at an easier and a harder target.
        missing: where it cannot be told: what was missing; None otherwise.
        more_budget_s: about how much more budget may settle it; None: not known or not needed.
        proposed_target: a target that the runs did reach, where the one given was not.
        caveats: what limits the answer.
        steps: what was done and why, in order.
        n_trials: training runs.
        spent_s: seconds spent.
        budget_s: seconds allowed.
        trainings: the same in trainings of the reference, where it was asked for so; else None.
        pay_back_runs: after how many full training runs the study has paid for itself; None:
            nothing is saved, or it is not known.
        kept_in: the store's path and the study's id, where its runs are; None: not known.
    """

    verdict: Verdict
    reason: Reason
    objective: Objective
    target: Target | None
    target_origin: TargetOrigin
    delta: float
    recommendation: Configuration | None
    metric: str = ""
    better: Better = "lower"
    provisional: Configuration | None = None
    flat_set: tuple[int, ...]
    expected: Expected | None
    gain: Estimate
    gain_from_batch_size: Estimate
    reference: Configuration
    reference_tuned: Configuration | None
    stand_in_for: int | None = None
    candidates: tuple[Candidate, ...]
    laws: Laws | None
    tried: tuple[RateTried, ...]
    head_to_head: HeadToHead | None
    endings: Endings | None = None
    other_targets: tuple[TargetAnswer, ...] = ()
    missing: Reason | None = None
    more_budget_s: float | None = None
    proposed_target: Target | None = None
    caveats: tuple[Reason, ...] = ()
    steps: tuple[Step, ...] = ()
    n_trials: int
    spent_s: float
    budget_s: float
    trainings: float | None = None
    pay_back_runs: float | None = None
    kept_in: tuple[str, str] | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        """The verdict and what is named; the fields and `to_dict` have the rest."""
        named = self.named
        if named is None:
            return f"Advice(verdict={self.verdict!r})"
        part = "recommendation" if self.recommendation else "provisional"
        return f"Advice(verdict={self.verdict!r}, {part}={named!r})"

    @property
    def named(self) -> Configuration | None:
        """The recommendation, or where it cannot be told the best so far; None: neither."""
        return self.recommendation or self.provisional

    def apply(self, optimizer: Any) -> None:
        """Set the learning rate of what is named in every group of an optimizer.

        The batch size is your loader's, and a rate that falls (`cool_down`) your scheduler's.

        Args:
            optimizer: a PyTorch one, before the training.

        Raises:
            UsageError: nothing is named.
        """
        if self.named is None:
            raise UsageError(
                "this advice names no configuration: it can't be told; its `missing` says what "
                "would settle it"
            )
        for group in optimizer.param_groups:
            group["lr"] = self.named.learning_rate

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints, described by docs/schema/advise.json, as plain dicts and lists.

        What only the command knows (its command line, the study, the store, the page) is None.
        """
        from batchlab.advice.document import advice_dict  # msgspec loads when it is needed

        return advice_dict(self)

    def candidate(self, batch_size: int) -> Candidate | None:
        """The candidate of `batch_size`, None if it was not in question."""
        for candidate in self.candidates:
            if candidate.batch_size == batch_size:
                return candidate
        return None
