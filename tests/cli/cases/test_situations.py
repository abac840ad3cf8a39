"""Scripts rebuilt after public threads, begun as a stranger would (results/own_commands.md)."""

from __future__ import annotations

import json
from typing import Any

import pytest

TAKES = ("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")
SNAKE = ("--batch_size", "{batch_size}", *TAKES[2:])
BS = ("--bs", "{batch_size}", *TAKES[2:])
TRAINER = (
    *("--per_device_train_batch_size", "{batch_size}"),
    *("--learning_rate", "{learning_rate}", "--seed", "{seed}"),
)
LUDWIG = (
    *("--trainer.batch_size", "{batch_size}", "--random_seed", "{seed}"),
    *("--trainer.learning_rate", "{learning_rate}"),
)
TOKENS = ("--max-tokens", "{batch_size}", *TAKES[2:])
MICRO = ("--train_micro_batch_size_per_gpu", "{batch_size}", *TAKES[2:])
# What a script is given, the metric, and what is said if nothing but that metric is given: of
# those that run, what has to be said with the answer; of others, why they cannot, or what is asked.
RUN: list[tuple[str, str, tuple[str, ...], str]] = [
    ("accumulates.py", "eval_loss", MICRO, ""),
    ("accumulates.py", "eval_loss", (*MICRO, "--gradient_accumulation_steps", "4"), "fixes --gra"),
    ("auto_find.py", "eval_loss", TAKES, "it did not train with the batch size that it was given"),
    ("checks_every.py", "val_acc", TAKES, "ValueError: `val_check_interval` (20) must be less"),
    ("csv_only.py", "val_acc", (*BS, "--out", "{output_dir}"), ""),
    ("drop_last.py", "val_0_logloss", TAKES, "at all 8 evaluations: it did not train"),
    ("evaluates_at_end.py", "eval_loss", TAKES, "only final values can be compared"),
    ("finds_its_batch.py", "eval_loss", TRAINER, "it would have 15 to 16"),
    ("once_an_epoch.py", "val/acc", TAKES, "its progress counts only epochs"),
    ("over_at_once.py", "combined loss", LUDWIG, "its progress came all at once: too soon"),
    ("trial_of_tuner.py", "Accuracy", SNAKE, ""),
    *((f"{script} --kind steps", "val_loss", TAKES, "") for script in ("prints.py", "prints")),
    ("prints.py --kind fraction", "val_loss", TAKES, ""),
    ("prints.py --kind bracket", "val_loss", TAKES, ""),
    (
        "prints.py --kind scaled",
        "val_loss",
        TAKES,
        "it prints 0.001875 for 0.02 with batch size 24",
    ),
    *((f"prints.py --kind {kind}", "val_loss", TAKES, "") for kind in ("in_words", "of_batches")),
    *((f"prints.py --kind {kind}", "val_loss", TAKES, "") for kind in ("at_ends", "mmengine")),
    ("prints.py --kind without_steps", "val_loss", TAKES, ""),
    ("prints.py --kind marian", "val_loss", TAKES, ""),
    ("prints.py --kind table", "val_loss", TAKES, "its progress counts only epochs"),
    ("prints.py --kind filled", "val_loss", TOKENS, "training tokens, by the steps"),
    ("prints.py", "val_loss", ("--sizes", "{batch_size}", "256", *TAKES[2:]), ""),
    ("prints.py --kind normalized", "val_loss", TAKES, ""),
    ("prints.py --kind bars", "eval_loss", TAKES, ""),
    ("prints.py --kind timed", "val_loss", TAKES, "only final values can be compared"),
    (
        "prints.py --kind growing --rampup-samples 2000",
        "lm loss value",
        TAKES,
        "its progress counts no epochs",
    ),
]
ASKED: list[tuple[str, str, tuple[str, ...], str]] = [
    ("evaluates_each_epoch.py", "test_grade", BS[:4], "needs --better (higher or lower"),
    ("needs_net.py", "Accuracy", ("-b", "{batch_size}", "-lr", "{learning_rate}"), "-net"),
    ("wants_terminal.py", "acc", TAKES, "the command wants a terminal, and here is none"),
    ("prints.py --kind folds", "val_loss", TAKES, "'Fold 1/3' was printed"),
    ("prints.py --kind one_name", "loss", TAKES, "as in --metric 'val loss'"),
    ("prints.py --kind summed", "val_loss", TAKES, "val_loss depends on the batch size itself"),
    ("prints.py --kind fixed", "val_loss", TAKES, "as many steps at every batch size"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("script", "metric", "takes", "said"), RUN)
def test_with_the_metric_alone_a_script_runs(
    ask: Any, script: str, metric: str, takes: tuple[str, ...], said: str
) -> None:
    name, *kind = script.split()

    done = ask(name, "sweep", "--metric", metric, "--budget", "20s", takes=(*kind, *takes))

    assert "What each batch size gives" in done.out, done.err
    assert said in " ".join((done.out + done.err).split())


@pytest.mark.slow
@pytest.mark.parametrize(("script", "metric", "takes", "said"), ASKED)
def test_what_cannot_run_is_told_in_one_message(
    ask: Any, script: str, metric: str, takes: tuple[str, ...], said: str
) -> None:
    name, *kind = script.split()

    done = ask(name, "sweep", "--metric", metric, "--budget", "20s", takes=(*kind, *takes))

    assert done.code in (1, 2)
    (message,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert said in message


def test_four_of_five_scripts_run_at_the_first_command() -> None:
    assert len(RUN) >= 0.8 * len(RUN + ASKED)


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
