"""AdviceSession: one session of a study, from the request or from where the last one ended."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from batchlab.advice.advice import Advice, Purpose, worth_of
from batchlab.advice.advisor import best_so_far
from batchlab.advice.question import Option, Question
from batchlab.advice.run_log import RunLog
from batchlab.app.advice_request import AdviceRequest, options_of, reference_of
from batchlab.app.budget import Budget
from batchlab.app.subject import Subject, own_turn, with_sizes_that_run
from batchlab.errors import BatchSizeError, BudgetError, UsageError
from batchlab.measure.profile import MOST_PROCESSES, Profile
from batchlab.measure.profiling import PROFILING
from batchlab.plans.scaling import scaled, scaling_rules
from batchlab.plans.sweep_request import check_batch_norm, outside_of_a_share
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.progress_listener import ProgressListener, Silent
from batchlab.records.run import RunLength, RunRequest, RunsAsked
from batchlab.records.study import Study, WorkloadSummary
from batchlab.runs.contract import Engine, RunPlan, run_all
from batchlab.runs.replay import Journal, ReplayingEngine, StudyName, stored_journal
from batchlab.store.schema import JsonColumn, UnreadableColumn
from batchlab.store.store import Store
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text

TARGET = "setting the target"
SEARCH = "comparing batch sizes"
VERIFY = "verifying on fresh seeds"
_OF_PURPOSE: dict[Purpose, str] = {
    "pilot": TARGET,
    "tune": SEARCH,
    "value": SEARCH,
    "verify": VERIFY,
    "cool_down": VERIFY,
}


def stages_of(asked: AdviceRequest) -> Sequence[str]:
    """The stages of an advice, in order; a pilot is needed where no target is given."""
    needs_pilot = asked.target is None and asked.objective != "quality"
    stages = (PROFILING, *((TARGET,) if needs_pilot else ()), SEARCH, VERIFY)
    return [text(stage) for stage in stages]


class AdviceProgress:
    """Tells a listener of stages, runs and what leads (a `RunWatcher`)."""

    def __init__(self, listener: ProgressListener, journal: Journal | None = None) -> None:
        """Nothing is asked for yet.

        Args:
            listener: told of stages, runs and what leads.
            journal: keeps what leads for who looks into the store; None: nobody does.
        """
        self._listener = listener
        self._journal = journal
        self._stage = ""

    def asked(self, runs: RunsAsked, purpose: Purpose) -> None:
        """Tell of a new stage, and of the runs."""
        # A decision that is verified is repeated at a harder target.
        is_last_check = runs.why.code == "harder_target_decided_too"
        stage = text(VERIFY if is_last_check else _OF_PURPOSE[purpose])
        if stage != self._stage:
            self._stage = stage
            self._listener.phase(stage)
        self._listener.asked(runs)

    def answered(self, run_log: RunLog) -> None:
        """Tell what leads by now."""
        best = best_so_far(run_log)
        self._listener.best(best)
        if self._journal is not None:
            self._journal.note_best(best)


_FIRST_LOOK_S = 60.0
# What goes before the runs and after them, of the whole.
_MOST_FOR_THE_REST = 0.5


def limit_by_a_first_look(budget: Budget, asked: AdviceRequest, subject: Subject) -> None:
    """Set the ceiling to the trainings asked for, where they were, as far as a first look tells.

    Args:
        budget: has no ceiling yet.
        asked: the question.
        subject: whose steps are timed.

    Raises:
        BudgetError: most of so many trainings is gone, or kept for the report.
    """
    if asked.trainings is None:
        return
    timed_s = math.nan  # seconds of training need none
    if asked.train_s is None:
        first = subject.timed(asked.trial, timeout_s=_FIRST_LOOK_S)
        if first.value is None:
            return  # the profile says why
        timed_s = first.value.step_s
    limit_to_trainings(budget, asked, timed_s, batch_size=asked.trial.batch_size)
    assert budget.seconds is not None
    rest_s = budget.seconds - budget.time_limit_s()
    if rest_s > _MOST_FOR_THE_REST * budget.seconds:
        least = asked.trainings * rest_s / (_MOST_FOR_THE_REST * budget.seconds)
        raise BudgetError(
            f"{asked.trainings:g} trainings take {budget.seconds:.3g} s here, and starting, timing "
            f"and the report alone {rest_s:.3g} s; give --trainings {math.ceil(least)} or more, "
            f"or a time with --budget"
        )


def limit_to_trainings(
    budget: Budget, asked: AdviceRequest, timed_s: float, *, batch_size: int
) -> None:
    """Set the ceiling to the trainings asked for, where they were.

    Args:
        budget: of the call.
        asked: the question.
        timed_s: seconds per step.
        batch_size: the reference's.
    """
    if asked.trainings is not None:
        one_s = training_s(asked, timed_s, batch_size=batch_size)
        budget.limit(asked.trainings * one_s)


def training_s(asked: AdviceRequest, timed_s: float, *, batch_size: int) -> float:
    """Seconds of one planned training, without its evaluations.

    Args:
        asked: with the epochs or the seconds that a training is planned to take.
        timed_s: seconds per step.
        batch_size: the reference's.
    """
    if asked.train_s is not None:
        return asked.train_s
    assert asked.epochs is not None
    trial = replace(asked.trial, batch_size=batch_size, micro_batch_size=batch_size)
    return trial.plan.steps_in(asked.epochs) * timed_s


def worth_in_trainings(
    asked: AdviceRequest, here: Profile, advice: Advice, *, start_s: float
) -> Reason | None:
    """What answers with so many trainings were worth where the best is known.

    Args:
        asked: the question as it was asked.
        here: the profile of this machine.
        advice: as the advisor gave it: its budget is what runs have, profile and report aside.
        start_s: seconds that each training takes before its first step.

    Returns:
        None: nothing is named, nothing like it was asked there, or how long a training takes was
        not seen.
    """
    named = advice.named
    if asked.objective != "time" or asked.target or asked.elsewhere or named is None:
        return None
    size = advice.reference.batch_size
    if asked.epochs is not None:
        one_s = training_s(asked, here.about_step_s(size), batch_size=size)
    else:
        pilots = [run.steps for run in advice.tried if run.purpose == "pilot"]
        if advice.target_origin != "pilot" or not pilots:
            return None
        one_s = max(pilots) * here.about_step_s(size)
    # The record's answers had all of their budget for runs.
    for_runs_s = advice.budget_s - (advice.steps[0].spent_s if advice.steps else 0.0)
    return worth_of(
        for_runs_s / (start_s + one_s), is_recommended=advice.recommendation is not None
    )


_LOSS = "loss"


def why_not_comparable(summary: WorkloadSummary, metric: str) -> Reason | None:
    """Why batch sizes cannot be compared by `metric`; None: they can."""
    if metric == _LOSS and summary.loss_couples:
        return Reason.of("losses_not_comparable")
    return None


def in_whole_batches(summary: WorkloadSummary, asked: AdviceRequest) -> AdviceRequest:
    """The request that plans no micro-batches where they would train on another loss."""
    if not summary.loss_couples:
        return asked
    return replace(asked, to_profile=replace(asked.to_profile, may_accumulate=False))


def of_the_reference_alone(asked: AdviceRequest) -> AdviceRequest:
    """The request that profiles the workload's own batch size and spends nothing on others."""
    own = (asked.trial.batch_size,)
    return replace(asked, to_profile=replace(asked.to_profile, batch_sizes=own))


def without_pieces(summary: WorkloadSummary, options: Iterable[Option]) -> tuple[Option, ...]:
    """The options; those that were profiled in pieces, elsewhere, with a note against them."""
    return tuple(
        _noted(option, Reason.of("pieces_train_on_another_loss", size=option.micro_batch_size))
        if option.runs and summary.loss_couples and option.micro_batch_size < option.batch_size
        else option
        for option in options
    )


def all_but(batch_size: int, options: Iterable[Option], why: Reason) -> tuple[Option, ...]:
    """The options with a note against each but `batch_size`."""
    return tuple(
        option if option.batch_size == batch_size else _noted(option, why) for option in options
    )


def _noted(option: Option, why: Reason) -> Option:
    return replace(option, note=why, step_s=Estimate.cannot_tell(why))


_ADVICE: Final = JsonColumn[Advice](Advice)


def put_advice(store: Store, study_id: str, advice: Advice) -> None:
    """Store the answer of a study.

    Args:
        store: where the study is.
        study_id: its identity.
        advice: the answer.

    Raises:
        StoreError: there is no such study.
    """
    store.put_advice(study_id, _ADVICE.encoded(advice, f"the advice of study {study_id}"))


def stored_advice(store: Store, study_id: str) -> Advice | None:
    """The answer of a study; None: there is none, or none that reads."""
    text = store.advice(study_id)
    if text is None:
        return None
    try:
        return _ADVICE.decoded(text, f"the advice of study {study_id}")
    except UnreadableColumn:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Advised:
    """An advice with its evidence.

    Attributes:
        advice: the answer.
        study: the training runs behind it, and what was trained.
        profile: the step times and memory behind it, of this machine or of another.
    """

    advice: Advice
    study: Study
    profile: Profile


def advice_of(store: Store, study: Study) -> Advised | None:
    """The advice of a stored study; None: it asked for none, or has none that reads.

    An answer that does not read is asked anew from its trials: by the same command.
    """
    advice = stored_advice(store, study.study_id)
    entries = () if advice is None else stored_journal(store, study.study_id)
    if advice is None or not entries or entries[0].profile is None:
        return None
    profile = Profile.from_json(entries[0].elsewhere or entries[0].profile)
    return Advised(advice=advice, study=study, profile=profile)


# What the profile may take of the budget, within these seconds. A dozen batch sizes of a small
# model need 12 s on an idle machine. On a busy one step times scatter, and are timed again as long
# as there is time: more of it would make them little better, and is missed in the trainings.
_PROFILE_SHARE = 0.12
_PROFILE_LEAST_S = 20.0
_PROFILE_MOST_S = 60.0
_PROFILE_LARGEST_SHARE = 0.4  # of a budget that is hardly enough
# What the advice needs after the last run to draw its conclusions, at most so much of the budget.
_CONCLUSIONS_S = 2.0
_CONCLUSIONS_SHARE = 0.05


class AdviceSession:
    """One session of a study, from the request, or from where the last one ended, to the answer."""

    def __init__(
        self,
        store: Store,
        subject: Subject,
        asked: AdviceRequest,
        study: StudyName,
        summary: WorkloadSummary,
        budget: Budget,
        listener: ProgressListener,
    ) -> None:
        self._store = store
        self._subject = subject
        self._budget = budget
        self._asked = asked
        self._study = study
        self._summary = summary
        self._listener = listener

    def carried_out(self) -> Advised:
        """Profile, advise, and read the study back; a finished study is only read."""
        study_id = self._study.study_id
        # Of two processes that ask the same at once, one works and the other takes its answer.
        with (
            own_turn(
                self._store,
                f"study-{study_id}",
                budget=self._budget,
                while_waiting="another process was working on the same question",
            ),
            self._store.working_on(study_id),
        ):
            if self._store.decisions(study_id) is None:
                self._put_study()
            journal = Journal(self._store, self._study)
            self._tell_of_budget(journal)
            if stored_advice(self._store, study_id) is None:
                try:
                    self._advise(journal)
                finally:
                    self._store.add_spent(study_id, self._budget.elapsed_s())
            advised = advice_of(self._store, self._store.study(study_id))
        assert advised is not None
        return advised

    def _put_study(self) -> None:
        self._store.put_study(
            study_id=self._study.study_id,
            command=self._study.command,
            workload_id=self._study.workload_id,
            environment=self._study.environment,
            trial_ids=(),
            target=self._asked.target,
        )

    def _tell_of_budget(self, journal: Journal) -> None:
        """Of a budget that is not known before a training is timed nothing is told yet."""
        if self._budget.seconds is not None:
            spent_s = journal.spent_before_s + self._budget.elapsed_s()
            self._listener.budget(spent_s=spent_s, budget_s=self._budget.seconds)

    def _advise(self, journal: Journal) -> None:
        metric = self._asked.target.metric if self._asked.target else self._summary.metrics[0].name
        why_not = why_not_comparable(self._summary, metric)
        if why_not is not None:
            self._listener.warning(reason_text(why_not))
            self._asked = of_the_reference_alone(self._asked)
        better = next(known.better for known in self._summary.metrics if known.name == metric)
        if journal.profile is None:
            if why_not is None:
                self._refuse_an_impossible_target()
            here = self._measured()
        else:
            here = Profile.from_json(journal.profile)
        shown = self._asked.elsewhere or here
        options = self._without_batches_of_one(
            options_of(
                shown,
                self._asked.batch_sizes,
                trial=self._asked.trial,
                may_accumulate=self._asked.to_profile.may_accumulate,
            )
        )
        if why_not is not None:
            options = all_but(self._summary.batch_size, options, why_not)
        reference, stands_in = reference_of(
            options,
            batch_size=self._summary.batch_size,
            learning_rate=self._summary.learning_rate,
            device_name=shown.device_name,
        )
        # By the same profile it is the same again, where a study is taken up.
        own_step_s = here.about_step_s(reference.batch_size)
        limit_to_trainings(self._budget, self._asked, own_step_s, batch_size=reference.batch_size)
        self._tell_of_budget(journal)
        # Of the budget a session has spent a little before it begins, each another little.
        budget_s = self._runs_s if journal.budget_s is None else journal.budget_s
        inner = self._engine(here, options, budget_s=budget_s - journal.spent_before_s)
        if journal.profile is None:
            elsewhere = self._asked.elsewhere
            journal.begin(
                profile=here.to_json(),
                elsewhere=None if elsewhere is None else elsewhere.to_json(),
                budget_s=budget_s,
                spent_s=inner.spent_s(),
            )
        engine = ReplayingEngine(inner, journal)
        question = Question(
            objective=self._asked.objective,
            metric=metric,
            better=better,
            target=self._asked.target,
            target_origin="pilot" if self._asked.target is None else "given",
            reference=reference,
            options=options,
            n_train=self._summary.n_train,
            n_validation=self._summary.n_validation,
            budget_s=budget_s,
            longest_epochs=self._asked.epochs,
            longest_s=self._asked.train_s,
            rules=self._rules(reference.batch_size),
            not_comparable=why_not,
        )
        try:
            advice = _decided(question, engine, AdviceProgress(self._listener, journal))
        finally:
            engine.cancel()
        worth = worth_in_trainings(self._asked, here, advice, start_s=self._summary.start_s or 0.0)
        advice = replace(
            advice,
            budget_s=self._allowed_s,
            trainings=self._asked.trainings,
            stand_in_for=self._summary.batch_size if stands_in else None,
            caveats=(
                *filter(None, [stands_in, worth]),
                *advice.caveats,
                *self._caveats(here),
            ),
        )
        journal.put_study(advice.target)
        journal.put_readings(spent_s=journal.spent_before_s + inner.spent_s())
        put_advice(self._store, self._study.study_id, advice)

    # ---- the budget

    @property
    def _allowed_s(self) -> float:
        assert self._budget.seconds is not None
        return self._budget.seconds

    @property
    def _runs_s(self) -> float:
        """What the runs have of the budget; the caller's part and the conclusions come after."""
        assert self._budget.work_ends_s is not None
        usable_s = self._budget.work_ends_s - self._budget.started_s
        return usable_s - min(_CONCLUSIONS_S, _CONCLUSIONS_SHARE * usable_s)

    # ---- before the advice

    def _refuse_an_impossible_target(self) -> None:
        """A target that the untrained model meets tells nothing; one in percent is never met.

        Raises:
            UsageError: what the untrained model reaches.
        """
        target = self._asked.target
        if target is None:
            return
        trial = self._asked.trial
        engine = self._subject.engine(
            self._store,
            RunPlan(
                trial=trial,
                micro_batch_sizes={},
                step_s={},
                horizon_epochs=None,
                device=self._asked.device,
            ),
            Silent(),
            started_s=time.monotonic(),
            budget_s=self._budget.time_limit_s(_FIRST_LOOK_S),
        )
        if not engine.capabilities.keeps_cadence:
            return  # it may never show the untrained model
        one_step = RunLength(steps=1, all_splits="never")
        (record,) = run_all(engine, [RunRequest(trial=trial, length=one_step)])
        if not record.evaluations:
            return  # it cannot be trained, which the profile will say with its reason
        first = record.evaluations[0].score("validation", target.metric)
        if target.met_by(first):
            raise UsageError(
                f"target {target.metric}={target.value:g}: the untrained model of "
                f"{self._summary.name!r} has {target.metric} {first:g}, a target that is met "
                f"before the first step; give a harder one"
            )
        # A user's own accuracy may be in percent: what it says of the untrained model tells.
        is_share = "acc" in target.metric.lower() and first is not None and 0 <= first <= 1
        if is_share and target.better == "higher" and target.value > 1:
            raise UsageError(
                f"{outside_of_a_share(target.metric, target.value)} "
                f"(the untrained model of {self._summary.name!r} has {first:g})"
            )

    def _measured(self) -> Profile:
        asked = self._asked
        limit_by_a_first_look(self._budget, asked, self._subject)
        # A script takes its time to start, for each batch size, and each time that it is timed.
        starts_s = len(asked.batch_sizes) * (self._summary.start_s or 0.0)
        share_s = _PROFILE_MOST_S + MOST_PROCESSES * starts_s
        if self._budget.seconds is not None:
            of_budget_s = max(_PROFILE_LEAST_S, _PROFILE_SHARE * self._budget.seconds)
            share_s = min(share_s, of_budget_s + starts_s)
        allowed_s = min(share_s, _PROFILE_LARGEST_SHARE * self._budget.time_limit_s())
        made = self._subject.profile(asked.to_profile, deadline_s=time.monotonic() + allowed_s)
        tried = {point.batch_size for point in made.points}
        # The workload's own is tried first: without another one there is nothing to choose.
        asked_for, own = asked.to_profile.batch_sizes, asked.trial.batch_size
        enough = len(tried) >= min(2, len(asked_for)) and (own in tried or own not in asked_for)
        if made.stopped == "time" and not enough:
            raise BudgetError(
                f"{asked.budget_in_words}: its part for the profile, {allowed_s:.0f} s, ended "
                f"after {len(tried)} of {len(asked_for)} batch sizes, and the workload's own, "
                f"{own}, and another are needed; give {asked.ask_for_more}"
            )
        return made

    def _without_batches_of_one(self, options: tuple[Option, ...]) -> tuple[Option, ...]:
        """A model with BatchNorm cannot train on a batch of one, which some sizes end with."""
        checked = []
        for option in options:
            trial = replace(
                self._asked.trial,
                batch_size=option.batch_size,
                micro_batch_size=option.micro_batch_size,
            )
            try:
                check_batch_norm(self._summary, [trial])
                checked.append(option)
            except BatchSizeError as error:
                checked.append(replace(option, note=option.note or Reason.as_written(str(error))))
        return without_pieces(self._summary, with_sizes_that_run(self._summary, checked))

    def _engine(self, here: Profile, options: tuple[Option, ...], *, budget_s: float) -> Engine:
        return self._subject.engine(
            self._store,
            RunPlan(
                trial=self._asked.trial,
                micro_batch_sizes={
                    option.batch_size: _micro_batch_size(option, here) for option in options
                },
                step_s={
                    option.batch_size: here.about_step_s(option.batch_size) for option in options
                },
                horizon_epochs=self._asked.epochs if self._asked.has_schedule else None,
                device=self._asked.device,
            ),
            self._listener,
            started_s=self._budget.started_s,
            budget_s=budget_s,
        )

    def _rules(self, reference: int) -> tuple[tuple[int, tuple[tuple[str, float], ...]], ...]:
        """What each scaling rule makes of a rate that is right for the reference batch size."""
        return tuple(
            (batch_size, tuple(self._multiples(batch_size, reference)))
            for batch_size in self._asked.batch_sizes
        )

    def _multiples(self, batch_size: int, reference: int) -> Iterator[tuple[str, float]]:
        for rule, row in scaling_rules().items():
            if row.move_adam is not None and self._summary.adam is None:
                continue
            try:
                found = scaled(
                    1.0,
                    rule=rule,
                    batch_size=batch_size,
                    reference_batch_size=reference,
                    adam=self._summary.adam,
                )
            except UsageError:
                continue  # the rule itself refuses to go so far
            yield rule, found.learning_rate

    # ---- after the advice

    def _caveats(self, here: Profile) -> list[Reason]:
        caveats = []
        elsewhere = self._asked.elsewhere
        if elsewhere is not None:
            caveats.append(
                Reason.of(
                    "profile_from_elsewhere",
                    there=elsewhere.device_name,
                    created_at=elsewhere.created_at,
                    here=here.device_name,
                )
            )
            if elsewhere.workload_id != self._asked.trial.workload_id:
                caveats.append(Reason.of("profile_of_another_version"))
        if self._asked.has_schedule:
            caveats.append(Reason.of("rate_followed_schedule", epochs=self._asked.epochs))
        elif self._summary.is_own_command:
            caveats.append(Reason.of("rate_left_to_script"))
        else:
            caveats.append(Reason.of("rate_was_constant"))
        if self._summary.loss_couples:
            caveats.append(Reason.of("loss_couples"))
        if self._summary.couples_in_training:
            caveats.append(Reason.of("layers_couple"))
        if self._summary.has_batch_norm:
            caveats.append(Reason.of("model_has_batch_norm"))
        return caveats


def _decided(question: Question, engine: Engine, watcher: AdviceProgress) -> Advice:
    from batchlab.advice.advisor import advise as decide

    return decide(question, engine, watcher=watcher)


def _micro_batch_size(option: Option, here: Profile) -> int:
    """As the option has it, or smaller where this machine has less memory than that one."""
    best = here.best_micro_batch(option.batch_size)
    return (
        option.micro_batch_size
        if best is None
        else min(best.micro_batch_size, option.micro_batch_size)
    )
