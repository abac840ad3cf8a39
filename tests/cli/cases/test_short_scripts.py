"""Scripts that are over before their steps can be timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
FLAGS = ("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")
OWN = ("--", sys.executable, str(SCRIPTS / "evaluates_at_end.py"), *FLAGS)
NOW = ("--examples", "2000", "--batch-size", "64", "--learning-rate", "0.02")


@pytest.mark.slow
def test_too_short_to_be_timed_is_no_reason_to_leave_out_ones_own_batch_size(ask: Any) -> None:
    advise = ("advise", "--metric", "combined loss", "--batch-size", "64")
    takes = ("--trainer.batch_size", "{batch_size}", "--trainer.learning_rate", "{learning_rate}")
    takes += ("--random_seed", "{seed}")

    sizes = ("--batch-sizes", "64,256")
    done = ask("over_at_once.py", *advise, *sizes, "--budget", "18s", "--json", takes=takes)

    assert done.code == 0, done.err
    advice = json.loads(done.out)
    assert advice["reference"]["batch_size"] == 64
    assert advice["objective"] == "samples"
    assert all(candidate["fits"] for candidate in advice["candidates"]), done.err
    assert any("and not by time" in caveat for caveat in advice["caveats"])


def test_a_metric_that_is_printed_once_gives_no_time_to_a_target(do: Any) -> None:
    done = do("advise", "--metric", "eval_loss", *NOW, "--budget", "18s", *OWN)

    assert done.code == 2
    assert "printed once, at the end of a training" in done.err
    assert "Use batchlab sweep" in done.err


def test_a_profile_in_which_nothing_could_be_timed_says_so(do: Any) -> None:
    done = do(
        "profile", "--metric", "eval_loss", *NOW, "--batch-sizes", "64", "--budget", "9s", *OWN
    )

    assert done.code == 1
    assert "could be timed: it ended by itself after" in done.err


@pytest.mark.slow
def test_without_an_evaluation_after_equal_epochs_the_best_is_named(do: Any) -> None:
    sweep = ("sweep", "--metric", "eval_loss", *NOW, "--batch-sizes", "16,64,256")

    done = do(*sweep, "--budget", "30s", *OWN)

    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    ends = {row[0]: row[2] for row in rows if row[:1] in (["16"], ["64"], ["256"])}
    best = min(ends, key=lambda size: float(ends[size]))
    assert best != "16"  # the first one
    (headline, *_) = done.out.split("\n\n")
    assert headline.startswith("Eval_loss ended best with ")
    assert f" at batch size {best}," in " ".join(headline.split())


@pytest.mark.slow
def test_what_check_and_timing_ran_to_its_end_is_not_trained_again(ask: Any) -> None:
    sweep = ("sweep", "--metric", "accuracy", "--learning-rate", "0.02", "--learning-rates", "0.02")
    takes = ("--batch_size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")
    own = (*takes, "--output_dir", "{output_dir}")

    done = ask("trial_of_tuner.py", *sweep, "--batch-sizes", "32,64", "--json", takes=own)

    trials = json.loads(done.out)["trials"]
    assert [trial["status"] for trial in trials] == ["ok", "ok"]
    ended_in = Path("ended.txt").read_text()
    assert "batchlab-" in ended_in  # of check and timing
    assert ".trials" not in ended_in
