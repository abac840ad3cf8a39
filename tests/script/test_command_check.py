"""The check of a command: does it train, and do its flags act, before the budget goes."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.reference.living import living
from tests.reference.training_script import training_script, with_own_rate
from tests.script.in_process import Clock, run_in_process

from batchlab.errors import BatchlabError, UsageError
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


def acting(*names: str, more: str = "") -> str:
    return HEAD + ACTS.format(acts=names, more=more)


def in_epochs(n: int, line: str, *, sleeps: str = "0") -> str:
    """The source of a script that prints a line in each of its epochs."""
    loop = f'for epoch in range(1, {n + 1}):\n    time.sleep({sleeps})\n    print(f"{line}")'
    return f"{HEAD}{loop}"


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


GROWN = "random.Random(f'{a.lr} {a.seed} {min(B, 2 * epoch)}').random()"
DRAWN = "epoch {epoch} val_loss {drawn.random():.4f}"
ACCUMULATED = "-(-1625 // (B * a.accum_iter))"
SOURCES = {
    "no batch size": acting("lr", "seed"),
    "no rate": acting("batch_size", "seed"),
    "no seed": acting("batch_size", "lr"),
    # What it prints of its rate and of the time is no proof.
    "prints its rate": acting("batch_size", "seed", more="lr {a.lr} time {time.time()} "),
    "chance": f"{HEAD}for s in range(1, 50): print('step', s, 'val_loss', ord(os.urandom(1)))",
    # The metric is the share of the most frequent class, the same in all beginnings.
    "rounded": in_epochs(5, "epoch {epoch} train_loss {drawn.random()} val_loss 0.90"),
    # A bar of an epoch that is drawn again and again, with the time that a batch was waited for.
    "redrawn": f"""{HEAD}
for epoch in range(1, 4):
    for batch in range(100):
        time.sleep(random.random() / 200)
        print(f"Epoch: {{epoch}} Data {{random.random():.3f}} val_loss {{drawn.random():.4f}}")
""",
    # The batch grows to its size, so the first epochs are those of a smaller one.
    "grows": in_epochs(40, f"epoch {{epoch}} val_loss {{{GROWN}:.4f}}", sleeps="0.1"),
    "all batches": two_epochs("-(-1625 // B)"),
    "whole batches": two_epochs("1625 // B"),
    "every 50 steps": two_epochs("50"),
    "always 16": two_epochs("-(-1625 // 16)"),
    "always 4": two_epochs("-(-1625 // 4)"),
    "fixed length": two_epochs("a.steps_per_epoch"),
    "accumulates": two_epochs(ACCUMULATED, accum=4),
    "accumulates, counts": two_epochs(ACCUMULATED, accum=4, more='"samples", epoch * 1625, '),
    "slower": in_epochs(8, DRAWN, sleeps="B / 400"),
    "steps": in_epochs(5, "step {epoch} val_loss {drawn.random()}"),
    "as fast": in_epochs(8, DRAWN, sleeps="0.1"),
    "fails": "raise ValueError('no such data set')",
    "another metric": "for s in range(9): print('step', s, 'train_loss', 1.0)",
    "no progress": "print('hello')",
    "asks": "input('Go on? ')",
    "goes back": "for step in (9, 3, 4): print('step', step, 'val_loss 1')",
    "one epoch": "for s in range(9): print('epoch 0 step', s, 'val_loss', 1.0)",
}
# A source | what is typed | the examples given | those that are found | the warnings.
WARNED = """
chance || 2000 | 2000 | does not give the same numbers; {seed}, {learning_rate} and {batch_size} act
chance | no seed | 2000 | 2000 | proven that {learning_rate} and {batch_size} act: the
rounded || 2000 | 2000 |
redrawn || 2000 | 2000 |
grows || 2000 | 2000 | not be proven that {batch_size} acts: its numbers differ only later than
all batches || - | 1617 | 1617 to 1632 training examples, by the steps
all batches || 1625 | 1625 |
whole batches || 1625 | 1625 |
every 50 steps || 1625 | 1625 | an epoch has 50 steps with batch size 16 and with 32 alike
always 16 || 1625 | 1625 | another batch size: it does not train with it: by its output an epoch has
accumulates || - | 401 | 401 to 416 training; the command fixes --accum_iter 4 (the default)
slower || 2000 | 2000 | an epoch takes at least 6.4 times as long with batch size 128 as with 16
as fast || 2000 | 2000 |
as fast || - | 1552 | counts only epochs: each is taken for one pass over 1552 examples
steps || - | 1552 | counts no epochs: 1552 examples are called one here
"""


def script_of(row: str, folder: Path) -> tuple[TrainingCommand, list[str]]:
    """Return the command of a row, and the cells behind it."""
    name, typed, examples, *said = (cell.strip() for cell in row.split("|"))
    options: dict[str, Any] = {"examples": None if examples == "-" else int(examples)}
    more = typed.split()
    if typed == "no seed":
        more, options["seed"] = [], False
    return training_script(folder, *more, source=SOURCES[name], **options), said


@pytest.mark.parametrize("row", WARNED.strip().split("\n"))
@pytest.mark.usefixtures("clock")
def test_what_is_found_or_could_not_be_proven_is_said(row: str, tmp_path: Path) -> None:
    command, (n_train, warned) = script_of(row, tmp_path)

    facts = checked(command, tmp_path)

    assert facts.n_train == int(n_train)
    texts = [text for text in warned.split("; ") if text]
    assert [said in text for said, text in zip(texts, facts.warnings, strict=True)] == [True] * len(
        texts
    )


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


# A source | what is typed | the examples given | the kind of error | what it says. A line every 50
# steps is no end of an epoch, and what a contradiction may come from is named.
REFUSED = r"""
no batch size || 2000 | UsageError | {batch_size} does not act: 16 and 32 gave the same
no rate || 2000 | UsageError | {learning_rate} does not act: 0.1 and 0.0125
prints its rate || 2000 | UsageError | {learning_rate} does not act
no seed || 2000 | UsageError | {seed} does not act
no seed | no seed | 2000 | UsageError | gave the same numbers and it has no {seed}
fails || - | WorkloadError | no such data set
another metric || - | WorkloadError | printed were train_loss
no progress || - | WorkloadError | no metric 'val_loss' was printed
asks || - | WorkloadError | asks for input
goes back || - | ProgressError | goes backward: 3 after 9
one epoch || - | UsageError | --examples
slower || - | UsageError | an epoch takes at least 6.4 times as long with batch size 128 as with 16: it
every 50 steps || - | UsageError | 800 with batch size 16, and 1600 with 32
all batches || 400 | UsageError | --examples 400: by its progress an epoch has 1617
always 4 || 1625 | OtherBatchSizeError | at least 203 steps; with batch size 16
accumulates || 1625 | UsageError | 1625: by its progress an epoch.*fixes --accum_iter 4 \(the default\): give 1$
accumulates | --accum-iter 5 | 1625 | UsageError | The command fixes --accum-iter 5: give 1$
fixed length | --steps-per-epoch 300 | 1625 | OtherBatchSizeError | length by --steps-per-epoch 300
accumulates, counts || - | OtherBatchSizeError | a step has 60 to 65 examples.*--accum_iter 4
accumulates, counts || 1625 | OtherBatchSizeError | a step has 60 to 65 examples.*--accum_iter 4
"""  # noqa: E501


@pytest.mark.parametrize("row", REFUSED.strip().split("\n"))
@pytest.mark.usefixtures("clock")
def test_a_command_that_cannot_be_followed_or_believed_is_refused_in_one_line(
    row: str, tmp_path: Path
) -> None:
    command, (kind, said) = script_of(row, tmp_path)

    with pytest.raises(BatchlabError, match=said.replace("{", r"\{")) as refused:
        checked(command, tmp_path)

    assert type(refused.value).__name__ == kind
    assert "\n" not in str(refused.value)


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
