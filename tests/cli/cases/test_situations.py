"""Scripts rebuilt after public threads, and what is said of each (docs/own-command.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest

RATE = ("--learning-rate", "0.02", "--learning-rates", "0.02")
SEED = ("--lr", "{learning_rate}", "--seed", "{seed}")
TAKES = ("--batch-size", "{batch_size}", *SEED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "metric", "sizes", "takes", "said"),
    [
        (
            "accumulates.py",
            "eval_loss",
            "16,64",
            (
                *("--train_micro_batch_size_per_gpu", "{batch_size}"),
                *("--gradient_accumulation_steps", "4", *SEED),
            ),
            "the command fixes --gradient_accumulation_steps 4",
        ),
        (
            "checks_every.py",
            "val_acc",
            "32,256",
            TAKES,
            "ValueError: `val_check_interval` (20) must be less than or equal",
        ),
        (
            "finds_its_batch.py",
            "eval_loss",
            "32,256",
            (
                *("--per_device_train_batch_size", "{batch_size}"),
                *("--learning_rate", "{learning_rate}", "--seed", "{seed}"),
            ),
            "it would have 7 to 8",
        ),
        (
            "over_at_once.py",
            "combined loss",
            "64,256",
            (
                *("--trainer.batch_size", "{batch_size}", "--random_seed", "{seed}"),
                *("--trainer.learning_rate", "{learning_rate}"),
            ),
            "its progress came all at once: too soon for a step time",
        ),
    ],
)
def test_a_situation_is_answered_or_told(
    ask: Any,
    script: str,
    metric: str,
    sizes: str,
    takes: tuple[str, ...],
    said: str,
) -> None:
    own = ("--batch-size", sizes.partition(",")[0], "--batch-sizes", sizes)

    done = ask(script, "sweep", "--metric", metric, *own, *RATE, takes=takes)

    assert said in " ".join((done.out + done.err).split())


@pytest.mark.nightly
def test_a_target_met_within_the_first_epoch_has_its_whole_interval(ask: Any) -> None:
    asked = "--metric val/acc --examples 6000 --target val/acc=72 --batch-sizes 64,128"

    done = ask("once_an_epoch.py", "advise", *asked.split(), "--budget", "20s", "--json")

    document = json.loads(done.out)
    assert document["verdict"] == "cannot_tell"  # by middles 128 was twice as fast
    assert [trial for trial in document["trials"] if trial["after_steps"] == 0]
    for candidate in document["candidates"]:
        steps = candidate["steps_to_target"]
        if steps["low"] is not None:  # of a single run nothing is known of how far it is off
            assert steps["high"] > 5 * steps["low"]
    assert "marks_too_wide" in {caveat["code"] for caveat in document["caveats_coded"]}


@pytest.mark.nightly
def test_house_prices_at_a_rate_far_too_small_are_said_to_be_hardly_learned(ask: Any) -> None:
    asked = "--metric val_mse --examples 600 --batch-size 10 --learning-rate 0.005 --budget 20s"

    done = ask("prices.py", "advise", *asked.split(), "--batch-sizes", "10,64")

    assert done.out.startswith("Your configuration hardly learns: after ")
    assert "learning rate 0.005 0.02" not in done.out  # a level of no worth, four times as fast
