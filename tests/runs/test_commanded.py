"""A command as an engine: what its script tells becomes records; its end has a reason."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.reference.command_engine import (
    asked,
    command_engine,
    command_summary,
    command_trial,
    curve,
)
from tests.reference.living import living
from tests.reference.told import Told
from tests.reference.training_script import training_script, with_own_rate

from batchlab.errors import TrialError
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Evaluation, Status
from batchlab.runs.contract import run_all
from batchlab.script.command import TrainingCommand
from batchlab.script.look import Look
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text


def test_the_evaluations_are_what_the_script_printed_up_to_the_length(tmp_path: Path) -> None:
    engine = command_engine(training_script(tmp_path), tmp_path)

    record = asked(engine, steps=60)

    assert (record.status, record.engine) == (Status.OK, "command")
    steps = [step for step, _ in curve(record)]
    assert steps == [*range(2, 61, 2)]
    # S = 30 (1 + 64/16) steps at the best rate; the seed's shift is the same in all.
    ratios = [math.log(v - 0.1) for _, v in curve(record) if v is not None]
    assert ratios[0] - ratios[-1] == pytest.approx((60 - 2) / 150, abs=1e-6)
    assert record.samples == 60 * 16


def test_it_ends_where_the_target_has_held(tmp_path: Path) -> None:
    engine = command_engine(training_script(tmp_path), tmp_path)

    record = asked(engine, steps=4000, until=1.0)

    assert record.status is Status.TARGET_REACHED
    assert record.steps < 200
    crossing = record.crossing(record.target)
    assert crossing.held


def test_what_is_stored_is_not_trained_again(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    engine = command_engine(command, tmp_path)
    first = asked(engine, steps=30)
    longer = asked(engine, steps=60)  # which begins again
    (tmp_path / "train.py").write_text("raise SystemExit('trained again')")

    again = asked(engine, steps=60)
    shorter = asked(engine, steps=30)

    assert (curve(longer)[:15], longer.steps) == (curve(first), 60)
    assert curve(again) == curve(longer)
    assert shorter.status is Status.OK


# Counts its runs, and tells its metric once, after the last step.
AT_END = """
open("runs", "a").write("x")
for step in range(1, 127): print("step", step, "loss", 2 / step)
print("val_loss 0.5")
"""


@pytest.mark.parametrize(("more", "runs"), [((), 1), (("{epochs}",), 2)])
def test_a_look_that_was_the_whole_training_is_not_run_again(
    more: tuple[str, ...], runs: int, tmp_path: Path
) -> None:
    command = training_script(tmp_path, *more, source=AT_END)
    trial = command_trial(command_summary(command), batch_size=16, learning_rate=0.1)
    marker = f"look-{tmp_path}/0"
    look = Look(command, trial)
    look.run(Look.has_trained, folder=tmp_path / "look", marker=marker, limit_s=30.0)

    record = asked(command_engine(command, tmp_path, look=look), steps=126)

    assert (record.status, curve(record)) == (Status.OK, [(126, 0.5)])
    # Told another length, it may train otherwise.
    assert (tmp_path / "runs").read_text() == "x" * runs


def test_of_a_script_that_takes_no_seed_a_look_is_one_training_alone(tmp_path: Path) -> None:
    command = training_script(tmp_path, source=AT_END, seed=False)
    trial = command_trial(command_summary(command), batch_size=16, learning_rate=0.1)
    marker = f"look-{tmp_path}/0"
    look = Look(command, trial)
    look.run(Look.has_trained, folder=tmp_path / "look", marker=marker, limit_s=30.0)
    engine = command_engine(command, tmp_path, look=look)

    for seed in (0, 1):
        asked(engine, steps=126, seed=seed)

    assert (tmp_path / "runs").read_text() == "xx"


def test_a_script_is_told_the_horizon_however_short_the_run_is(tmp_path: Path) -> None:
    told = "import sys; print('step 1 val_loss', sys.argv[-1]); print('step 9 val_loss 1')"
    command = training_script(tmp_path, "--epochs", "{epochs}", source=told, epochs=7)
    engine = command_engine(command, tmp_path, horizon_epochs=7)

    record = asked(engine, steps=9)

    assert curve(record)[0] == (1, 7.0)


def test_a_script_that_ends_before_it_was_asked_to_is_whole_and_says_at_which_step(
    tmp_path: Path,
) -> None:
    told = Told()
    command = training_script(tmp_path, "--epochs", "2")
    engine = command_engine(command, tmp_path, listener=told)

    record = asked(engine, steps=4000)
    again = asked(engine, steps=5000)

    assert record.status is Status.OK
    (note,) = record.notes
    assert note == Reason.of("script_ended_itself", step=250, asked=4000)
    assert [warning.endswith(reason_text(note)) for warning in told.warnings] == [True]
    assert curve(again) == curve(record)

    asked(engine, batch_size=32, steps=4000)
    assert len(told.warnings) == 1  # all its trainings end so


# 2000 examples: 3 whole batches of 600 and one of 200 an epoch, which this script leaves out.
@pytest.mark.parametrize("more", [(), ("--epochs", "{epochs}")])
def test_a_script_that_leaves_out_the_last_batch_of_an_epoch_trains_to_its_end(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    told = Told()
    source = "for step in range(1, 16):\n    print('step', step, 'val_loss', 1 / step)"
    command = training_script(tmp_path, *more, source=source, epochs=5)
    engine = command_engine(command, tmp_path, listener=told)

    record = asked(engine, batch_size=600, steps=4 * 5)

    assert (record.status, record.steps) == (Status.OK, 15)
    assert "script_stopped_early" not in [note.code for note in record.notes]
    assert told.warnings == []


CRASHES = (
    "for s in range(21): print('step', s, 'val_loss 1')\nraise SystemExit('the disk is on fire')"
)
TELLS_NO_MORE = "for step in range(1, 101):\n    print('step', step, 'val_loss 1' * (step == 60))"


@pytest.mark.parametrize(
    ("options", "steps", "note", "has_ended"),
    [
        (
            {"more": ("--fail", "patience")},
            900,
            Reason.of("script_stopped_early", step=100, asked=900),
            True,
        ),
        (
            {"source": TELLS_NO_MORE},
            100,
            Reason.of("metric_reported_before_end", step=60, asked=100),
            False,
        ),
    ],
)
def test_a_script_that_stops_early_has_ended_and_one_that_trains_on_has_not(
    options: dict[str, Any], steps: int, note: Reason, has_ended: bool, tmp_path: Path
) -> None:
    more = ("--epochs", "{epochs}", *options.pop("more", ()))
    command = training_script(tmp_path, *more, epochs=8, **options)
    engine = command_engine(command, tmp_path, horizon_epochs=8)

    record = asked(engine, steps=steps)
    longer = asked(engine, steps=steps + 100)

    assert (record.status, record.notes) == (Status.OK, (note,))
    assert record.has_ended_itself == has_ended
    assert longer.has_ended_itself
    assert curve(longer) == curve(record)


@pytest.mark.parametrize(
    ("options", "status", "steps", "said"),
    [
        ({"more": ("--fail", "nan")}, Status.NAN, [21], "step 21"),
        ({"source": CRASHES}, Status.ERROR, [20], "the disk is on fire"),
        ({"source": "print('step 3 train_loss 1.0')"}, Status.ERROR, [], "never reported val_loss"),
    ],
)
def test_a_training_that_fails_keeps_its_reason_and_what_was_seen_before(
    options: dict[str, Any], status: Status, steps: list[int], said: str, tmp_path: Path
) -> None:
    told = Told()
    command = training_script(tmp_path, *options.pop("more", ()), **options)

    record = asked(command_engine(command, tmp_path, listener=told), steps=400)

    assert record.status is status
    assert [each.step for each in record.evaluations][-1:] == steps
    assert said in reason_text(record.reason)
    assert any(said in warning for warning in told.warnings)


def test_a_failed_training_is_named_without_a_rate_that_its_command_has_itself(
    tmp_path: Path,
) -> None:
    told = Told()
    command = with_own_rate(training_script(tmp_path, source=CRASHES))

    asked(command_engine(command, tmp_path, listener=told), steps=400)

    assert ["rate" in warning for warning in told.warnings] == [False]


def printing(tmp_path: Path, *lines: str) -> TrainingCommand:
    return training_script(tmp_path, source="".join(f"print({line!r})\n" for line in lines))


EPOCHS = [f"epoch {epoch} val_loss {value}" for epoch, value in ((1, 0.9), (2, 0.4), (3, 0.7))]


@pytest.mark.parametrize(
    "closing", ["Restored best checkpoint (epoch 2): val_loss=0.4", "Best epoch: 2, val_loss: 0.4"]
)
def test_a_closing_line_about_the_best_epoch_changes_nothing_and_is_told_once(
    tmp_path: Path, closing: str
) -> None:
    told = Told()
    engine = command_engine(printing(tmp_path, *EPOCHS, closing), tmp_path, listener=told)

    records = [asked(engine, steps=4000, seed=seed) for seed in range(2)]

    assert [record.status for record in records] == [Status.OK] * 2
    assert curve(records[0]) == [(125, 0.9), (250, 0.4), (375, 0.7)]
    assert sum("val_loss" in warning for warning in told.warnings) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("for s in (10, 20, 5, 15): print('step', s, 'val_loss 0.5')", "goes backward: 5 after"),
        ("print('step 2 val_loss 0.5'); raise SystemExit('no disk')", "no disk"),
        (
            "import os; raise SystemExit(f'no /data/{os.getpid()}.csv, line {os.getpid()}')",
            "no /data",
        ),
    ],
)
def test_the_third_failure_of_one_kind_stops_the_study(
    source: str, said: str, tmp_path: Path
) -> None:
    engine = command_engine(training_script(tmp_path, source=source), tmp_path)
    for seed in range(2):
        asked(engine, steps=4000, seed=seed)

    with pytest.raises(TrialError, match=f"3 runs failed in the same way.*{said}"):
        asked(engine, steps=4000, seed=2)


@pytest.mark.parametrize(("horizon", "stops"), [(0.5, False), (1.0, True)])
def test_a_script_that_fails_with_fewer_epochs_does_not_stop_a_study(
    horizon: float, stops: bool, tmp_path: Path
) -> None:
    script = training_script(tmp_path, source="raise SystemExit('warm-up is longer')")
    engine = command_engine(script, tmp_path, horizon_epochs=4)
    trials = [
        engine.trial(batch_size=8, learning_rate=0.1, seed=seed, horizon=horizon)
        for seed in range(3)
    ]
    requests = [RunRequest(trial=each, length=RunLength(epochs=4)) for each in trials]

    with pytest.raises(TrialError) if stops else nullcontext():
        records = run_all(engine, requests)
        assert [record.status for record in records] == [Status.ERROR] * 3


def test_failures_of_different_kinds_do_not_stop_a_study(tmp_path: Path) -> None:
    source = "import sys; raise SystemExit('no ' + 'abc'[int(sys.argv[-1])])"
    engine = command_engine(training_script(tmp_path, source=source), tmp_path)

    records = [asked(engine, steps=4000, seed=seed) for seed in range(3)]

    assert [record.status for record in records] == [Status.ERROR] * 3


@pytest.mark.slow
def test_a_script_that_leaves_its_training_behind_is_told_to_wait_for_it(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys\nprint('step 2 val_loss 0.5', flush=True)\n"
        "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])"
    )
    told = Told()
    engine = command_engine(training_script(tmp_path, source=source), tmp_path, listener=told)

    record, _ = asked(engine), asked(engine, seed=1)

    assert "processes_left_behind" in {note.code for note in record.notes}
    (warning,) = told.warnings
    assert "left 1 process running" in warning
    assert "let the command wait for it" in warning


# What `batchlab.log` writes, without its import.
LOGS = """
import json, os, time
log = open(os.environ["BATCHLAB_LOG_PATH"], "a")
for step in range(1, 5):
    line = {"batchlab_log": 1, "at_s": time.monotonic(), "step": step}
    told = {"values": {"val_loss": 1 / step}} if step < 3 else {"not_understood": ["val_loss=None"]}
    print(json.dumps({**line, "values": {}, **told}), file=log, flush=True)
"""


def test_what_batchlab_log_did_not_understand_is_told_once(tmp_path: Path) -> None:
    told = Told()
    engine = command_engine(training_script(tmp_path, source=LOGS), tmp_path, listener=told)

    record, _ = asked(engine), asked(engine, seed=1)

    assert record.steps == 2
    assert "log_not_understood" in {note.code for note in record.notes}
    (warning,) = [text for text in told.warnings if "batchlab.log" in text]
    assert (
        "batchlab.log was given something that is no number: val_loss=None; give numbers" in warning
    )


def test_without_time_nothing_begins(tmp_path: Path) -> None:
    engine = command_engine(training_script(tmp_path), tmp_path, budget_s=0.0)

    record = asked(engine)

    assert record.status is Status.TIMEOUT
    assert record.evaluations == ()
    assert not (tmp_path / "lab.db.trials").exists()


def test_the_budget_ends_a_training_that_would_go_on(tmp_path: Path) -> None:
    endless = "import time\nfor step in range(10**9):\n    print('step', step, 'val_loss 1.0')"
    command = training_script(tmp_path, source=f"{endless}\n    time.sleep(0.01)")
    told = Told()
    # The budget ends once the script has told something, however busy the machine is.
    engine = command_engine(
        command, tmp_path, budget_s=60.0, listener=told, clock=lambda: 1e3 * bool(told.fractions)
    )

    record = asked(engine, steps=10**6)

    assert record.status is Status.TIMEOUT
    assert record.evaluations
    assert living(engine.marker) == ()


@pytest.mark.slow
def test_the_budget_ends_a_training_that_tells_more_than_can_be_read(tmp_path: Path) -> None:
    endless = "step = 0\nwhile True:\n    step += 1\n    print('step', step, 'val_loss 1.0')"
    engine = command_engine(training_script(tmp_path, source=endless), tmp_path, budget_s=2.0)
    began_s = time.monotonic()

    record = asked(engine, steps=10**8)

    assert record.status is Status.TIMEOUT
    assert record.evaluations
    assert time.monotonic() - began_s < 8.0  # a piece of output is read to its end


def test_an_evaluation_is_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, stored = command_engine(training_script(tmp_path), tmp_path), []
    put = Store.put_evaluations

    def spied(store: Store, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        stored.extend(each.step for each in evaluations)
        put(store, trial_id, evaluations)

    monkeypatch.setattr(Store, "put_evaluations", spied)

    record = asked(engine, steps=400)

    assert stored == [each.step for each in record.evaluations]


def test_a_command_without_a_rate_has_one_alone(tmp_path: Path) -> None:
    command = training_script(
        tmp_path,
        arguments=["python", "train.py", "--batch-size", "{batch_size}"],
        learning_rate=None,
    )
    engine = command_engine(command, tmp_path)

    assert engine.learning_rates(16) == (1.0,)
