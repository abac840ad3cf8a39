"""Question, Option: what the advice is asked, with what the profile says of each batch size."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.parts import Configuration, Objective, TargetOrigin
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.reason import Reason
from batchlab.records.target import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A batch size in question, as the profile saw it.

    Attributes:
        batch_size: examples per optimizer step.
        micro_batch_size: how it fits into memory; equal to `batch_size` where it fits whole.
        step_s: seconds per step of the user's own training, measured alone: what is known of it,
            from this batch size's own times and from the others'; a mean over an epoch, whose last
            batch may be smaller.
        peak_bytes: peak memory above an idle process; None: not reported.
        note: why it cannot be had (out of memory, an error); None: it ran.
        timed_s: the step time by its own times alone, for the law; None: `step_s` is that.
    """

    batch_size: int
    micro_batch_size: int
    step_s: Estimate
    peak_bytes: int | None
    note: Reason | None = None
    timed_s: Estimate | None = None

    @property
    def runs(self) -> bool:
        """Whether it ran, so that it may be recommended."""
        return self.note is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked of the advice.

    Attributes:
        objective: "time", "samples" or "quality".
        metric: the validation metric that says what is trained.
        better: its direction.
        target: the level that counts as trained; None: a pilot run of the reference sets it.
        target_origin: "given" where the user gave it.
        reference: the workload's own configuration.
        options: every batch size in question, ascending; the reference's is among them.
        n_train: examples in the training set.
        n_validation: examples that the metric is a mean over; None: not known.
        delta: tolerance of the flat set.
        budget_s: seconds that the runs may take, by the engine's clock, from its start.
        longest_epochs: no run goes further than this many passes; None: as the budget allows.
            For objective quality: the fixed number of passes that all batch sizes get.
        longest_s: for objective quality instead: the fixed seconds of training that all get.
        rules: by batch size, what each scaling rule sets from a rate tuned at the reference batch
            size, as multiples of that rate; rules that refuse are left out.
        not_comparable: why the metric cannot compare batch sizes, so that nothing is trained;
            None: it can.
    """

    objective: Objective
    metric: str
    better: Better
    target: Target | None
    target_origin: TargetOrigin
    reference: Configuration
    options: tuple[Option, ...]
    n_train: int
    n_validation: int | None = None
    delta: float = 0.1
    budget_s: float
    longest_epochs: float | None = None
    longest_s: float | None = None
    rules: tuple[tuple[int, tuple[tuple[str, float], ...]], ...] = ()
    not_comparable: Reason | None = None

    def option(self, batch_size: int) -> Option:
        """The option of `batch_size`; it is one of them."""
        return next(option for option in self.options if option.batch_size == batch_size)
