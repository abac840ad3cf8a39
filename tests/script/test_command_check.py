"""The check of a command: does it train, and do its flags act, before the budget goes."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.reference.living import living
from tests.reference.training_script import training_script, with_own_rate
from tests.script.in_process import Clock, run_in_process

from batchlab.errors import BatchlabError, OtherBatchSizeError, UsageError
from batchlab.records.study import WorkloadSummary
from batchlab.script.check import ONCE_AT_END, CommandCheck
from batchlab.script.command import TrainingCommand
from batchlab.script.look import Look, LookComparison
from batchlab.script.reading import Reading


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return run_in_process(monkeypatch)


LEAVES_ONE = (
    "import subprocess, sys\n"
    "subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)'])"
)


@pytest.mark.slow
def test_processes_that_train_are_checked_and_ended(tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path), tmp_path)
    (tmp_path / "own").mkdir()
    with_rate_of_its_own = with_own_rate(training_script(tmp_path / "own"))
    own = checked(with_rate_of_its_own, tmp_path / "own", proves=False)

    assert (facts.warnings, facts.n_train) == ((), 2000)
    assert 0 < (facts.start_s or 0) < 30
    assert (facts.takes_rate, own.takes_rate) == (True, False)
    with pytest.raises(BatchlabError, match="left 1 process running"):
        checked(training_script(tmp_path, source=LEAVES_ONE), tmp_path)


HEAD = """
import argparse, math, os, random, time
p = argparse.ArgumentParser()
for name in ("--batch-size", "--lr", "--seed"):
    p.add_argument(name, type=float, default=0)
a = p.parse_args()
B = a.batch_size
drawn = random.Random(f"{a.seed} {a.lr} {B}")
"""
# A curve made of what acts: `{acts}` are the names of arguments that count in it.
ACTS = """
acts = dict(batch_size=B, lr=a.lr, seed=a.seed)
mixed = sum((k + 1) * acts[name] for k, name in enumerate({acts!r}))
for step in range(1, 50):
    print(f"step {{step}} {more}val_loss {{2 + mixed / step / 1000:.9f}}")
"""
CHANCE = (
    "import os\nfor s in range(1, 50): print('step', s, 'val_loss', int.from_bytes(os.urandom(2)))"
)


def acting(*names: str, more: str = "") -> str:
    return HEAD + ACTS.format(acts=names, more=more)


@pytest.mark.parametrize(
    ("source", "seed", "said"),
    [
        (acting("lr", "seed"), True, "{batch_size} does not act: 16 and 32 gave the same"),
        (acting("batch_size", "seed"), True, "{learning_rate} does not act: 0.1 and 0.0125"),
        (acting("batch_size", "lr"), True, "{seed} does not act"),
        (acting("batch_size", "lr"), False, r"gave the same numbers and it has no \{seed\}"),
        # What it prints of its rate and of the time is no proof.
        (
            acting("batch_size", "seed", more="lr {a.lr} time {time.time()} "),
            *(True, r"\{learning_rate\} does not act"),
        ),
    ],
)
@pytest.mark.usefixtures("clock")
def test_a_flag_that_changes_nothing_is_named(
    source: str, seed: bool, said: str, tmp_path: Path
) -> None:
    command = training_script(tmp_path, source=source, seed=seed)

    with pytest.raises(BatchlabError, match=said):
        checked(command, tmp_path)


def in_epochs(n: int, line: str, *, sleeps: str = "0") -> str:
    """The source of a script that prints a line in each of its epochs."""
    loop = f'for epoch in range(1, {n + 1}):\n    time.sleep({sleeps})\n    print(f"{line}")'
    return f"{HEAD}{loop}"


GROWN = "random.Random(f'{a.lr} {a.seed} {min(B, 2 * epoch)}').random()"
# A bar of an epoch that is drawn again and again, with the time that a batch was waited for.
REDRAWN = f"""{HEAD}
for epoch in range(1, 4):
    for batch in range(100):
        time.sleep(random.random() / 200)
        print(f"Epoch: {{epoch}} Data {{random.random():.3f}} val_loss {{drawn.random():.4f}}")
"""
# Prints the steps of two epochs; `{steps}` is the steps of one.
TWO_EPOCHS = """
p.add_argument("--accum-iter", type=int, default={accum}, help="(default: %(default)s)")
p.add_argument("--steps-per-epoch", type=int)
a = p.parse_args()
for epoch in (1, 2):
    loss = 2 + epoch * a.lr + a.seed + 1 / B
    print("epoch", epoch, {more}"step", epoch * int({steps}), "val_loss", loss)
"""


def two_epochs(steps: str, *, accum: int = 1, more: str = "") -> str:
    head = HEAD.replace("parse_args()", "parse_known_args()[0]")
    return head + TWO_EPOCHS.format(steps=steps, accum=accum, more=more)


ALL, WHOLE = "-(-1625 // B)", "1625 // B"
ACCUMULATES = two_epochs("-(-1625 // (B * a.accum_iter))", accum=4)
BY_DEFAULT = r"The command fixes --accum_iter 4 \(the default\): give 1$"
COUNTS_EXAMPLES = two_epochs(
    "-(-1625 // (B * a.accum_iter))", accum=4, more='"samples", epoch * 1625, '
)
TOO_LONG = "an epoch takes at least 6.4 times as long with batch size 128 as with 16: it may"
DRAWN = "epoch {epoch} val_loss {drawn.random():.4f}"
SLOWER, AS_FAST = in_epochs(8, DRAWN, sleeps="B / 400"), in_epochs(8, DRAWN, sleeps="0.1")


@pytest.mark.parametrize(
    ("source", "options", "n_train", "warned"),
    [
        (CHANCE, {"seed": False}, 2000, ["proven that {learning_rate} and {batch_size} act: the"]),
        (
            CHANCE,
            *({}, 2000),
            ["does not give the same numbers", "{seed}, {learning_rate} and {batch_size} act: the"],
        ),
        # The metric is the share of the most frequent class, the same in all beginnings.
        (in_epochs(5, "epoch {epoch} train_loss {drawn.random()} val_loss 0.90"), {}, 2000, []),
        (REDRAWN, {}, 2000, []),
        # The batch grows to its size, so the first epochs are those of a smaller one.
        (
            in_epochs(40, f"epoch {{epoch}} val_loss {{{GROWN}:.4f}}", sleeps="0.1"),
            *({}, 2000),
            ["not be proven that {batch_size} acts: its numbers differ only later than"],
        ),
        # Steps at the ends of epochs give the examples up to one batch, and may contradict them.
        (two_epochs(ALL), {"examples": None}, 1617, ["1617 to 1632 training examples, by the st"]),
        (two_epochs(ALL), {"examples": 1625}, 1625, []),
        (two_epochs(WHOLE), {"examples": 1625}, 1625, []),
        (
            two_epochs("50"),
            *({"examples": 1625}, 1625),
            ["an epoch has 50 steps with batch size 16 and with 32 alike"],
        ),
        (
            two_epochs("-(-1625 // 16)"),
            *({"examples": 1625}, 1625),
            ["with another batch size: it does not train with it: by its output an epoch has 6"],
        ),
        # Nothing printed tells the accumulation, so a quarter is counted.
        (
            ACCUMULATES,
            *({"examples": None}, 401),
            ["401 to 416 training", r"the command fixes --accum_iter 4 \(the default\)"],
        ),
        (SLOWER, {"examples": 2000}, 2000, [TOO_LONG]),
        (AS_FAST, {"examples": 2000}, 2000, []),
        (AS_FAST, {"examples": None}, 1552, ["counts only epochs: each is taken for one pass"]),
    ],
)
@pytest.mark.usefixtures("clock")
def test_what_is_found_or_could_not_be_proven_is_said(
    source: str, options: dict[str, Any], n_train: int, warned: list[str], tmp_path: Path
) -> None:
    facts = checked(training_script(tmp_path, source=source, **options), tmp_path)

    assert facts.n_train == n_train
    for said, text in zip(warned, facts.warnings, strict=True):
        assert re.search(said.replace("{", r"\{"), text), text


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ("epoch", "counts only epochs: each is taken for one pass over 1552 examples"),
        ("step", "counts no epochs: 1552 examples are called one here"),
    ],
)
@pytest.mark.usefixtures("clock")
def test_epochs_or_steps_alone_are_enough(counted: str, said: str, tmp_path: Path) -> None:
    source = in_epochs(5, f"{counted} {{epoch}} val_loss {{drawn.random()}}")

    facts = checked(training_script(tmp_path, source=source, examples=None), tmp_path)

    assert facts.n_train == 1552
    assert any(said in text for text in facts.warnings)


# Prints `Epoch: 1 [640/60000 (1%)]` and the like: `{n}` is counted, to `{length}`.
COUNTED = """
import sys
B = int(sys.argv[2])
for epoch in range(1, 4):
    for index in range(0, -(-1000 // B), 3):
        print(f"Epoch: {{epoch}} [{{{n}}}/{{{length}}}] val_loss: {{1 / (B * epoch + index)}}")
    print(f"Test set: Average loss: {{B / epoch}}, Accuracy: 900/1000 (90%)")
"""
STEPS = "for s in range(1, 9): print('step', s, {}'epoch', s / 40, 'val_loss', 1 / s)"
IN_EPOCHS = (
    "for e in (1, 2, 3):\n"
    "    for s in {}: print(f'epoch {{e}} step {{s}}/63 val_loss {{1 / (63 * e + s)}}')"
)


@pytest.mark.parametrize(
    ("source", "fewest", "most"),
    [
        (STEPS.format(""), 625, 640),  # 40 steps of 16, and the last of them may be one example
        (STEPS.format("'samples', 16 * s, "), 640, 640),
        # Steps begin again with the number of the epoch.
        (IN_EPOCHS.format((30, 60)), 993, 1008),
        (IN_EPOCHS.format((63,)), 993, 1008),
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
@pytest.mark.usefixtures("clock")
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
    ("source", "examples", "typed", "error", "said"),
    [
        ("raise ValueError('no such data set')", None, "", BatchlabError, "no such data set"),
        (
            "for s in range(9): print('step', s, 'train_loss', 1.0)",
            *(None, "", BatchlabError, "printed were train_loss"),
        ),
        ("print('hello')", None, "", BatchlabError, "no metric 'val_loss' was printed"),
        ("input('Go on? ')", None, "", BatchlabError, "asks for input"),
        (
            "for step in (9, 3, 4): print('step', step, 'val_loss 1')",
            *(None, "", BatchlabError, "goes backward: 3 after 9"),
        ),
        (
            "for s in range(9): print('epoch 0 step', s, 'val_loss', 1.0)",
            *(None, "", BatchlabError, "--examples"),
        ),
        # A line every 50 steps is no end of an epoch.
        (
            two_epochs("50"),
            *(None, "", UsageError, "800 with batch size 16, and 1600 with 32"),
        ),
        (two_epochs(ALL), 400, "", UsageError, "--examples 400: by its progress an epoch has 1617"),
        (
            two_epochs("-(-1625 // 4)"),
            *(1625, "", OtherBatchSizeError, "at least 203 steps; with batch size 16"),
        ),
        # What a contradiction may come from is named.
        (ACCUMULATES, 1625, "", UsageError, f"1625: by its progress an epoch has.*{BY_DEFAULT}"),
        (ACCUMULATES, 1625, "--accum-iter 5", UsageError, "command fixes --accum-iter 5: give 1$"),
        (
            two_epochs("a.steps_per_epoch"),
            *(1625, "--steps-per-epoch 300", OtherBatchSizeError),
            "a fixed length by --steps-per-epoch 300",
        ),
        # Counted examples that contradict the steps are no wrong number of them.
        *(
            (
                *(COUNTS_EXAMPLES, n, "", OtherBatchSizeError),
                f"a step has 60 to 65 examples.*{BY_DEFAULT}",
            )
            for n in (None, 1625)
        ),
    ],
)
@pytest.mark.usefixtures("clock")
def test_a_command_that_cannot_be_followed_or_believed_is_refused_in_one_line(
    source: str,
    examples: int | None,
    typed: str,
    error: type[BatchlabError],
    said: str,
    tmp_path: Path,
) -> None:
    command = training_script(tmp_path, *typed.split(), source=source, examples=examples)

    with pytest.raises(error, match=said) as refused:
        checked(command, tmp_path)

    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("clock")
def test_epochs_that_may_have_as_many_steps_at_every_size_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=TOO_LONG):
        checked(training_script(tmp_path, source=SLOWER, examples=None), tmp_path)


# Prints its losses for 2.5 s; its metric comes once, at the end.
EVALUATED_AT_END = f"""{HEAD}
for step in range(1, 51):
    print("step", step, "loss", (B + a.lr + a.seed) / step)
    time.sleep(0.05)
print("val_loss", a.lr)
"""


def test_a_proof_ends_when_it_is_one(clock: Clock, tmp_path: Path) -> None:
    facts = checked(training_script(tmp_path, source=EVALUATED_AT_END), tmp_path)

    assert facts.warnings == (ONCE_AT_END,)
    # Whole are the first and that of another batch size, whose epochs are compared.
    assert 5.0 < clock.now_s < 5 * 2.5 - 2.0


@pytest.mark.usefixtures("clock")
def test_without_time_what_was_not_checked_is_said(tmp_path: Path) -> None:
    silent = training_script(tmp_path, source="import time; time.sleep(60)")
    with pytest.raises(BatchlabError, match=r"has shown no progress for 1 s.*a larger --budget"):
        checked(silent, tmp_path, limit_s=2.0)

    # All beginnings but the first take a tenth of the budget, of which this is a quarter.
    slow = training_script(tmp_path, source=EVALUATED_AT_END)
    (said,) = (
        text
        for text in checked(slow, tmp_path, limit_s=0.25 * 25).warnings
        if "no time to check" in text
    )
    assert "with another batch size" in said


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


def validated(value: str) -> str:
    """A script that doesn't train at a rate near 0; its validation has a loss of 2 each then."""
    loss = "loss := 2 / (1 + a.lr * epoch) + drawn.random() / 100"
    steps = "epoch {epoch} step {epoch * math.ceil(2000 / B)}"
    return in_epochs(5, f"{{({loss}) and ''}}{steps} val_loss {{{value}}}")


@pytest.mark.parametrize("size", [16, 1024])  # the other sizes are larger, or smaller
@pytest.mark.parametrize("value", ["loss * B", "loss / math.sqrt(B)", "loss + math.log(B)"])
@pytest.mark.usefixtures("clock")
def test_a_metric_that_depends_on_the_batch_size_is_refused(
    value: str, size: int, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="val_loss depends on the batch size itself"):
        checked(training_script(tmp_path, source=validated(value), batch_size=size), tmp_path)


@pytest.mark.parametrize("value", ["loss", "drawn.random()", "loss * (1 + 0.2 * drawn.random())"])
@pytest.mark.usefixtures("clock")
def test_a_metric_that_does_not_is_not_accused(value: str, tmp_path: Path) -> None:
    checked(training_script(tmp_path, source=validated(value)), tmp_path)
