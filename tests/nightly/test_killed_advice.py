from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.reference.killed_studies import VICTIMS, is_alive, kill_script
from tests.reference.saving_script import pids, saving_script

from batchlab.errors import StoreError
from batchlab.runs.replay import JournalEntry, stored_journal
from batchlab.script.process import living
from batchlab.store.store import Store

KILLS = 6
WITHIN_S = 600.0


def start(folder: Path) -> subprocess.Popen[str]:
    script = saving_script(folder, "--pause", "0.001")
    command = [
        *(sys.executable, "-m", "batchlab.cli.main", "advise", "--metric", script.metric),
        *("--examples", str(script.examples), "--learning-rate", str(script.learning_rate)),
        *("--batch-size", "16", "--batch-sizes", "16,64", "--target", "val_loss=0.6"),
        *("--budget", "4m", "--store", "lab.db", "--json", "--", *script.arguments),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def decisions_in(store: Path) -> tuple[JournalEntry, ...]:
    try:
        with Store.existing(store) as opened:
            studies = opened.studies()
            return stored_journal(opened, studies[-1][0]) if studies else ()
    except StoreError:  # it is not there yet
        return ()


@pytest.mark.nightly
def test_an_advice_about_a_script_killed_at_random_moments_goes_on_with_its_decisions(
    tmp_path: Path,
) -> None:
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    print(f"seed {seed}, {KILLS} kills")
    before: tuple[JournalEntry, ...] = ()
    for _ in range(KILLS):
        process = start(tmp_path)
        until_s = time.monotonic() + WITHIN_S
        while len(decisions_in(tmp_path / "lab.db")) <= len(before):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until_s, "it decided nothing"
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 1))
        process.kill()
        process.communicate()
        if draw.choice(VICTIMS) != "batchlab":
            kill_script(pids(tmp_path)[-1])

        now = decisions_in(tmp_path / "lab.db")
        assert now[: len(before)] == before, f"seed {seed}: it decided anew"
        before = now

    process = start(tmp_path)
    out, err = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 0, err
    assert json.loads(out)["verdict"] in ("recommend", "better", "indifferent", "cannot_tell")
    after = decisions_in(tmp_path / "lab.db")
    assert after[: len(before)] == before, f"seed {seed}: it decided anew"
    with Store.existing(tmp_path / "lab.db") as store:
        workload_id = store.study().records[0].trial.workload_id
    assert not [pid for pid in pids(tmp_path) if is_alive(pid)]
    assert living(workload_id) == living(f"{tmp_path / 'lab.db'}-{workload_id}") == ()
