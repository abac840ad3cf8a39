"""AdviceSession: one session of a study, from the request or from where the last one ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from batchlab.advice.advice import Advice
from batchlab.advice.question import Option, Question
from batchlab.commands.advice_options import options_of, reference_of
from batchlab.commands.advice_progress import AdviceProgress
from batchlab.commands.advice_request import AdviceRequest
from batchlab.commands.advised import Advised, advice_of
from batchlab.commands.budget import Budget
from batchlab.commands.coupled_loss import (
    all_but,
    of_the_reference_alone,
    why_not_comparable,
    without_pieces,
)
from batchlab.commands.own_trainings import (
    limit_by_a_first_look,
    limit_to_trainings,
    worth_in_trainings,
)
from batchlab.commands.own_turn import own_turn
from batchlab.commands.sizes_that_run import with_sizes_that_run
from batchlab.commands.stored_advice import put_advice, stored_advice
from batchlab.commands.subject import Subject
from batchlab.engines.contract import Engine, RunPlan, run_all
from batchlab.engines.journal import Journal, StudyName
from batchlab.engines.replaying import ReplayingEngine
from batchlab.errors import BatchSizeError, BudgetError, UsageError
from batchlab.planning.scaling import scaled, scaling_rules
from batchlab.planning.sweep_request import check_batch_norm, outside_of_a_share
from batchlab.profiling.process_counts import MOST_PROCESSES
from batchlab.profiling.profile import Profile
from batchlab.records.progress_listener import ProgressListener, Silent
from batchlab.records.reason import Reason
from batchlab.records.run import RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.study import WorkloadSummary
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

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
_FIRST_LOOK_S = 60.0


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
    from batchlab.advice.advisor import advise as decide  # it loads SciPy

    return decide(question, engine, watcher=watcher)


def _micro_batch_size(option: Option, here: Profile) -> int:
    """As the option has it, or smaller where this machine has less memory than that one."""
    best = here.best_micro_batch(option.batch_size)
    return (
        option.micro_batch_size
        if best is None
        else min(best.micro_batch_size, option.micro_batch_size)
    )
