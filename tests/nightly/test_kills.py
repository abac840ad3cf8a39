"""Kills at random moments, many of each kind that tests/test_kills.py has a few of."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from tests.reference.killed_studies import (
    VICTIMS,
    WITHIN_S,
    assert_killed_often_ends_the_same,
    assert_killed_studies_end_the_same,
    decisions_in,
    is_alive,
    kill_script,
    marked,
    started,
    wait_until,
)
from tests.reference.saving_script import pids, saving_script

from batchlab.runs.replay import JournalEntry

KILLS = 6


@pytest.mark.nightly
def test_a_sweep_killed_at_sixty_random_moments_ends_with_the_very_same_numbers(
    tmp_path: Path,
) -> None:
    assert_killed_often_ends_the_same(
        tmp_path, seed=20_261_121, epochs=450, kills=60, while_starting=15
    )


@pytest.mark.nightly
@pytest.mark.parametrize("resumes", [True, False], ids=["resumes", "begins again"])
def test_sweeps_of_a_script_killed_at_a_hundred_random_moments_have_the_very_same_records(
    tmp_path: Path, resumes: bool
) -> None:
    seed = random.randrange(10**6)
    assert_killed_studies_end_the_same(tmp_path, seed=seed, kills=100, resumes=resumes)


@pytest.mark.nightly
def test_an_advice_about_a_script_killed_at_random_moments_goes_on_with_its_decisions(
    tmp_path: Path,
) -> None:
    store = tmp_path / "lab.db"
    script = saving_script(tmp_path, "--pause", "0.001")
    advise = [
        *("advise", "--metric", script.metric, "--examples", str(script.examples)),
        *("--learning-rate", str(script.learning_rate), "--batch-size", "16"),
        *("--batch-sizes", "16,64", "--target", "val_loss=0.6", "--budget", "4m"),
        *("--store", "lab.db", "--json", "--", *script.arguments),
    ]
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    print(f"seed {seed}, {KILLS} kills")
    before: tuple[JournalEntry, ...] = ()
    killed = 0
    for _ in range(KILLS):
        process = started(tmp_path, *advise)
        wait_until(
            lambda known=before: len(decisions_in(store)) > len(known), process, or_ends=True
        )
        if process.poll() is not None:  # it had nothing left to decide
            break
        killed += 1
        time.sleep(draw.uniform(0, 1))
        process.kill()
        process.communicate()
        if draw.choice(VICTIMS) != "batchlab":
            kill_script(pids(tmp_path)[-1])

        now = decisions_in(store)
        assert now[: len(before)] == before, f"seed {seed}: it decided anew"
        before = now

    assert killed >= 3
    process = started(tmp_path, *advise)
    out, err = process.communicate(timeout=5 * WITHIN_S)

    assert process.returncode == 0, err
    assert json.loads(out)["verdict"] in ("recommend", "cannot_tell")
    assert decisions_in(store)[: len(before)] == before, f"seed {seed}: it decided anew"
    assert not [pid for pid in pids(tmp_path) if is_alive(pid)]
    assert marked(store) == ()
