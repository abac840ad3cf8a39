"""CommandSubject: somebody's own training command, run as processes of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from batchlab.commands.budget import Budget
from batchlab.commands.stored_summary import stored_summary
from batchlab.engines.command_answer import is_answered
from batchlab.engines.commanded import CommandEngine
from batchlab.engines.contract import RunPlan
from batchlab.launching.command_check import CommandCheck, CommandFacts
from batchlab.launching.command_identity import command_identity
from batchlab.launching.process_tree import end_leftovers
from batchlab.launching.training_command import TrainingCommand
from batchlab.processes.children import Ended
from batchlab.profiling.command_search import CommandSearch
from batchlab.profiling.command_timing import timed_command
from batchlab.profiling.measuring import ProfileRequest, profile_of
from batchlab.profiling.profile import Profile
from batchlab.profiling.profile_point import ProfilePoint
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run_length import RunLength
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Trial, TrialRecord
from batchlab.store.store import Store

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
