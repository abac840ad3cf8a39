"""Scripts rebuilt after public threads, and what is said of each (docs/own-command.md)."""

from __future__ import annotations

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
            "would have 7 to 8 with 256",
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
