"""A command as an engine: what its script tells becomes records, whatever ends it."""

import math
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.command_engine import asked, command_engine, curve
from tests.reference.living import living
from tests.reference.made_up_study import STUDY
from tests.reference.saving_script import saving_script, starts
from tests.reference.told import Told
from tests.reference.training_script import training_script, with_own_rate

from batchlab.errors import StoreError, TrialError
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Evaluation, Status, TrialRecord
from batchlab.runs.contract import run_all
from batchlab.runs.replay import Journal, ReplayingEngine
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text


@pytest.fixture(autouse=True)
def no_other_kill_is_waited_for(monkeypatch):
    monkeypatch.setattr("batchlab.runs.commands.OWN_END_S", 0.0)


def test_the_evaluations_are_what_the_script_printed_and_are_stored_once(tmp_path, monkeypatch):
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


def test_a_script_is_told_the_horizon_however_short_the_run_is(tmp_path):
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
        *(16, 900, "script_trained_to_its_end", 100),
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
def test_a_script_that_ends_by_itself_is_whole_and_says_at_which_step(case, tmp_path):
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


BLOWS_UP = "for s in range(1, 30): print('step', s, 'val_loss', 'nan' if s > 20 else 1 / s)"
CRASHES = (
    "for s in range(21): print('step', s, 'val_loss 1')\nraise SystemExit('the disk is on fire')"
)


@pytest.mark.parametrize(
    ("fails", "status", "steps", "said"),
    [
        (BLOWS_UP, Status.NAN, [21], "step 21"),
        (CRASHES, Status.ERROR, [20], "the disk is on fire"),
        ("print('step 3 train_loss 1.0')", Status.ERROR, [], "never reported val_loss"),
    ],
)
def test_a_failed_training_keeps_its_reason_and_its_curve(fails, status, steps, said, tmp_path):
    told = Told()
    command = training_script(tmp_path, source=fails)
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
    ("closing", "n_told"),
    [
        ("Restored best checkpoint (epoch 2): val_loss=0.4", 1),
        ("Best epoch: 2, val_loss: 0.4", 0),  # no counter of its own: the last epoch has its value
    ],
)
def test_a_closing_line_about_the_best_epoch_changes_nothing(tmp_path, closing, n_told):
    told = Told()
    command = training_script(
        tmp_path, source="\n".join(f"print({x!r})" for x in (*EPOCHS, closing))
    )
    engine = command_engine(command, tmp_path, listener=told)

    records = [asked(engine, steps=4000, seed=seed) for seed in range(2)]

    assert [record.status for record in records] == [Status.OK] * 2
    assert curve(records[0]) == [(125, 0.9), (250, 0.4), (375, 0.7)]
    assert sum("val_loss" in warning for warning in told.warnings) == n_told


# What `batchlab.log` writes, without its import.
LOGS = """
import json, os, time
log = open(os.environ["BATCHLAB_LOG_PATH"], "a")
for step in range(1, 5):
    line = {"batchlab_log": 1, "at_s": time.monotonic(), "step": step}
    told = {"values": {"val_loss": 1 / step}} if step < 3 else {"not_understood": ["val_loss=None"]}
    print(json.dumps({**line, "values": {}, **told}), file=log, flush=True)
"""


def test_what_its_user_can_change_is_told_once(tmp_path):
    said, told = "that is not a number: val_loss=None; give numbers", Told()
    engine = command_engine(training_script(tmp_path, source=LOGS), tmp_path, listener=told)

    record, _ = asked(engine), asked(engine, seed=1)

    assert record.steps == 2
    assert "log_not_understood" in {note.code for note in record.notes}
    assert [said in warning for warning in told.warnings].count(True) == 1


# A study of failures


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("for s in (10, 20, 5, 15): print('step', s, 'val_loss 0.5')", "goes backward: 5 after"),
        ("print('step 2 val_loss 0.5'); raise SystemExit('no disk')", "no disk"),
        (
            "import os; raise SystemExit(f'no /data/{os.getpid()}.csv, line {os.getpid()}')",
            "no /data",
        ),
        ("import sys; raise SystemExit('no ' + 'abc'[int(sys.argv[-1])])", None),
    ],
)
def test_the_third_failure_of_one_kind_stops_the_study(source, said, tmp_path):
    engine = command_engine(training_script(tmp_path, source=source), tmp_path)
    for seed in range(2):
        assert asked(engine, steps=4000, seed=seed).status is Status.ERROR

    text = f"3 runs failed in the same way.*{said}"
    with pytest.raises(TrialError, match=text) if said else nullcontext():
        assert asked(engine, steps=4000, seed=2).status is Status.ERROR


@pytest.mark.parametrize(("horizon", "stops"), [(0.5, False), (1.0, True)])
def test_a_script_that_fails_with_fewer_epochs_does_not_stop_a_study(horizon, stops, tmp_path):
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


def test_the_budget_ends_a_training_that_would_go_on(tmp_path):
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
def test_the_budget_ends_a_training_that_tells_more_than_can_be_read(tmp_path):
    endless = "step = 0\nwhile True:\n    step += 1\n    print('step', step, 'val_loss 1.0')"
    engine = command_engine(training_script(tmp_path, source=endless), tmp_path, budget_s=1.0)
    began_s = time.monotonic()

    record = asked(engine, steps=10**8)

    assert record.status is Status.TIMEOUT
    assert record.evaluations
    assert time.monotonic() - began_s < 8.0  # a piece of output is read to its end


# Asked for more it goes on from {resume_from}; without it, it begins again


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    engine = command_engine(saving_script(folder, "--pause", "0"), folder)
    return curve(asked(engine, 400))


def stored_at(folder: Path) -> TrialRecord:
    engine = command_engine(saving_script(folder), folder)
    return engine._store.record(engine.trial(batch_size=16, learning_rate=0.1, seed=0).trial_id)


def short(command: TrainingCommand, folder: Path) -> None:
    assert asked(command_engine(command, folder), 60).status is Status.OK


def then_broken(command: TrainingCommand, folder: Path) -> None:
    short(command, folder)
    (folder / "broken").touch()


def out_of_time(command: TrainingCommand, folder: Path) -> None:
    cut = asked(command_engine(command, folder, budget_s=2.0), 400)
    assert cut.status is Status.TIMEOUT
    assert 0 < cut.steps < 400


class Impatient(Told):
    """Presses Ctrl-C once, when so much of a run is done."""

    def progress(self, *, done_fraction: float, **said: Any) -> None:
        if done_fraction > 0.1 and not self.fractions:
            self.fractions.append(done_fraction)
            raise KeyboardInterrupt


def interrupted(command: TrainingCommand, folder: Path) -> None:
    engine = command_engine(command, folder, listener=Impatient())
    with pytest.raises(KeyboardInterrupt):
        asked(engine, 400)
    assert living(engine.marker) == ()
    stored = stored_at(folder)
    assert stored.status is None
    assert len(stored.evaluations) >= 10


def killed(command: TrainingCommand, folder: Path) -> None:
    """It goes on while nobody is there to end it or to store all of it."""
    put_evaluations = Store.put_evaluations

    def dies(store: Store, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        put_evaluations(store, trial_id, [each for each in evaluations if each.step <= 20])
        if evaluations[-1].step >= 100:
            raise RuntimeError("killed before it stored more")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "put_evaluations", dies)
        with pytest.raises(RuntimeError, match="killed before"):
            asked(command_engine(command, folder), 400)
    record = asked(command_engine(command, folder), 60)
    assert (record.steps, record.resumed_from_steps) == (60, ())  # all was told by the first run


NO_RESUME = ("--pause", "0.006")
DISTURBED = {  # options of the script, how its first run ends, and how it begins then
    "it has saved nothing": (("--last-save", "0"), short, ["anew"]),
    "the checkpoint is broken": ((), then_broken, ["from", "anew"]),
    "out of time": (("--pause", "0.008"), out_of_time, ["from"]),
    "Ctrl-C, and it cannot resume": (NO_RESUME, interrupted, ["anew"]),
    "killed": ((), killed, ["from"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DISTURBED)
def test_whatever_ends_a_run_the_next_has_the_undisturbed_curve(case, tmp_path, undisturbed):
    options, first, begins = DISTURBED[case]
    command, told = saving_script(tmp_path, *options, resumes=options != NO_RESUME), Told()
    first(command, tmp_path)
    stored = stored_at(tmp_path)

    whole = asked(command_engine(command, tmp_path, listener=told), 400)

    assert curve(stored) == undisturbed[: len(stored.evaluations)]
    assert curve(whole) == undisturbed
    ways = [line.rpartition(" ")[2] for line in starts(tmp_path)]
    assert ways[: 1 + len(begins)] == ["anew", *begins]
    times_s = [each.train_s for each in whole.evaluations]
    assert times_s == sorted(times_s)
    assert bool(whole.resumed_from_steps) == (begins == ["from"])
    is_told = case == "the checkpoint is broken"
    assert len(told.warnings) == is_told
    for warning in told.warnings:
        assert "did not go on from {resume_from}" in warning
        assert case in warning


@pytest.mark.slow
def test_a_run_that_is_begun_again_and_cut_short_loses_nothing_that_was_stored(tmp_path):
    quick = saving_script(tmp_path, "--pause", "0", resumes=False)
    first = asked(command_engine(quick, tmp_path), 300)
    slow = saving_script(tmp_path, "--pause", "0.05", resumes=False)

    cut = asked(command_engine(slow, tmp_path, budget_s=1.5), 4000)

    assert cut.status is Status.TIMEOUT
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]
    assert curve(cut) == curve(first)


@pytest.mark.slow
def test_what_was_answered_is_replayed_whole_while_its_trial_is_begun_again(tmp_path):
    def replaying(listener: Told) -> ReplayingEngine:
        command = saving_script(tmp_path, resumes=False)
        engine = command_engine(command, tmp_path, listener=listener)
        journal = Journal(engine._store, replace(STUDY, workload_id="a-command"))
        journal.put_study(None)
        return ReplayingEngine(engine, journal)

    first = replaying(Told())
    short = asked(first, 200)
    first_again = replaying(Impatient())
    asked(first_again, 200)
    with pytest.raises(KeyboardInterrupt):  # at a tenth of its way, before it is as far
        asked(first_again, 1000)

    last = replaying(Told())
    replayed = asked(last, 200)

    assert curve(replayed) == curve(short)
    assert (replayed.status, replayed.steps) == (Status.OK, 200)
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]


# A full disk


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_script_that_fills_the_disk_leaves_its_trial_open(small_disk, undisturbed):
    command = saving_script(small_disk, "--fill", "60")
    engine = command_engine(command, small_disk)

    for _ in range(2):  # the second begins on a full disk
        with pytest.raises(
            StoreError, match=r"(the disk is full|No space left on device); free some space"
        ) as caught:
            asked(engine, 400)
        assert "\n" not in str(caught.value)
    stored = stored_at(small_disk)
    (small_disk / "ballast").unlink()
    whole = asked(command_engine(saving_script(small_disk), small_disk), 400)

    assert living(engine.marker) == ()
    assert stored.status is None
    assert curve(stored) == undisturbed[: len(stored.evaluations)]
    assert curve(whole) == undisturbed
