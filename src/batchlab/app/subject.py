"""Subject: the workload or script of a question, and what the question's arguments mean for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

from batchlab import errors
from batchlab.app.question import Request
from batchlab.errors import BatchSizeError, UsageError, WorkloadError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.plans.plan import instead_of_decay
from batchlab.plans.scaling import scaling_rule
from batchlab.processes.children import Ended
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.quantities import Better
from batchlab.records.run import UNWATCHED, AllSplits, PlanName, RunLength
from batchlab.records.study import USUAL_SIZES, WorkloadSummary
from batchlab.records.trial import Target, Trial
from batchlab.runs.contract import Engine, RunPlan
from batchlab.store.store import Store
from batchlab.words.catalogue import listing
from batchlab.words.reasons import reason_text

KindT = TypeVar("KindT")

DEFAULT_EPOCHS = 10
_SMALLEST = 8
# Evaluations per epoch without a target: just enough to plot the curve.
_LOOKS_AT_AN_EPOCH = 16
# The fractions of a run after which `decay` cuts the rate and `grow` enlarges the batch, and
# the factor: three cuts, most of them in the second half, as in usual schedules.
_CUTS, _CUT = (0.4, 0.7, 0.9), 4.0
# For a small training set, try also sizes below 8, down to the size with this many steps per epoch.
_STEPS_PER_EPOCH = 32


class Subject(ABC):
    """The subject of a question: a workload, run in child processes, or a command, run as it is.

    Recorded trainings may be a subject too, so its data and model need not be in this process.
    """

    summary: WorkloadSummary  # the known facts; complete after `look`
    name: str  # the name for people
    is_usual = False  # whether its batch size is a default, which nobody chose
    has_shape = False  # whether a schedule may fit its learning rate to a training's length
    may_stretch = False  # whether that schedule adapts to any length of a training
    constant_until = 0.0  # the first fraction of a training with a constant rate
    schedule_text = "the workload's own schedule"  # the schedule in words
    stops_early = False  # whether a patience ends its trainings
    # The usual epochs of a training, or None if the subject does not define them.
    planned_epochs: int | None = None
    planned_target: tuple[str, float] | None = None  # the usual target, if any
    all_splits: AllSplits = "on_the_way"  # when its training and test data are evaluated
    weighs_examples = False  # whether its loss is not a plain mean over examples
    keeps_cadence = True  # whether runs are evaluated at the steps of `batchlab.plans.cadence`

    def __init__(self, question: Request) -> None:
        """Keep the question; nothing is read or run yet."""
        self.question = question

    # ---- what it is

    @abstractmethod
    def look(self, refuse: Callable[[], object]) -> None:
        """Complete the summary from the store or from a check of the subject; warn of oddities.

        `refuse` raises an error for a question that has no answer, and is called as early as that
        can be known.
        """

    # ---- what the question means for it

    @property
    def epochs(self) -> int | None:
        """The epochs asked for or planned, or None if a training's length is not in epochs."""
        question = self.question
        if question.epochs is not None or question.steps is not None:
            return question.epochs
        if self.planned_epochs is not None:
            return self.planned_epochs
        return self._usual_epochs()

    def _usual_epochs(self) -> int | None:
        """Return the default if equal epochs or a rate with a shape need a number, else None."""
        is_open = self.question.name == "advise" and self.question.objective != "quality"
        if is_open and not self.has_shape:
            return None
        return DEFAULT_EPOCHS

    @property
    def target(self) -> Target | None:
        """The target asked for, or the usual one for an advice on time or samples, else None."""
        question = self.question
        if question.target is not None:
            target = self.checked_target(question.target)
            if question.objective == "quality":
                raise UsageError(
                    f"target {target.metric}={target.value:g} with objective quality: quality is "
                    f"compared after the same number of epochs for all; leave --target out, or "
                    f"ask for objective time"
                )
            return target
        needs_target = question.name == "advise" and question.objective != "quality"
        if needs_target and self.planned_target is not None:
            return self.checked_target(self.planned_target)
        return None

    @property
    def metric(self) -> str:
        """The metric that an advice compares by: the target's, or else the subject's first."""
        return self.target.metric if self.target else self.summary.metrics[0].name

    @property
    def better(self) -> Better:
        """Whether higher or lower values of the compared metric are better."""
        return next(m.better for m in self.summary.metrics if m.name == self.metric)

    @property
    def why_not_comparable(self) -> Reason | None:
        """Why batch sizes cannot be compared by that metric, or None if they can."""
        if self.metric == "loss" and self.summary.loss_couples:
            return Reason.of("losses_not_comparable")
        return None

    @property
    def settings_rule(self) -> str:
        """The scaling rule for Adam's settings, but not the tuned rate, at other batch sizes."""
        return "none" if self.summary.adam is None else "sqrt"

    @abstractmethod
    def checked_target(self, target: tuple[str, float]) -> Target:
        """Return the target `(metric, value)` on the subject's validation data, or refuse it."""

    @property
    def length(self) -> RunLength:
        """The length of the subject's trials."""
        length = self.seldom_watched_length
        if length.until is None:
            return length
        return replace(length, watched_from_samples=0, interval_samples=0)

    @property
    def seldom_watched_length(self) -> RunLength:
        """The same length with only enough evaluations for a plot."""
        epochs, steps = self.epochs, self.question.steps
        length = RunLength(
            epochs=epochs,
            steps=steps,
            until=self.target,
            all_splits=self.all_splits,
            to_own_end=self.question.name == "sweep" and not (epochs or steps),
        )
        if not self.keeps_cadence:
            return length
        apart = self.summary.n_train // _LOOKS_AT_AN_EPOCH
        return replace(length, watched_from_samples=UNWATCHED, interval_samples=apart)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes asked for, or else the usual batch sizes for the question."""
        sizes = []
        for size in self.question.batch_sizes or self.usual_batch_sizes():
            number = self.summary.n_train if size == "full" else size
            check_batch_size(number, self.summary)
            sizes.append(number)
        return tuple(sizes)

    def usual_batch_sizes(self) -> tuple[int, ...]:
        """Return the batch sizes to compare if none are asked for."""
        return candidate_batch_sizes(self.summary.n_train, reference=self.summary.batch_size)

    @property
    def candidates(self) -> tuple[int, ...]:
        """The batch sizes and the subject's own batch size, in ascending order."""
        return tuple(sorted({self.summary.batch_size, *self.batch_sizes}))

    def sizes_in(self, profile: Profile) -> tuple[int, ...]:
        """Return the candidates, with batch sizes that the profile of a command added."""
        sizes = set(self.candidates)
        if self.summary.is_own_command and self.question.batch_sizes is None:
            sizes |= {point.batch_size for point in profile.points}
        return tuple(sorted(sizes))

    @property
    def profiled_sizes(self) -> tuple[int, ...]:
        """The batch sizes that a profile tries."""
        return tuple(dict.fromkeys(self.batch_sizes))

    @property
    def reference(self) -> Trial:
        """The subject's own configuration, with seed 0."""
        check_batch_size(self.summary.batch_size, self.summary)
        return self.trial(self.summary.batch_size, self.own_rate, seed=0)

    @property
    def own_rate(self) -> float:
        """The learning rate that the subject is trained with now."""
        return self.summary.learning_rate

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The distinct trials, by seed, then by rate, then by batch size or plan."""
        question, sizes = self.question, self.batch_sizes
        if question.plans:
            self._check_plans()
            sizes = ()
        trials = []
        rates = question.learning_rates or (self.own_rate,)
        for seed, rate in product(range(question.seeds), rates):
            for name in question.plans:
                trials.append(self._planned_trial(name, rate, seed=seed))
            for size in sizes:
                trials.append(self.trial(size, rate, seed=seed))
        return tuple({trial.trial_id: trial for trial in trials}.values())

    def trial(self, batch_size: int, learning_rate: float, *, seed: int) -> Trial:
        """Return one training; refuse a micro-batch larger than the batch."""
        question = self.question
        micro = question.micro_batch_size or batch_size
        if micro > batch_size:
            raise BatchSizeError(
                f"micro-batch size {micro} with batch size {batch_size}: expected 1 to "
                f"{batch_size}; give a smaller one, or only batch sizes of at least {micro}"
            )
        rule = scaling_rule(question.scaling_rule)
        trial = Trial(
            workload_id=self.summary.workload_id,
            workload=self.summary.name,
            settings=self.summary.settings,
            n_train=self.summary.n_train,
            batch_size=batch_size,
            micro_batch_size=micro,
            sampling=question.sampling,
            drop_last=question.drop_last,
            learning_rate=learning_rate * rule.rate_factor(batch_size / self.summary.batch_size),
            scaling_rule=question.scaling_rule,
            horizon_steps=None,
            device=question.device.partition(":")[0],
            seed=seed,
        )
        is_limited = self.epochs is not None or question.steps is not None
        if not self.has_shape or question.name == "profile" or not is_limited:
            return trial
        return replace(trial, horizon_steps=self.length.last_step(trial))

    def _planned_trial(self, name: PlanName, learning_rate: float, *, seed: int) -> Trial:
        """Return a training by one of the plans, which use two batch sizes."""
        epochs = self.epochs
        assert epochs is not None, "_check_plans has refused a number of steps"
        small, large = sorted(self.batch_sizes)
        trial = self.trial(large if name == "large" else small, learning_rate, seed=seed)
        if name in ("small", "large"):
            return trial
        cap = large if name == "grow" else small
        plan = instead_of_decay(small, _CUTS, cap=cap, epochs=epochs, factor=_CUT)
        try:
            stages = plan.for_data(trial.n_train, drop_last=trial.drop_last).stages
        except UsageError as error:
            places = listing([f"{100 * cut:.3g}" for cut in _CUTS])
            raise UsageError(
                f"{epochs} epochs of {trial.n_train} examples have too few steps of {cap} for the "
                f"plan {name!r}, which changes after {places} % of them; give more --epochs, or a "
                f"smaller large batch size"
            ) from error
        micro = self.question.micro_batch_size or cap
        planned = replace(trial, stages=stages, micro_batch_size=micro)
        if trial.horizon_steps is None:
            return planned
        return replace(planned, horizon_steps=planned.plan.steps_in(epochs))

    def _check_plans(self) -> None:
        question, sizes = self.question, self.batch_sizes
        if not {"grow", "decay"} & set(question.plans):
            raise UsageError(
                f"plans {', '.join(question.plans)}: expected grow or decay among them; without, "
                f"give the batch sizes only"
            )
        if len(set(sizes)) != 2:
            raise UsageError(
                f"plans of batch sizes {', '.join(map(str, sizes))}: expected two, the small one "
                f"and the large one, such as --batch-sizes 32,512"
            )
        for name, value in (("steps", question.steps), ("a target", question.target)):
            if value is not None:
                raise UsageError(
                    f"plans with {name}: they are compared after equal epochs; give epochs only"
                )

    # ---- how it is measured and trained

    @property
    def may_accumulate(self) -> bool:
        """Whether a step may be cut into micro-batches."""
        return True

    @property
    def memory_limit_bytes(self) -> int | None:
        """The limit for this device; None if there is none or it belongs to a given profile."""
        if self.question.profile is not None:
            return None
        return self.question.memory_limit_bytes

    @abstractmethod
    def profile(
        self,
        batch_sizes: Sequence[int],
        *,
        deadline_s: float,
        listener: ProgressListener,
        known: Profile | None = None,
    ) -> Profile:
        """Measure step time and memory by batch size, until all are measured or the deadline.

        Batch sizes of the `known` profile are not tried for fit again, only timed again.
        """

    @abstractmethod
    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """Time one batch size with nothing else running; return a `StepTiming` or the reason."""

    def in_turn(self, points: Sequence[ProfilePoint], *, timeout_s: float) -> Ended:
        """Return ratios of two sizes' step times (second / first); none for a script."""
        return Ended()

    def check_can_train(self, store: Store, trial: Trial) -> None:
        """Refuse a trial whose stored record would be lost by training it further."""
        return

    @abstractmethod
    def engine(self, store: Store, plan: RunPlan, *, is_here: bool = False) -> Engine:
        """Return an engine that trains the subject and may keep records in the store.

        With `is_here` the engine trains on this machine, even if a cluster takes the trials.
        """


def candidate_batch_sizes(n_train: int, *, reference: int) -> tuple[int, ...]:
    """Return powers of two from 8 to N, and always 16, 32, 64, 128 and the reference (if <= N)."""
    smallest = min(_SMALLEST, max(1, n_train // _STEPS_PER_EPOCH))
    wanted = {*USUAL_SIZES, reference}
    for power in range(n_train.bit_length()):
        if 2**power >= smallest:
            wanted.add(2**power)
    return tuple(sorted(size for size in wanted if 1 <= size <= n_train))


def check_batch_size(batch_size: int, summary: WorkloadSummary) -> None:
    """Refuse a batch size outside 1..N."""
    if not 1 <= batch_size <= summary.n_train:
        raise BatchSizeError(
            f"batch size {batch_size} for workload {summary.name!r}: expected 1 to "
            f"{summary.n_train}, the size of its training set; use 'full' for all of it in one "
            f"batch"
        )


def outside_of_a_share(metric: str, value: float) -> str:
    """Return the message for a target above 1 or below 0 if the metric is a share of examples."""
    meant = f"; did you mean {value / 100:g}?" if 2 <= value <= 100 else ""
    return f"target {metric}={value:g}: {metric} is a share of the examples, from 0 to 1{meant}"


def value_of(ended: Ended, kind: type[KindT], what: str) -> KindT:
    """Return the value from a child process, or raise the child's error with its class."""
    if ended.status is None:
        assert isinstance(ended.value, kind)
        return ended.value
    error = getattr(errors, ended.error or "", None)
    if error is not None:
        raise error(reason_text(ended.reason))
    failed = WorkloadError(f"{what} cannot be trained: {reason_text(ended.reason)}")
    if ended.traceback:
        failed.add_note(ended.traceback)
    raise failed
