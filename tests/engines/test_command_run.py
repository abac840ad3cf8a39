"""A training that is asked for more goes on from {resume_from}; without it, it begins again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reference.command_engine import command_engine
from tests.reference.saving_script import saving_script, starts
from tests.reference.told import Told

from batchlab.engines.commanded import CommandEngine
from batchlab.records.run import RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Status, TrialRecord


def asked(engine: CommandEngine, steps: int) -> TrialRecord:
    trial = engine.trial(batch_size=16, learning_rate=0.5, seed=0)
    engine.submit(RunRequest(trial=trial, length=RunLength(steps=steps)))
    return engine.next_finished().record


def curve(record: TrialRecord) -> list[tuple[int, float | None]]:
    return [(each.step, each.score("validation", "val_loss")) for each in record.evaluations]


@pytest.fixture
def undisturbed(tmp_path: Path) -> list[tuple[int, float | None]]:
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    engine = command_engine(saving_script(folder, "--pause", "0"), folder)
    return curve(asked(engine, 400))


def test_a_resumed_curve_is_the_very_curve_of_an_undisturbed_run(
    tmp_path: Path, undisturbed: list[tuple[int, float | None]]
) -> None:
    engine = command_engine(saving_script(tmp_path), tmp_path)
    short = asked(engine, 60)

    long = asked(engine, 400)

    assert engine.capabilities.resumes
    assert curve(short) == undisturbed[:15]
    assert curve(long) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 from"]
    (from_step,) = long.resumed_from_steps
    assert from_step >= 56
    assert [each.train_s for each in long.evaluations] == sorted(
        each.train_s for each in long.evaluations
    )


def test_without_resume_from_a_longer_run_begins_again_and_the_plan_knows_that(
    tmp_path: Path, undisturbed: list[tuple[int, float | None]]
) -> None:
    engine = command_engine(saving_script(tmp_path, resumes=False), tmp_path)
    asked(engine, 60)

    long = asked(engine, 400)

    assert not engine.capabilities.resumes
    assert curve(long) == undisturbed
    assert long.resumed_from_steps == ()
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]


def test_a_script_that_has_saved_nothing_begins_again(
    tmp_path: Path, undisturbed: list[tuple[int, float | None]]
) -> None:
    engine = command_engine(saving_script(tmp_path, "--save", "no"), tmp_path)
    asked(engine, 60)

    long = asked(engine, 400)

    assert curve(long) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]


def test_one_that_dies_when_it_is_taken_up_begins_again_once_and_that_is_said(
    tmp_path: Path, undisturbed: list[tuple[int, float | None]]
) -> None:
    told = Told()
    engine = command_engine(saving_script(tmp_path), tmp_path, listener=told)
    asked(engine, 60)
    (tmp_path / "broken").touch()

    long = asked(engine, 400)

    assert curve(long) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 from", "16 0 anew"]
    (warning,) = told.warnings
    assert "did not go on from {resume_from}" in warning
    assert "the checkpoint is broken" in warning


def test_a_run_cut_by_the_budget_goes_on_in_the_next_session(
    tmp_path: Path, undisturbed: list[tuple[int, float | None]]
) -> None:
    command = saving_script(tmp_path, "--pause", "0.008")
    cut = asked(command_engine(command, tmp_path, budget_s=2.0), 400)

    whole = asked(command_engine(command, tmp_path), 400)

    assert cut.status is Status.TIMEOUT
    assert 0 < cut.steps < 400
    assert curve(whole) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 from"]


def test_a_run_that_is_begun_again_and_cut_short_loses_nothing_that_was_stored(
    tmp_path: Path,
) -> None:
    quick = saving_script(tmp_path, "--pause", "0", resumes=False)
    first = asked(command_engine(quick, tmp_path), 300)
    slow = saving_script(tmp_path, "--pause", "0.05", resumes=False)

    cut = asked(command_engine(slow, tmp_path, budget_s=1.5), 4000)

    assert cut.status is Status.TIMEOUT
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]
    assert curve(cut) == curve(first)
