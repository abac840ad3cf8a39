"""StoredEngine: what the engines share that spend this machine's time and keep a store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from batchlab.plans.cadence import pauses
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import OUT_OF_TIME, RunLength, RunRequest
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import Capabilities, CostModel, RunPlan
from batchlab.store.store import Store
from batchlab.training.plain import Outcome
from batchlab.words.catalogue import number_text
from batchlab.words.reasons import reason_text

# Beyond the batch sizes that were timed, until a run tells: a guess that only orders runs.
_UNKNOWN_STEP_S = 1.0
# An interval between evaluations leaves pauses up to twice as far apart; what was evaluated twice
# as seldom as that is as good: another session timed evaluations anew.
_AS_GOOD = 4.0
# Ends that a run may be taken up from, and that are no want of time.
_BAD_ENDS = (Status.ERROR, Status.KILLED)


class StoredEngine:
    """Budget, costs, records and progress of an engine; how a run is trained is for its heirs.

    What the store holds already is answered from there.
    """

    name: str

    def __init__(
        self,
        store: Store,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `store`.

        Args:
            store: where all is written down; it knows the workload.
            plan: what all runs share.
            listener: told how it gets on.
            started_s: the reading of `clock` from which the budget counts.
            budget_s: seconds after which no run goes on; None: there is no end.
            clock: a monotonic clock, in seconds.
        """
        self.cost_model = CostModel()
        self._store = store
        self._plan = plan
        self._listener = listener
        self._started_s = started_s
        self._budget_s = budget_s
        self._clock = clock
        self._time_left = TimeLeft()

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        raise NotImplementedError

    @property
    def n_seeds(self) -> int | None:
        """Any number."""
        return None

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """Any rate."""
        return None

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
        """Seconds that a run takes beside others, start and evaluations too.

        From the step time that was measured alone, and from what earlier runs took.
        """
        trial = replace(self._plan.trial, batch_size=batch_size)
        return self.cost_model.expected_s(trial, length, step_s=self._step_s(batch_size))

    def spent_s(self) -> float:
        """Seconds of the budget spent by the clock: those since `started_s`."""
        return self._clock() - self._started_s

    def _left_s(self) -> float:
        return math.inf if self._budget_s is None else self._budget_s - self.spent_s()

    def _step_s(self, batch_size: int) -> float:
        return self._plan.step_s.get(batch_size, _UNKNOWN_STEP_S)

    # ---- records

    def _is_answered(self, record: TrialRecord | None, length: RunLength) -> bool:
        return is_answered(record, length, keeps_cadence=self.capabilities.keeps_cadence)

    def _answer(self, request: RunRequest) -> TrialRecord:
        """The stored record with the status that it has for what was asked."""
        record = self._store.record(request.trial.trial_id)
        if record is None or not (
            record.status in _BAD_ENDS or self._is_answered(record, request.length)
        ):
            return self._out_of_time(record, request)
        return as_asked(record, request.length)

    def _out_of_time(self, record: TrialRecord | None, request: RunRequest) -> TrialRecord:
        """What is known of a run for which no time was left."""
        if record is None:
            return request.never_begun(self.name)
        until = request.length.until
        return replace(record, status=Status.TIMEOUT, reason=OUT_OF_TIME, target=until)

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        """Store how a run ended, and say so where it ended badly."""
        assert outcome.status is not None
        self._store.finish_trial(
            trial.trial_id,
            status=outcome.status,
            reason=outcome.reason,
            traceback=outcome.traceback,
            peak_bytes=outcome.peak_bytes,
            notes=outcome.notes,
        )

    def _warn_of_bad_end(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.status is not None and not outcome.status.ended_well:
            said = reason_text(outcome.reason)
            self._listener.warning(f"{named(trial)}: {outcome.status} ({said})")

    def _learn(self, trial: Trial, *, from_step: int, wall_s: float | None) -> None:
        """What a run took; `wall_s` None: it ran in another session."""
        record = self._store.record(trial.trial_id)
        if record is not None:
            self.cost_model = self.cost_model.with_run(
                record, from_step=from_step, wall_s=wall_s, step_s=self._step_s(trial.batch_size)
            )

    # ---- what is told

    def _expect(self, request: RunRequest, known: TrialRecord | None, *, anew: bool) -> float:
        """Expect what is new of a run; in seconds. `anew`: all that was expected has ended."""
        done = 0 if known is None else known.steps
        if known is not None and known.has_ended_itself:
            done = request.last_step
        new = replace(request.length, epochs=None, steps=max(0, request.last_step - done))
        # How long a script trains by itself is not known: its trainings count the same.
        is_known = not request.length.to_own_end
        expected_s = self.expected_s(request.trial.batch_size, new) if is_known else 1.0
        if anew:
            self._time_left = TimeLeft()
        self._time_left.expect(request.trial.trial_id, expected_s)
        return expected_s

    def _tell(self, request: RunRequest, fraction: float) -> None:
        trial = request.trial
        done, left_s = self._time_left.at(trial.trial_id, fraction)
        so_far = "" if request.length.to_own_end else f": {fraction:.0%}"
        rate = number_text(trial.learning_rate, "rate")
        self._listener.progress(
            done_fraction=done,
            left_s=left_s,
            text=f"{named(trial)}{so_far}",
            short=f"{trial.batch_size} at {rate}, seed {trial.seed}{so_far}",
        )


class TimeLeft:
    """How much of the expected training is done, and how long the rest will take."""

    def __init__(self) -> None:
        self._expected_s: dict[str, float] = {}
        self._fraction: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._started_s = time.monotonic()

    def expect(self, trial_id: str, seconds: float) -> None:
        """Expect a trial to need so long from where it is now."""
        self._expected_s[trial_id] = seconds

    def at(self, trial_id: str, fraction: float) -> tuple[float, float | None]:
        """The fraction of all work done, and the seconds left (None: too early to say)."""
        self._first.setdefault(trial_id, fraction)
        self._fraction[trial_id] = fraction
        total = sum(self._expected_s.values()) or 1.0
        done = sum(self._expected_s[name] * part for name, part in self._fraction.items())
        since = done - sum(self._expected_s[name] * part for name, part in self._first.items())
        elapsed_s = time.monotonic() - self._started_s
        left_s = elapsed_s * (total - done) / since if since > 0.02 * total else None
        return done / total, left_s


def named(trial: Trial) -> str:
    """What a trial is called in a message."""
    rate = number_text(trial.learning_rate, "rate")
    return f"batch size {trial.batch_size}, learning rate {rate}, seed {trial.seed}"


def as_asked(record: TrialRecord, length: RunLength) -> TrialRecord:
    """A stored training with the status that it has for what was asked.

    Trained for another target or further than asked, its own status answers another question.
    """
    record = replace(record, target=length.until)
    if not record.ended_well:
        return record
    met = _has_met(record, length)
    return replace(record, status=Status.TARGET_REACHED if met else Status.OK)


def is_answered(record: TrialRecord | None, length: RunLength, *, keeps_cadence: bool) -> bool:
    """Whether a stored training is as long as asked, has met the target, or cannot be longer.

    Args:
        record: as it is stored; None: it is not.
        length: how far is asked.
        keeps_cadence: whether its engine evaluates when it is asked to, so that a run that was
            not evaluated as asked may be done again.
    """
    if record is None or record.status is None or record.status.may_go_on:
        return False
    if not record.ended_well:
        return True
    if keeps_cadence and not (was_evaluated(record, length) and _has_end(record, length)):
        return False
    is_whole = _trained_steps(record) >= length.last_step(record.trial)
    return record.has_ended_itself or is_whole or _has_met(record, length)


def _has_met(record: TrialRecord, length: RunLength) -> bool:
    crossing = None if length.until is None else record.crossing(length.until)
    return crossing is not None and crossing.held


def _trained_steps(record: TrialRecord) -> int:
    """Steps of a training that ended well; a script may have told its metric before its end."""
    notes = [note for note in record.notes if note.code == "metric_told_before_end"]
    asked = [dict(note.values)["asked"] for note in notes]
    return max([record.steps, *(steps for steps in asked if isinstance(steps, int))])


def was_evaluated(record: TrialRecord, length: RunLength) -> bool:
    """Whether it was evaluated on its way as often, and on as much, as is asked."""
    return _was_watched(record, length) and _has_epoch_ends(record, length)


def _was_watched(record: TrialRecord, length: RunLength) -> bool:
    """Whether it was evaluated as often as asked where it met the target asked for.

    Runs of the advice are looked at seldom before they may meet theirs; an easier target may have
    been met there.
    """
    crossing = None if length.until is None else record.crossing(length.until)
    if crossing is None:
        return True
    seen_samples = crossing.samples - record.trial.plan.samples_at(crossing.after_step)
    if seen_samples <= _AS_GOOD * length.interval_samples:
        return True
    asked = pauses(
        record.trial.plan,
        last_step=crossing.step,
        after_step=crossing.after_step,
        watched_from_samples=length.watched_from_samples,
        interval_samples=length.interval_samples,
    )
    # Where something waits for epoch ends, there are more evaluations than are asked for.
    return next(asked).step >= crossing.step


def _has_epoch_ends(record: TrialRecord, length: RunLength) -> bool:
    """Whether train and test data were evaluated on the way, where that is asked for.

    Runs of the advice are evaluated on them at the end, or never.
    """
    if length.all_splits != "each_epoch" or not record.evaluations:
        return True
    last_step = record.steps
    asked = {
        pause.step for pause in pauses(record.trial.plan, last_step=last_step) if pause.epoch_end
    }
    asked = {0, *asked} - {last_step}
    return all(each.has_all_splits for each in record.evaluations if each.step in asked)


def _has_end(record: TrialRecord, length: RunLength) -> bool:
    """Whether the last evaluation is one on train and test data too, where that is asked for."""
    is_longer = record.steps > length.last_step(record.trial)
    return length.all_splits == "never" or is_longer or record.evaluations[-1].has_all_splits
