"""A command as an engine: what its script tells becomes records; its end has a reason."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

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
from batchlab.script.look import Look
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text


@pytest.fixture(autouse=True)
def no_other_kill_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlab.runs.commands.OWN_END_S", 0.0)


def test_the_evaluations_are_what_the_script_printed_and_are_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, stored = command_engine(training_script(tmp_path), tmp_path), []
    put = Store.put_evaluations

    def spied(store: Store, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        stored.extend(each.step for each in evaluations)
        put(store, trial_id, evaluations)

    monkeypatch.setattr(Store, "put_evaluations", spied)

    record = asked(engine, steps=60)

    assert (record.status, record.engine) == (Status.OK, "command")
    assert [step for step, _ in curve(record)] == stored == [*range(2, 61, 2)]
    # S = 30 (1 + 64/16) steps at the best rate; the seed's shift is the same in all.
    ratios = [math.log(v - 0.1) for _, v in curve(record) if v is not None]
    assert ratios[0] - ratios[-1] == pytest.approx((60 - 2) / 150, abs=1e-6)
    assert record.samples == 60 * 16


# Counts its runs, and tells its metric once, after the last step.
AT_END = """
open("runs", "a").write("x")
for step in range(1, 127): print("step", step, "loss", 2 / step)
print("val_loss 0.5")
"""


@pytest.mark.parametrize(
    ("more", "takes_seed", "seeds", "runs"),
    [
        ((), True, 1, 1),
        (("{epochs}",), True, 1, 2),  # told another length, it may train otherwise
        ((), False, 2, 2),  # without a seed a look is one training only
    ],
)
def test_a_look_that_was_the_whole_training_is_not_run_again(
    more: tuple[str, ...], takes_seed: bool, seeds: int, runs: int, tmp_path: Path
) -> None:
    command = training_script(tmp_path, *more, source=AT_END, seed=takes_seed)
    trial = command_trial(command_summary(command), batch_size=16, learning_rate=0.1)
    look = Look(command, trial)
    marker = f"look-{tmp_path}/0"
    look.run(Look.has_trained, folder=tmp_path / "look", marker=marker, limit_s=30.0)
    engine = command_engine(command, tmp_path, look=look)

    records = [asked(engine, steps=126, seed=seed) for seed in range(seeds)]

    assert [(each.status, curve(each)) for each in records] == [(Status.OK, [(126, 0.5)])] * seeds
    assert (tmp_path / "runs").read_text() == "x" * runs


def test_a_script_is_told_the_horizon_however_short_the_run_is(tmp_path: Path) -> None:
    told = "import sys; print('step 1 val_loss', sys.argv[-1]); print('step 9 val_loss 1')"
    command = training_script(tmp_path, "--epochs", "{epochs}", source=told, epochs=7)

    record = asked(command_engine(command, tmp_path, horizon_epochs=7), steps=9)

    assert curve(record)[0] == (1, 7.0)


LEAVES_OUT_A_BATCH = "for step in range(1, 16):\n    print('step', step, 'val_loss', 1 / step)"
TELLS_NO_MORE = "for step in range(1, 101):\n    print('step', step, 'val_loss 1' * (step == 60))"
TO_ITS_LENGTH = ("--epochs", "{epochs}")


ENDS = {  # its options and fields, batch size and steps asked for, and the note
    "its own length": (("--epochs", "2"), {}, 16, 4000, "script_ended_itself", 250),
    "patience": (
        *((*TO_ITS_LENGTH, "--fail", "patience"), {"epochs": 8}),
        *(16, 900, "script_stopped_early", 100),
    ),
    "tells no more": (
        *(TO_ITS_LENGTH, {"epochs": 8, "source": TELLS_NO_MORE}),
        *(16, 100, "metric_reported_before_end", 60),
    ),
    # 2000 examples: 3 whole batches of 600 and one of 200 an epoch, which is left out.
    "leaves out a batch": (
        *(TO_ITS_LENGTH, {"epochs": 5, "source": LEAVES_OUT_A_BATCH}),
        *(600, 20, "metric_reported_before_end", 15),
    ),
    "leaves out a batch of its own length": (
        *((), {"source": LEAVES_OUT_A_BATCH}),
        *(600, 20, "script_trained_to_its_end", 15),
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_script_that_ends_by_itself_is_whole_and_says_at_which_step(
    case: str, tmp_path: Path
) -> None:
    more, fields, batch_size, asked_steps, code, step = ENDS[case]
    values = {} if code == "script_trained_to_its_end" else {"asked": asked_steps}
    note, told = Reason.of(code, step=step, **values), Told()
    command = training_script(tmp_path, *more, **fields)
    engine = command_engine(command, tmp_path, horizon_epochs=fields.get("epochs"), listener=told)

    record = asked(engine, batch_size=batch_size, steps=asked_steps)
    warnings = list(told.warnings)
    longer = asked(engine, batch_size=batch_size, steps=asked_steps + 100)
    asked(engine, batch_size=64, steps=asked_steps)

    assert (record.status, record.steps, record.notes) == (Status.OK, step, (note,))
    assert record.has_ended_itself == (code != "metric_reported_before_end")
    assert longer.has_ended_itself
    assert curve(longer) == curve(record)
    # All its trainings end so: that is said once.
    is_warned = code == "script_ended_itself"
    assert [text.endswith(reason_text(note)) for text in warnings] == [True] * is_warned
    assert not is_warned or told.warnings == warnings


CRASHES = (
    "for s in range(21): print('step', s, 'val_loss 1')\nraise SystemExit('the disk is on fire')"
)


@pytest.mark.parametrize(
    ("fails", "status", "steps", "said"),
    [
        ("", Status.NAN, [21], "step 21"),
        (CRASHES, Status.ERROR, [20], "the disk is on fire"),
        ("print('step 3 train_loss 1.0')", Status.ERROR, [], "never reported val_loss"),
    ],
)
def test_a_training_that_fails_keeps_its_reason_and_what_was_seen_before(
    fails: str, status: Status, steps: list[int], said: str, tmp_path: Path
) -> None:
    told = Told()
    command = training_script(tmp_path, "--fail", "nan", **({"source": fails} if fails else {}))
    has_own_rate = fails == CRASHES
    if has_own_rate:
        command = with_own_rate(command)
    engine = command_engine(command, tmp_path, listener=told)

    record = asked(engine, steps=400)

    assert engine.learning_rates(16) == ((1.0,) if has_own_rate else None)
    assert record.status is status
    assert [each.step for each in record.evaluations][-1:] == steps
    assert said in reason_text(record.reason)
    (warning,) = told.warnings
    assert said in warning
    assert ("learning rate 0.1" in warning) != has_own_rate


EPOCHS = [f"epoch {epoch} val_loss {value}" for epoch, value in ((1, 0.9), (2, 0.4), (3, 0.7))]


@pytest.mark.parametrize(
    "closing", ["Restored best checkpoint (epoch 2): val_loss=0.4", "Best epoch: 2, val_loss: 0.4"]
)
def test_a_closing_line_about_the_best_epoch_changes_nothing_and_is_told_once(
    tmp_path: Path, closing: str
) -> None:
    told = Told()
    command = training_script(
        tmp_path, source="\n".join(f"print({x!r})" for x in (*EPOCHS, closing))
    )
    engine = command_engine(command, tmp_path, listener=told)

    records = [asked(engine, steps=4000, seed=seed) for seed in range(2)]

    assert [record.status for record in records] == [Status.OK] * 2
    assert curve(records[0]) == [(125, 0.9), (250, 0.4), (375, 0.7)]
    assert sum("val_loss" in warning for warning in told.warnings) == 1


# What `batchlab.log` writes, without its import.
LOGS = """
import json, os, time
log = open(os.environ["BATCHLAB_LOG_PATH"], "a")
for step in range(1, 5):
    line = {"batchlab_log": 1, "at_s": time.monotonic(), "step": step}
    told = {"values": {"val_loss": 1 / step}} if step < 3 else {"not_understood": ["val_loss=None"]}
    print(json.dumps({**line, "values": {}, **told}), file=log, flush=True)
"""
LEAVES_ITS_TRAINING = (
    "import subprocess, sys\nprint('step 2 val_loss 0.5', flush=True)\n"
    "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])"
)


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        (LOGS, "log_not_understood", "that is no number: val_loss=None; give numbers"),
        pytest.param(
            LEAVES_ITS_TRAINING,
            *("processes_left_behind", "let the command wait for it"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_its_user_can_change_is_told_once(
    source: str, code: str, said: str, tmp_path: Path
) -> None:
    told = Told()
    engine = command_engine(training_script(tmp_path, source=source), tmp_path, listener=told)

    record, _ = asked(engine), asked(engine, seed=1)

    assert record.steps == 2
    assert code in {note.code for note in record.notes}
    assert [said in warning for warning in told.warnings].count(True) == 1


# A study of failures


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("for s in (10, 20, 5, 15): print('step', s, 'val_loss 0.5')", "goes backward: 5 after"),
        (
            "import os; raise SystemExit(f'no /data/{os.getpid()}.csv, line {os.getpid()}')",
            "no /data",
        ),
        ("import sys; raise SystemExit('no ' + 'abc'[int(sys.argv[-1])])", None),
    ],
)
def test_the_third_failure_of_one_kind_stops_the_study(
    source: str, said: str | None, tmp_path: Path
) -> None:
    engine = command_engine(training_script(tmp_path, source=source), tmp_path)
    for seed in range(2):
        assert asked(engine, steps=4000, seed=seed).status is Status.ERROR

    text = f"3 runs failed in the same way.*{said}"
    with pytest.raises(TrialError, match=text) if said else nullcontext():
        assert asked(engine, steps=4000, seed=2).status is Status.ERROR


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


# The end of the budget


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
