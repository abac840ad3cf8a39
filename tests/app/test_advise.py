from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs
from tests.reference.asking_advisor import AskingAdvisor
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_study, made_up_timing
from tests.reference.made_up_advice import made_up_advice
from tests.reference.made_up_profile import told_profile
from tests.reference.small_workloads import cosine
from tests.reference.tiny_workload import tiny
from tests.reference.told import Told
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

import batchlab
from batchlab.advice.advice import Question
from batchlab.app import advice_session
from batchlab.app import subjects as workload_subject
from batchlab.app.advise import advised
from batchlab.app.caveats import decay_stayed
from batchlab.app.question import asked
from batchlab.app.report import Advised, advice_of, stored
from batchlab.app.subjects import WorkloadSubject
from batchlab.errors import BudgetError, ProfileError, UsageError, WorkloadError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.processes.children import Ended
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import Outcome
from batchlab.records.study import AdamSettings
from batchlab.records.trial import Status, Target, Trial, TrialRecord
from batchlab.report.advice_figures import machine_figure
from batchlab.runs.contract import CostModel, Engine, RunPlan
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import Workers
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.training.optimizers import adam_settings
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Metric, Workload
from batchlab.workload.pieces import Labelled, accuracy

InTurn = Callable[[int, int], Estimate]
STEP_S = 0.01
BUDGET_S = 60.0


def profile_of(
    _packed: object,
    trial: Trial,
    batch_sizes: Sequence[int],
    *,
    memory_limit_bytes: int | None,
    **_named: Any,
) -> Profile:
    """As if every batch size had been measured: a step takes `STEP_S`, whatever its size."""
    limit = memory_limit_bytes
    return told_profile(trial, lambda size: STEP_S, batch_sizes, memory_limit_bytes=limit)


@pytest.fixture
def profiled(monkeypatch: pytest.MonkeyPatch) -> list[Profile]:
    """Nothing is measured; the profiles are kept."""
    made_up: list[Profile] = []

    def measured(*asked: Any, **named: Any) -> Profile:
        made_up.append(profile_of(*asked, **named))
        return made_up[-1]

    def timed(self: WorkloadSubject, trial: Trial, *, timeout_s: float) -> Ended:
        # A first look is not as exact as the profile.
        step_s = 2 * STEP_S
        timing = made_up_timing(trial.batch_size, step_s=step_s, workload_id=trial.workload_id)
        return Ended(value=timing)

    monkeypatch.setattr(workload_subject, "measure_profile", measured)
    monkeypatch.setattr(WorkloadSubject, "timed", timed)
    return made_up


@pytest.fixture
def advisor(monkeypatch: pytest.MonkeyPatch, profiled: list[Profile]) -> AskingAdvisor:
    asking = AskingAdvisor()
    monkeypatch.setattr(
        advice_session,
        "decide",
        lambda question, engine, watcher, with_all_options, in_turn: asking(
            with_all_options() if with_all_options else question, engine
        ),
    )
    return asking


def advise(lab: Path, **named: Any) -> batchlab.Advice:
    arguments: dict[str, Any] = {
        "workload": tiny(),
        "batch_sizes": (10, 50),
        "store": lab,
        "budget": BUDGET_S,
    }
    return batchlab.advise(**(arguments | named))


@pytest.mark.slow
def test_the_question_holds_what_was_asked_and_the_store_what_was_answered(
    lab: Path, advisor: AskingAdvisor
) -> None:
    advice = advise(lab, target=("accuracy", 0.9), epochs=7, command="batchlab advise tiny")

    (question,) = advisor.questions
    assert question.objective == "time"
    assert question.target == Target(metric="accuracy", value=0.9, better="higher")
    assert question.target_origin == "given"
    assert (question.reference.batch_size, question.reference.learning_rate) == (20, 0.1)
    assert [option.batch_size for option in question.options] == [10, 20, 50]
    assert [option.step_s.estimate for option in question.options] == pytest.approx([STEP_S] * 3)
    assert (question.n_train, question.planned_epochs) == (100, 7)
    assert 0.9 * BUDGET_S < question.budget_s < BUDGET_S
    assert (reason_text(advice.reason), advice.budget_s) == ("it was asked", BUDGET_S)
    assert reason_text(advice.caveats[0]) == "the advisor's own"
    assert "rate_was_constant" in [caveat.code for caveat in advice.caveats]
    with Store.existing(lab) as store:
        study = store.study()
        stored = advice_of(store, study)
    assert study.command == "batchlab advise tiny"
    assert len(study.records) == advice.n_trials > 0
    assert study.spent_s > 0
    assert stored is not None
    assert stored.advice == advice


@pytest.mark.parametrize(
    ("optimizer", "moved"),
    [
        (torch.optim.SGD, None),
        (torch.optim.Adam, AdamSettings(betas=(0.9, pytest.approx(0.999**2.5)))),
        (
            partial(torch.optim.AdamW, weight_decay=0.1),
            AdamSettings(
                betas=(0.9, pytest.approx(0.999**2.5)), weight_decay=pytest.approx(0.1 * 2.5**0.5)
            ),
        ),
    ],
)
def test_other_batch_sizes_train_with_the_settings_of_adam_that_are_named(
    lab: Path, advisor: AskingAdvisor, optimizer: Any, moved: AdamSettings | None
) -> None:
    advise(lab, workload=tiny(optimizer=optimizer), batch_sizes=(50,))

    (question,) = advisor.questions
    assert {option.batch_size: option.adam for option in question.options} == {20: None, 50: moved}
    with Store.existing(lab) as store:
        rules = {(r.trial.batch_size, r.trial.scaling_rule) for r in store.study().records}
    assert rules == {(20, "none"), (50, "none" if moved is None else "sqrt")}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--weight-decay 0.1", ["weight decay was not moved: as in SGD or AdamW, an epoch of"]),
        ("optim.weight_decay=1e-2", ["weight decay was not moved"]),
        ("--wd 0", []),
        ("--forward 0.1", []),
    ],
)
def test_a_weight_decay_of_a_command_that_acts_otherwise_is_named(
    option: str, said: list[str]
) -> None:
    command = TrainingCommand(
        arguments=("train.py", *option.split(), "{batch_size}", "{learning_rate}"),
        metric="val_loss",
        learning_rate=0.1,
    )
    own = made_up_advice().reference
    named = replace(own, batch_size=8 * own.batch_size, micro_batch_size=8 * own.batch_size)
    linear = replace(named, learning_rate=8 * own.learning_rate)
    advice = made_up_advice()

    summary = made_up_study().workload
    found = list(decay_stayed(replace(advice, recommendation=named), summary, command))

    assert [reason_text(each)[: len(said[0])] for each in found] == said
    assert all(each.named["share"] == pytest.approx(1 / 8) for each in found)
    assert not list(decay_stayed(replace(advice, recommendation=linear), summary, command))


@pytest.mark.parametrize(
    ("optimizer", "factor", "is_said"),
    [
        (partial(torch.optim.SGD, weight_decay=0.01), 1.0, True),
        (partial(torch.optim.SGD, weight_decay=0.01), 4.0, False),  # it was tuned
        (torch.optim.SGD, 1.0, False),
        (torch.optim.AdamW, 1.0, False),  # its weight decay was moved
    ],
)
def test_a_weight_decay_of_a_workload_that_is_not_moved_is_named(
    optimizer: Any, factor: float, is_said: bool
) -> None:
    made = optimizer([nn.Parameter(torch.zeros(1))], lr=0.1)
    summary = replace(
        made_up_study().workload,
        adam=adam_settings(made),
        has_weight_decay=made.param_groups[0]["weight_decay"] > 0,
    )
    own = made_up_advice().reference
    named = replace(own, batch_size=8 * own.batch_size)
    advice = replace(made_up_advice(), recommendation=named)
    first, *others = advice.tried
    tried = (replace(first, weight_decay_factor=factor), *others)

    found = list(decay_stayed(replace(advice, tried=tried), summary))

    assert [each.code for each in found] == ["weight_decay_stayed"] * is_said


@pytest.mark.slow
def test_a_horizon_shorter_than_a_warm_up_in_steps_is_a_failed_run_and_ends_no_study(
    lab: Path,
) -> None:
    def warmed_up(optimizer: torch.optim.Optimizer, n_steps: int) -> list[LRScheduler]:
        if n_steps <= 12:
            raise ValueError(f"{n_steps} steps are no more than the warm-up's 12")
        return [OneCycleLR(optimizer, 0.1, n_steps, pct_start=12 / n_steps)]

    workload = tiny(scheduler=warmed_up, scheduler_every="step")
    advice = advise(lab, workload=workload, epochs=8, budget=12.0)

    assert advice.named is not None
    failed = [run for run in advice.tried if run.status == "error"]
    assert {(run.batch_size, run.epochs) for run in failed} <= {(50, 4.0)}  # 8 of 16 steps


BY_ROOT = ("sqrt", "sde-adam")


@pytest.mark.parametrize(
    ("optimizer", "batch_sizes", "rules"),
    [
        (torch.optim.SGD, (80,), {80: {"none": 1.0, "linear": 4.0, "sqrt": 2.0}}),
        (  # with beta 1 = 0.8 the rule for Adam refuses 100, where it would not stay above 0
            partial(torch.optim.Adam, betas=(0.8, 0.999)),
            (40, 100),
            {
                40: {"none": 1.0, "linear": 2.0, **dict.fromkeys(BY_ROOT, 2**0.5)},
                100: {"none": 1.0, "linear": 5.0, "sqrt": 5**0.5},
            },
        ),
    ],
)
@pytest.mark.slow
def test_the_rules_are_multiples_of_the_reference_rate_as_far_as_they_go(
    lab: Path,
    advisor: AskingAdvisor,
    optimizer: Any,
    batch_sizes: tuple[int, ...],
    rules: dict[int, dict[str, float]],
) -> None:
    advisor.longest_steps = 0

    advise(lab, workload=tiny(optimizer=optimizer), batch_sizes=batch_sizes)

    found = {size: dict(each) for size, each in advisor.questions[0].rules}
    for size, multiples in rules.items():
        assert found[size] == pytest.approx(multiples)


@pytest.mark.slow
def test_a_finished_study_asked_again_answers_the_same_without_a_training(
    lab: Path, advisor: AskingAdvisor, children: list[str], profiled: list[Profile]
) -> None:
    first = advise(lab)
    children.clear()

    again = advise(lab)

    assert again == first
    assert children == ["see_model"]  # what it is known by
    assert len(advisor.questions) == 1
    assert [len(each.points) for each in profiled] == [1, 3]  # its own for the pilot, then all


@pytest.mark.parametrize(
    "other",
    [
        {"budget": 61.0},
        {"budget": None, "trainings": 300, "epochs": 7},
        {"objective": "samples"},
        {"target": ("accuracy", 0.8)},
        {"batch_sizes": (10,)},
        {"epochs": 3},
        {"sampling": "replacement"},
        {"drop_last": True},
        {"memory_limit_bytes": 10**12},
        {"margin": 0.01},
    ],
)
def test_another_question_is_another_study(
    lab: Path, advisor: AskingAdvisor, other: dict[str, Any]
) -> None:
    advisor.longest_steps = 0
    advise(lab)

    advise(lab, **other)

    assert len(advisor.questions) == 2
    assert advisor.questions[1].margin == other.get("margin")


def advise_by_step_clock(lab: Path, *, reserved_s: float = 0.0) -> batchlab.Advice:
    """One session whose clock goes on by half a second a trained step, and not otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        set_step_clock(patch)
        # As a command that took longer or shorter to start: it may not change the decisions.
        return advise(lab, budget=95.0, reserved_s=reserved_s)


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
        @property
        def n_workers(self) -> int:  # side by side, the order of the ends is a matter of luck
            return 1

        def _end(self, run: Any, outcome: Outcome) -> None:
            nonlocal now_s
            record = self._store.record(run.request.trial.trial_id)
            assert record is not None
            now_s += 0.5 * (record.steps - run.from_step)
            super()._end(run, outcome)

    def made(store: Store, plan: RunPlan, workers: Workers) -> ProcessEngine:
        return OneAtATime(store, replace(plan, started_s=0.0), workers, clock=lambda: now_s)

    monkeypatch.setattr(CostModel, "with_run", with_run)
    monkeypatch.setattr(workload_subject, "ProcessEngine", made)


@pytest.mark.slow
@pytest.mark.parametrize("after", by_day([1, 4, 7], [4]))
def test_interrupted_and_asked_again_it_takes_the_same_decisions(
    lab: Path, tmp_path: Path, advisor: AskingAdvisor, profiled: list[Profile], after: int
) -> None:
    def interrupt(n: int) -> None:
        if n == after:
            raise KeyboardInterrupt

    uninterrupted = advise_by_step_clock(tmp_path / "other.db")
    asked = list(advisor.asked)
    advisor.asked.clear()
    advisor.before_ask = interrupt
    with pytest.raises(KeyboardInterrupt):
        advise_by_step_clock(lab)
    advisor.asked.clear()
    advisor.before_ask = lambda n: None
    resumed = advise_by_step_clock(lab, reserved_s=5.0)

    assert advisor.questions[-1] == advisor.questions[-2]
    assert 2 * after < len(asked) < 18, "the clock must decide which asks are made"
    assert advisor.asked == asked
    assert resumed == uninterrupted
    assert [len(each.points) for each in profiled] == [1, 3] * 2  # once in each store


def test_what_is_timed_in_turn_is_taken_as_it_was_after_an_interruption(
    lab: Path, profiled: list[Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []
    told: list[Estimate] = []

    def timed(self: WorkloadSubject, points: Sequence[ProfilePoint], *, timeout_s: float) -> Ended:
        asked.append(tuple(point.batch_size for point in points))
        return Ended(value=(2.0,) * 9)

    def decides(
        question: Question, engine: Engine, *, in_turn: InTurn, **_named: Any
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


@pytest.mark.slow
def test_an_answer_that_does_not_read_is_asked_anew_from_its_trials(
    lab: Path, advisor: AskingAdvisor, profiled: list[Profile]
) -> None:
    before = advise_by_step_clock(lab)
    asked = list(advisor.asked)
    evaluations = "SELECT * FROM evaluations ORDER BY trial_id, step"
    with closing(sqlite3.connect(lab)) as connection, connection:
        connection.execute("UPDATE advices SET payload = '{}'")
        facts = connection.execute(evaluations).fetchall()
    advisor.asked.clear()

    again = advise_by_step_clock(lab)

    assert again == before
    assert advisor.asked == asked
    assert len(profiled) == 2
    with closing(sqlite3.connect(lab)) as connection:
        assert connection.execute(evaluations).fetchall() == facts


def test_a_target_that_the_untrained_model_meets_is_refused_before_anything_is_measured(
    lab: Path, advisor: AskingAdvisor, profiled: list[Profile]
) -> None:
    with pytest.raises(UsageError, match="met before the first step"):
        advise(lab, target=("loss", 100.0))

    assert profiled == []


@pytest.mark.slow
def test_a_users_own_accuracy_is_taken_in_the_unit_that_it_has(
    lab: Path, advisor: AskingAdvisor, profiled: list[Profile]
) -> None:
    def workload(whole: float) -> Workload:
        def right(model: nn.Module, batch: Labelled) -> Tensor:
            return whole * accuracy(model, batch) * len(batch[1])

        return tiny(metrics={"val_acc": Metric(sum=right, better="higher")})

    with pytest.raises(UsageError, match=r"did you mean 0\.98\? \(the untrained model"):
        advise(lab, workload=workload(1), target=("val_acc", 98.0))
    assert profiled == []

    advise(lab, workload=workload(100), target=("val_acc", 98.0))
    assert len(profiled) == 1


def test_a_budget_in_trainings_is_what_so_many_take_by_the_profile(
    lab: Path, advisor: AskingAdvisor
) -> None:
    advisor.longest_steps = 0
    # 7 epochs of 5 steps.
    one_s = 35 * STEP_S

    advice = advise(lab, budget=None, trainings=300, epochs=7)
    advise(lab, budget=None, trainings=300.0, epochs=7)

    assert (advice.budget_s, advice.trainings) == (pytest.approx(300 * one_s), 300)
    (question,) = advisor.questions
    assert 0.9 * 300 * one_s < question.budget_s < 300 * one_s


def test_where_no_epochs_are_planned_one_training_goes_to_the_target_or_the_plateau(
    lab: Path, advisor: AskingAdvisor
) -> None:
    advisor.longest_steps = 0
    per_epoch_s = 5 * STEP_S

    to_plateau = advise(lab, budget=None, trainings=300).budget_s / 300 / per_epoch_s
    to_target = advise(lab, budget=None, trainings=300, target=("accuracy", 0.6)).budget_s
    again = advise(lab, budget=None, trainings=600).budget_s / 600 / per_epoch_s

    assert to_plateau in (8, 16, 32, 64)
    assert 1 < to_target / 300 / per_epoch_s < 3
    assert again == pytest.approx(to_plateau)


def test_where_the_first_training_fails_how_long_one_takes_is_not_known(
    lab: Path, advisor: AskingAdvisor, profiled: list[Profile]
) -> None:
    failing = tiny(learning_rate=1e20)

    with pytest.raises(WorkloadError, match=r"4 trainings: .* the first failed \(.*--budget"):
        advise(lab, workload=failing, budget=None, trainings=4)


@pytest.mark.parametrize(
    ("asked", "budget_s"),
    [
        ({"trainings": 300, "epochs": 7}, 300 * 35 * STEP_S),  # the profile says it then
        ({"trainings": 12, "train_s": 5.0, "objective": "quality"}, 60.0),
    ],
)
def test_a_first_look_may_fail_or_not_be_needed(
    lab: Path,
    advisor: AskingAdvisor,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    budget_s: float,
) -> None:
    advisor.longest_steps = 0
    failed = Ended(status=Status.KILLED)
    monkeypatch.setattr(WorkloadSubject, "timed", lambda *given, **named: failed)

    assert advise(lab, budget=None, **asked).budget_s == pytest.approx(budget_s)


@pytest.mark.slow
def test_a_study_with_a_budget_in_trainings_goes_on_with_the_same_one(
    lab: Path, advisor: AskingAdvisor
) -> None:
    def interrupt(n: int) -> None:
        if n == 1:
            raise KeyboardInterrupt

    asked: dict[str, Any] = {"budget": None, "trainings": 300, "epochs": 7}
    advisor.before_ask = interrupt
    with pytest.raises(KeyboardInterrupt):
        advise(lab, **asked)
    advisor.before_ask = lambda n: None

    # This one took longer to start.
    resumed = advise(lab, **asked, reserved_s=9.0)

    assert resumed.budget_s == pytest.approx(300 * 35 * STEP_S)
    first, again = (question.budget_s for question in advisor.questions)
    assert first == again


def test_trainings_too_short_for_a_profile_are_refused_before_it(
    lab: Path, advisor: AskingAdvisor, profiled: list[Profile]
) -> None:
    with pytest.raises(
        BudgetError, match=r"1 trainings take 0\.1 s here.* give --trainings \d+ or"
    ):
        advise(lab, budget=None, trainings=1, epochs=1)
    with pytest.raises(BudgetError, match=r"2 trainings take 10 s here, and .* the report alone 9"):
        advise(lab, budget=None, trainings=2, train_s=5.0, objective="quality", reserved_s=9.0)

    assert profiled == []


@pytest.mark.parametrize(
    ("fields", "which"),
    [
        # 18 of 20 were right: a standard error of 0.076, of as many others too.
        ({}, {"differences below about 0.1"}),
        ({"metrics": {}}, {"small differences"}),
        ({"weight": len}, set()),
    ],
)
def test_what_few_validation_examples_cannot_tell_is_said(
    lab: Path, advisor: AskingAdvisor, fields: dict[str, Any], which: set[str]
) -> None:
    answered = advisor._advice

    def scored(*given: Any) -> batchlab.Advice:
        advice = answered(*given)
        return replace(advice, tried=tuple(replace(run, best_value=0.9) for run in advice.tried))

    advisor._advice = scored  # type: ignore[method-assign]

    caveats = advise(lab, workload=tiny(**fields)).caveats

    found = [each for each in caveats if each.code == "few_validation_examples"]
    assert {each.named["which"] for each in found} == which
    for each in found:
        assert "validation has only 20 examples" in reason_text(each)


@pytest.mark.parametrize("validation", ["split", None])
def test_that_seeds_draw_their_examples_is_said_and_asked(
    lab: Path, advisor: AskingAdvisor, validation: str | None
) -> None:
    fields = {} if validation is None else {"validation": validation}

    found = [each.code for each in advise(lab, workload=tiny(**fields)).caveats]

    assert advisor.questions[0].draws_by_seed == (validation is not None)
    assert ("seeds_draw_examples" in found) == (validation is not None)


@pytest.mark.parametrize(("epochs", "is_early"), [(12, True), (5, False)])
def test_a_target_that_is_met_early_stays_and_that_is_said(
    lab: Path, advisor: AskingAdvisor, epochs: int, is_early: bool
) -> None:
    # Every batch size takes half of the 100 examples.
    answered = made_up_advice(steps=lambda size: 50 / size)
    advisor._advice = lambda *given: answered  # type: ignore[method-assign]

    advice = advise(lab, target=("accuracy", 0.95), epochs=epochs)

    assert advice.target == answered.target
    early = [each.named for each in advice.caveats if each.code == "target_is_early"]
    assert [(why["epochs"], why["whole"]) for why in early] == [(pytest.approx(0.5), 12)] * is_early


OWN_FILE = """\
import torch
from batchlab import Workload

workload = Workload(
    name="mine",
    model=lambda: torch.nn.Linear(4, 3),
    train=(torch.randn(200, 4), torch.arange(200) % 3),
    loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
{more}
)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "own", "is_usual"),
    [("", (64, 0.01), True), ("    batch_size=20,", (20, 0.01), False)],
)
def test_where_a_file_gives_no_batch_size_what_is_compared_with_is_the_usual_one(
    lab: Path, advisor: AskingAdvisor, more: str, own: tuple[int, float], is_usual: bool
) -> None:
    file = lab.with_name("mine.py")
    file.write_text(OWN_FILE.format(more=more))

    advice = advise(lab, workload=f"{file}:workload")

    assert (advice.reference.batch_size, advice.reference.learning_rate) == own
    assert advice.is_usual == is_usual


def test_without_anything_given_it_takes_three_minutes(lab: Path, advisor: AskingAdvisor) -> None:
    advisor.longest_steps = 0

    assert advise(lab, budget=None).budget_s == 180.0


def cut_after(monkeypatch: pytest.MonkeyPatch, n_points: int) -> None:
    """Have the time for a profile end after so many batch sizes."""

    def cut_short(*asked: Any, **named: Any) -> Profile:
        whole = profile_of(*asked, **named)
        return replace(whole, points=whole.points[:n_points], stopped="time")

    monkeypatch.setattr(workload_subject, "measure_profile", cut_short)


def test_a_budget_that_ends_within_the_profile_is_told(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_after(monkeypatch, 1)

    with pytest.raises(BudgetError, match="after 1 of 3 batch sizes, and the workload's own, 20"):
        advise(lab)


@pytest.mark.slow
@pytest.mark.parametrize("is_profiled", [True, False])
def test_first_runs_that_the_budget_cut_go_on_when_asked_again(
    lab: Path, profiled: list[Profile], monkeypatch: pytest.MonkeyPatch, is_profiled: bool
) -> None:
    """Else the same command would answer from runs that never trained."""
    has_begun: list[bool] = []

    def is_out_of_time(engine: ProcessEngine) -> bool:
        has_begun.append(engine._n_running > 0)
        return any(has_begun)

    with monkeypatch.context() as busy:
        busy.setattr(ProcessEngine, "_is_out_of_time", is_out_of_time)
        busy.setattr(ProcessEngine, "spent_s", lambda engine: 95.0 * any(has_begun))
        if not is_profiled:
            cut_after(busy, 1)
        # It is asked to stop before it has taken a step: else it may learn enough for an answer.
        busy.setattr(ProcessEngine, "_listen", lambda *_: None)
        with pytest.raises(BudgetError, match="give a larger --budget"):
            advise_by_step_clock(lab)
    (cut,) = runs_in(lab)

    advice = advise_by_step_clock(lab)

    assert cut.status is Status.TIMEOUT
    assert advice.target is not None
    (again,) = (run for run in runs_in(lab) if run.trial == cut.trial)
    assert again.steps > cut.steps


def runs_in(lab: Path) -> tuple[TrialRecord, ...]:
    with Store(lab) as store:
        return store.study(store.studies()[0][0]).records


@pytest.mark.slow
def test_a_profile_that_reached_what_is_needed_is_enough(
    lab: Path, advisor: AskingAdvisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_after(monkeypatch, 3)

    advise(lab, batch_sizes=(10, 50, 100))

    assert [option.runs for option in advisor.questions[0].options] == [True, True, True, False]


def without(made: Profile, *sizes: int) -> Profile:
    """The same profile, but at these batch sizes the model raised an error."""
    raised: Any = {"status": Status.ERROR, "reason": Reason.as_written("it raised")}
    failed = {"timing": None, "peak_bytes": None, **raised}
    return replace(
        made,
        points=tuple(replace(p, **failed) if p.batch_size in sizes else p for p in made.points),
    )


@pytest.mark.slow
def test_a_reference_that_does_not_run_is_refused_with_one_that_does(
    lab: Path, advisor: AskingAdvisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = tiny().batch_size
    monkeypatch.setattr(
        workload_subject,
        "measure_profile",
        lambda *asked, **named: without(profile_of(*asked, **named), reference),
    )

    with pytest.raises(WorkloadError, match=r"cannot be used on here: it raised; .* such as 10"):
        advise(lab, batch_sizes=(10, 80))

    assert advisor.questions == []


@pytest.mark.slow
def test_a_rates_shape_spans_the_epochs_given_and_the_answer_says_so(
    lab: Path, advisor: AskingAdvisor
) -> None:
    advice = advise(lab, workload=tiny(schedule=cosine), epochs=4)

    (question,), (engine,) = advisor.questions, advisor.engines
    trial = engine.trial(batch_size=50, learning_rate=0.1, seed=0)
    assert (question.planned_epochs, trial.horizon_steps) == (4, 8)
    assert any("of each training (yours: 4)" in reason_text(caveat) for caveat in advice.caveats)


def contrastive(model: nn.Module, batch: Any) -> Tensor:
    """Every example against all others of its batch."""
    scores = model(batch[0])
    return nn.functional.cross_entropy(scores @ scores.T, torch.arange(len(scores)))


@pytest.mark.parametrize("objective", ["time", "samples", "quality"])
def test_by_a_loss_that_couples_examples_no_batch_sizes_are_compared(
    lab: Path, profiled: list[Profile], objective: str
) -> None:
    workload, told = tiny(loss=contrastive, metrics={}), Told()

    advice = advise(
        lab,
        workload=workload,
        batch_sizes=(10, 50),
        objective=objective,
        target=None,
        listener=told,
    )

    assert advice.verdict == "cannot_tell"
    why = reason_text(advice.reason)
    assert "losses of two batch sizes cannot be compared" in why
    assert "Give the workload a metric over a fixed set of examples" in why
    assert not any("cannot be compared" in text for text in told.warnings)  # it is said once
    assert (advice.n_trials, advice.provisional) == (0, None)
    (made,) = profiled
    assert [point.batch_size for point in made.points] == [20]  # the workload's own alone
    notes = {each.batch_size: each.note for each in advice.candidates}
    assert notes[20] is None
    assert notes[10] == notes[50] == advice.reason


@pytest.mark.slow
def test_an_evaluation_that_needs_more_memory_than_a_step_is_told(
    lab: Path, advisor: AskingAdvisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*asked: Any, known: Profile | None = None, **named: Any) -> Profile:
        made = profile_of(*asked, **named)
        evaluation_bytes = known.evaluation_bytes if known else 10**12  # it is looked at once
        return replace(made, evaluation_bytes=evaluation_bytes)

    monkeypatch.setattr(workload_subject, "measure_profile", measured)

    advice = advise(lab)

    (told,) = [each for each in advice.caveats if each.code == "evaluation_needs_more"]
    assert told.named["whole"] == 10**12
    (question,) = advisor.questions
    assert {option.peak_bytes for option in question.options} == {10**12}


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


@pytest.mark.slow
def test_a_batch_size_that_leaves_batch_norm_one_example_is_no_option(
    lab: Path, advisor: AskingAdvisor
) -> None:
    advisor.longest_steps = 0
    workload = tiny(model=batch_norm, batch_size=50, loss=contrastive)

    advice = advise(lab, workload=workload, batch_sizes=(1, 9, 10, 33))

    options = advisor.questions[0].options
    assert {option.batch_size for option in options if not option.runs} == {1, 9, 33}
    assert "BatchNorm" in reason_text(options[0].note)
    codes = [caveat.code for caveat in advice.caveats]
    assert {"model_has_batch_norm", "loss_couples"} <= set(codes)


@pytest.fixture
def gpu(lab: Path, advisor: AskingAdvisor, profiled: list[Profile]) -> Profile:
    """A profile of the same workload, measured elsewhere."""
    advise(lab)
    advisor.questions.clear()
    here = profiled[-1]
    profiled.clear()
    faster = dict(step_s=STEP_S / 100, workload_id=here.workload.workload_id)
    points = [replace(p, timing=made_up_timing(p.batch_size, **faster)) for p in here.points]
    return replace(here, device_name="a GPU", points=tuple(points))


@pytest.mark.slow
def test_step_times_come_from_the_profile_given_and_the_plan_from_this_machine(
    lab: Path, advisor: AskingAdvisor, gpu: Profile, tmp_path: Path
) -> None:
    file = tmp_path / "gpu.json"
    file.write_text(gpu.to_json())

    advice = advise(lab, profile=file)

    (question,) = advisor.questions
    step_s = {option.step_s.estimate or 0.0 for option in question.options}
    assert sorted(step_s) == pytest.approx([STEP_S / 100])
    assert advisor.engines[-1]._inner._plan.step_s[10] == pytest.approx(STEP_S)  # type: ignore[attr-defined]
    assert any("those of a GPU" in reason_text(caveat) for caveat in advice.caveats)
    assert any("counted here, on here" in reason_text(caveat) for caveat in advice.caveats)


@pytest.mark.slow
def test_the_report_made_again_shows_the_profile_given_as_the_one_at_once_did(
    lab: Path, gpu: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advice_session, "decide", lambda *asked, **named: made_up_advice())
    question = asked(
        "advise",
        workload=tiny(),
        budget=BUDGET_S,
        batch_sizes=(10, 50),
        memory_limit_bytes=10**9,
        profile=gpu,
        store=lab,
    )
    found = advised(question)

    again = stored(lab, None)

    assert found.profile == replace(gpu, memory_limit_bytes=10**9)
    assert isinstance(again, Advised)
    assert again == found
    figure = machine_figure(again.advice, again.profile)
    assert "ran alone on a GPU" in figure.notes[0]


@pytest.mark.slow
def test_a_profile_of_another_workload_is_refused(
    lab: Path, gpu: Profile, profiled: list[Profile]
) -> None:
    with pytest.raises(ProfileError, match="'other' with 100 training examples"):
        advise(lab, profile=replace(gpu, workload=structs.replace(gpu.workload, name="other")))
    # So is one in which nothing ran.
    for elsewhere in (without(gpu, *(p.batch_size for p in gpu.points)), replace(gpu, points=())):
        with pytest.raises(WorkloadError, match="cannot be used on a GPU"):
            advise(lab, profile=elsewhere)

    assert profiled == []


@pytest.mark.slow
def test_the_caller_finds_everything_as_it_was(lab: Path, advisor: AskingAdvisor) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    weights = [part.clone() for part in model.parameters()]
    momenta = [optimizer.state[part]["momentum_buffer"].clone() for part in model.parameters()]
    torch.use_deterministic_algorithms(True, warn_only=True)
    flags = _flags()
    streams = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()

    def given() -> nn.Module:
        torch.rand(3)
        return deepcopy(model)

    try:
        advise(lab, workload=tiny(model=given))

        assert _flags() == flags
    finally:
        torch.use_deterministic_algorithms(False)
    assert random.getstate() == streams[0]
    now = np.random.get_state(legacy=False)
    assert (now["state"]["key"] == streams[1]["state"]["key"]).all()
    assert now["state"]["pos"] == streams[1]["state"]["pos"]
    assert torch.equal(torch.get_rng_state(), streams[2])
    assert all(map(torch.equal, model.parameters(), weights))
    kept = [optimizer.state[part]["momentum_buffer"] for part in model.parameters()]
    assert all(map(torch.equal, kept, momenta))


def _flags() -> tuple[Any, ...]:
    return (
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.mkldnn.enabled,
        torch.get_float32_matmul_precision(),
    )
