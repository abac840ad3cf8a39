import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from msgspec import structs
from tests.app.conftest import about
from tests.reference.asking_advisor import AskingAdvisor
from tests.reference.by_day import by_day
from tests.reference.made_up_advice import made_up_advice
from tests.reference.made_up_profile import told_profile
from tests.reference.random_streams import random_streams
from tests.reference.tiny_workload import tiny
from tests.reference.told import Told
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

import batchlab
from batchlab.advice.advice import Purpose, Question
from batchlab.app import advice_session
from batchlab.app import subjects as workload_subject
from batchlab.app.advice_session import SEARCH, TARGET, AdviceSession
from batchlab.app.advise import advised
from batchlab.app.question import asked
from batchlab.app.report import advice_of, stored
from batchlab.app.subjects import WorkloadSubject
from batchlab.errors import BatchlabError, BudgetError, UsageError, WorkloadError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.processes.children import Ended
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import Outcome
from batchlab.records.study import AdamSettings, Study
from batchlab.records.trial import Status, Target, Trial, TrialRecord
from batchlab.report.advice_figures import advice_figures
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import CostModel, Engine, RunPlan
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.replay import stored_journal
from batchlab.runs.workers import LocalWorkers, Workers
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

STEP_S = 0.01
EPOCH_S = 5 * STEP_S  # of 100 examples in batches of 20
BUDGET_S = 60.0


class Profiling:
    """Nothing is measured: a step takes `STEP_S`, whatever its size, and at some it fails."""

    def __init__(self) -> None:
        self.most: int | None = None  # after so many batch sizes the time for a profile ends
        self.broken: tuple[int, ...] = ()
        self.made: list[Profile] = []

    def __call__(
        self, _packed: object, trial: Trial, sizes: Sequence[int], **named: Any
    ) -> Profile:
        limit = named["memory_limit_bytes"]
        made = told_profile(trial, lambda size: STEP_S, sizes, memory_limit_bytes=limit)
        made = without(made, *self.broken)
        if self.most is not None:
            made = replace(made, points=made.points[: self.most], stopped="time")
        self.made.append(made)
        return made


def without(made: Profile, *sizes: int) -> Profile:
    """The same profile, but at these batch sizes the model raised an error."""
    raised: Any = {"status": Status.ERROR, "reason": Reason.as_written("it raised")}
    failed = {"timing": None, "peak_bytes": None, **raised}
    points = [replace(p, **failed) if p.batch_size in sizes else p for p in made.points]
    return replace(made, points=tuple(points))


@pytest.fixture
def profiling(monkeypatch: pytest.MonkeyPatch) -> Profiling:
    profiling = Profiling()
    monkeypatch.setattr(workload_subject, "measure_profile", profiling)
    return profiling


@pytest.fixture
def advisor(monkeypatch: pytest.MonkeyPatch, profiling: Profiling) -> AskingAdvisor:
    asking = AskingAdvisor()

    def decide(question: Question, engine: Engine, *, with_all_options: Any, **_: Any) -> Any:
        return asking(with_all_options() if with_all_options else question, engine)

    monkeypatch.setattr(advice_session, "decide", decide)
    return asking


@pytest.fixture
def asks_nothing(advisor: AskingAdvisor) -> AskingAdvisor:
    advisor.longest_steps = 0
    return advisor


def advise(lab: Path, **named: Any) -> batchlab.Advice:
    return batchlab.advise(**(asked_of(lab) | named))


def asked_of(lab: Path) -> dict[str, Any]:
    return {"workload": tiny(), "batch_sizes": (10, 50), "store": lab, "budget": BUDGET_S}


# ---- the question and its answer


@pytest.mark.slow
def test_the_question_holds_what_was_asked_and_the_store_what_was_answered(lab, advisor):
    advice = advise(lab, target=("accuracy", 0.9), epochs=7)

    (question,) = advisor.questions
    assert question.objective == "time"
    assert question.target == Target(metric="accuracy", value=0.9, better="higher")
    assert (question.reference.batch_size, question.reference.learning_rate) == (20, 0.1)
    assert [option.batch_size for option in question.options] == [10, 20, 50]
    assert {option.adam for option in question.options} == {None}
    assert [option.step_s.estimate for option in question.options] == pytest.approx([STEP_S] * 3)
    assert (question.n_train, question.planned_epochs) == (100, 7)
    assert 0.9 * BUDGET_S < question.budget_s < BUDGET_S
    assert (reason_text(advice.reason), advice.budget_s) == ("it was asked", BUDGET_S)
    assert "the advisor's own" in map(reason_text, advice.caveats)
    assert "rate_was_constant" in [caveat.code for caveat in advice.caveats]
    with Store.existing(lab) as store:
        study = store.study()
        answer = advice_of(store, study)
    assert study.command.startswith("batchlab.advise(")
    assert len(study.records) == advice.n_trials > 0
    assert {record.trial.scaling_rule for record in study.records} == {"none"}
    assert study.spent_s > 0
    assert answer.advice == advice


@pytest.mark.slow
def test_other_batch_sizes_train_with_the_settings_of_adam_that_are_named(lab, advisor):
    advisor.longest_steps = 6
    optimizer = partial(torch.optim.AdamW, weight_decay=0.1)

    advise(lab, workload=tiny(optimizer=optimizer), batch_sizes=(50,))

    betas = (0.9, pytest.approx(0.999**2.5))
    moved = AdamSettings(betas=betas, weight_decay=pytest.approx(0.1 * 2.5**0.5))
    (question,) = advisor.questions
    assert {option.batch_size: option.adam for option in question.options} == {20: None, 50: moved}
    with Store.existing(lab) as store:
        rules = {(r.trial.batch_size, r.trial.scaling_rule) for r in store.study().records}
    assert rules == {(20, "none"), (50, "sqrt")}


@pytest.mark.slow
@pytest.mark.usefixtures("profiling")
def test_a_horizon_shorter_than_a_warm_up_in_steps_is_a_failed_run_and_ends_no_study(lab):
    def warmed_up(optimizer: torch.optim.Optimizer, n_steps: int) -> list[LRScheduler]:
        if n_steps <= 12:
            raise ValueError(f"{n_steps} steps are no more than the warm-up's 12")
        return [OneCycleLR(optimizer, 0.1, n_steps, pct_start=12 / n_steps)]

    workload = tiny(scheduler=warmed_up)
    with pytest.MonkeyPatch.context() as patch:
        set_step_clock(patch)
        advice = advise(lab, workload=workload, epochs=8, budget=60.0)

    assert advice.named is not None
    failed = [run for run in advice.tried if run.status == "error"]
    assert {(run.batch_size, run.epochs) for run in failed} == {(50, 4.0)}  # 8 of 16 steps


@pytest.mark.slow
def test_a_finished_study_asked_again_answers_the_same_without_a_training(
    lab, advisor, children, profiling
):
    before = advise(lab)
    children.clear()

    again = advise(lab)

    assert again == before
    assert children == ["see_model"]  # what it is known by
    # Its own size for the pilot, then all.
    assert [len(each.points) for each in profiling.made] == [1, 3]
    (question,) = advisor.questions
    assert [size for size, _ in question.rules] == [10, 20, 50]
    assert stored(lab, None).profile == profiling.made[-1]


@pytest.mark.slow
def test_another_question_is_another_study(lab, asks_nothing):
    others: list[dict[str, Any]] = [
        {"budget": 61.0},
        {"objective": "samples"},
        {"target": ("accuracy", 0.8)},
        {"batch_sizes": (10,)},
        {"epochs": 3},
        {"sampling": "replacement"},
        {"drop_last": True},
        {"memory_limit_bytes": 10**12},
        {"margin": 0.01},
    ]
    advise(lab)

    for number, other in enumerate(others, start=2):
        advise(lab, **other)

        assert len(asks_nothing.questions) == number, other
        assert asks_nothing.questions[-1].margin == other.get("margin")


def test_a_stage_is_announced_once():
    told = Told()
    subject = about("advise", tiny(), listener=told)
    session = AdviceSession(None, subject, None)

    for purpose in get_args(Purpose) * 2:
        session.asked([subject.reference], purpose)

    assert told.phases == [TARGET, SEARCH, TARGET, SEARCH]


# ---- interrupted


def advise_by_step_clock(lab: Path, *, reserved_s: float = 0.0) -> batchlab.Advice:
    """One session whose clock goes on by half a second a trained step, and not otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        set_step_clock(patch)
        # As a command that took longer or shorter to start: it may not change the decisions.
        given = asked_of(lab) | {"budget": 95.0, "reserved_s": reserved_s}
        return advised(asked("advise", **given)).advice


def set_step_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    real_with_run = CostModel.with_run

    def with_run(self: CostModel, record: TrialRecord, **named: Any) -> CostModel:
        timed = [
            replace(evaluation, train_s=0.5 * evaluation.step, eval_s=0.0)
            for evaluation in record.evaluations
        ]
        return real_with_run(self, replace(record, evaluations=tuple(timed)), **named)

    class OneAtATime(ProcessEngine):
        _clock = staticmethod(lambda: now_s)

        @property
        def n_workers(self) -> int:  # side by side, the order of the ends is a matter of luck
            return 1

        def _end(self, run: Any, outcome: Outcome) -> None:
            nonlocal now_s
            record = self._store.record(run.request.trial.trial_id)
            now_s += 0.5 * (record.steps - run.from_step)
            super()._end(run, outcome)

    def made(store: Store, plan: RunPlan, workers: Workers) -> ProcessEngine:
        entries = stored_journal(store, store.study().study_id)
        before_s = max((entry.spent_s for entry in entries), default=0.0)
        return OneAtATime(store, replace(plan, started_s=-before_s), workers)

    monkeypatch.setattr(CostModel, "with_run", with_run)
    monkeypatch.setattr(workload_subject, "ProcessEngine", made)


def interrupted(advisor: AskingAdvisor, after: int, session: Any, lab: Path, **named: Any) -> None:
    """A session that somebody ends when the advisor asks for the runs of this number."""

    def interrupt(n: int) -> None:
        if n == after:
            raise KeyboardInterrupt

    advisor.before_ask = interrupt
    with pytest.raises(KeyboardInterrupt):
        session(lab, **named)
    advisor.before_ask = lambda n: None


@pytest.mark.slow
@pytest.mark.parametrize("after", by_day([1, 4, 7], [4]))
def test_interrupted_and_asked_again_it_takes_the_same_decisions(
    lab, tmp_path, advisor, profiling, after
):
    uninterrupted = advise_by_step_clock(tmp_path / "other.db")
    asked = list(advisor.asked)
    interrupted(advisor, after, advise_by_step_clock, lab)
    assert isinstance(stored(lab, None), Study)  # it is shown without an answer
    advisor.asked.clear()
    resumed = advise_by_step_clock(lab, reserved_s=5.0)

    assert advisor.questions[-1] == advisor.questions[-2]
    assert 2 * after < len(asked) < 18, "the clock must decide which asks are made"
    assert advisor.asked == asked
    assert resumed == uninterrupted
    assert [len(each.points) for each in profiling.made] == [1, 3] * 2  # once in each store

    # An answer that does not read is asked anew from its trials.
    evaluations = "SELECT * FROM evaluations ORDER BY trial_id, step"
    with closing(sqlite3.connect(lab)) as connection, connection:
        connection.execute("UPDATE studies SET advice = '{}'")
        facts = connection.execute(evaluations).fetchall()
    advisor.asked.clear()

    assert advise_by_step_clock(lab) == resumed
    assert advisor.asked == asked
    assert len(profiling.made) == 4
    with closing(sqlite3.connect(lab)) as connection:
        assert connection.execute(evaluations).fetchall() == facts


def test_what_is_timed_in_turn_is_taken_as_it_was_after_an_interruption(
    lab, profiling, monkeypatch
):
    asked: list[tuple[int, ...]] = []
    told: list[Estimate] = []

    def timed(self: WorkloadSubject, points: Sequence[ProfilePoint], *, timeout_s: float) -> Ended:
        asked.append(tuple(point.batch_size for point in points))
        return Ended(value=(2.0,) * 9)

    def decides(
        question: Question, engine: Engine, *, in_turn: Any, **_named: Any
    ) -> batchlab.Advice:
        told.append(in_turn(20, 50))
        if len(told) == 1:
            raise KeyboardInterrupt
        return AskingAdvisor(longest_steps=0)(question, engine)

    monkeypatch.setattr(WorkloadSubject, "in_turn", timed)
    monkeypatch.setattr(advice_session, "decide", decides)
    with pytest.raises(KeyboardInterrupt):
        advise(lab, target=("accuracy", 0.9))
    advise(lab, target=("accuracy", 0.9))

    assert told[0] == told[1]
    assert (told[0].estimate, told[0].n) == (2.0, 4)
    assert asked == [(20, 50)] * 4


# ---- what is refused


@pytest.mark.usefixtures("profiling")
def test_a_target_that_the_untrained_model_meets_is_refused(lab):
    with pytest.raises(UsageError, match="met before the first step"):
        advise(lab, target=("loss", 100.0))


def contrastive(model: nn.Module, batch: Any) -> Tensor:
    """Every example against all others of its batch."""
    scores = model(batch[0])
    return nn.functional.cross_entropy(scores @ scores.T, torch.arange(len(scores)))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["time", "quality"])
def test_by_a_loss_that_couples_examples_no_batch_sizes_are_compared(lab, profiling, objective):
    workload, told = tiny(loss=contrastive, metrics={}), Told()

    advice = advise(lab, workload=workload, objective=objective, target=None, listener=told)

    assert advice.verdict == "cannot_tell"
    why = reason_text(advice.reason)
    assert "losses of two batch sizes cannot be compared" in why
    assert "Give the workload a metric over a fixed set of examples" in why
    assert not any("cannot be compared" in text for text in told.warnings)  # it is said once
    assert (advice.n_trials, advice.provisional) == (0, None)
    (made,) = profiling.made
    assert [point.batch_size for point in made.points] == [20]  # the workload's own alone
    notes = {each.batch_size: each.note for each in advice.candidates}
    assert notes[20] is None
    assert notes[10] == notes[50] == advice.reason


# ---- the profile


def test_a_profile_that_ended_or_failed_too_early_is_told(lab, asks_nothing, profiling):
    profiling.most = 1
    with pytest.raises(
        BudgetError, match="profile of 1 of 3 batch sizes, and the workload's own, 20"
    ):
        advise(lab)
    profiling.most, profiling.broken = None, (20,)
    with pytest.raises(WorkloadError, match=r"cannot be used on here: it raised; .* has 10, 80"):
        advise(lab, batch_sizes=(10, 80))
    assert asks_nothing.questions == []
    # One that reached what is needed is enough.
    profiling.most, profiling.broken = 3, ()
    advise(lab, batch_sizes=(10, 50, 100))
    options = asks_nothing.questions[0].options
    assert [option.runs for option in options] == [True, True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("is_profiled", by_day([True, False], [True]))
def test_first_runs_that_the_budget_cut_go_on_when_asked_again(
    lab, profiling, monkeypatch, is_profiled
):
    """Else the same command would answer from runs that never trained."""
    has_begun: list[bool] = []

    def is_out_of_time(engine: ProcessEngine) -> bool:
        has_begun.append(engine._n_running > 0)
        return any(has_begun)

    def records() -> tuple[TrialRecord, ...]:
        with Store(lab) as store:
            return store.study(store.studies()[0][0]).records

    with monkeypatch.context() as busy:
        busy.setattr(ProcessEngine, "_is_out_of_time", is_out_of_time)
        busy.setattr(ProcessEngine, "spent_s", lambda engine: 95.0 * any(has_begun))
        profiling.most = None if is_profiled else 1
        # It is asked to stop before it has taken a step: else it may learn enough for an answer.
        busy.setattr(ProcessEngine, "_listen", lambda *_: None)
        with pytest.raises(BudgetError, match="give a larger --budget"):
            advise_by_step_clock(lab)
    (cut,) = records()
    profiling.most = None

    advice = advise_by_step_clock(lab)

    assert cut.status is Status.TIMEOUT
    assert advice.target is not None
    (again,) = (run for run in records() if run.trial == cut.trial)
    assert again.steps > cut.steps


@pytest.fixture
def gpu() -> Profile:
    """A profile of the same workload, measured elsewhere."""
    subject = about("advise", tiny())
    subject.look(lambda: None)
    faster = told_profile(subject.summary, lambda size: STEP_S / 100, (10, 20, 50))
    return replace(faster, device_name="a GPU")


@pytest.mark.slow
def test_step_times_come_from_the_profile_given_and_the_plan_from_this_machine(
    lab, asks_nothing, gpu, tmp_path
):
    file = tmp_path / "gpu.json"
    file.write_text(gpu.to_json())

    advice = advise(lab, profile=file, memory_limit_bytes=10**9)

    (question,) = asks_nothing.questions
    step_s = {option.step_s.estimate or 0.0 for option in question.options}
    assert sorted(step_s) == pytest.approx([STEP_S / 100])
    plan = asks_nothing.engines[-1]._inner._plan
    assert plan.step_s[10] == pytest.approx(STEP_S)
    assert any("measured on a GPU" in reason_text(caveat) for caveat in advice.caveats)
    assert any("counted on this machine, here" in reason_text(caveat) for caveat in advice.caveats)
    # The report made again shows the profile that was given.
    again = stored(lab, None)
    assert (again.advice, again.profile) == (advice, replace(gpu, memory_limit_bytes=10**9))
    figures = advice_figures(made_up_advice(), again.study, again.profile)
    assert "nothing else running on a GPU" in figures[3].notes[0]


def test_a_profile_of_another_workload_is_refused(lab, gpu, profiling):
    with pytest.raises(BatchlabError, match="'other' with 100 training examples"):
        advise(lab, profile=replace(gpu, workload=structs.replace(gpu.workload, name="other")))
    assert profiling.made == []
    # So is one in which nothing ran.
    with pytest.raises(WorkloadError, match="cannot be used on a GPU"):
        advise(lab, profile=without(gpu, 10, 20, 50))


def test_a_device_of_the_nodes_alone_needs_a_profile(
    lab, asks_nothing, profiling, gpu, monkeypatch
):
    monkeypatch.setattr(Cluster, "connect", lambda _: None)
    monkeypatch.setattr(
        workload_subject, "RayWorkers", lambda _, packed, plan: LocalWorkers(packed, plan)
    )
    nodes: dict[str, Any] = {"cluster": Cluster(), "device": "cuda:99"}
    with pytest.raises(
        UsageError, match=r"steps are timed on this machine, which has no .*; give --profile"
    ):
        advise(lab, **nodes)

    advise(lab, profile=gpu, **nodes)

    assert profiling.made == []
    # A sweep needs none.
    assert not asked("sweep", workload=tiny(), budget=None, **nodes).is_device_here
    with pytest.raises(UsageError, match=r"device 'cuda:99': PyTorch .* sees"):
        asked("sweep", workload=tiny(), budget=None, device="cuda:99")
    # But for that it is the same question as here.
    ids = {advise(lab, cluster=cluster).kept_in for cluster in (None, Cluster())}
    assert len(ids) == 1


# ---- the caller

FLAGS: tuple[Callable[[], object], ...] = (
    *(torch.get_num_threads, torch.get_num_interop_threads, torch.is_grad_enabled),
    *(torch.get_default_dtype, torch.are_deterministic_algorithms_enabled),
    *(torch.is_deterministic_algorithms_warn_only_enabled, torch.get_float32_matmul_precision),
    *(lambda: torch.backends.cudnn.benchmark, lambda: torch.backends.mkldnn.enabled),
)


@pytest.mark.slow
def test_the_caller_finds_everything_as_it_was(lab, advisor):
    advisor.longest_steps = 6
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    trained = deepcopy([model.state_dict(), optimizer.state_dict()["state"]])
    torch.use_deterministic_algorithms(True, warn_only=True)
    flags, streams = [flag() for flag in FLAGS], random_streams()

    def given() -> nn.Module:
        torch.rand(3)
        return deepcopy(model)

    try:
        advise(lab, workload=tiny(model=given))

        assert [flag() for flag in FLAGS] == flags
    finally:
        torch.use_deterministic_algorithms(False)
    assert random_streams() == streams
    now = [model.state_dict(), optimizer.state_dict()["state"]]
    torch.testing.assert_close(now, trained, rtol=0, atol=0)
