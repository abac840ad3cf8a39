"""AdviceSession: one call of advise, which starts the study of a question or continues it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from batchlab.advice.advice import Advice, Configuration, Option, Purpose, Question
from batchlab.advice.advisor import advise as decide
from batchlab.advice.run_log import HORIZONS
from batchlab.app.advice_profile import (
    is_of_the_reference_alone,
    needs_pilot,
    profile_for_pilot,
    timed_in_turn,
    whole_profile,
)
from batchlab.app.budget import own_turn
from batchlab.app.caveats import caveats_of
from batchlab.app.options import (
    candidates_in,
    mean_step_s,
    reference_of,
    rule_multiples,
    why_untimed,
)
from batchlab.app.profile import PROFILING
from batchlab.app.report import Advised, advice_of, put_advice
from batchlab.app.subjects import AnySubject
from batchlab.errors import BudgetError
from batchlab.measure.profile import Profile, ratio_in_turn
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import StudyName
from batchlab.records.trial import Status, Trial
from batchlab.runs.contract import Engine, RunPlan
from batchlab.runs.replay import Journal, JournalEntry, ReplayingEngine
from batchlab.store.store import Store
from batchlab.words.catalogue import text

TARGET = "setting the target"
BEGINNING = "training the first steps"
SEARCH = "comparing batch sizes"
# For each purpose of runs: the name of the stage and the reason, as reported to the user.
_OF_PURPOSE: dict[Purpose, tuple[str, Reason]] = {
    "pilot": (TARGET, Reason.of("asked_for_end")),
    "search": (SEARCH, Reason.of("asked_to_compare")),
    "whole": (SEARCH, Reason.of("asked_to_train_whole")),
}


def stages_of(subject: AnySubject) -> Sequence[str]:
    """Return the names of an advice's stages, in order, for progress reports."""
    if needs_pilot(subject):
        return [text(PROFILING), text(TARGET), text(SEARCH)]
    return [text(PROFILING), text(SEARCH)]


# Computing the answer after the last run gets two seconds of the budget, but at most a twentieth of
# the budget.
_CONCLUSIONS_S = 2.0
_CONCLUSIONS_SHARE = 0.05


class AdviceSession:
    """One call of advise: starts the study of a question, or continues where the last call stopped.

    The session is also the advisor's `RunWatcher`: it reports stages, runs and the leading
    configuration to the question's listener.
    """

    def __init__(self, store: Store, subject: AnySubject, study: StudyName) -> None:
        self._store = store
        self._subject = subject
        self._study = study
        self._asked = subject.question
        self._budget = subject.question.budget
        self._listener = subject.question.listener
        self._here: Profile  # The latest profile of this machine.
        # The next two dicts are by batch size. `_plan` fills them after the engine has got them.
        self._micro_batch_sizes: dict[int, int] = {}
        self._step_s: dict[int, float] = {}
        self._stage = ""
        self._is_beginning = False  # True until the other batch sizes are profiled.

    def carried_out(self) -> Advised:
        """Return the stored advice, or compute a new advice, with its study and profile."""
        study_id = self._study.study_id
        # If two processes ask the same question, one of them computes the answer. The other waits
        # and reads the stored answer.
        what, waiting = f"study-{study_id}", "another process was working on the same question"
        turn = own_turn(self._store, what, budget=self._budget, while_waiting=waiting)
        with turn:
            journal = Journal(self._store, self._study)
            if self._store.document(study_id, "decisions") is None:
                journal.put_study(self._subject.target)
            spent_s = journal.spent_before_s + self._budget.elapsed_s()
            self._listener.budget(spent_s=spent_s, budget_s=self._budget.seconds)
            advised = advice_of(self._store, self._store.study(study_id))
            if advised is None:
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

    def asked(self, trials: Sequence[Trial], purpose: Purpose) -> None:
        """Report the stage, the runs that the advisor has requested, and the reason for them."""
        stage, why = _OF_PURPOSE[purpose]
        self._begin(BEGINNING if self._is_beginning else stage)
        self._listener.asked(trials, why)

    def best(self, batch_size: int, learning_rate: float) -> None:
        """Report the configuration that leads at present."""
        self._listener.best(batch_size, learning_rate)

    def _begin(self, stage: str) -> None:
        """Report a new stage, unless it is the current stage."""
        if stage != self._stage:
            self._stage = stage
            self._listener.phase(text(stage))

    def _advise(self, journal: Journal) -> None:
        elsewhere, subject = self._asked.profile, self._subject
        here = self._here = self._begun_with(journal)
        self._is_beginning = is_of_the_reference_alone(here, subject)
        trial = subject.reference
        shown = elsewhere or here
        options = candidates_in(subject, shown)
        if self._is_beginning:
            options = tuple(o for o in options if o.batch_size == trial.batch_size)
        reference = reference_of(options, trial, device_name=shown.device_name)
        # A continued study keeps the stored budget for runs. A new one would differ slightly,
        # because it depends on the time that this process has used before.
        budget_s = self._runs_s if journal.first.budget_s is None else journal.first.budget_s
        inner = self._engine(budget_s=budget_s, spent_before_s=journal.spent_before_s)
        self._plan(options)
        if not journal.profiles:
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
        with_all_options, in_turn = None, None
        if self._is_beginning:
            with_all_options = partial(self._with_all_options, question, journal, inner)
        if elsewhere is None:
            in_turn = partial(self._in_turn, journal, inner)
        try:
            advice = decide(
                question,
                engine,
                watcher=self,
                with_all_options=with_all_options,
                in_turn=in_turn,
            )
        finally:
            engine.cancel()
        if _has_no_answer(advice):
            raise self._budget.ended("before your own settings had been trained once")
        advice = replace(
            advice,
            budget_s=self._budget.seconds,
            caveats=caveats_of(advice, subject, self._here, options),
        )
        journal.put_study(advice.target)
        journal.put_readings(spent_s=inner.spent_s())
        put_advice(self._store, self._study.study_id, advice)

    def _begun_with(self, journal: Journal) -> Profile:
        """Return the study's first profile from the journal, or measure it if none is stored."""
        if journal.profiles:
            return Profile.from_json(journal.profiles[0])
        return profile_for_pilot(self._subject) or self._measured()

    def _measured(self, known: Profile | None = None) -> Profile:
        """Profile all batch sizes, or return the user's profile if the device is elsewhere."""
        if self._asked.profile is not None and not self._asked.is_device_here:
            return self._asked.profile  # Only the nodes of the cluster have the device.
        self._begin(PROFILING)
        return whole_profile(self._subject, known)

    def _question(
        self, options: tuple[Option, ...], reference: Configuration, *, budget_s: float
    ) -> Question:
        """Return the advisor's question, with objective "samples" if "time" lacks step times."""
        subject, summary = self._subject, self._subject.summary
        objective = self._asked.objective
        if objective == "time" and any(map(why_untimed, options)):
            objective = "samples"
        target = subject.target
        return Question(
            objective=objective,
            metric=subject.metric,
            better=subject.better,
            target=target,
            reference=reference,
            is_usual=subject.is_usual,
            options=options,
            n_train=summary.n_train,
            n_validation=summary.n_validation,
            margin=self._asked.margin,
            budget_s=budget_s,
            planned_epochs=subject.epochs,
            at_most_epochs=self._asked.at_most_epochs,
            may_stretch=subject.may_stretch,
            constant_until=subject.constant_until,
            stops_early=subject.stops_early,
            rules=rule_multiples(subject, [option.batch_size for option in options]),
            not_comparable=subject.why_not_comparable,
        )

    def _with_all_options(self, question: Question, journal: Journal, inner: Engine) -> Question:
        """Return the question with all batch sizes as options; profile them if not yet done."""
        self._is_beginning = False
        if len(journal.profiles) == 1:
            profile = self._measured(known=self._here)
            journal.write(JournalEntry(profile=profile.to_json(), spent_s=inner.spent_s()))
        self._here = Profile.from_json(journal.profiles[-1])
        options = candidates_in(self._subject, self._here)
        self._plan(options)
        rules = rule_multiples(self._subject, [option.batch_size for option in options])
        return replace(question, options=options, rules=rules)

    def _in_turn(self, journal: Journal, inner: Engine, *sizes: int) -> Estimate | None:
        """Return the mean step time of the second size / that of the first; None if unmeasured."""
        times = journal.replayed_in_turn()
        if times is None:
            times = tuple(timed_in_turn(self._subject, self._here, sizes))
            journal.put_readings(spent_s=inner.spent_s(), in_turn=times)
        if not times:
            return None
        # Only full batches were timed, but the last batch of an epoch may be smaller. So compute
        # (mean step time / time of a full step) for both sizes, and correct the measured ratio.
        means = []
        for size in sizes:
            mean = mean_step_s(self._here, replace(self._subject.reference, batch_size=size))
            means.append((mean.estimate or 0.0) / self._here.about_step_s(size))
        return ratio_in_turn(times).times(means[1] / means[0])

    @property
    def _runs_s(self) -> float:
        """The seconds of the budget for runs, without those reserved for computing the answer."""
        usable_s = self._budget.work_s
        return usable_s - min(_CONCLUSIONS_S, _CONCLUSIONS_SHARE * usable_s)

    def _plan(self, options: tuple[Option, ...]) -> None:
        """Give the engine each option's micro-batch size and step time on this machine."""
        for option in options:
            size, micro = option.batch_size, option.micro_batch_size
            # Another machine's profile may have micro-batches that are too large for this machine.
            best = self._here.best_micro_batch(size)
            if best is not None:
                micro = min(micro, best.micro_batch_size)
            self._micro_batch_sizes[size] = micro
            self._step_s[size] = self._here.about_step_s(size)

    def _engine(self, *, budget_s: float, spent_before_s: float) -> Engine:
        subject = self._subject
        plan = RunPlan(
            trial=subject.reference,
            device=self._asked.device,
            listener=self._listener,
            started_s=self._budget.started_s - spent_before_s,
            budget_s=budget_s,
            micro_batch_sizes=self._micro_batch_sizes,
            step_s=self._step_s,
            trainer=self._asked.trainer,
            settings_rule=subject.settings_rule,
            horizon_epochs=subject.epochs if subject.reference.horizon_steps else None,
            horizons=(1.0, *HORIZONS) if subject.may_stretch else (),
            constant_until=subject.constant_until,
        )
        return subject.engine(self._store, plan)


def _has_no_answer(advice: Advice) -> bool:
    """Return whether the budget ended before any run succeeded."""
    is_cut = advice.reason.code == "budget_ended_before_reference"
    return is_cut and not any(Status(run.status).ended_well for run in advice.tried)
