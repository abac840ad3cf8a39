"""What is asked about a command: checked, and refused where it cannot reach into a script."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.command_engine import command_summary
from tests.reference.training_script import training_script

from batchlab.app.advice_request import (
    AdviceCall,
    check_command_call,
    command_advice_request,
    command_sweep_trials,
    nearest_sizes,
)
from batchlab.errors import UsageError
from batchlab.plans.sweep_request import SweepRequest, checked_request
from batchlab.script.command import TrainingCommand


def call(**given: Any) -> AdviceCall:
    usual: dict[str, Any] = {
        **dict.fromkeys(AdviceCall.__dataclass_fields__),
        "objective": "time",
        "sampling": "reshuffle",
        "drop_last": False,
        "device": "cpu",
        "budget": "2m",
        "reserved_s": 0.0,
        "store": "lab.db",
    }
    return AdviceCall(**{**usual, **given})


def request(**given: Any) -> SweepRequest:
    usual: dict[str, Any] = {
        "batch_sizes": (16, 64),
        "learning_rates": None,
        "seeds": 1,
        "epochs": 3,
        "steps": None,
        "scaling_rule": "none",
        "sampling": "reshuffle",
        "drop_last": False,
        "micro_batch_size": None,
        "device": "cpu",
    }
    return checked_request(**{**usual, **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"settings": {"width": 3}}, "--set with a command of your own"),
        ({"drop_last": True}, "--drop-last with a command"),
        ({"sampling": "replacement"}, "--sampling with a command"),
        ({"device": "cuda"}, "--device with a command"),
        ({"target": ("accuracy", 0.9)}, "the metric of this command is val_loss"),
        ({"target": ("val_loss", math.nan)}, "finite number"),
        ({"objective": "quality"}, "give --epochs"),
        ({"objective": "quality", "target": ("val_loss", 0.1)}, "leave --target out"),
        ({"train_s": 5.0}, "for objective quality"),
    ],
)
def test_what_cannot_be_asked_of_a_script_is_refused(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as refused:
        check_command_call(training_script(tmp_path), call(**given))

    assert said in str(refused.value)


def test_batch_sizes_are_not_compared_at_one_rate(tmp_path: Path) -> None:
    command = TrainingCommand(
        arguments=("python", "x.py", "{batch_size}"), metric="val_loss", folder=tmp_path
    )

    with pytest.raises(UsageError, match=r"has no \{learning_rate\}"):
        check_command_call(command, call())
    with pytest.raises(UsageError, match="none of them would act"):
        command_sweep_trials(command, command_summary(command), request(learning_rates=(0.1,)))


def test_a_length_that_is_taken_has_to_be_given(tmp_path: Path) -> None:
    command = training_script(tmp_path, "--epochs", "{epochs}")

    with pytest.raises(UsageError, match="give --epochs"):
        check_command_call(command, call())

    asked = command_advice_request(
        command, command_summary(command), call(epochs=4), elsewhere=None
    )
    assert asked.has_schedule
    assert asked.trial.horizon_steps == 4 * 125


def test_the_candidates_are_as_many_as_the_budget_can_time(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    slow = replace(command_summary(command), start_s=20.0)

    few = command_advice_request(command, slow, call(budget="5m"), elsewhere=None)
    many = command_advice_request(command, slow, call(budget="2h"), elsewhere=None)

    assert len(few.batch_sizes) == 4
    assert 16 in few.batch_sizes
    assert set(few.batch_sizes) < set(many.batch_sizes)


@pytest.mark.parametrize("most", range(1, 12))
def test_fewer_sizes_keep_ones_own_and_reach_to_larger_ones(most: int) -> None:
    possible = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)

    found = nearest_sizes(possible, 32, most=most)

    assert len(found) == min(most, len(possible))
    assert 32 in found
    assert set(found) <= set(possible)
    assert most < 2 or max(found) > 32


def test_a_sweep_has_every_seed_rate_and_size_once(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    summary = command_summary(command)

    trials = command_sweep_trials(
        command, summary, request(batch_sizes=(16, "full"), learning_rates=(0.1, 0.2), seeds=2)
    )

    found = [(t.seed, t.learning_rate, t.batch_size) for t in trials]
    assert len(set(found)) == len(found) == 8
    assert found[0] == (0, 0.1, 16)
    assert found[-1] == (1, 0.2, 2000)
    assert {trial.horizon_steps for trial in trials} == {None}
