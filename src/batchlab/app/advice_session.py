"""AdviceSession: one session of a study, from its question or from where the last one stopped."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial

from batchlab.advice.advice import Advice, Configuration, Option, Purpose, Question
from batchlab.advice.advisor import advise as decide
from batchlab.advice.advisor import best_so_far
from batchlab.advice.horizon import HORIZONS
from batchlab.advice.level import has_settled
from batchlab.advice.run_log import RunLog
from batchlab.app.options import noted, options_of, reference_of, refused
from batchlab.app.profile import PROFILING
from batchlab.app.report import Advised, advice_of, put_advice, stored_advice
from batchlab.app.subject import Subject, outside_of_a_share, own_turn
from batchlab.errors import BudgetError, UsageError, WorkloadError
from batchlab.laws.plateau import plateau_of
from batchlab.measure.profile import MOST_PROCESSES, Profile, ratio_in_turn
from batchlab.plans.scaling import SCALING_RULES, moved_adam
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.progress_listener import ProgressListener, Silent
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.records.run import RunLength, RunRequest, RunsAsked
from batchlab.records.study import StudyName, WorkloadSummary
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import Engine, RunPlan, run_all
from batchlab.runs.replay import Journal, JournalEntry, ReplayingEngine
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text
from batchlab.workload.given_data import FEW_EXAMPLES

BEGINNING = "training the first steps"
TARGET = "setting the target"
SEARCH = "comparing batch sizes"
_OF_PURPOSE: dict[Purpose, str] = {
    "pilot": TARGET,
    "search": SEARCH,
    "whole": SEARCH,
}


def stages_of(subject: Subject) -> Sequence[str]:
    """Return the stages of an advice, in order; a pilot is needed if no target is given."""
    stages = (PROFILING, *((TARGET,) if _needs_pilot(subject) else ()), SEARCH)
    return [text(stage) for stage in stages]


def _needs_pilot(subject: Subject) -> bool:
    return subject.target is None and subject.question.objective != "quality"


class AdviceProgress:
    """A `RunWatcher` that reports the stages, the runs and what leads to a listener."""

    def __init__(self, listener: ProgressListener, journal: Journal | None = None) -> None:
        """Begin without a stage; `journal` keeps what leads, for anyone who reads the store."""
        self._listener = listener
        self._journal = journal
        self._stage = ""
        self.is_beginning = False  # the pilot's first part, which is not a stage

    def asked(self, runs: RunsAsked, purpose: Purpose) -> None:
        """Report a new stage, and the runs."""
        self.stage(BEGINNING if self.is_beginning else _OF_PURPOSE[purpose])
        self._listener.asked(runs)

    def stage(self, stage: str) -> None:
        """Report a stage, unless it is the current one."""
        if stage != self._stage:
            self._stage = stage
            self._listener.phase(text(stage))

    def answered(self, run_log: RunLog) -> None:
        """Report what leads now."""
        best = best_so_far(run_log)
        self._listener.best(best)
        if self._journal is not None:
            self._journal.note_best(best)


# The profile's share of the budget, and its limits in seconds. A dozen batch sizes of a small model
# take 7 s to time once, and they are timed again as long as there is time. A larger share would
# hardly improve the step times, which are more certain than the seeds' scatter by then, and the
# trainings would lack it.
_PROFILE_SHARE = 0.12
_PROFILE_LEAST_S = 10.0
_PROFILE_MOST_S = 60.0
_PROFILE_LARGEST_SHARE = 0.4  # the most, if the budget is hardly enough
_FIRST_LOOK_S = 60.0
_FIRST_EPOCHS = 4  # doubled until a training reaches its end
# An evaluation's memory is reported if it exceeds a step's by this: a few buffers do not matter.
_CLEARLY_MORE, _CLEARLY_MORE_BYTES = 1.25, 64 << 20
# Timing in turn may take this share of the budget, but at least these seconds; each call may take
# this part of the rest. More processes add little. One needs at least these seconds and steps.
_TURNS_SHARE, _TURNS_LEAST_S, _TURNS_OF_LEFT, _MOST_TURNS = 0.03, 2.0, 0.7, 4
_TURN_LEAST_S, _TURN_STEPS = 0.4, 6
# "Early" is this first part of a whole training, or the first epoch of one with this many or more.
_EARLY, _MANY_EPOCHS = 1 / 20, 10
# An option of a command that gives its weight decay.
_DECAY_OPTION = re.compile(r"(?:weight[-_.]?decay|\bwd)[= ]([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\b", re.I)
# The largest part of the budget that may go to everything but the runs.
_MOST_FOR_THE_REST = 0.5
# The time for conclusions after the last run, and the most that it may take of the budget.
_CONCLUSIONS_S = 2.0
_CONCLUSIONS_SHARE = 0.05


def _why_untimed(option: Option) -> Reason | None:
    """Return why a batch size that runs has no step time; None if it has one, or does not run."""
    return option.step_s.reason if option.runs else None


def _without_times(options: Sequence[Option]) -> Reason:
    """Return that examples are compared, with the first reason why a step time is missing."""
    untimed = [(option.batch_size, why) for option in options if (why := _why_untimed(option))]
    sizes = ", ".join(str(size) for size, _ in untimed)
    return Reason.of("compared_by_examples", sizes=sizes, why=untimed[0][1])


def _has_no_answer(advice: Advice) -> bool:
    """Return whether the budget cut every run, or none began."""
    is_cut = advice.reason.code == "budget_ended_before_reference"
    return is_cut and not any(Status(run.status).ended_well for run in advice.tried)


def decay_stayed(
    advice: Advice, summary: WorkloadSummary, subject: object = None
) -> Iterator[Reason]:
    """Say if a weight decay that stays acts twice or half as much per epoch at the named size."""
    named, own = advice.named, advice.reference
    if named is None or any(run.weight_decay_factor != 1 for run in advice.tried):
        return
    stays = bool(summary.has_weight_decay) and summary.adam is None
    if isinstance(subject, TrainingCommand):
        found = _DECAY_OPTION.search(" ".join(subject.arguments))
        stays = found is not None and float(found[1]) > 0
    share = (named.learning_rate / own.learning_rate) / (named.batch_size / own.batch_size)
    if stays and max(share, 1 / share) >= 2:
        size, rate = named.batch_size, named.learning_rate
        yield Reason.of("weight_decay_stayed", size=size, rate=rate, share=share)


class AdviceSession:
    """One session of a study, from its question or from where the last one stopped."""

    def __init__(self, store: Store, subject: Subject, study: StudyName) -> None:
        self._store = store
        self._subject = subject
        self._study = study
        self._asked = subject.question
        self._summary = subject.summary
        self._budget = subject.question.budget
        self._listener = subject.question.listener
        self._target = subject.target
        self._trial = subject.reference
        self._here: Profile  # of this machine, as far as it is measured
        self._turns_took_s = 0.0
        # By batch size. The engine plans with both of these.
        self._micro_batch_sizes: dict[int, int] = {}
        self._step_s: dict[int, float] = {}

    def carried_out(self) -> Advised:
        """Profile, advise, and read the study back; a finished study is only read."""
        study_id = self._study.study_id
        # If two processes ask the same at once, one works and the other takes its answer.
        with (
            own_turn(
                self._store,
                f"study-{study_id}",
                budget=self._budget,
                while_waiting="another process was working on the same question",
            ),
            self._store.working_on(study_id),
        ):
            journal = Journal(self._store, self._study)
            if self._store.decisions(study_id) is None:
                journal.put_study(self._target)
            self._tell_of_budget(journal)
            if stored_advice(self._store, study_id) is None:
                try:
                    self._advise(journal)
                except BudgetError:
                    journal.begin(JournalEntry())
                    raise
                finally:
                    self._store.add_spent(study_id, self._budget.elapsed_s())
            advised = advice_of(self._store, self._store.study(study_id))
        assert advised is not None
        return advised

    def _tell_of_budget(self, journal: Journal) -> None:
        """Report the budget, unless it is not known before a training has been timed."""
        if self._budget.seconds is not None:
            spent_s = journal.spent_before_s + self._budget.elapsed_s()
            self._listener.budget(spent_s=spent_s, budget_s=self._budget.seconds)

    def _advise(self, journal: Journal) -> None:
        watcher = AdviceProgress(self._listener, journal)
        here = self._here = self._begun_with(journal, watcher)
        is_whole = not self._is_of_the_reference_alone(here)
        watcher.is_beginning = not is_whole
        shown = self._asked.profile or here
        options = self._options(shown)
        if not is_whole:
            options = tuple(o for o in options if o.batch_size == self._trial.batch_size)
        reference = reference_of(options, self._trial, device_name=shown.device_name)
        # A study that is continued has the same profile, so it gets the same limit again.
        self._limit_to_trainings(reference, here.about_step_s(reference.batch_size))
        self._tell_of_budget(journal)
        # The first session's figure is kept: each session has spent a little else before this.
        budget_s = self._runs_s if journal.budget_s is None else journal.budget_s
        inner = self._engine(budget_s=budget_s - journal.spent_before_s)
        self._plan(here, options)
        if not journal.profiles:
            elsewhere = self._asked.profile
            first = JournalEntry(
                profile=here.to_json(),
                elsewhere=None if elsewhere is None else elsewhere.to_json(),
                budget_s=budget_s,
                n_workers=inner.n_workers,
                spent_s=inner.spent_s(),
            )
            journal.begin(first)
        engine = ReplayingEngine(inner, journal)
        question = self._question(options, reference, budget_s=budget_s)
        with_all_options = partial(self._with_all_options, question, journal, watcher, inner)
        try:
            advice = decide(
                question,
                engine,
                watcher=watcher,
                with_all_options=None if is_whole else with_all_options,
                in_turn=None if self._asked.profile else partial(self._in_turn, journal, inner),
            )
        finally:
            engine.cancel()
        if _has_no_answer(advice):
            raise self._budget.ended("before your own settings had been trained once")
        advice = replace(
            advice,
            budget_s=self._allowed_s,
            trainings=self._asked.trainings,
            caveats=(
                *self._origin_of_times(),
                *self._not_told(advice),
                *self._met_early(advice),
                *decay_stayed(advice, self._summary, self._asked.workload),
                *advice.caveats,
                *self._caveats(has_runs=bool(advice.tried)),
                *(() if question.objective == self._asked.objective else [_without_times(options)]),
            ),
        )
        journal.put_study(advice.target)
        journal.put_readings(spent_s=journal.spent_before_s + inner.spent_s())
        put_advice(self._store, self._study.study_id, advice)

    def _question(
        self, options: tuple[Option, ...], reference: Configuration, *, budget_s: float
    ) -> Question:
        """Return the advisor's question, which compares examples if a step time is missing."""
        objective = self._asked.objective
        if objective == "time" and any(map(_why_untimed, options)):
            objective = "samples"
        return Question(
            objective=objective,
            metric=self._metric,
            better=next(m.better for m in self._summary.metrics if m.name == self._metric),
            target=self._target,
            target_origin="pilot" if self._target is None else "given",
            reference=reference,
            is_usual=self._subject.is_usual,
            options=options,
            n_train=self._summary.n_train,
            n_validation=self._summary.n_validation,
            margin=self._asked.margin,
            draws_by_seed=self._summary.draws_by_seed,
            budget_s=budget_s,
            planned_epochs=self._subject.epochs,
            at_most_epochs=self._asked.at_most_epochs,
            tunes_weight_decay=self._asked.tune is not None,
            may_stretch=self._subject.may_stretch,
            constant_until=self._subject.constant_until,
            stops_early=self._subject.stops_early,
            longest_s=self._asked.train_s,
            rules=self._rules(options),
            not_comparable=self._why_not_comparable,
        )

    def _with_all_options(
        self, question: Question, journal: Journal, watcher: AdviceProgress, inner: Engine
    ) -> Question:
        """Return the question with all batch sizes, which are timed now unless they were before."""
        watcher.is_beginning = False
        if len(journal.profiles) == 1:
            profile = self._measured(watcher, known=self._here)
            spent_s = journal.spent_before_s + inner.spent_s()
            journal.write(JournalEntry(profile=profile.to_json(), spent_s=spent_s))
        self._here = Profile.from_json(journal.profiles[-1])
        options = self._options(self._here)
        self._plan(self._here, options)
        return replace(question, options=options)

    @property
    def _metric(self) -> str:
        return self._target.metric if self._target else self._summary.metrics[0].name

    @property
    def _why_not_comparable(self) -> Reason | None:
        """The reason why batch sizes cannot be compared by the metric, or None if they can."""
        if self._metric == "loss" and self._summary.loss_couples:
            return Reason.of("losses_not_comparable")
        return None

    # ---- the budget

    @property
    def _allowed_s(self) -> float:
        assert self._budget.seconds is not None
        return self._budget.seconds

    @property
    def _runs_s(self) -> float:
        """The part of the budget for the runs; the caller's part and the conclusions come after."""
        assert self._budget.work_ends_s is not None
        usable_s = self._budget.work_ends_s - self._budget.started_s
        return usable_s - min(_CONCLUSIONS_S, _CONCLUSIONS_SHARE * usable_s)

    def _limit_by_a_first_look(self) -> None:
        """Set the limit to the trainings asked for, if they were, by a first timing of a step."""
        trainings = self._asked.trainings
        if trainings is None:
            return
        timed_s = math.nan  # not used if `train_s` sets the length
        if self._asked.train_s is None:
            first = self._subject.timed(self._trial, timeout_s=_FIRST_LOOK_S)
            if first.value is None:
                return  # the profile will say why
            timed_s = first.value.step_s
        began_s = time.monotonic()
        self._limit_to_trainings(self._trial, timed_s)
        # A first training to find its length is not counted, because the study uses its record.
        rest_s = self._allowed_s - self._budget.time_limit_s() - (time.monotonic() - began_s)
        if rest_s > _MOST_FOR_THE_REST * self._allowed_s:
            least = trainings * rest_s / (_MOST_FOR_THE_REST * self._allowed_s)
            raise BudgetError(
                f"{trainings:g} trainings take {self._allowed_s:.3g} s here, and starting, timing "
                f"and the report alone {rest_s:.3g} s; give --trainings {math.ceil(least)} or "
                f"more, or a time with --budget"
            )

    def _limit_to_trainings(self, own: Trial | Configuration, timed_s: float) -> None:
        """Set the limit to the trainings asked for, if they were; a step takes `timed_s`."""
        if self._asked.trainings is not None:
            one_s = self._asked.train_s
            if one_s is None:
                plan = replace(self._trial, batch_size=own.batch_size).plan
                one_s = plan.steps_in(self._epochs_of_one) * timed_s
            self._budget.limit(self._asked.trainings * one_s)

    @cached_property
    def _epochs_of_one(self) -> float:
        """The passes of one training: as planned, or else until the reference reaches its end.

        Its end is the target, its plateau, or the point at which a script ends by itself.
        """
        if self._subject.epochs is not None:
            return self._subject.epochs
        engine = self._subject.engine(self._store, self._run_plan)
        self._listener.phase(text(TARGET))
        length = RunLength(epochs=_FIRST_EPOCHS, until=self._target, all_splits="never")
        if self._summary.is_own_command:
            length = replace(length, epochs=None, to_own_end=True)
        while True:
            (record,) = run_all(engine, [RunRequest(trial=self._trial, length=length)])
            if record.has_failed:
                raise WorkloadError(
                    f"{self._asked.trainings:g} trainings: how long one takes is not known, for "
                    f"the first failed ({reason_text(record.reason)}); give a time with --budget"
                )
            last = length.last_step(self._trial)  # the stored training may be longer
            seen = tuple(each for each in record.evaluations if each.step <= last)
            end = self._end_of(replace(record, evaluations=seen))
            if end is not None or length.epochs is None:
                return end or record.epochs
            length = replace(length, epochs=2 * length.epochs)

    def _end_of(self, record: TrialRecord) -> float | None:
        """Return the passes until it met the target or reached its end, or None if neither."""
        crossing = None if self._target is None else record.crossing(self._target)
        if crossing is not None and crossing.held:
            return record.trial.plan.epoch_at(crossing.step)
        better = next(m.better for m in self._summary.metrics if m.name == self._metric)
        plateau = plateau_of(record, metric=self._metric, better=better)
        is_flat = has_settled(record, plateau) and not plateau.worsens
        return record.epochs if is_flat or record.has_ended_itself else None

    # ---- before the advice

    def _refuse_an_impossible_target(self) -> None:
        """Refuse a target that the untrained model meets, or one in percent, which is never met."""
        target = self._target
        if target is None or self._why_not_comparable is not None:
            return
        if not (self._subject.keeps_cadence and self._asked.is_device_here):
            return  # it may never show the untrained model, or would train on another device
        limit_s = self._budget.time_limit_s(_FIRST_LOOK_S)
        plan = replace(self._run_plan, listener=Silent(), budget_s=limit_s, trainer="plain")
        one_step = RunRequest(trial=self._trial, length=RunLength(steps=1, all_splits="never"))
        (record,) = run_all(self._subject.engine(self._store, plan, is_here=True), [one_step])
        if not record.evaluations:
            return  # it cannot be trained, which the profile will say with its reason
        first = record.evaluations[0].score("validation", target.metric)
        if target.met_by(first):
            raise UsageError(
                f"target {target.metric}={target.value:g}: the untrained model of "
                f"{self._summary.name!r} has {target.metric} {first:g}, a target that is met "
                f"before the first step; give a harder one"
            )
        # A user's own accuracy may be in percent, which its value for the untrained model shows.
        is_share = "acc" in target.metric.lower() and first is not None and 0 <= first <= 1
        if is_share and target.better == "higher" and target.value > 1:
            raise UsageError(
                f"{outside_of_a_share(target.metric, target.value)} "
                f"(the untrained model of {self._summary.name!r} has {first:g})"
            )

    def _begun_with(self, journal: Journal, watcher: AdviceProgress) -> Profile:
        """Return the profile to begin with: of all sizes, or of the reference for the pilot."""
        if journal.profiles:
            return Profile.from_json(journal.profiles[0])
        self._refuse_an_impossible_target()
        self._limit_by_a_first_look()
        own, wanted = self._trial.batch_size, self._wanted
        # A script may take minutes to start, so it is not started once more just for its pilot.
        may_begin = self._asked.profile is None and self._subject.keeps_cadence
        if may_begin and _needs_pilot(self._subject) and own in wanted and len(wanted) > 1:
            limit_s = min(_FIRST_LOOK_S, _PROFILE_LARGEST_SHARE * self._budget.time_limit_s())
            with suppress(WorkloadError):  # the profile of all sizes will say why
                profile = self._subject.profile(
                    (own,), deadline_s=time.monotonic() + limit_s, listener=Silent()
                )
                if self._is_of_the_reference_alone(profile):
                    return profile
        return self._measured(watcher)

    def _is_of_the_reference_alone(self, profile: Profile) -> bool:
        """Return whether the profile tried only the reference, which runs without being split."""
        own = self._trial.batch_size
        seen = [(point.batch_size, point.micro_batch_size) for point in profile.points]
        runs = any(o.runs for o in self._options(profile) if o.batch_size == own)
        return runs and seen == [(own, own)] and len(self._wanted) > 1

    @property
    def _wanted(self) -> tuple[int, ...]:
        """The batch sizes to profile."""
        if self._why_not_comparable is not None:
            return (self._trial.batch_size,)
        return self._subject.candidates

    def _measured(self, watcher: AdviceProgress, known: Profile | None = None) -> Profile:
        """Return the profile of all batch sizes, made while nothing else runs."""
        if self._asked.profile is not None and not self._asked.is_device_here:
            return self._asked.profile  # only the nodes of a cluster have the device
        watcher.stage(PROFILING)
        candidates = self._subject.candidates
        # A script needs its start time for each batch size, each time that it is timed.
        starts_s = len(candidates) * (self._summary.start_s or 0.0)
        share_s = _PROFILE_MOST_S + MOST_PROCESSES * starts_s
        if self._budget.seconds is not None:
            of_budget_s = max(_PROFILE_LEAST_S, _PROFILE_SHARE * self._budget.seconds)
            share_s = min(share_s, of_budget_s + starts_s)
        allowed_s = min(share_s, _PROFILE_LARGEST_SHARE * self._budget.time_limit_s())
        wanted, own = self._wanted, self._trial.batch_size
        profile = self._subject.profile(
            wanted, deadline_s=time.monotonic() + allowed_s, listener=self._listener, known=known
        )
        tried = {point.batch_size for point in profile.points}
        # The workload's own is tried first; without another one there is nothing to choose from.
        enough = len(tried) >= min(2, len(wanted)) and (own in tried or own not in wanted)
        if profile.stopped == "time" and not enough:
            asked_s = self._budget.asked_s
            given = f"budget {asked_s:.3g} s" if asked_s else f"{self._asked.trainings:g} trainings"
            more = "a larger --budget" if asked_s else "more --trainings"
            # The 17 of 19 comes from benchmarks/regret/rule_of_thumb.py.
            raise BudgetError(
                f"{given}: its part for the profile, {allowed_s:.0f} s, ended after {len(tried)} "
                f"of {len(wanted)} batch sizes, and the workload's own, {own}, and another are "
                f"needed; give {more}. Without a run: twice your batch size and rate did no worse "
                f"on 17 of 19 recorded workloads"
            )
        return profile

    def _in_turn(self, journal: Journal, inner: Engine, *sizes: int) -> Estimate | None:
        """Return step_time(second) / step_time(first), timed in turn, or None if not measured."""
        times = journal.replayed_in_turn()
        if times is None:
            times = tuple(self._times_in_turn(sizes))
            journal.put_readings(spent_s=journal.spent_before_s + inner.spent_s(), in_turn=times)
        # An epoch's last batch may be smaller, but only whole batches were timed.
        one, other = (
            (o.step_s.estimate or 0.0) / self._here.about_step_s(o.batch_size)
            for size in sizes
            for o in options_of(self._here, (size,), trial=self._trial)
        )
        return ratio_in_turn(times).times(other / one) if times else None

    def _times_in_turn(self, sizes: Sequence[int]) -> Iterator[tuple[float, ...]]:
        points = [p for p in map(self._here.best_micro_batch, sizes) if p is not None]
        most_s = max(_TURNS_LEAST_S, _TURNS_SHARE * self._allowed_s) - self._turns_took_s
        left_s = _TURNS_OF_LEFT * self._budget.time_limit_s(most_s)
        took_s = _TURN_LEAST_S + _TURN_STEPS * sum(map(self._here.about_step_s, sizes))
        for _ in range(_MOST_TURNS):
            if left_s <= took_s:
                return
            began_s = time.monotonic()
            ended = self._subject.in_turn(points, timeout_s=left_s)
            took_s = time.monotonic() - began_s
            left_s, self._turns_took_s = left_s - took_s, self._turns_took_s + took_s
            if ended.value is None:
                return
            yield ended.value

    def _options(self, profile: Profile) -> tuple[Option, ...]:
        """Return the candidates; if the metric cannot compare them, all but its own are refused."""
        found = options_of(
            profile,
            self._subject.sizes_in(profile),
            trial=self._trial,
            may_accumulate=self._subject.may_accumulate,
        )
        options = tuple(self._moved(noted(self._summary, option, self._trial)) for option in found)
        if self._asked.train_s is not None:  # without a step time, seconds are no steps
            options = tuple(refused(o, why) if (why := _why_untimed(o)) else o for o in options)
        why_not = self._why_not_comparable
        if why_not is None:
            return options
        own = self._summary.batch_size
        return tuple(o if o.batch_size == own else refused(o, why_not) for o in options)

    def _plan(self, here: Profile, options: tuple[Option, ...]) -> None:
        """Let the engine plan the options with the figures of this machine's profile."""
        for option in options:
            size, best = option.batch_size, here.best_micro_batch(option.batch_size)
            # The option's own, or smaller if this machine has less memory than the profiled one.
            micros = [option.micro_batch_size, *([] if best is None else [best.micro_batch_size])]
            self._micro_batch_sizes[size] = min(micros)
            self._step_s[size] = here.about_step_s(size)

    def _engine(self, *, budget_s: float) -> Engine:
        plan = replace(
            self._run_plan,
            started_s=self._budget.started_s,
            budget_s=budget_s,
            micro_batch_sizes=self._micro_batch_sizes,
            step_s=self._step_s,
            horizon_epochs=self._subject.epochs if self._trial.horizon_steps else None,
            horizons=(1.0, *HORIZONS) if self._subject.may_stretch else (),
            constant_until=self._subject.constant_until,
        )
        return self._subject.engine(self._store, plan)

    @property
    def _run_plan(self) -> RunPlan:
        """The plan that all its runs share, which starts now and has no end."""
        return RunPlan(
            trial=self._trial,
            device=self._asked.device,
            listener=self._listener,
            started_s=time.monotonic(),
            budget_s=None,
            trainer=self._asked.trainer,
            settings_rule=self._settings_rule,
        )

    @property
    def _settings_rule(self) -> str:
        """The rule for Adam's settings at other batch sizes, whose rates are tuned anyway."""
        return "none" if self._summary.adam is None else "sqrt"

    def _moved(self, option: Option) -> Option:
        """Return the option with Adam's settings for its batch size, if they are other ones."""
        if option.batch_size == self._trial.batch_size:
            return option
        moved = moved_adam(
            self._summary.adam,
            self._settings_rule,
            batch_size=option.batch_size,
            reference_batch_size=self._trial.batch_size,
            whose=self._summary.name,
        )
        return replace(option, adam=moved)

    def _rules(
        self, options: Sequence[Option]
    ) -> tuple[tuple[int, tuple[tuple[str, float], ...]], ...]:
        """Return, by batch size, what each rule multiplies a rate right for the reference with."""
        # The options may be only the reference's for now; a profile may have added some.
        added = {option.batch_size for option in options}
        sizes = sorted({*self._subject.candidates, *added})
        return tuple((n, tuple(self._multiples(n / self._trial.batch_size))) for n in sizes)

    def _multiples(self, kappa: float) -> Iterator[tuple[str, float]]:
        """Yield each scaling rule that applies, with its multiple of the rate."""
        adam = self._summary.adam
        for name, rule in SCALING_RULES.items():
            if not rule.needs_adam or (adam and rule.moved(adam, kappa)):
                yield name, rule.rate_factor(kappa)

    # ---- after the advice

    def _not_told(self, advice: Advice) -> list[Reason]:
        """Return which differences are within chance, in 19 of 20 cases, if examples are few.

        For a share it is the interval of Agresti and Coull 1998, The American Statistician 52(2),
        which is wide even if no example is wrong. Other metrics get no figure. If validation
        examples have a weight, their number says nothing.
        """
        n, metric = self._summary.n_validation, advice.metric
        seen = [run.best_value for run in advice.tried if run.best_value is not None]
        if not seen or not n or n >= FEW_EXAMPLES or self._subject.weighs_examples:
            return []
        which = text("small differences")
        if metric in FRACTION_METRICS and max(seen) <= 1:
            best = max(seen) if advice.better == "higher" else min(seen)
            share = (best * n + 2) / (n + 4)
            least = 1.96 * math.sqrt(share * (1 - share) / (n + 4))
            which = text("differences below about {least:.1g}", least=least)
        return [Reason.of("few_validation_examples", n=n, metric=metric, which=which)]

    def _met_early(self, advice: Advice) -> list[Reason]:
        """Say if the reference or the named size meets the level early in a whole training."""
        named, ends, level = advice.named, advice.endings, advice.target
        whole = self._subject.epochs or (None if ends is None else ends.own.epochs)
        if named is None or level is None or whole is None or advice.target_origin == "easier":
            return []
        sizes = (named.batch_size, advice.reference.batch_size)
        samples = [c.samples_to_target.estimate for c in advice.candidates if c.batch_size in sizes]
        epochs = min(filter(None, samples), default=math.inf) / self._summary.n_train
        if epochs > max(_EARLY * whole, 1.0 if whole >= _MANY_EPOCHS else 0.0):
            return []
        metric, value = level.metric, level.value
        found = Reason.of("target_is_early", metric=metric, value=value, epochs=epochs, whole=whole)
        return [found]

    def _origin_of_times(self) -> Iterator[Reason]:
        """Yield which machine the step times are from, if trainings may have run on another."""
        elsewhere, here = self._asked.profile, self._here.device_name
        there = here if elsewhere is None else elsewhere.device_name
        if self._asked.cluster is not None:
            yield Reason.of("times_of_machine", there=there)
        elif elsewhere is not None:
            yield Reason.of("profile_from_elsewhere", there=there, here=here)
        if elsewhere is not None and elsewhere.workload.workload_id != self._trial.workload_id:
            yield Reason.of("profile_of_another_version")

    def _caveats(self, *, has_runs: bool) -> Iterator[Reason]:
        if self._trial.world_size > 1:
            yield Reason.of("devices_share_batches", n=self._trial.world_size)
        own = self._here.best_micro_batch(self._trial.batch_size)
        step, whole = None if own is None else own.peak_bytes, self._here.evaluation_bytes
        if step and whole and whole > max(_CLEARLY_MORE * step, step + _CLEARLY_MORE_BYTES):
            yield Reason.of("evaluation_needs_more", whole=whole, step=step)
        if not has_runs:
            pass  # there was no rate
        elif self._trial.horizon_steps:
            schedule = self._subject.schedule_text
            yield Reason.of(
                "rate_followed_schedule", schedule=schedule, epochs=self._subject.epochs
            )
        elif self._summary.is_own_command:
            yield Reason.of("rate_left_to_script")
        else:
            yield Reason.of("rate_was_constant")
        if self._summary.draws_by_seed:
            yield Reason.of("seeds_draw_examples", n=self._summary.n_validation)
        if self._summary.loss_couples and self._why_not_comparable is None:
            yield Reason.of("loss_couples")
        if self._summary.has_batch_norm:
            yield Reason.of("model_has_batch_norm")
