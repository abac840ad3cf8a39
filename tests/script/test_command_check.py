"""The check of a command: does it train, and do its flags act, before the budget goes."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.training_script import training_script

from batchlab.errors import BatchlabError
from batchlab.records.study import WorkloadSummary
from batchlab.script.check import CommandCheck
from batchlab.script.command import TrainingCommand
from batchlab.script.process import living

# Prints a curve made of what acts: `{acts}` are the names of arguments that count in it.
ACTS = """
import argparse
p = argparse.ArgumentParser()
for name in ("--batch-size", "--lr", "--seed"):
    p.add_argument(name, type=float, default=0)
a = p.parse_args()
acts = dict(batch_size=a.batch_size, lr=a.lr, seed=a.seed)
mixed = sum((k + 1) * acts[name] for k, name in enumerate({acts!r}))
for step in range(1, 50):
    print(f"step {{step}} val_loss {{2 + mixed / step:.9f}}")
"""
CHANCE = (
    "import os\nfor s in range(1, 50): print('step', s, 'val_loss', int.from_bytes(os.urandom(2)))"
)


def checked(
    command: TrainingCommand, folder: Path, *, limit_s: float = 60.0, proves: bool = True
) -> WorkloadSummary:
    workload_id = f"check-{uuid.uuid4().hex}"
    check = CommandCheck(
        command,
        workload_id=workload_id,
        folder=folder / "looks",
        limit_s=limit_s,
        left_s=lambda: math.inf,
        tell=lambda text: None,
    )
    try:
        return check.summary(proves=proves)
    finally:
        assert living(workload_id) == ()


def acting(*names: str) -> str:
    return ACTS.format(acts=names)


@pytest.mark.slow
def test_a_command_whose_flags_all_act_passes_without_a_word(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path), tmp_path)

    assert facts.warnings == ()
    assert facts.n_train == 2000
    assert facts.start_s is not None
    assert 0 < facts.start_s < 30


@pytest.mark.parametrize(
    ("acts", "said"),
    [
        (("lr", "seed"), "{batch_size} does not act: 16 and 32 gave the same numbers"),
        (("batch_size", "seed"), "{learning_rate} does not act: 0.1 and 0.0125"),
        (("batch_size", "lr"), "{seed} does not act"),
    ],
)
def test_a_flag_that_changes_nothing_is_named(
    acts: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    command = training_script(tmp_path, source=acting(*acts))

    with pytest.raises(BatchlabError, match=said):
        checked(command, tmp_path)


def test_a_script_with_a_seed_of_its_own_is_asked_for_one(tmp_path: Path) -> None:
    command = training_script(tmp_path, source=acting("batch_size", "lr"), seed=False)

    with pytest.raises(BatchlabError, match=r"gave the same numbers and it has no \{seed\}"):
        checked(command, tmp_path)


def test_a_script_that_draws_its_own_numbers_needs_no_seed_and_proves_nothing(
    tmp_path: Path,
) -> None:
    (warning,) = checked(training_script(tmp_path, source=CHANCE, seed=False), tmp_path).warnings

    assert "could not be proven that {learning_rate} and {batch_size} act" in warning


def test_a_script_that_is_not_repeatable_is_told_so_and_what_is_not_proven(tmp_path: Path) -> None:
    scatter, unproven = checked(training_script(tmp_path, source=CHANCE), tmp_path).warnings

    assert "does not give the same numbers" in scatter
    assert "could not be proven that {seed}, {learning_rate} and {batch_size} act" in unproven
    assert "two equal beginnings differ by themselves" in unproven


# The metric is the share of the most frequent class, to two digits: the same in all beginnings.
ROUNDED = """
import argparse, random
p = argparse.ArgumentParser()
for name in ("--batch-size", "--lr", "--seed"):
    p.add_argument(name, type=float)
a = p.parse_args()
drawn = random.Random(f"{a.seed} {a.lr} {a.batch_size}")
for epoch in range(1, 6):
    print(f"epoch {epoch} {told} val_loss 0.90")
"""


def test_a_rounded_metric_is_no_proof_where_another_number_moves(tmp_path: Path) -> None:
    source = ROUNDED.replace("{told}", "train_loss {drawn.random():.4f} time 12")
    command = training_script(tmp_path, source=source)

    assert checked(command, tmp_path).warnings == ()


def test_the_rate_and_the_time_that_are_printed_do_not_prove_that_the_rate_acts(
    tmp_path: Path,
) -> None:
    source = acting("batch_size", "seed").replace(
        "val_loss",
        "lr {{a.lr}} time {{time.time()}} val_loss".replace("{{", "{").replace("}}", "}"),
    )
    command = training_script(tmp_path, source=f"import time\n{source}")

    with pytest.raises(BatchlabError, match=r"\{learning_rate\} does not act"):
        checked(command, tmp_path)


@pytest.mark.slow
def test_a_script_that_leaves_its_training_behind_is_told_to_wait(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])"
    )

    with pytest.raises(BatchlabError, match="left 1 process running"):
        checked(training_script(tmp_path, source=source), tmp_path)


def test_the_number_of_examples_is_found_where_epochs_are_counted(tmp_path: Path) -> None:
    told = "for s in range(1, 9): print(f'step {s} epoch {s * 16 / 640} val_loss {1 / s}')"
    command = training_script(tmp_path, source=told, examples=None)

    facts = checked(command, tmp_path, proves=False)

    # 40 steps of 16, and the last of them may be one example.
    assert facts.n_train == 625
    assert "there are 625 to 640 training examples" in facts.warnings[0]


def test_examples_that_are_counted_are_known_exactly(tmp_path: Path) -> None:
    told = "for s in range(1, 9): print(f'step {s} samples {16 * s} epoch {s / 40} val_loss 1')"
    command = training_script(tmp_path, source=told.replace("val_loss 1", "val_loss {1 / s}"))

    command = replace(command, examples=None)
    facts = checked(command, tmp_path, proves=False)

    assert (facts.n_train, facts.warnings) == (640, ())


# Prints `Train Epoch: 1 [640/60000 (1%)]` and the like: `{n}` is counted, to `{length}`.
COUNTED = """
import sys
B = int(sys.argv[2])
for epoch in range(1, 4):
    for index in range(0, -(-1000 // B), 3):
        print(f"Train Epoch: {{epoch}} [{{{n}}}/{{{length}}}] Loss: {{1 / (B * epoch + index)}}")
    print(f"Test set: Average loss: {{B / epoch}}, Accuracy: 900/1000 (90%)")
"""


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
@pytest.mark.parametrize(
    ("n", "length", "examples"),
    [("index * B", "1000", (1000, 1000)), ("index", "-(-1000 // B)", (993, 1008))],
    ids=["examples", "batches"],
)
def test_what_a_counter_within_the_epoch_counts_shows_beside_another_batch_size(
    n: str, length: str, examples: tuple[int, int], metric: str, tmp_path: Path
) -> None:
    source = COUNTED.format(n=n, length=length)
    command = training_script(tmp_path, source=source, examples=None, metric=metric, better="lower")

    facts = checked(command, tmp_path, proves=False)

    fewest, most = examples
    assert facts.n_train == fewest
    told = " ".join(facts.warnings)
    assert (f"{fewest} to {most} training examples" in told) == (fewest < most)


@pytest.mark.parametrize("printed", [(30, 60), (63,)], ids=["twice an epoch", "once an epoch"])
def test_steps_that_begin_again_with_their_number_tell_the_length_of_an_epoch(
    printed: tuple[int, ...], tmp_path: Path
) -> None:
    told = "print(f'epoch {e} step {s}/63 val_loss {1 / (63 * e + s)}')"
    source = f"for e in (1, 2, 3):\n    for s in {printed}: {told}"
    command = training_script(tmp_path, source=source, examples=None)

    facts = checked(command, tmp_path, proves=False)

    assert "there are 993 to 1008 training examples" in facts.warnings[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('no such data set')", "no such data set"),
        ("for s in range(9): print('step', s, 'train_loss', 1.0)", "printed were train_loss"),
        ("print('hello')", "no metric 'val_loss' was printed"),
        ("input('Go on? ')", "asks for input"),
        ("for step in (9, 3, 4): print('step', step, 'val_loss 1')", "goes backward: 3 after 9"),
        ("for s in range(9): print('step', s, 'val_loss', 1.0)", "--examples"),
    ],
)
def test_a_command_that_cannot_be_followed_is_refused_in_one_line(
    source: str, said: str, tmp_path: Path
) -> None:
    command = training_script(tmp_path, source=source, examples=None)

    with pytest.raises(BatchlabError) as refused:
        checked(command, tmp_path)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_script_that_says_nothing_in_time_is_told_how_to_unbuffer(tmp_path: Path) -> None:
    command = training_script(tmp_path, source="import time; time.sleep(60)")

    with pytest.raises(BatchlabError, match=r"has printed nothing for 1 s.*a larger --budget"):
        checked(command, tmp_path, limit_s=2.0)


def test_without_time_what_was_not_checked_is_said(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path), tmp_path, limit_s=1e-3)

    assert any("there was no time to check the command" in text for text in facts.warnings)


# Prints a line in each of two epochs; `{each}` is the steps between the lines.
TWO_EPOCHS = """
import argparse
p = argparse.ArgumentParser()
for name in ("--batch-size", "--lr", "--seed"):
    p.add_argument(name, type=float)
a = p.parse_args()
each = int({each})
for epoch in (1, 2):
    print("epoch", epoch, "step", epoch * each, "val_loss", a.batch_size + epoch * a.lr + a.seed)
"""


def test_the_examples_are_found_where_steps_are_told_at_the_ends_of_epochs(tmp_path: Path) -> None:
    source = TWO_EPOCHS.format(each="-(-1625 // a.batch_size)")  # 102 steps of 16, 51 of 32
    command = training_script(tmp_path, source=source, examples=None)

    assert checked(command, tmp_path).n_train == 1617


def test_a_line_every_50_steps_is_not_taken_for_the_end_of_an_epoch(tmp_path: Path) -> None:
    command = training_script(tmp_path, source=TWO_EPOCHS.format(each="50"), examples=None)

    with pytest.raises(BatchlabError, match="800 with batch size 16, and 1600 with 32"):
        checked(command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("each", "examples", "said"),
    [
        ("-(-1625 // a.batch_size)", 1625, None),
        ("1625 // a.batch_size", 1625, None),  # the smaller last batch is left out
        ("-(-1625 // a.batch_size)", 400, "--examples 400: by its progress an epoch has 1617 to"),
        ("50", 1625, "an epoch has 50 steps with batch size 16 and with 32 alike"),
    ],
)
def test_examples_that_contradict_the_steps_of_an_epoch_are_said_to(
    each: str, examples: int, said: str | None, tmp_path: Path
) -> None:
    source = TWO_EPOCHS.format(each=each)
    command = training_script(tmp_path, source=source, examples=examples)

    facts = checked(command, tmp_path)

    assert facts.n_train == examples
    assert len(facts.warnings) == (said is not None)
    assert said is None or said in facts.warnings[0]
