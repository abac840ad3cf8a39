"""The check of a command: does it train, and do its flags act, before the budget goes."""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.living import living
from tests.reference.training_script import training_script, with_own_rate

from batchlab.errors import BatchlabError, OtherBatchSizeError, UsageError
from batchlab.records.study import WorkloadSummary
from batchlab.script.check import ONCE_AT_END, CommandCheck
from batchlab.script.command import TrainingCommand
from batchlab.script.look import Look, LookComparison
from batchlab.script.reading import Reading

HEAD = """
import argparse, math, random, time
p = argparse.ArgumentParser()
for name in ("--batch-size", "--lr", "--seed"):
    p.add_argument(name, type=float, default=0)
a = p.parse_args()
drawn = random.Random(f"{a.seed} {a.lr} {a.batch_size}")
"""
# Prints a curve made of what acts: `{acts}` are the names of arguments that count in it.
ACTS = """
acts = dict(batch_size=a.batch_size, lr=a.lr, seed=a.seed)
mixed = sum((k + 1) * acts[name] for k, name in enumerate({acts!r}))
for step in range(1, 50):
    print(f"step {{step}} val_loss {{2 + mixed / step / 1000:.9f}}")
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
        tell=lambda text: None,
    )
    try:
        return check.summary(proves=proves)
    finally:
        assert living(workload_id) == ()


def acting(*names: str) -> str:
    return HEAD + ACTS.format(acts=names)


@pytest.mark.slow
def test_a_command_whose_flags_all_act_passes_without_a_word(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path), tmp_path)

    assert facts.warnings == ()
    assert facts.n_train == 2000
    assert 0 < facts.start_s < 30


PRINTS_ITS_RATE = acting("batch_size", "seed").replace(
    "val_loss", "lr {a.lr} time {time.time()} val_loss"
)
LEAVES_ONE = (
    "import subprocess, sys\n"
    "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])"
)


@pytest.mark.parametrize(
    ("source", "seed", "said"),
    [
        (acting("lr", "seed"), True, "{batch_size} does not act: 16 and 32 gave the same"),
        (acting("batch_size", "seed"), True, "{learning_rate} does not act: 0.1 and 0.0125"),
        (acting("batch_size", "lr"), True, "{seed} does not act"),
        (acting("batch_size", "lr"), False, r"gave the same numbers and it has no \{seed\}"),
        # What it prints of its rate and of the time is no proof.
        (f"import time\n{PRINTS_ITS_RATE}", True, r"\{learning_rate\} does not act"),
        pytest.param(LEAVES_ONE, True, "left 1 process running", marks=pytest.mark.slow),
    ],
)
def test_a_flag_that_changes_nothing_is_named(
    source: str, seed: bool, said: str, tmp_path: Path
) -> None:
    command = training_script(tmp_path, source=source, seed=seed)

    with pytest.raises(BatchlabError, match=said):
        checked(command, tmp_path)


GROWS = (
    HEAD
    + """
import time
for epoch in range(1, 41):
    time.sleep(0.1)
    drawn = random.Random(f"{a.lr} {a.seed} {min(a.batch_size, 2 * epoch)}")
    print(f"epoch {epoch} val_loss {drawn.random():.4f}", flush=True)
"""
)


def test_a_flag_that_may_act_later_is_not_said_to_do_nothing(tmp_path: Path) -> None:
    """The batch grows to its size, so the first epochs are those of a smaller one."""
    facts = checked(training_script(tmp_path, source=GROWS), tmp_path)

    (said,) = facts.warnings
    assert "could not be proven that {batch_size} acts: its numbers differ only later" in said


# The metric is the share of the most frequent class, to two digits: the same in all beginnings.
ROUNDED = (
    HEAD
    + """
for epoch in range(1, 6):
    print(f"epoch {epoch} train_loss {drawn.random():.4f} time 12 val_loss 0.90")
"""
)


@pytest.mark.parametrize(
    ("source", "seed", "said"),
    [
        (CHANCE, False, ["could not be proven that {learning_rate} and {batch_size} act"]),
        (
            CHANCE,
            True,
            [
                "does not give the same numbers",
                "{seed}, {learning_rate} and {batch_size} act: the numbers of two equal beginnings",
            ],
        ),
        (ROUNDED, True, []),
    ],
)
def test_what_could_not_be_proven_is_said(
    source: str, seed: bool, said: list[str], tmp_path: Path
) -> None:
    found = checked(training_script(tmp_path, source=source, seed=seed), tmp_path).warnings

    assert [words in text for words, text in zip(said, found, strict=True)] == [True] * len(said)


# A bar of an epoch that is drawn again and again, with the time that a batch was waited for.
REDRAWN = (
    HEAD
    + """
for epoch in range(1, 4):
    for batch in range(400):
        time.sleep(random.random() / 200)
        value = drawn.random()
        print(f"Epoch: {epoch} Data {random.random():.3f} val_loss {value:.4f}", flush=True)
"""
)


@pytest.mark.slow
def test_what_a_bar_happened_to_show_last_is_no_difference(tmp_path: Path) -> None:
    assert checked(training_script(tmp_path, source=REDRAWN), tmp_path).warnings == ()


# Counts its runs, and how many losses each told; its metric comes once, at the end.
EVALUATED_AT_END = (
    HEAD
    + """
for step in range(1, 51):
    print("step", step, "loss", (a.batch_size + a.lr + a.seed) / step, flush=True)
    open("steps", "a").write("x")
    time.sleep(0.05)
print("val_loss", a.lr)
"""
)


def test_whether_a_command_takes_a_rate_is_found(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    commands = (training_script(tmp_path), with_own_rate(training_script(tmp_path / "other")))

    found = [checked(command, tmp_path, proves=False).takes_rate for command in commands]

    assert found == [True, False]


@pytest.mark.slow
def test_a_proof_ends_when_it_is_one(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path, source=EVALUATED_AT_END), tmp_path)

    assert facts.warnings == (ONCE_AT_END,)
    # Whole are the first and that of another batch size, whose epochs are compared.
    assert 100 < len((tmp_path / "steps").read_text()) < 5 * 50 - 40


def test_all_beginnings_but_the_first_take_a_tenth_of_the_budget(tmp_path: Path) -> None:
    command = training_script(tmp_path, source=EVALUATED_AT_END)

    facts = checked(command, tmp_path, limit_s=0.25 * 25)  # a quarter of the budget

    said = [text for text in facts.warnings if "no time to check" in text]
    assert len(said) == 1
    assert "with another batch size" in said[0]


# Prints `Epoch: 1 [640/60000 (1%)]` and the like: `{n}` is counted, to `{length}`.
COUNTED = """
import sys
B = int(sys.argv[2])
for epoch in range(1, 4):
    for index in range(0, -(-1000 // B), 3):
        print(f"Epoch: {{epoch}} [{{{n}}}/{{{length}}}] val_loss: {{1 / (B * epoch + index)}}")
    print(f"Test set: Average loss: {{B / epoch}}, Accuracy: 900/1000 (90%)")
"""


@pytest.mark.parametrize(
    ("source", "fewest", "most"),
    [
        # 40 steps of 16, and the last of them may be one example.
        ("for s in range(1, 9): print('step', s, 'epoch', s / 40, 'val_loss', 1 / s)", 625, 640),
        (
            "for s in range(1, 9):"
            " print('step', s, 'samples', 16 * s, 'epoch', s / 40, 'val_loss', 1 / s)",
            *(640, 640),
        ),
        # Steps begin again with the number of the epoch.
        *(
            (
                f"for e in (1, 2, 3):\n    for s in {printed}: "
                f"print(f'epoch {{e}} step {{s}}/63 val_loss {{1 / (63 * e + s)}}')",
                *(993, 1008),
            )
            for printed in ((30, 60), (63,))
        ),
        # Steps go on beside the number of the epoch: 40 in the first, and the next begins at 50.
        (
            "import time\nfor s in range(1, 9): time.sleep(0.1);"
            " print(f'epoch {s // 5 + 1} step {10 * s} val_loss {s}', flush=True)",
            *(625, 784),
        ),
        # What a counter within the epoch counts shows beside another batch size.
        (COUNTED.format(n="index * B", length="1000"), 1000, 1000),
        (COUNTED.format(n="index", length="-(-1000 // B)"), 993, 1008),
    ],
)
@pytest.mark.parametrize("metric", ["val_loss", "accuracy"])
def test_the_number_of_examples_is_found_where_epochs_are_counted(
    source: str, fewest: int, most: int, metric: str, tmp_path: Path
) -> None:
    source = source.replace("val_loss", metric)
    command = training_script(tmp_path, source=source, examples=None, metric=metric, better="lower")

    facts = checked(command, tmp_path, proves=False)

    assert facts.n_train == fewest
    told = " ".join(facts.warnings)
    assert (f"{fewest} to {most} training examples" in told) == (fewest < most)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('no such data set')", "no such data set"),
        ("for s in range(9): print('step', s, 'train_loss', 1.0)", "printed were train_loss"),
        ("print('hello')", "no metric 'val_loss' was printed"),
        ("input('Go on? ')", "asks for input"),
        ("for step in (9, 3, 4): print('step', step, 'val_loss 1')", "goes backward: 3 after 9"),
        ("for s in range(9): print('epoch 0 step', s, 'val_loss', 1.0)", "--examples"),
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

    with pytest.raises(BatchlabError, match=r"has shown no progress for 1 s.*a larger --budget"):
        checked(command, tmp_path, limit_s=2.0)


def test_without_time_what_was_not_checked_is_said(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path), tmp_path, limit_s=1e-3)

    assert any("there was no time to check" in text for text in facts.warnings)


# Prints a line in each of two epochs; `{each}` is the steps between the lines.
TWO_EPOCHS = """
import argparse
p = argparse.ArgumentParser()
for name in ("--batch-size", "--lr", "--seed"):
    p.add_argument(name, type=float)
a = p.parse_args()
each = int({each})
for epoch in (1, 2):
    loss = 2 + epoch * a.lr + a.seed + 1 / a.batch_size
    print("epoch", epoch, "step", epoch * each, "val_loss", loss)
"""


def test_steps_told_at_the_ends_of_epochs_give_the_examples_and_a_line_every_50_does_not(
    tmp_path: Path,
) -> None:
    source = TWO_EPOCHS.format(each="-(-1625 // a.batch_size)")  # 102 steps of 16, 51 of 32
    assert (
        checked(training_script(tmp_path, source=source, examples=None), tmp_path).n_train == 1617
    )

    command = training_script(tmp_path, source=TWO_EPOCHS.format(each="50"), examples=None)
    with pytest.raises(BatchlabError, match="800 with batch size 16, and 1600 with 32"):
        checked(command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("each", "examples", "said"),
    [
        ("-(-1625 // a.batch_size)", 1625, None),
        ("1625 // a.batch_size", 1625, None),  # the smaller last batch is left out
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
    warnings = [each for each in facts.warnings if not each.startswith("val_loss changes")]
    assert len(warnings) == (said is not None)
    assert said is None or said in warnings[0]


def test_a_script_that_takes_no_larger_batch_than_its_own_is_said_to(tmp_path: Path) -> None:
    source = TWO_EPOCHS.format(each="-(-1625 // 16)")

    facts = checked(training_script(tmp_path, source=source, examples=1625), tmp_path)

    told = "with another batch size: it does not train with it: by its output an epoch has 67 to"
    assert any(told in each for each in facts.warnings)


def test_a_wrong_number_of_examples_is_told_from_another_batch_size(tmp_path: Path) -> None:
    source = TWO_EPOCHS.format(each="-(-1625 // a.batch_size)")
    with pytest.raises(UsageError, match="--examples 400: by its progress an epoch has 1617 to"):
        checked(training_script(tmp_path, source=source, examples=400), tmp_path)

    source = TWO_EPOCHS.format(each="-(-1625 // 4)")
    with pytest.raises(OtherBatchSizeError, match="at least 203 steps; with batch size 16"):
        checked(training_script(tmp_path, source=source, examples=1625), tmp_path)


ACCUMULATES = TWO_EPOCHS.replace(
    "a = p",
    'p.add_argument("--accum-iter", type=int, default=4, help="(default: %(default)s)")\na = p',
).format(each="-(-1625 // (a.batch_size * a.accum_iter))")
BY_DEFAULT = "The command fixes --accum_iter 4 (the default): give 1"


@pytest.mark.parametrize(
    ("typed", "said"),
    [((), BY_DEFAULT), (("--accum-iter", "5"), "The command fixes --accum-iter 5: give 1")],
)
def test_what_a_contradiction_may_come_from_is_named(
    typed: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    command = training_script(tmp_path, *typed, source=ACCUMULATES, examples=1625)

    with pytest.raises(UsageError, match="--examples 1625: by its progress an epoch has") as error:
        checked(command, tmp_path)

    assert str(error.value).endswith(said)


def test_an_epoch_of_a_fixed_length_is_named(tmp_path: Path) -> None:
    fixed = TWO_EPOCHS.replace("a = p", 'p.add_argument("--steps-per-epoch", type=int)\na = p')
    source = fixed.format(each="a.steps_per_epoch")
    command = training_script(tmp_path, "--steps-per-epoch", "300", source=source, examples=1625)

    with pytest.raises(OtherBatchSizeError, match="a fixed length by --steps-per-epoch 300"):
        checked(command, tmp_path)


@pytest.mark.parametrize(
    ("losses", "acts"),
    [([3.0, 2.0, 1.0], False), ([3.0, 1.9, 1.0], True), ([3.0, 2.0, 0.9], None)],
)
def test_what_differs_only_after_two_equal_runs_were_compared_proves_nothing(
    losses: list[float], acts: bool | None, tmp_path: Path
) -> None:
    command = training_script(tmp_path)

    def look(losses: list[float]) -> Look:
        made = Look(command, command.own_trial())
        made.readings = [
            Reading(at_s=0.0, shape="words", step=step, values=(("loss", loss),))
            for step, loss in enumerate(losses)
        ]
        return made

    compared = LookComparison(look([3.0, 2.0, 1.0]), look([3.0, 2.0]))

    assert compared.acts(look(losses)) is acts


@pytest.mark.parametrize("examples", [None, 1625])
def test_counted_examples_that_contradict_the_steps_are_no_wrong_number_of_them(
    examples: int | None, tmp_path: Path
) -> None:
    source = ACCUMULATES.replace('"step"', '"samples", epoch * 1625, "step"')
    command = training_script(tmp_path, source=source, examples=examples)

    with pytest.raises(OtherBatchSizeError, match="a step has 60 to 65 examples") as error:
        checked(command, tmp_path)

    assert str(error.value).endswith(BY_DEFAULT)


def test_of_steps_alone_an_accumulation_by_default_is_told(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path, source=ACCUMULATES, examples=None), tmp_path)

    assert facts.n_train == 401  # a quarter: nothing printed tells it
    assert "the command fixes --accum_iter 4 (the default)" in facts.warnings[-1]


# Does not train at a rate near 0; its validation has 1,000 examples with a loss of 2 each.
VALIDATED = """
B = a.batch_size
for epoch in range(1, 6):
    loss = 2 / (1 + a.lr * epoch) + drawn.random() / 100
    print(f"epoch {{epoch}} step {{epoch * math.ceil(2000 / B)}} val_loss {{{value}}}")
"""


@pytest.mark.parametrize("size", [16, 1024])  # the other sizes are larger, or smaller
@pytest.mark.parametrize("value", ["loss * B", "loss / math.sqrt(B)", "loss + math.log(B)"])
def test_a_metric_that_depends_on_the_batch_size_is_refused(
    value: str, size: int, tmp_path: Path
) -> None:
    source = HEAD + VALIDATED.format(value=value)

    with pytest.raises(UsageError, match="val_loss depends on the batch size itself"):
        checked(training_script(tmp_path, source=source, batch_size=size), tmp_path)


@pytest.mark.parametrize("value", ["loss", "drawn.random()", "loss * (1 + 0.2 * drawn.random())"])
def test_a_metric_that_does_not_is_not_accused(value: str, tmp_path: Path) -> None:
    checked(training_script(tmp_path, source=HEAD + VALIDATED.format(value=value)), tmp_path)


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ("epoch", "counts only epochs: each is taken for one pass over 1552 examples"),
        ("step", "counts no epochs: 1552 examples are called one here"),
    ],
)
def test_epochs_or_steps_alone_are_enough(counted: str, said: str, tmp_path: Path) -> None:
    source = HEAD + f'for n in range(1, 6): print(f"{counted} {{n}} val_loss {{drawn.random()}}")'

    facts = checked(training_script(tmp_path, source=source, examples=None), tmp_path)

    assert facts.n_train == 1552
    assert any(said in each for each in facts.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "is_asked"), [("a.batch_size / 400", True), ("0.1", False)])
def test_epochs_that_may_have_as_many_steps_at_every_size_are_asked_about(
    seconds: str, is_asked: bool, tmp_path: Path
) -> None:
    source = (
        HEAD
        + f"""
import time
for epoch in range(1, 9):
    time.sleep({seconds})
    print(f"epoch {{epoch}} val_loss {{drawn.random()}}", flush=True)
"""
    )
    command = training_script(tmp_path, source=source, examples=None)
    said = "times as long with batch size 128 as with 16"

    with pytest.raises(UsageError, match=said) if is_asked else nullcontext():
        checked(command, tmp_path)

    warnings = checked(replace(command, examples=2000), tmp_path).warnings
    assert any(said in each for each in warnings) == is_asked
