"""What is asked, and what it means for a workload and for a command."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.app.conftest import about
from tests.reference.command_engine import command_summary
from tests.reference.tiny_workload import tiny
from tests.reference.training_script import training_script

import batchlab
from batchlab.app import advise as advising
from batchlab.app.question import Request, asked
from batchlab.app.subject import candidate_batch_sizes
from batchlab.app.subjects import CommandSubject, doubled_batch_sizes, nearest_sizes
from batchlab.records.trial import Target
from batchlab.script.command import TrainingCommand


def known(name: str, command: TrainingCommand, **given: Any) -> CommandSubject:
    """A command as a check of it would have found it."""
    subject = about(name, command, **given)
    assert isinstance(subject, CommandSubject)
    subject.summary = command_summary(command)
    return subject


@pytest.mark.parametrize("name", ["advise", "sweep", "profile", "check"])
def test_every_argument_is_a_field_of_the_question_with_the_same_default(name: str) -> None:
    arguments = dict(inspect.signature(getattr(batchlab, name)).parameters)
    held = {field.name: field for field in fields(Request)}

    assert arguments.pop("reserved_s")  # it becomes a part of the budget
    assert arguments.keys() <= held.keys()
    for argument in arguments.keys() - {"workload", "budget", "listener"}:
        usual = arguments[argument].default
        assert usual in (None, (), "batchlab.db") or usual == held[argument].default


def test_without_anything_given_it_takes_three_minutes() -> None:
    assert asked("advise", workload=tiny(), budget=None).budget.seconds == 180.0


def test_every_argument_of_advise_is_handed_on_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(advising, "asked", lambda name, **given: seen.append((name, given)))
    monkeypatch.setattr(advising, "advised", lambda question: SimpleNamespace(advice="it"))
    given = {name: f"the {name}" for name in inspect.signature(batchlab.advise).parameters}

    answer: Any = batchlab.advise(**given)  # type: ignore[arg-type]

    assert seen == [("advise", given)]
    assert answer == "it"


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


@pytest.mark.parametrize(
    ("more", "own", "is_usual"),
    [("", (64, 0.01), True), ("    batch_size=20,", (20, 0.01), False)],
)
def test_where_a_file_gives_no_batch_size_what_is_compared_with_is_the_usual_one(
    tmp_path: Path, more: str, own: tuple[int, float], is_usual: bool
) -> None:
    (tmp_path / "mine.py").write_text(OWN_FILE.format(more=more))

    subject = about("advise", f"{tmp_path}/mine.py:workload")

    assert (subject.reference.batch_size, subject.reference.learning_rate) == own
    assert subject.is_usual == is_usual


@pytest.mark.parametrize(
    ("planned", "given", "epochs"),
    [
        (None, {}, None),
        (30, {}, 30),
        (30, {"epochs": 4}, 4),
        (None, {"objective": "quality"}, 10),
        (30, {"objective": "quality"}, 30),
        (30, {"objective": "quality", "train_s": 5.0}, None),
    ],
)
def test_a_training_has_the_epochs_that_are_planned(
    planned: int | None, given: dict[str, Any], epochs: int | None
) -> None:
    assert about("advise", tiny(epochs=planned), **given).epochs == epochs


@pytest.mark.parametrize(
    ("n_train", "reference", "sizes"),
    [
        (50_000, 64, [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768]),
        (300, 48, [8, 16, 32, 48, 64, 128, 256]),
        (100, 20, [4, 8, 16, 20, 32, 64]),
        (20, 5, [1, 2, 4, 5, 8, 16]),
        (1, 1, [1]),
    ],
)
def test_candidates_are_powers_of_two_with_the_habits_and_the_reference(
    n_train: int, reference: int, sizes: list[int]
) -> None:
    assert list(candidate_batch_sizes(n_train, reference=reference)) == sizes


def test_of_a_command_its_own_batch_size_is_doubled_and_halved() -> None:
    assert doubled_batch_sizes(300, own=24) == (12, 24, 48, 96, 192)


def test_without_anything_given_a_sweep_has_a_few_sizes_at_the_workloads_own_rate() -> None:
    subject = about("sweep", tiny())

    cells = [(trial.batch_size, trial.learning_rate) for trial in subject.trials]
    assert cells == [(64, 0.1), (100, 0.1)]
    assert (subject.length.epochs, subject.length.until) == (10, None)


@pytest.mark.parametrize(
    ("given", "epochs"), [({}, 3.0), ({"epochs": 1}, 1.0), ({"steps": 5}, 1.0)]
)
def test_a_sweep_is_as_long_as_the_workloads_own_training_unless_it_is_asked_for_less(
    given: dict[str, int], epochs: float
) -> None:
    subject = about("sweep", tiny(epochs=3), batch_sizes=(20,), **given)

    (trial,) = subject.trials
    assert trial.plan.epoch_at(subject.length.last_step(trial)) == epochs


def test_rates_follow_the_batch_size_from_the_reference_by_the_rule() -> None:
    trials = about("sweep", tiny(), batch_sizes=(10, 20, 80), scaling_rule="sqrt").trials

    rates = [trial.learning_rate for trial in trials]
    assert rates == pytest.approx([0.1 * 0.5**0.5, 0.1, 0.2])


def test_a_schedule_spans_the_length_that_was_asked_for_and_numbers_of_numpy_are_numbers() -> None:
    trials = about(
        "sweep",
        tiny(schedule=lambda fraction: 1 - fraction),
        batch_sizes=np.array([20, 50]),
        learning_rates=np.logspace(-2, -1, 2),
        epochs=np.int64(3),
    ).trials

    assert [trial.horizon_steps for trial in trials] == [15, 6] * 2


@pytest.mark.parametrize(
    ("name", "given", "is_own"),
    [
        ("advise", {}, True),
        ("advise", {"target": ("accuracy", 0.5)}, False),
        ("advise", {"objective": "quality"}, None),
        ("sweep", {}, None),
    ],
)
def test_an_advice_goes_for_the_workloads_own_target_unless_another_is_given(
    name: str, given: dict[str, Any], is_own: bool | None
) -> None:
    own = Target(metric="accuracy", value=0.85, better="higher")

    found = about(name, tiny(target=own), **given).target

    assert (None if found is None else found == own) == is_own


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
    arguments: tuple[str, ...],
    given: dict[str, Any],
    length: tuple[int | None, int | None, bool],
    tmp_path: Path,
) -> None:
    found = known("sweep", training_script(tmp_path, *arguments), **given).length

    assert (found.epochs, found.steps, found.to_own_end) == length
    assert found.all_splits == "never"
    taken = known("advise", training_script(tmp_path, "--epochs", "{epochs}"), epochs=4)
    assert taken.reference.horizon_steps == 4 * 125


def test_the_candidates_are_as_many_as_the_budget_can_time(tmp_path: Path) -> None:
    few = known("advise", training_script(tmp_path), budget="5m")
    many = known("advise", training_script(tmp_path), budget="2h")
    for subject in (few, many):
        subject.summary = replace(subject.summary, start_s=20.0)

    assert len(few.candidates) == 4
    assert 16 in few.candidates
    assert set(few.candidates) < set(many.candidates)


@pytest.mark.parametrize("most", range(1, 12))
def test_fewer_sizes_keep_ones_own_and_reach_to_larger_ones(most: int) -> None:
    possible = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)

    found = nearest_sizes(possible, 32, most=most)

    assert len(found) == min(most, len(possible))
    assert 32 in found
    assert set(found) <= set(possible)
    assert most < 2 or max(found) > 32
