"""What is asked, and what it means for a workload and for a command."""

import inspect
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.app.conftest import about
from tests.reference.command_engine import command_summary
from tests.reference.tiny_workload import tiny
from tests.reference.training_script import training_script

import batchlab
from batchlab.app.advice_session import SEARCH, TARGET, stages_of
from batchlab.app.budget import RECORDING_S, Budget
from batchlab.app.profile import PROFILING
from batchlab.app.question import Request
from batchlab.app.subject import candidate_batch_sizes
from batchlab.app.subjects import CommandSubject, doubled_batch_sizes
from batchlab.errors import BudgetError
from batchlab.records.trial import Target
from batchlab.script.command import TrainingCommand


def known(name: str, command: TrainingCommand, **given: Any) -> CommandSubject:
    """A command as a check of it would have found it."""
    subject = about(name, command, **given)
    subject.summary = command_summary(command)
    return subject


@pytest.mark.parametrize("name", ["advise", "sweep", "profile", "noise", "check"])
def test_every_argument_is_a_field_of_the_question_with_the_same_default(name):
    arguments = dict(inspect.signature(getattr(batchlab, name)).parameters)
    held = {field.name: field for field in fields(Request)}

    assert arguments.keys() <= held.keys()
    for argument in arguments.keys() - {"workload", "budget", "listener"}:
        usual = arguments[argument].default
        assert usual in (None, (), "batchlab.db") or usual == held[argument].default


@pytest.mark.parametrize(
    ("arguments", "given", "length"),
    [
        ((), {}, (None, None, True)),
        ((), {"epochs": 3}, (3, None, False)),
        ((), {"steps": 9}, (None, 9, False)),
        (("--epochs", "{epochs}"), {}, (10, None, False)),
    ],
)
def test_a_script_in_a_sweep_trains_to_its_own_end_unless_it_takes_its_length(
    arguments, given, length, tmp_path
):
    found = known("sweep", training_script(tmp_path, *arguments), **given).length

    assert (found.epochs, found.steps, found.to_own_end) == length
    assert found.all_splits == "never"
    taken = known("advise", training_script(tmp_path, "--epochs", "{epochs}"), epochs=4)
    assert taken.reference.horizon_steps == 4 * 125


@pytest.mark.parametrize("is_usual", [True, False])
def test_what_nobody_gave_is_the_usual(is_usual):
    bare = batchlab.Workload(
        name="mine",
        model=lambda: torch.nn.Linear(4, 3),
        train=(torch.randn(200, 4), torch.zeros(200)),
        loss=lambda model, batch: model(batch[0]).mean(),
    )
    given = bare if is_usual else replace(bare, batch_size=20)

    subject = about("advise", given, budget=None)

    reference = subject.reference
    assert (reference.batch_size, reference.learning_rate) == (64 if is_usual else 20, 0.01)
    assert subject.is_usual == is_usual
    assert subject.question.budget.seconds == 180.0


OWN = Target(metric="accuracy", value=0.85, better="higher")
BY_QUALITY = {"objective": "quality"}


@pytest.mark.parametrize(
    ("own", "given", "epochs", "target"),
    [
        ({}, {}, None, None),
        ({"epochs": 30, "target": OWN}, {}, 30, OWN),
        ({"epochs": 30, "target": OWN}, {"epochs": 4, "target": ("accuracy", 0.85)}, 4, OWN),
        ({"target": OWN}, BY_QUALITY, 10, None),
        ({"epochs": 30}, BY_QUALITY, 30, None),
    ],
)
def test_an_advice_has_the_workloads_epochs_and_target_unless_others_are_given(
    own, given, epochs, target
):
    subject = about("advise", tiny(**own), **given)

    assert (subject.epochs, subject.target) == (epochs, target)
    sets_a_level = "objective" not in given and target is None
    assert stages_of(subject) == [PROFILING, *([TARGET] if sets_a_level else []), SEARCH]
    if target is not None:
        other = about("advise", tiny(**own), target=("accuracy", 0.5)).target
        assert (other and other.value) == 0.5
        assert about("sweep", tiny(**own)).target is None


# ---- the sizes, rates and lengths of a sweep


@pytest.mark.parametrize(
    ("n_train", "reference", "sizes"),
    [
        (50_000, 64, [2**k for k in range(3, 16)]),
        (300, 48, [8, 16, 32, 48, 64, 128, 256]),
        (100, 20, [4, 8, 16, 20, 32, 64]),
        (20, 5, [1, 2, 4, 5, 8, 16]),
        (1, 1, [1]),
    ],
)
def test_candidates_are_powers_of_two_with_the_habits_and_the_reference(n_train, reference, sizes):
    assert list(candidate_batch_sizes(n_train, reference=reference)) == sizes


def test_of_a_command_its_own_size_is_doubled_and_halved_if_the_budget_can_time_that(tmp_path):
    few, many = (
        known("advise", training_script(tmp_path), budget=budget) for budget in ("5m", "2h")
    )
    for subject in (few, many):
        subject.summary = replace(subject.summary, start_s=20.0)

    assert doubled_batch_sizes(300, own=24) == (12, 24, 48, 96, 192)
    assert few.candidates == (4, 16, 64, 256)
    assert many.candidates == (8, 16, 32, 64, 128, 256, 512, 1024)


def test_a_sweep_takes_what_it_is_given_and_else_what_the_workload_has():
    plain = about("sweep", tiny())
    by_rule = about("sweep", tiny(), batch_sizes=(10, 20, 80), scaling_rule="sqrt").trials
    of_numpy = {"learning_rates": np.logspace(-2, -1, 2), "epochs": np.int64(3)}
    shaped = tiny(schedule=lambda fraction: 1 - fraction)
    spans = about("sweep", shaped, batch_sizes=np.array([20, 50]), **of_numpy).trials

    cells = [(trial.batch_size, trial.learning_rate) for trial in plain.trials]
    assert cells == [(64, 0.1), (100, 0.1)]
    assert (plain.length.epochs, plain.length.until) == (10, None)
    rates = [trial.learning_rate for trial in by_rule]
    assert rates == pytest.approx([0.1 * 0.5**0.5, 0.1, 0.2])
    assert [trial.horizon_steps for trial in spans] == [15, 6] * 2
    asked: list[tuple[dict[str, int], float]] = [({}, 3.0), ({"epochs": 1}, 1.0), ({"steps": 5}, 1)]
    for given, epochs in asked:
        subject = about("sweep", tiny(epochs=3), batch_sizes=(20,), **given)
        (trial,) = subject.trials
        assert trial.plan.epoch_at(subject.length.last_step(trial)) == epochs
    advised = about("advise", shaped, epochs=4).trial(50, 0.1, seed=0)
    assert advised.horizon_steps == 8


PLANS = {"batch_sizes": (10, 40), "epochs": 4, "plans": ("small", "large", "grow", "decay")}


def test_plans_have_their_own_sizes_rates_and_lengths():
    trials = about("sweep", tiny(), **(PLANS | {"plans": ("grow", "decay")})).trials
    shaped = about("sweep", tiny(schedule=lambda done: 1 - 0.5 * done), **PLANS).trials
    without = about("sweep", tiny(), **(PLANS | {"plans": None})).trials
    every = about("sweep", tiny(), **PLANS).trials

    assert set(without) == set(every[:2])  # a sweep of batch sizes gives plans its trials
    assert {
        trial.largest_batch_size: [(s.batch_size, s.rate_factor) for s in trial.stages]
        for trial in trials
    } == {
        10: [(10, 1 / 4), (10, 1 / 16), (10, 1 / 64)],
        40: [(40, 1.0), (40, 1 / 4), (40, 1 / 16)],
    }
    assert [trial.horizon_steps for trial in shaped] == [40, 12, 23, 40]
    # 16 times 20, its own, is more than there are.
    own = about("sweep", tiny(), plans=("small", "large", "decay"))
    assert own.batch_sizes == (20, 100)


# ---- its budget


def test_without_a_ceiling_nothing_is_limited():
    budget = Budget(math.inf, reserved_s=10.0)

    budget.refuse_if_out_of_time("waiting")
    assert budget.time_limit_s(7.0) == 7.0
    assert budget.work_s == math.inf


def test_work_ends_before_what_the_caller_and_the_reading_back_need():
    budget = Budget(60.0, reserved_s=10.0)

    assert 49.0 < budget.time_limit_s() <= 50.0 - RECORDING_S
    assert budget.time_limit_s(1.0) == 1.0
    over = Budget(0.1)  # less than what is kept for reading back
    assert over.time_limit_s() == 0.0
    with pytest.raises(BudgetError, match=r"0\.1 s: it ended while checking, .* larger --budget"):
        over.refuse_if_out_of_time("checking")
