"""The two subclasses of `Subject`: one for a workload, one for a user's training command."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from batchlab.app.arguments import flag_of
from batchlab.app.question import Request
from batchlab.app.subject import Subject, value_of
from batchlab.errors import NoStoreError, UsageError
from batchlab.measure.check import COMPILED, check_workload
from batchlab.measure.command_time import timed_command
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.measure.profile_search import ProfileSearch
from batchlab.measure.profiling import (
    measure_profile,
    profile_of,
    untried_profile,
    with_compiled_times,
)
from batchlab.measure.step_time import measure_in_turn, measure_step_time
from batchlab.processes.children import Ended, run_in_child
from batchlab.processes.memory import PeakMemory
from batchlab.processes.packed_workload import PackedWorkload, with_seen_model
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.runs.commands import CommandEngine
from batchlab.runs.contract import RunPlan
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.ray_workers import RayWorkers
from batchlab.runs.workers import LocalWorkers
from batchlab.script.check import ONCE_AT_END, CommandCheck
from batchlab.script.command import TrainingCommand
from batchlab.script.identity import command_identity
from batchlab.store.file import check_store_folder
from batchlab.store.store import Store
from batchlab.training.evaluator import n_train_evaluated
from batchlab.words.numbers import english_number
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import (
    Workload,
    check_has_loss,
    check_may_be_cut,
    horizons_of,
    size_of,
)
from batchlab.workload.given_data import check_sampling
from batchlab.workload.loading import load_workload
from batchlab.workload.pieces import accuracy
from batchlab.workload.schedules import constant_until


def _reports_peaks(device: str) -> bool:
    return device.startswith("cuda") or PeakMemory(torch.device("cpu")).bytes() is not None


def stored_summary(store: Path | None, workload_id: str) -> WorkloadSummary | None:
    """Return a workload's stored summary, or None if the store or the summary does not exist."""
    if store is None:
        return None
    try:
        with Store.existing(store) as opened:
            return opened.workload(workload_id)
    except NoStoreError:  # The store is created later, so check only its folder.
        check_store_folder(store)
        return None


# The length of the learning-rate schedule while steps are timed. It does not affect step times.
_HORIZON_STEPS = 10**9
_CHECK_TIMEOUT_S = 300.0


class WorkloadSubject(Subject):
    """A workload, which is checked, measured and trained in child processes."""

    def __init__(self, question: Request) -> None:
        """Load the workload; fill `summary` with the facts that are known without running it."""
        super().__init__(question)
        assert not isinstance(question.workload, TrainingCommand)
        self._loaded = load_workload(question.workload, question.settings)
        self._packed: PackedWorkload | None = None
        workload = self._loaded.workload
        self.name = workload.name
        self.is_usual = workload.is_usual or self._loaded.reference in workload_names()
        self.has_shape = workload.has_schedule
        self.stops_early = workload.patience_epochs is not None
        # A scheduler can adapt to another number of steps only if it takes that number as argument.
        scheduler = workload.scheduler
        is_told = scheduler is None or bool(horizons_of(scheduler))
        self.may_stretch = self.has_shape and is_told and not self.stops_early
        # While the learning rate is constant, trainings of different lengths are equal. So one can
        # start from the checkpoint of another, except on a cluster, whose nodes share no
        # checkpoints.
        if self.may_stretch and question.cluster is None:
            self.constant_until = constant_until(workload.schedule)
        self.takes_micro_batches = workload.takes_micro_batches
        self.weighs_examples = workload.weight is not None
        self.planned_epochs = workload.epochs
        if workload.target is not None:
            self.planned_target = workload.target.metric, float(workload.target.value)
        metrics, shares = [], []
        for name in workload.metric_names:
            metrics.append(MetricSummary(name=name, better=workload.better(name)))
            if workload.metrics.get(name) is accuracy:
                shares.append(name)
        self.metrics, self.shares = tuple(metrics), frozenset(shares)
        if workload.scheduler is not None:
            self.why_no_plans = "a `scheduler` of its own, which sets the rate"
        elif workload.patience_epochs is not None:
            self.why_no_plans = "a patience, which ends trainings before a plan has changed"
        n_train = size_of(workload.train)
        self.summary = WorkloadSummary(
            workload_id=self._loaded.workload_id,
            name=workload.name,
            reference=self._loaded.reference,
            settings=self._loaded.settings,
            n_train=n_train,
            n_validation=size_of(workload.validation),
            n_test=size_of(workload.test),
            n_train_evaluated=n_train_evaluated(n_train),
            n_parameters=None,
            metrics=self.metrics,
            batch_size=workload.batch_size,
            learning_rate=float(workload.learning_rate),
            draws_by_seed=self._loaded.draws_by_seed,
        )
        self.has_validation = self.summary.has_validation

    @property
    def workload(self) -> Workload:
        """The loaded workload, whose data are freed when `packed` is first used."""
        return self._loaded.workload

    @property
    def packed(self) -> PackedWorkload:
        """The workload, written to files for child processes; this process frees the data."""
        if self._packed is None:
            workload = self._loaded.workload
            self._packed = PackedWorkload(
                workload,
                files=self._loaded.files,
                draws_by_seed=self._loaded.draws_by_seed,
            )
            without = replace(workload, train=(), validation=None, test=None)
            self._loaded = replace(self._loaded, workload=without)
        return self._packed

    def look(self, refuse: Callable[[], object]) -> None:
        """Complete `summary` from the store or by checking the workload; report its warnings.

        `refuse` is called before the slow check. It raises an error if the question cannot be
        answered for this workload.
        """
        self._refuse()
        refuse()
        if self.question.cluster is not None:
            self.question.cluster.connect()
        budget = self.question.budget
        # Read the store before the slow check, so that an unusable store raises an error now.
        stored_summary(self.question.store, self.summary.workload_id)
        self._loaded = with_seen_model(
            self._loaded, timeout_s=budget.time_limit_s(_CHECK_TIMEOUT_S)
        )
        budget.refuse_if_out_of_time("checking the workload")
        self.summary = replace(self.summary, workload_id=self._loaded.workload_id)
        stored = stored_summary(self.question.store, self.summary.workload_id)
        self.summary = stored or self._checked()
        for text in self.summary.warnings:
            self.question.listener.warning(f"workload {self.name!r}: {text}")

    def _refuse(self) -> None:
        """Raise an error for arguments that are impossible with this workload."""
        question, workload = self.question, self.workload
        for name in question.measure:
            check_has_loss(workload, f"measure {name!r}")
        check_sampling(workload, question.sampling)
        limit = self.memory_limit_bytes
        if (
            limit is not None
            and question.name in ("advise", "profile")
            and not _reports_peaks(question.device)
        ):
            raise UsageError(
                f"memory limit {english_number(limit, 'peak_bytes')}: this system does not report "
                "the peak memory of a process, so the limit cannot be checked; leave "
                "--memory-limit out"
            )

    def _checked(self) -> WorkloadSummary:
        self.question.listener.phase("checking the workload")
        summary = replace(self.summary, warnings=self._loaded.notes)
        device = self.question.device if self.question.is_device_here else "cpu"
        for with_steps in (True, False):
            ended = run_in_child(
                *(check_workload, self.packed, device, summary, with_steps),
                timeout_s=self.question.budget.time_limit_s(_CHECK_TIMEOUT_S),
            )
            # If memory ran out, check the workload once more, without training steps.
            if ended.status is not Status.OOM:
                break
        self.question.budget.refuse_if_out_of_time("checking the workload")
        return value_of(ended, WorkloadSummary, f"workload {self._loaded.reference!r}")

    def trial(self, batch_size: int, learning_rate: float, *, seed: int) -> Trial:
        """Return a trial; refuse micro-batches if the training step needs whole batches."""
        trial = super().trial(batch_size, learning_rate, seed=seed)
        check_may_be_cut(self.workload, trial)
        return trial

    def profile(
        self,
        batch_sizes: Sequence[int],
        *,
        deadline_s: float,
        listener: ProgressListener,
        known: Profile | None = None,
    ) -> Profile:
        """Measure step time and memory on this machine, each batch size in its own child process.

        Only the command `profile` also times a compiled model, because an advice compiles none.
        """
        is_compiled = self.question.name == "profile" and COMPILED in self.summary.warnings
        trial, device = self._whole_steps, self.question.device
        profile_deadline_s = deadline_s
        if is_compiled:
            profile_deadline_s = (time.monotonic() + deadline_s) / 2
        profile = measure_profile(
            self.packed,
            trial,
            batch_sizes,
            device=device,
            memory_limit_bytes=self.memory_limit_bytes,
            may_accumulate=self.may_accumulate,
            deadline_s=profile_deadline_s,
            listener=listener,
            known=known,
        )
        if not is_compiled:
            return profile
        return with_compiled_times(
            profile, self.packed, trial, device=device, deadline_s=deadline_s, listener=listener
        )

    @property
    def _whole_steps(self) -> Trial:
        """The reference trial without smaller last batches, so that all batches have one size."""
        return replace(
            self.trial(self.summary.batch_size, self.summary.learning_rate, seed=0),
            drop_last=True,
            horizon_steps=_HORIZON_STEPS if self.has_shape else None,
        )

    def in_turn(self, points: Sequence[ProfilePoint], *, timeout_s: float) -> Ended:
        """Measure the steps of two batch sizes alternately in one child; return the time ratios."""
        shapes = []
        for point in points:
            shapes.append((point.batch_size, point.micro_batch_size, point.threads))
        what = measure_in_turn, self.packed, self._whole_steps, shapes, self.question.device
        return run_in_child(*what, timeout_s=timeout_s)

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """Time the trial's steps in a child process; return a `StepTiming` or the failure."""
        return run_in_child(
            measure_step_time, self.packed, trial, self.question.device, timeout_s=timeout_s
        )

    def engine(self, store: Store, plan: RunPlan) -> ProcessEngine:
        """Return an engine that trains in processes on this machine or on a cluster's nodes."""
        cluster = self.question.cluster
        if cluster is None:
            return ProcessEngine(store, plan, LocalWorkers(self.packed, plan))
        plan = replace(plan, threads=cluster.cpus_per_trial)
        return ProcessEngine(store, plan, RayWorkers(cluster, self.packed, plan))


# The check of a command may take `_CHECK_SHARE` of the budget, and at most `_CHECK_S` seconds.
_CHECK_SHARE = 0.25
_CHECK_S = 900.0
# All starts of a script and the timing of its steps, at all batch sizes, may together take this
# share of the budget.
_TIMING_SHARE = 0.3
# After the start of a script, timing its steps at one batch size is expected to take this long.
_TIMED_S = 4.0
# Arguments that are refused for a user's command, because batchlab cannot apply them to a script.
_NOT_OF_COMMANDS = (
    *("settings", "scaling_rule", "sampling", "drop_last", "micro_batch_size"),
    *("device", "trainer", "measure", "plans"),
)
# The default values of the arguments in `_NOT_OF_COMMANDS`, which are not refused.
_BY_DEFAULT: tuple[object, ...] = ("none", "reshuffle", "cpu", "fastest", False, None, (), {})


class CommandSubject(Subject):
    """A user's training command, which is run to check it, to time its steps and to train."""

    keeps_cadence = False

    def __init__(self, question: Request) -> None:
        """Store the command and the hash of its files, without running it."""
        super().__init__(question)
        assert isinstance(question.workload, TrainingCommand)
        self._command = question.workload
        self.name = self._command.name
        self.metrics = (MetricSummary(name=self._command.metric, better=self._command.direction),)
        self.n_devices = self._command.devices
        # A script that receives its number of epochs or steps may have a schedule of that length.
        self.has_shape = self.may_stretch = self._command.spans_a_length
        self.planned_epochs = self._command.epochs
        self._workload_id = command_identity(self._command)

    def _refuse(self) -> None:
        """Raise an error for arguments that are impossible with a user's command."""
        question = self.question
        needs_rate = question.name == "advise" or question.learning_rates is not None
        if needs_rate and not self._command.takes("learning_rate"):
            raise UsageError(
                "the command has no {learning_rate}: batch sizes can only be compared with a rate "
                "tuned for each; put it where your script takes its rate, such as --lr "
                "{learning_rate}, or use batchlab sweep for a comparison at one rate"
            )
        if question.cluster is not None:
            raise UsageError(
                "--engine ray with a command of your own: nodes train workloads; leave it out, and "
                "have the command's own launcher reach them"
            )
        for name in _NOT_OF_COMMANDS:
            if getattr(question, name) not in _BY_DEFAULT:
                option = flag_of(question.name, name)
                raise UsageError(
                    f"{option} with a command of your own: it cannot reach into your script; "
                    f"give the script's own option after the --"
                )
        if question.name != "profile":
            assert self.length

    def look(self, refuse: Callable[[], object]) -> None:
        """Complete `summary` from the store or by short runs of the command; report its warnings.

        Then call `refuse`, which raises an error if the question cannot be answered.
        """
        self._refuse()
        stored = stored_summary(self.question.store, self._workload_id)
        self.summary = stored or self._checked(proves=self.question.name != "profile")
        if self.question.name == "advise" and ONCE_AT_END in self.summary.warnings:
            raise UsageError(
                f"{ONCE_AT_END}. Use batchlab sweep, which does that, or print the metric along "
                f"the training"
            )
        for text in self.summary.warnings:
            self.question.listener.warning(text)
        # Call `refuse` last, because it needs the number of training examples in the summary.
        refuse()

    def _checked(self, *, proves: bool) -> WorkloadSummary:
        budget, tell = self.question.budget, self.question.listener.phase
        tell("checking the command")
        limit_s = min(_CHECK_S, _CHECK_SHARE * budget.seconds)
        with _folder() as folder:
            check = CommandCheck(
                self._command,
                workload_id=self._workload_id,
                folder=folder,
                limit_s=budget.time_limit_s(limit_s),
                tell=tell,
            )
            summary = check.summary(proves=proves)
        budget.refuse_if_out_of_time("checking the command")
        return summary

    @property
    def assumes_examples(self) -> bool:
        """Whether the number of training examples is only assumed, so that no size is too large."""
        return self._command.assumes_examples(self.summary.n_train)

    def usual_batch_sizes(self) -> tuple[int, ...]:
        """Return default batch sizes: the user's own size divided by 4, and times 1, 4 and 16.

        For an advice, return the user's own size halved and doubled repeatedly, if the budget
        suffices to time all of these sizes.
        """
        size, n_train = self.summary.batch_size, self.summary.n_train
        usual: Sequence[int] = (max(1, size // 4), size, 4 * size, 16 * size)
        if self.question.name == "advise":
            doubled = doubled_batch_sizes(n_train, own=size)
            timing_s = len(doubled) * ((self.summary.start_s or 0.0) + _TIMED_S)
            if timing_s <= _TIMING_SHARE * self.question.budget.seconds:
                usual = doubled
        return tuple(s for s in usual if s <= n_train and s % self.n_devices == 0)

    def profile(
        self,
        batch_sizes: Sequence[int],
        *,
        deadline_s: float,
        listener: ProgressListener,
        known: Profile | None = None,
    ) -> Profile:
        """Measure each batch size in a separate run of the command, one run at a time."""
        trial, question = self.reference, self.question

        def probe(batch_size: int, micro_batch_size: int, *, limit_s: float) -> ProfilePoint:
            sized = replace(trial, batch_size=batch_size, micro_batch_size=micro_batch_size)
            return self._timed(sized, limit_s)

        limit_bytes = self.memory_limit_bytes
        search = ProfileSearch(
            probe,
            untried_profile(trial, device=question.device, memory_limit_bytes=limit_bytes),
            left_s=lambda: deadline_s - time.monotonic(),
            listener=listener,
            is_command=True,
            # Micro-batches would have to be multiples of the number of devices, because each device
            # gets a part of every micro-batch.
            may_accumulate=self._command.devices == 1
            and {"micro_batch_size", "accumulation_steps"} <= self._command.placeholders,
        )
        return profile_of(search, batch_sizes)

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """Time the trial's steps in a run of the command; return a `StepTiming` or the failure."""
        point = self._timed(trial, timeout_s)
        if point.timing is None:
            return Ended(status=point.status, reason=point.reason)
        return Ended(value=point.timing)

    def in_turn(self, points: Sequence[ProfilePoint], *, timeout_s: float) -> Ended:
        """Return no ratios of step times, because a command cannot alternate two batch sizes."""
        return Ended()

    def _timed(self, trial: Trial, limit_s: float) -> ProfilePoint:
        command, marker = self._command, f"{self._workload_id}/timing"
        with _folder() as folder:
            return timed_command(command, trial, folder=folder, marker=marker, limit_s=limit_s)

    def engine(self, store: Store, plan: RunPlan) -> CommandEngine:
        """Return an engine that runs the command once per trial, one trial at a time."""
        return CommandEngine(store, self._command, plan)


AnySubject = WorkloadSubject | CommandSubject


def subject_of(question: Request) -> AnySubject:
    """Return the workload or command of a question; if a file defines it, the file is run."""
    if isinstance(question.workload, TrainingCommand):
        return CommandSubject(question)
    return WorkloadSubject(question)


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a temporary folder for runs whose results are not stored."""
    with tempfile.TemporaryDirectory(prefix="batchlab-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def doubled_batch_sizes(n_train: int, *, own: int) -> tuple[int, ...]:
    """Return `own`, its halves (whole numbers >= 8) and its doubles (<= `n_train`), ascending."""
    sizes = [own]
    while sizes[0] % 2 == 0 and sizes[0] >= 16:
        sizes.insert(0, sizes[0] // 2)
    while 2 * sizes[-1] <= n_train:
        sizes.append(2 * sizes[-1])
    return tuple(sizes)
