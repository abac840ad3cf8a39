"""Subject: the workload or command that a question is about, with its batch sizes and trials."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TypeVar

from batchlab import errors
from batchlab.app.question import Request
from batchlab.errors import BatchSizeError, UsageError, WorkloadError
from batchlab.machine import environment
from batchlab.measure.profile import Profile
from batchlab.measure.profile_search import default_batch_sizes
from batchlab.plans.plan import instead_of_decay
from batchlab.plans.scaling import scaling_rule
from batchlab.processes.children import Ended
from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.run import BEYOND_ANY_END, PlanName, RunLength
from batchlab.records.study import USUAL_SIZES, MetricSummary, StudyName, WorkloadSummary
from batchlab.records.trial import Target, Trial
from batchlab.words.catalogue import listing
from batchlab.words.reasons import reason_text

KindT = TypeVar("KindT")

DEFAULT_EPOCHS = 10
_SMALLEST = 8
# The number of evaluations per epoch in a run without a target: enough to plot the curve.
_LOOKS_AT_AN_EPOCH = 16
# After each of these fractions of a run, the plan `decay` divides the learning rate by `_CUT`, and
# the plan `grow` multiplies the batch size by `_CUT`. Common schedules change late in a run, too.
_CUTS, _CUT = (0.4, 0.7, 0.9), 4.0
_SWEPT = (64, 256, 1024)
# The default ratio of a plan's large batch size to the workload's own batch size.
_LARGER = 16
# Try batch sizes below `_SMALLEST` only if an epoch at `_SMALLEST` has fewer steps than this.
_STEPS_PER_EPOCH = 32


class Subject:
    """The workload or training command of a question, with defaults for omitted arguments.

    The subclasses in `batchlab.app.subjects` measure and train it.
    """

    summary: WorkloadSummary  # The facts about the workload or command; complete after `look`.
    name: str  # The name in messages and reports.
    metrics: tuple[MetricSummary, ...]
    shares: frozenset[str] = frozenset()  # The metrics that are fractions, such as the accuracy.
    has_validation = True
    takes_micro_batches = True  # Whether a batch may be split into micro-batches.
    n_devices = 1  # The number of devices that share each batch.
    is_usual = False  # Whether the batch size is a default that no user chose.
    has_shape = False  # Whether the learning rate may have a schedule over the training.
    may_stretch = False  # Whether the learning-rate schedule adapts to any number of steps.
    constant_until = 0.0  # The learning rate is constant up to this fraction of a training.
    stops_early = False  # Whether `Workload.patience_epochs` may end a training early.
    # The number of epochs that the workload or command plans; None if it plans none.
    planned_epochs: int | None = None
    planned_target: tuple[str, float] | None = None  # The target that the workload plans.
    weighs_examples = False  # Whether the loss is a weighted mean over the examples.
    why_no_plans: str | None = None  # The feature that makes plans impossible, in words.
    keeps_cadence = True  # Whether batchlab, not a script, chooses the steps of evaluations.

    def __init__(self, question: Request) -> None:
        """Store the question without reading or running anything."""
        self.question = question

    @property
    def epochs(self) -> int | None:
        """The number of epochs of a run, or None if runs do not end after a number of epochs.

        It is the requested number; else the number that the workload plans; else the default,
        which is None if a script, the target or the budget ends the runs.

        Raises:
            UsageError: an advice on a script needs the number of epochs, which the user must give.
        """
        question = self.question
        if question.epochs is not None or question.steps is not None:
            return question.epochs
        if self.planned_epochs is not None:
            return self.planned_epochs
        is_advice, is_script = question.name == "advise", not self.keeps_cadence
        needs_epochs = self.has_shape or question.objective == "quality"
        if is_advice and is_script and needs_epochs:
            raise UsageError(
                "the length of your training is not known; give --epochs, such as --epochs 10"
            )
        if (is_advice or is_script) and not needs_epochs:
            return None
        return DEFAULT_EPOCHS

    @property
    def target(self) -> Target | None:
        """The target of the runs, or None.

        It is the requested target. If none is requested, an advice takes the target that the
        workload or script plans, unless its objective is quality.
        """
        question = self.question
        if question.target is not None:
            target = self._checked_target(*question.target)
            if question.objective == "quality":
                raise UsageError(
                    f"target {target.metric}={target.value:g} with objective quality: quality is "
                    f"compared after the same number of epochs for all; leave --target out, or "
                    f"ask for objective time"
                )
            return target
        needs_target = question.name == "advise" and question.objective != "quality"
        if needs_target and self.planned_target is not None:
            return self._checked_target(*self.planned_target)
        return None

    @property
    def metric(self) -> str:
        """The metric by which runs are compared: the target's metric, else the first metric."""
        return self.target.metric if self.target else self.metrics[0].name

    @property
    def better(self) -> Better:
        """Whether higher or lower values of the compared metric are better."""
        return next(m.better for m in self.metrics if m.name == self.metric)

    @property
    def why_not_comparable(self) -> Reason | None:
        """Why batch sizes cannot be compared by `metric`, or None if they can be compared."""
        if self.metric == "loss" and self.summary.loss_couples:
            return Reason.of("losses_not_comparable")
        return None

    @property
    def settings_rule(self) -> str:
        """The scaling rule for Adam's settings (except the learning rate); "none" without Adam."""
        return "none" if self.summary.adam is None else "sqrt"

    def _checked_target(self, metric: str, value: float) -> Target:
        """Return a target for the validation data, or raise an error if it is impossible."""
        better = {m.name: m.better for m in self.metrics}
        given = f"target {metric}={value:g}"
        if metric not in better:
            raise UsageError(
                f"{given}: {self.name!r} has no metric {metric!r}; it has {', '.join(better)}"
            )
        if not self.has_validation:
            raise UsageError(
                f"{given}: workload {self.name!r} has no validation set to measure it on; give it "
                f"one"
            )
        if metric in self.shares and not 0 <= value <= 1:
            meant = f"; did you mean {value / 100:g}?" if 2 <= value <= 100 else ""
            raise UsageError(f"{given}: {metric} is a share of the examples, from 0 to 1{meant}")
        return Target(metric=metric, value=value, better=better[metric])

    @property
    def length(self) -> RunLength:
        """The end and the evaluations of trials, which are frequent only if there is a target."""
        length = self.seldom_watched_length
        if length.until is None:
            return length
        return replace(length, watched_from_samples=0, interval_samples=0)

    @property
    def seldom_watched_length(self) -> RunLength:
        """The same as `length`, but with rare evaluations, just enough to plot the curve."""
        epochs, steps = self.epochs, self.question.steps
        length = RunLength(
            epochs=epochs,
            steps=steps,
            until=self.target,
            to_own_end=self.question.name == "sweep" and not (epochs or steps),
        )
        if not self.keeps_cadence:
            return replace(length, all_splits="never")
        apart = self.summary.n_train // _LOOKS_AT_AN_EPOCH
        return replace(length, watched_from_samples=BEYOND_ANY_END, interval_samples=apart)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The requested batch sizes; if none are requested, those of `usual_batch_sizes`."""
        sizes = []
        for size in self.question.batch_sizes or self.usual_batch_sizes():
            number = self.summary.n_train if size == "full" else size
            if not self.assumes_examples:
                check_batch_size(number, self.summary)
            sizes.append(number)
        return tuple(dict.fromkeys(sizes))

    @property
    def assumes_examples(self) -> bool:
        """Whether `n_train` is only assumed, so that a batch size above it must not be refused."""
        return False

    def usual_batch_sizes(self) -> tuple[int, ...]:
        """Return the default batch sizes for the question, such as powers of 2 for a profile."""
        n_train, size = self.summary.n_train, self.summary.batch_size
        if self.question.plans:
            return (size, min(n_train, _LARGER * size))
        if self.question.name == "sweep":
            return (*(swept for swept in _SWEPT if swept < n_train), n_train)
        if self.question.name == "profile":
            return default_batch_sizes(n_train, reference_batch_size=size)
        if self.question.name == "noise":
            return (size,)
        return candidate_batch_sizes(n_train, reference=size)

    @property
    def candidates(self) -> tuple[int, ...]:
        """The batch sizes to compare, including the user's own batch size, in ascending order."""
        return tuple(sorted({self.summary.batch_size, *self.batch_sizes}))

    def sizes_in(self, profile: Profile) -> tuple[int, ...]:
        """Return the batch sizes to compare, given a profile.

        For a script, they include all profiled sizes if the user requested no sizes.
        """
        sizes = set(self.candidates)
        if self.summary.is_own_command and self.question.batch_sizes is None:
            sizes |= {point.batch_size for point in profile.points}
        return tuple(sorted(sizes))

    @property
    def reference(self) -> Trial:
        """The trial with the workload's own batch size and learning rate, and seed 0."""
        check_batch_size(self.summary.batch_size, self.summary)
        return self.trial(self.summary.batch_size, self.summary.learning_rate, seed=0)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The distinct requested trials, ordered by seed, then rate, then plan or batch size."""
        question, sizes = self.question, self.batch_sizes
        if question.plans:
            self._check_plans()
            sizes = ()
        trials = []
        rates = question.learning_rates or (self.summary.learning_rate,)
        for seed, rate in product(range(question.seeds), rates):
            for name in question.plans:
                trials.append(self._planned_trial(name, rate, seed=seed))
            for size in sizes:
                trials.append(self.trial(size, rate, seed=seed))
        return tuple({trial.trial_id: trial for trial in trials}.values())

    def trial(self, batch_size: int, learning_rate: float, *, seed: int) -> Trial:
        """Return a trial, its learning rate scaled by the requested rule; refuse a wrong size."""
        question = self.question
        micro = question.micro_batch_size or batch_size
        if micro > batch_size:
            raise BatchSizeError(
                f"micro-batch size {micro} with batch size {batch_size}: expected 1 to "
                f"{batch_size}; give a smaller one, or only batch sizes of at least {micro}"
            )
        if batch_size % self.n_devices:
            whose = "your " if batch_size == self.summary.batch_size else ""
            raise BatchSizeError(
                f"{whose}batch size {batch_size} on {self.n_devices} devices: each takes an equal "
                f"part of it; give multiples of {self.n_devices}, or other --devices"
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
            world_size=self.n_devices,
            seed=seed,
        )
        is_limited = self.epochs is not None or question.steps is not None
        if not self.has_shape or question.name == "profile" or not is_limited:
            return trial
        return replace(trial, horizon_steps=self.length.last_step(trial))

    def _planned_trial(self, name: PlanName, learning_rate: float, *, seed: int) -> Trial:
        """Return the trial of plan `name`, whose batch size or rate may change in stages."""
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
        if self.why_no_plans:
            raise UsageError(
                f"plans of workload {self.name!r}, which has {self.why_no_plans}; leave it out (a "
                f"`schedule` goes with plans)"
            )
        if len(sizes) != 2:
            raise UsageError(
                f"plans of batch sizes {', '.join(map(str, sizes))}: expected two, the small one "
                f"and the large one, such as --batch-sizes 32,512"
            )
        for name, value in (("steps", question.steps), ("a target", question.target)):
            if value is not None:
                raise UsageError(
                    f"plans with {name}: they are compared after equal epochs; give epochs only"
                )

    def study_name(self, study_id: str) -> StudyName:
        """Return the description of a study for the store: command, workload and machine."""
        question, summary = self.question, self.summary
        return StudyName(
            study_id=study_id,
            command=question.command or f"batchlab.{question.name}({summary.reference!r}, ...)",
            workload_id=summary.workload_id,
            environment=environment(),
            margin=question.margin,
        )

    @property
    def may_accumulate(self) -> bool:
        """Whether batches may be split; in an advice, only if that does not change the loss."""
        is_other_loss = self.question.name == "advise" and self.summary.loss_couples
        return self.takes_micro_batches and not is_other_loss

    @property
    def memory_limit_bytes(self) -> int | None:
        """The requested memory limit; None if a profile was given, which has the limit itself."""
        if self.question.profile is not None:
            return None
        return self.question.memory_limit_bytes


def candidate_batch_sizes(n_train: int, *, reference: int) -> tuple[int, ...]:
    """Return the default batch sizes of an advice: `reference`, `USUAL_SIZES` and powers of 2.

    The powers of 2 are from 8 (with few examples, from `n_train` / 32) to `n_train`.
    """
    smallest = min(_SMALLEST, max(1, n_train // _STEPS_PER_EPOCH))
    wanted = {*USUAL_SIZES, reference}
    for power in range(n_train.bit_length()):
        if 2**power >= smallest:
            wanted.add(2**power)
    return tuple(sorted(size for size in wanted if 1 <= size <= n_train))


def check_batch_size(batch_size: int, summary: WorkloadSummary) -> None:
    """Raise an error for a batch size below 1 or above N, the number of training examples."""
    if not 1 <= batch_size <= summary.n_train:
        raise BatchSizeError(
            f"batch size {batch_size} for workload {summary.name!r}: expected 1 to "
            f"{summary.n_train}, the size of its training set; use 'full' for all of it in one "
            f"batch"
        )


def value_of(ended: Ended, kind: type[KindT], what: str) -> KindT:
    """Return the value that a child process returned, or raise the error that ended it."""
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
