"""CommandEngine: answers with trainings of somebody's own command, one at a time, into a store."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from batchlab.engines.command_answer import answer, is_answered
from batchlab.engines.command_run import CommandRun
from batchlab.engines.contract import Capabilities, RunPlan
from batchlab.engines.cost_model import CostModel
from batchlab.engines.kept_training import KeptTraining
from batchlab.engines.time_left import TimeLeft
from batchlab.errors import TrialError
from batchlab.launching.command_end import CommandEnd
from batchlab.launching.failure_count import FailureCount
from batchlab.launching.followed import OUTPUT_NAME
from batchlab.launching.process_tree import end_leftovers
from batchlab.launching.training_command import TrainingCommand
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.reason import Reason
from batchlab.records.run import OUT_OF_TIME, RunEnd, RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.store.store import Store
from batchlab.words.catalogue import number_text
from batchlab.words.reasons import reason_text

# A training that is to end has so long from SIGTERM to SIGKILL: this, or where the time is short
# this part of it.
_GRACE_S = 10.0
_GRACE_FRACTION = 0.05
_CLAIM_EVERY_S = 0.25
_UNKNOWN_STEP_S = 1.0
# What differs between two contradictions of one kind.
_NUMBERS = re.compile(r"\b(?:\d[\d.e+-]*|nan|inf)")
# What such a training left behind is no place to go on from.
_NOT_TAKEN_UP = (Status.ERROR, Status.OOM, Status.NAN, Status.DIVERGED)
_LEFT_BEHIND = "processes_left_behind"
# Of the notes of a record those that its user can do something about.
_WARNED = ("script_ended_itself", _LEFT_BEHIND, "log_not_understood")


class CommandEngine:
    """Runs a command for what it is asked; the store holds what it told (an `Engine`).

    One at a time: a script takes as many threads as it likes, and its step times are its own.
    """

    name = "command"
    n_workers = 1

    def __init__(
        self,
        store: Store,
        command: TrainingCommand,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `store`, and with trainings of `command`.

        Args:
            store: where all is written down; it knows the command's workload.
            command: what is run.
            plan: what all runs share.
            listener: told how it gets on.
            started_s: the reading of `clock` from which the budget counts.
            budget_s: seconds after which no run goes on; None: there is no end.
            clock: a monotonic clock, in seconds.
        """
        self.cost_model = CostModel()
        self._store = store
        self._command = command
        self._plan = plan
        self._listener = listener
        self._started_s = started_s
        self._budget_s = budget_s
        self._clock = clock
        self._submitted: deque[RunRequest] = deque()
        self._time_left = TimeLeft()
        self._failures = FailureCount()
        self._told: set[str] = set()
        end_leftovers(self.marker)

    @property
    def capabilities(self) -> Capabilities:
        """What its placeholders let a command do."""
        return Capabilities(
            resumes=self._command.template.can_resume,
            any_learning_rate=self._command.takes("learning_rate"),
            any_seed=True,
            side_by_side=False,
            in_process_metrics=False,
            keeps_cadence=False,
            cools_down=False,
        )

    @property
    def n_seeds(self) -> int | None:
        """Any number: without {seed} a script draws its own."""
        return None

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """Any rate, where the command takes one."""
        if self._command.takes("learning_rate"):
            return None
        return (self._plan.trial.learning_rate,)

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        trial = replace(
            self._plan.trial,
            batch_size=batch_size,
            micro_batch_size=self._plan.micro_batch_sizes.get(batch_size, batch_size),
            learning_rate=learning_rate,
            seed=seed,
        )
        if self._plan.horizon_epochs is None:
            return trial
        return replace(trial, horizon_steps=trial.plan.steps_in(self._plan.horizon_epochs))

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Seconds that a run takes, start and evaluations too."""
        trial = replace(self._plan.trial, batch_size=batch_size)
        return self.cost_model.expected_s(trial, length, step_s=self._step_s(batch_size))

    def evaluation_steps(self, batch_size: int) -> float:
        """Not known: a script tells its steps and its evaluations together."""
        return 0.0

    def spent_s(self) -> float:
        """Seconds of the budget spent by the clock: those since `started_s`."""
        return self._clock() - self._started_s

    def submit(self, request: RunRequest) -> None:
        """Put it last."""
        if not self._submitted:
            self._time_left = TimeLeft()
        known = self._store.record(request.trial.trial_id) if self.capabilities.resumes else None
        done = 0 if known is None else known.steps
        new = replace(request.length, epochs=None, steps=max(0, request.last_step - done))
        # How long a script trains by itself is not known: its trainings count the same.
        is_known = not request.length.to_own_end
        expected_s = self.expected_s(request.trial.batch_size, new) if is_known else 1.0
        self._time_left.expect(request.trial.trial_id, expected_s)
        self._submitted.append(request)

    def next_finished(self) -> RunEnd:
        """The answer to the first: from the store, or trained until the budget ends.

        Raises:
            StoreError: the store cannot be used.
            TrialError: the command fails again and again in the same way.
            KeyboardInterrupt: after everything has been stored.
        """
        request = self._submitted[0]
        with ExitStack() as claim:
            self._claim(claim, request)
            record = self._store.record(request.trial.trial_id)
            if not is_answered(record, request.length):
                if self._left_s() <= self._grace_s:
                    self._submitted.popleft()
                    return RunEnd(request=request, record=_in_time(record, request, self.name))
                self._train(request, record)
                record = self._store.record(request.trial.trial_id)
        assert record is not None
        self._submitted.popleft()
        return RunEnd(request=request, record=answer(record, request.length))

    def cancel(self) -> None:
        """Forget what has not begun; nothing runs outside of `next_finished`."""
        self._submitted.clear()

    # ---- one training

    def _claim(self, claim: ExitStack, request: RunRequest) -> None:
        """Hold the trial for this process; another that trains it is waited for."""
        while not claim.enter_context(self._store.claim(request.trial.trial_id)):
            claim.close()
            if self._left_s() <= self._grace_s:
                return
            time.sleep(_CLAIM_EVERY_S)

    def _train(self, request: RunRequest, known: TrialRecord | None) -> None:
        trial = request.trial
        kept = KeptTraining(
            self._store,
            request,
            known,
            folder=self._store.trial_folder(trial.trial_id),
            engine=self.name,
        )
        began_s = self._clock()
        run = self._run(request, kept, resumes=self._can_be_taken_up(known))
        verdict, end = run.until_done()
        if run.could_not_be_taken_up(end):
            why = reason_text(end.reason) or "it told nothing new"
            self._listener.warning(
                f"{_named(trial)}: it did not go on from {{resume_from}} ({why.rstrip('.')}), so "
                f"it begins again"
            )
            run = self._run(request, kept, resumes=False)
            verdict, end = run.until_done()
        run.keep(verdict)
        notes = run.notes(verdict, end)
        self._store.finish_trial(
            trial.trial_id,
            status=verdict.status,
            reason=verdict.reason,
            traceback="\n".join(end.last_lines) if verdict.status is Status.ERROR else None,
            peak_bytes=None if end.peak is None else end.peak.bytes,
            notes=notes,
        )
        self._learn(trial, self._clock() - began_s, from_step=run.from_step)
        self._tell(request, 1.0)
        self._warn_of(trial, notes)
        if not verdict.status.ended_well and verdict.reason != OUT_OF_TIME:
            self._listener.warning(
                f"{_named(trial)}: {verdict.status} ({reason_text(verdict.reason)})"
            )
        self._tell_contradictions(trial, run)
        if verdict.status is Status.ERROR:
            self._stop_if_hopeless(end, verdict.reason)

    def _warn_of(self, trial: Trial, notes: Sequence[Reason]) -> None:
        """Say what its user has to do about; what all trainings have in common is said once."""
        codes = {note.code for note in notes}
        for note in notes:
            text = reason_text(note)
            # A script that leaves its training behind has no length to be told.
            is_explained = note.code == "script_ended_itself" and _LEFT_BEHIND in codes
            if note.code in _WARNED and not is_explained and text not in self._told:
                self._listener.warning(f"{_named(trial)}: {text}")
                if note.code != "script_ended_itself":
                    self._told.add(text)

    def _run(self, request: RunRequest, kept: KeptTraining, *, resumes: bool) -> CommandRun:
        trial_id = request.trial.trial_id
        return CommandRun(
            self._command,
            request,
            kept,
            folder=self._store.trial_folder(trial_id),
            marker=f"{self.marker}/{trial_id}",
            grace_s=self._grace_s,
            left_s=self._left_s,
            tell=lambda fraction: self._tell(request, fraction),
            resumes=resumes,
        )

    def _can_be_taken_up(self, known: TrialRecord | None) -> bool:
        """Whether the command goes on from what its last run left, and that left something."""
        if known is None or not known.evaluations or not self.capabilities.resumes:
            return False
        output_dir = self._store.trial_folder(known.trial.trial_id) / OUTPUT_NAME
        return known.status not in _NOT_TAKEN_UP and any(output_dir.glob("*"))

    def _tell_contradictions(self, trial: Trial, run: CommandRun) -> None:
        """Tell what in its progress contradicts itself, each kind once: all its trainings do."""
        for text in run.contradictions:
            kind = _NUMBERS.sub("#", text)
            if kind not in self._told:
                self._told.add(kind)
                self._listener.warning(f"{_named(trial)}: {text}")

    def _stop_if_hopeless(self, end: CommandEnd, reason: Reason | None) -> None:
        """End the study where the same failure came again and again.

        Raises:
            TrialError: with the command's last lines.
        """
        why = self._failures.add(end, None if reason == end.reason else reason)
        if why is not None:
            said = " | ".join(end.last_lines[-3:])
            raise TrialError(f"the study stops: {reason_text(why)}. Its last lines: {said}")

    def _learn(self, trial: Trial, wall_s: float, *, from_step: int) -> None:
        record = self._store.record(trial.trial_id)
        if record is not None:
            self.cost_model = self.cost_model.with_run(
                record, from_step=from_step, wall_s=wall_s, step_s=self._step_s(trial.batch_size)
            )

    # ---- what is told

    def _tell(self, request: RunRequest, fraction: float) -> None:
        trial = request.trial
        done, left_s = self._time_left.at(trial.trial_id, fraction)
        rate = number_text(trial.learning_rate, "rate")
        so_far = "" if request.length.to_own_end else f": {fraction:.0%}"
        self._listener.progress(
            done_fraction=done,
            left_s=left_s,
            text=f"{_named(trial)}{so_far}",
            short=f"{trial.batch_size} at {rate}, seed {trial.seed}{so_far}",
        )

    # ---- time

    @property
    def marker(self) -> str:
        """Marks the processes of this store's trainings of this command."""
        return f"{self._store.path.absolute()}-{self._plan.trial.workload_id}"

    @property
    def _grace_s(self) -> float:
        if self._budget_s is None:
            return _GRACE_S
        return min(_GRACE_S, _GRACE_FRACTION * self._budget_s)

    def _left_s(self) -> float:
        return math.inf if self._budget_s is None else self._budget_s - self.spent_s()

    def _step_s(self, batch_size: int) -> float:
        return self._plan.step_s.get(batch_size, _UNKNOWN_STEP_S)


def _named(trial: Trial) -> str:
    rate = number_text(trial.learning_rate, "rate")
    return f"batch size {trial.batch_size}, learning rate {rate}, seed {trial.seed}"


def _in_time(record: TrialRecord | None, request: RunRequest, engine: str) -> TrialRecord:
    """What is known of a training for which no time was left."""
    if record is None:
        return request.never_begun(engine)
    return replace(record, status=Status.TIMEOUT, reason=OUT_OF_TIME, target=request.length.until)
