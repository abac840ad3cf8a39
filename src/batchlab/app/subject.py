"""Subject: what is asked about, a workload or somebody's command, whoever trains it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from batchlab import errors
from batchlab.advice.question import Option
from batchlab.app.advice_request import (
    AdviceRequest,
    around,
    command_trial,
    given_sizes,
    stored_summary,
)
from batchlab.app.budget import Budget
from batchlab.errors import BatchSizeError, BudgetError, WorkloadError
from batchlab.measure.check import WorkloadFacts, check_workload
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.measure.profile_command import CommandSearch, timed_command
from batchlab.measure.profiling import ProfileRequest, measure_profile, profile_of
from batchlab.measure.step_time import measure_step_time
from batchlab.plans.sweep_request import SweepRequest, check_batch_norm
from batchlab.processes.children import Ended, run_in_child
from batchlab.processes.packed_workload import LoadedAgain, PackedWorkload, with_seen_model
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunLength
from batchlab.records.study import MetricSummary, RunnableSizes, WorkloadSummary
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.commands import CommandEngine, is_answered
from batchlab.runs.contract import Engine, RunPlan
from batchlab.runs.local import LocalProcesses
from batchlab.runs.trial_recorder import is_trained, refuse_to_train_over
from batchlab.script.check import CommandCheck, CommandFacts
from batchlab.script.command import TrainingCommand
from batchlab.script.identity import command_identity
from batchlab.script.process import end_leftovers
from batchlab.store.store import Store
from batchlab.training.evaluator import n_train_evaluated
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import size_of
from batchlab.workload.loading import LoadedWorkload


class Subject(Protocol):
    """What is asked about: its summary, how it is profiled and timed, which engine trains it.

    A workload's batch sizes run in child processes of this one. Another subject may be a command,
    or trainings that were recorded: nothing of it has to be in this process.
    """

    def summary(self, store: Path | None) -> WorkloadSummary:
        """What is known of it: from the store, or from a look at it.

        Args:
            store: the file where it may be known; None: it is looked at.
        """
        ...

    def profile(self, request: ProfileRequest, *, deadline_s: float) -> Profile:
        """Step time and memory by batch size.

        Args:
            request: which batch sizes, and on which device.
            deadline_s: the `time.monotonic()` at which it ends with what it has.
        """
        ...

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """The step time of one batch size, alone; a `StepTiming`, or why there is none.

        Args:
            trial: of that batch size.
            timeout_s: seconds that it may take.
        """
        ...

    def is_done(self, record: TrialRecord | None, length: RunLength) -> bool:
        """Whether what is stored of a trial answers, so that nothing of it is to be trained.

        Args:
            record: as it is stored; None: it is not.
            length: how far is asked.
        """
        ...

    def check_can_train(self, store: Store, trial: Trial) -> None:
        """Refuse a trial that could only be trained further by losing what is stored of it.

        Args:
            store: which keeps it.
            trial: that is not done.

        Raises:
            StoreError: naming the trial and the ways out.
        """
        ...

    def engine(
        self,
        store: Store,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
    ) -> Engine:
        """Who trains it.

        Args:
            store: where an engine that keeps records keeps them.
            plan: what all its runs share.
            listener: told how the runs get on.
            started_s: the `time.monotonic()` from which the budget counts.
            budget_s: seconds after which no run goes on; None: there is no end.
        """
        ...


Kind = TypeVar("Kind")

_CHECK_TIMEOUT_S = 300.0
_LOADED_AGAIN = (
    "its data are more than 64 MiB of Python's objects, so each training loads them anew from its "
    "file; as arrays or a memory map they would be shared"
)


def known_by_its_model(
    loaded: LoadedWorkload, budget: Budget, store: str | Path | None
) -> LoadedWorkload:
    """The same workload, with an identity that its model is part of (`with_seen_model`).

    Args:
        loaded: as it was loaded, and a request about it was found to be possible.
        budget: the ceiling on the whole call.
        store: where all will be kept, if it is; one that cannot be used is refused first.

    Raises:
        StoreError: the store cannot be used.
        EditedError: files of its were edited meanwhile.
        BudgetError: the budget ended meanwhile.
    """
    if store is not None:
        stored_summary(Path(store), loaded.workload_id)
    seen = with_seen_model(loaded, timeout_s=budget.time_limit_s(_CHECK_TIMEOUT_S))
    budget.refuse_if_out_of_time("checking the workload")
    return seen


class PreparedWorkload:
    """A workload on its way to child processes, and what is known of it before any training.

    Attributes:
        loaded: the workload; after `let_go_of_data` without its data.
        device: the PyTorch device.
        budget: the ceiling on the whole call.
        listener: told how it gets on.
    """

    def __init__(
        self, loaded: LoadedWorkload, *, device: str, budget: Budget, listener: ProgressListener
    ) -> None:
        self.loaded = loaded
        self.device = device
        self.budget = budget
        self.listener = listener
        self._packed: PackedWorkload | None = None

    @property
    def packed(self) -> PackedWorkload:
        """The workload, packed when it is first needed."""
        if self._packed is None:
            again = LoadedAgain.of(self.loaded)
            self._packed = PackedWorkload(
                self.loaded.workload, again=again, files=self.loaded.files
            )
            if self._packed.is_loaded_again:
                self.loaded = replace(self.loaded, notes=(*self.loaded.notes, _LOADED_AGAIN))
        return self._packed

    def let_go_of_data(self) -> None:
        """From here on the data are needed in shared memory only, not once more in this process.

        They stay where the caller holds them too.
        """
        assert self.packed is not None
        without = replace(self.loaded.workload, train=(), validation=None, test=None)
        self.loaded = replace(self.loaded, workload=without)

    def summary(self, store: Path | None) -> WorkloadSummary:
        """What is known of the workload: from the store, or from a look at it in a child.

        What was found odd is said as a warning.

        Raises:
            WorkloadError: it cannot be trained.
            BudgetError: the budget ended meanwhile.
        """
        known = None if store is None else stored_summary(store, self.loaded.workload_id)
        summary = self._checked() if known is None else known
        for text in summary.warnings:
            self.listener.warning(f"workload {summary.name!r}: {text}")
        return summary

    def _checked(self) -> WorkloadSummary:
        self.listener.phase("checking the workload")
        ended = self._looked_at(with_steps=True)
        if ended.status is Status.OOM:  # where memory ends for a step is for the profile to find
            ended = self._looked_at(with_steps=False)
        self.budget.refuse_if_out_of_time("checking the workload")
        facts = value_of(ended, WorkloadFacts, f"workload {self.loaded.reference!r}")
        return _summary_of(self.loaded, facts)

    def _looked_at(self, *, with_steps: bool) -> Ended:
        return run_in_child(
            check_workload,
            self.packed,
            self.device,
            with_steps,
            timeout_s=self.budget.time_limit_s(_CHECK_TIMEOUT_S),
        )


def _summary_of(loaded: LoadedWorkload, facts: WorkloadFacts) -> WorkloadSummary:
    workload = loaded.workload
    n_train = size_of(workload.train)
    return WorkloadSummary(
        workload_id=loaded.workload_id,
        name=workload.name,
        reference=loaded.reference,
        settings=loaded.settings,
        n_train=n_train,
        n_validation=size_of(workload.validation),
        n_test=size_of(workload.test),
        n_train_evaluated=n_train_evaluated(n_train),
        n_parameters=facts.n_parameters,
        has_batch_norm=facts.has_batch_norm,
        loss_couples=facts.loss_couples,
        couples_in_training=facts.couples_in_training,
        sizes=facts.sizes,
        evaluated_sizes=facts.evaluated_sizes,
        last_batch_runs=facts.last_batch_runs,
        adam=facts.adam,
        metrics=tuple(
            MetricSummary(name=name, better=workload.better(name)) for name in workload.metric_names
        ),
        batch_size=workload.batch_size,
        learning_rate=workload.learning_rate,
        warnings=(*loaded.notes, *facts.warnings),
    )


def value_of(ended: Ended, kind: type[Kind], what: str) -> Kind:
    """What the child returned, or its error raised here as the class it was.

    Raises:
        WorkloadError: what it was asked about cannot be trained.
    """
    if ended.status is None:
        assert isinstance(ended.value, kind)
        return ended.value
    known = getattr(errors, ended.error or "", None)
    if known is not None:
        raise known(reason_text(ended.reason))
    failed = WorkloadError(f"{what} cannot be trained: {reason_text(ended.reason)}")
    if ended.traceback:
        failed.add_note(ended.traceback)
    raise failed


class WorkloadSubject:
    """A workload that trains in child processes of this one (a `Subject`)."""

    def __init__(self, prepared: PreparedWorkload) -> None:
        """Ask about `prepared`; from its first measurement on it lets go of the data here."""
        self._prepared = prepared

    def summary(self, store: Path | None) -> WorkloadSummary:
        """From the store, or from a look at it in a child."""
        return self._prepared.summary(store)

    def profile(self, request: ProfileRequest, *, deadline_s: float) -> Profile:
        """Measured here, each batch size in a child of its own."""
        self._prepared.let_go_of_data()
        return measure_profile(
            self._prepared.packed,
            request,
            deadline_s=deadline_s,
            listener=self._prepared.listener,
        )

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """Measured in a child."""
        self._prepared.let_go_of_data()
        return run_in_child(
            measure_step_time,
            self._prepared.packed,
            trial,
            self._prepared.device,
            timeout_s=timeout_s,
        )

    def is_done(self, record: TrialRecord | None, length: RunLength) -> bool:
        """Trained as far as asked, and evaluated as often."""
        return is_trained(record, length)

    def check_can_train(self, store: Store, trial: Trial) -> None:
        """Refuse a finished trial whose checkpoint cannot be used."""
        refuse_to_train_over(store, trial)

    def engine(
        self,
        store: Store,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
    ) -> LocalProcesses:
        """Processes of this machine."""
        self._prepared.let_go_of_data()
        return LocalProcesses(
            store,
            self._prepared.packed,
            plan,
            listener,
            started_s=started_s,
            budget_s=budget_s,
        )


# What the check of a command may take: this part of a budget, or so long where there is none.
_CHECK_SHARE = 0.25
_CHECK_S = 900.0


class CommandSubject:
    """A training command (a `Subject`): checked, timed and trained by running it."""

    def __init__(
        self, command: TrainingCommand, *, budget: Budget, listener: ProgressListener
    ) -> None:
        """Ask about a command.

        Args:
            command: what is trained.
            budget: the ceiling on the whole call.
            listener: told how it gets on.
        """
        self._command = command
        self._budget = budget
        self._listener = listener
        self._workload_id = command_identity(command)
        self._summary: WorkloadSummary | None = None

    def summary(self, store: Path | None) -> WorkloadSummary:
        """From the store, or from a check that proves that its flags act.

        Raises:
            WorkloadError: it does not train, or its metric is never seen.
            UsageError: a flag does not act, or the number of examples is not known.
            BudgetError: the budget ended meanwhile.
        """
        if self._summary is None:
            known = None if store is None else stored_summary(store, self._workload_id)
            self._summary = known or self._checked(proves=True)
            for text in self._summary.warnings:
                self._listener.warning(text)
        return self._summary

    def look(self) -> WorkloadSummary:
        """What its first progress tells; nothing is proven."""
        if self._summary is None:
            self._summary = self._checked(proves=False)
        return self._summary

    def profile(self, request: ProfileRequest, *, deadline_s: float) -> Profile:
        """Step time and memory by batch size, each run alone."""
        with self._folder() as folder:
            end_leftovers(self._workload_id)
            numbers = iter(range(10**6))

            def probe(batch_size: int, micro_batch_size: int, limit_s: float) -> ProfilePoint:
                return timed_command(
                    self._command,
                    replace(
                        request.trial, batch_size=batch_size, micro_batch_size=micro_batch_size
                    ),
                    folder=folder / str(next(numbers)),
                    marker=f"{self._workload_id}/profile",
                    limit_s=limit_s,
                )

            search = CommandSearch(
                probe,
                reference=request.reference_batch_size,
                memory_limit_bytes=request.memory_limit_bytes,
                can_accumulate=self._command.template.can_accumulate,
                deadline_s=deadline_s,
                listener=self._listener,
            )
            return profile_of(request, search, listener=self._listener)

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        """The step time of one batch size, from a run of its own."""
        with self._folder() as folder:
            point = timed_command(
                self._command,
                trial,
                folder=folder,
                marker=f"{self._workload_id}/timing",
                limit_s=timeout_s,
            )
        if point.timing is None:
            return Ended(status=point.status, reason=point.reason)
        return Ended(value=point.timing)

    def is_done(self, record: TrialRecord | None, length: RunLength) -> bool:
        """As long as asked, at the target, or as long as the script goes."""
        return is_answered(record, length)

    def check_can_train(self, store: Store, trial: Trial) -> None:
        """Any trial can: one that is to go further begins again."""

    def engine(
        self,
        store: Store,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
    ) -> CommandEngine:
        """The command, one training at a time."""
        return CommandEngine(
            store, self._command, plan, listener, started_s=started_s, budget_s=budget_s
        )

    # ---- what is known of it

    def _checked(self, *, proves: bool) -> WorkloadSummary:
        self._listener.phase("checking the command")
        limit_s = _CHECK_S
        if self._budget.seconds is not None:
            limit_s = min(limit_s, _CHECK_SHARE * self._budget.seconds)
        with self._folder() as folder:
            end_leftovers(self._workload_id)
            check = CommandCheck(
                self._command,
                folder=folder,
                marker=f"{self._workload_id}/check",
                limit_s=limit_s,
                left_s=self._budget.time_limit_s,
                tell=self._listener.phase,
            )
            facts = check.facts(proves=proves)
        self._budget.refuse_if_out_of_time("checking the command")
        self._listener.phase(facts.recognized.rstrip("."))
        return self._summary_of(facts)

    def _summary_of(self, facts: CommandFacts) -> WorkloadSummary:
        command = self._command
        return WorkloadSummary(
            workload_id=self._workload_id,
            name=command.name,
            reference=command.name,
            settings=(),
            n_train=facts.examples,
            n_validation=None,
            n_test=0,
            n_train_evaluated=0,
            n_parameters=None,
            metrics=(MetricSummary(name=command.metric, better=command.direction),),
            batch_size=command.batch_size,
            learning_rate=command.learning_rate or 1.0,
            warnings=facts.warnings,
            start_s=facts.start_s,
        )

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        """For what is run and not kept."""
        with tempfile.TemporaryDirectory(prefix="batchlab-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def profile_of_command(
    command: TrainingCommand,
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None,
    memory_limit_bytes: int | None,
    budget: Budget,
    listener: ProgressListener,
) -> Profile:
    """Measure step time and peak memory of a command by batch size.

    Args:
        command: what is run.
        batch_sizes: examples per step; None: a few around the one that one trains with now.
        memory_limit_bytes: judge as if the machine had no more; None: what it has.
        budget: the ceiling on the whole call.
        listener: told how it gets on.

    Raises:
        UsageError: a batch size that is not possible.
        WorkloadError: the command does not train, at any batch size.
        BudgetError: no batch size could be timed in time.
    """
    listener.begins(command="profile", subject=command.name, stages=())
    subject = CommandSubject(command, budget=budget, listener=listener)
    summary = subject.look()
    sizes = around(summary) if batch_sizes is None else given_sizes(batch_sizes, summary)
    assert budget.work_ends_s is not None
    trial = command_trial(
        command,
        summary,
        batch_size=summary.batch_size,
        learning_rate=command.learning_rate,
    )
    made = subject.profile(
        ProfileRequest(
            trial=trial,
            batch_sizes=sizes,
            reference_batch_size=summary.batch_size,
            device=trial.device,
            memory_limit_bytes=memory_limit_bytes,
        ),
        deadline_s=budget.work_ends_s,
    )
    if not made.points:
        raise BudgetError(
            f"budget {budget.seconds:.3g} s: it ended before a batch size was timed; give a "
            f"larger --budget"
        )
    return made


_LOOK_EVERY_S = 0.25


@contextmanager
def own_turn(store: Store, what: str, *, budget: Budget, while_waiting: str) -> Iterator[None]:
    """Wait until no other process has the claim, then hold it.

    Args:
        store: the store that they share.
        what: the name of the claim.
        budget: how long to wait at most.
        while_waiting: what the other is doing, for the message.

    Raises:
        BudgetError: the budget ended first.
    """
    while True:
        with store.claim(what) as is_ours:
            if is_ours:
                yield
                return
        budget.refuse_if_out_of_time(while_waiting)
        time.sleep(_LOOK_EVERY_S)


def fitting_trials(
    summary: WorkloadSummary,
    trials: tuple[Trial, ...],
    request: SweepRequest,
    listener: ProgressListener,
) -> tuple[Trial, ...]:
    """The trials that the model takes; without smaller last batches where it takes one of them not.

    Args:
        summary: says which sizes run.
        trials: as they were asked for.
        request: by which; batch sizes that it does not name go where they do not run.
        listener: hears what is left out.

    Raises:
        BatchSizeError: a batch size that was asked for does not run, or none does.
    """
    check_batch_norm(summary, trials)
    sizes = _rule(summary)
    if sizes.are_all and summary.last_batch_runs:
        return trials
    fits = [trial for trial in trials if _runs(sizes, trial.batch_size, trial.micro_batch_size)]
    without = [trial for trial in trials if trial not in fits]
    if without and (request.batch_sizes is not None or not fits):
        raise BatchSizeError(_refusal(sizes, without[0]))
    if without:
        gone = ", ".join(str(size) for size in sorted({trial.batch_size for trial in without}))
        listener.warning(
            f"batch sizes left out: {gone}; the model of {summary.name!r} takes {sizes}"
        )
    if not _last_batches_fail(summary, fits, listener):
        return tuple(fits)
    found = []
    for trial in (replace(trial, drop_last=True) for trial in fits):
        has_shape = trial.horizon_steps is not None
        found.append(
            replace(trial, horizon_steps=request.length.last_step(trial)) if has_shape else trial
        )
    return tuple(found)


def fitting_request(
    summary: WorkloadSummary, asked: AdviceRequest, listener: ProgressListener
) -> AdviceRequest:
    """The request that profiles what the model takes; without last batches where that is needed.

    Its candidates stay, so that the answer says why some are left out (`with_sizes_that_run`).

    Args:
        summary: says which sizes run.
        asked: the request.
        listener: hears what is left out.
    """
    sizes = _rule(summary)
    if sizes.are_all and summary.last_batch_runs:
        return asked
    run = tuple(size for size in asked.to_profile.batch_sizes if sizes.holds(size))
    asked = replace(asked, to_profile=replace(asked.to_profile, batch_sizes=run))
    trials = [replace(asked.trial, batch_size=size, micro_batch_size=size) for size in run]
    if not _last_batches_fail(summary, trials, listener):
        return asked
    trial = replace(asked.trial, drop_last=True)
    if trial.horizon_steps is not None:
        assert asked.epochs is not None
        trial = replace(trial, horizon_steps=trial.plan.steps_in(asked.epochs))
    return replace(asked, trial=trial)


def with_sizes_that_run(summary: WorkloadSummary, options: Iterable[Option]) -> tuple[Option, ...]:
    """The options, those that the model does not take with a note that says so."""
    sizes = _rule(summary)
    return tuple(
        option
        if option.note is not None or _runs(sizes, option.batch_size, option.micro_batch_size)
        else replace(option, note=(why := _why(sizes)), step_s=Estimate.cannot_tell(why))
        for option in options
    )


def _rule(summary: WorkloadSummary) -> RunnableSizes:
    """Which sizes run; that BatchNorm needs two has a check of its own (`check_batch_norm`)."""
    if summary.has_batch_norm and summary.sizes == RunnableSizes(least=2):
        return RunnableSizes()
    return summary.sizes


def _runs(sizes: RunnableSizes, batch_size: int, micro_batch_size: int) -> bool:
    """Whether a whole batch runs in such pieces."""
    rest = batch_size % micro_batch_size
    return sizes.holds(micro_batch_size) and (rest == 0 or sizes.holds(rest))


def _last_batches_fail(
    summary: WorkloadSummary, trials: Iterable[Trial], listener: ProgressListener
) -> bool:
    """Whether an epoch's last batch of any of them does not run, and that it is left out then."""
    sizes = _rule(summary)
    for trial in trials:
        rest = trial.n_train % trial.batch_size
        if trial.drop_last or rest == 0:
            continue
        if summary.last_batch_runs and _runs(sizes, rest, min(rest, trial.micro_batch_size)):
            continue
        why = f"the model of {summary.name!r} takes {sizes}"
        if not summary.last_batch_runs:
            why = f"such a step failed when {summary.name!r} was checked"
        listener.warning(
            f"the smaller last batch of an epoch is left out at every batch size, as with "
            f"--drop-last: at batch size {trial.batch_size} it has {rest} of the {trial.n_train} "
            f"examples, and {why}"
        )
        return True
    return False


def _refusal(sizes: RunnableSizes, trial: Trial) -> str:
    size, micro = trial.batch_size, trial.micro_batch_size
    given = f"batch size {size}" + ("" if micro == size else f" in micro-batches of {micro}")
    near = sizes.largest_up_to(size) or sizes.least
    return (
        f"{given}: the model of {trial.workload!r} takes {sizes} in a pass; give one that fits, "
        f"such as {near}"
    )


def _why(sizes: RunnableSizes) -> Reason:
    if sizes.most is not None:
        return Reason.of("takes_only", most=sizes.most)
    if sizes.multiple_of > 1:
        return Reason.of("takes_multiples_of", of=sizes.multiple_of)
    return Reason.of("takes_at_least", least=sizes.least)
