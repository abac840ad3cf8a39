"""Arguments: one table of what the commands take, for the command line, Python and agents.

A row says how an argument is typed, read, checked and explained, and what it is without being
given. The command line makes its options of it, the server of agents its schemas, and `asked` the
checks of a call from Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from batchlab.app import argument_values as values
from batchlab.app.budget import seconds_of
from batchlab.plans.scaling import SCALING_RULES, scaling_rule


@dataclass(frozen=True, slots=True)
class Text:
    """A value that the command line reads from a text.

    Attributes:
        shown: what `--help` shows in its place.
        read: the function that reads it; it may raise a UsageError or a ValueError.
        expected: what the message of a ValueError asks for.
    """

    shown: str
    read: Callable[[str], object]
    expected: str = ""


# What an argument is on the command line: a text, read or as it is, a file, one of several choices,
# or true if it is given.
Kind = Text | type[str] | type[Path] | type[bool] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, as every interface knows it.

    Attributes:
        help: what it does, for the command line.
        kind: what its text is.
        flag: how it is typed, if not as its name with dashes.
        default: its value without being given; `--help` shows any but None.
        is_repeated: whether it may be given several times.
        check: what makes a value from Python the one that counts, or refuses it; without one, a
            count and a choice are checked by their kind.
    """

    help: str
    kind: Kind = str
    flag: str | None = None
    default: object = None
    is_repeated: bool = False
    check: Callable[[Any], Any] | None = None


def argument_of(command: str, name: str) -> Argument | None:
    """Return an argument of a command: its own row if it has one, or that of all commands."""
    return ARGUMENTS.get(f"{command} {name}") or ARGUMENTS.get(name)


def checked(command: str, name: str, value: Any) -> Any:
    """Return the value of an argument from Python as the command takes it, or refuse it."""
    argument = argument_of(command, name)
    if argument is None:
        return value
    if argument.check is not None:
        return argument.check(value)
    if argument.kind is _COUNT:
        return values.checked_count(name, value)
    if isinstance(argument.kind, tuple):
        return values.checked_choice(name, argument.kind, value)
    return value


def _known_rule(rule: str) -> str:
    scaling_rule(rule)  # refuses an unknown one
    return rule


def _whole_number(least: int) -> Text:
    def read(text: str) -> int:
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) or int(text) < least:
            raise ValueError
        return int(text)

    return Text("N", read, f"a whole number of at least {least}")


def _number(example: str) -> Text:
    return Text("NUMBER", float, f"a number, such as {example}")


_COUNT = _whole_number(1)
_SIZES = Text("64,256,full", values.batch_sizes)
_TARGET = Text("METRIC=VALUE", values.target)
_BUDGET = Text("90s|5m|1h30m", seconds_of)
_TRAIN_TIME = Text("90s|5m|1h30m", partial(seconds_of, what="train time"))

# By name, which is the name in Python; where a command differs from others, after its own name.
ARGUMENTS: Mapping[str, Argument] = {
    "objective": Argument(
        "What is best. time: the least time to the target. samples: the largest batch size that "
        "needs hardly more examples to get there. quality: the best validation metric after "
        "--epochs or --train-time.",
        kind=("time", "samples", "quality"),
        default="time",
    ),
    "advise target": Argument(
        "How good a model must be on validation data to count as trained, such as "
        "accuracy=0.97. Default: the workload's own target, or what your training ends with.",
        kind=_TARGET,
    ),
    "sweep target": Argument(
        "End each training once it is this good on validation data, such as accuracy=0.97.",
        kind=_TARGET,
    ),
    "margin": Argument(
        "How much worse a training may end and still count as ending as well, in the "
        "metric's unit. Default: 5 % of what was learned or of the remaining errors, whichever "
        "is less.",
        kind=_number("0.002"),
        check=values.checked_margin,
    ),
    "budget": Argument("Stop after this much time at most.", kind=_BUDGET, default="60s"),
    "advise budget": Argument("Answer within this much time. Default: 3m.", kind=_BUDGET),
    "sweep budget": Argument(
        "Stop after this much time at most. The same command goes on later. Default: no limit.",
        kind=_BUDGET,
    ),
    "trainings": Argument(
        "The budget as a number of trainings as you do them now, such as 4. For models that "
        "train for hours.",
        kind=_number("4"),
    ),
    "advise batch_sizes": Argument(
        "Batch sizes to compare with the workload's own; full is the whole training set. "
        "Default: powers of two from 8; of a command its own one doubled and halved.",
        kind=_SIZES,
        check=values.checked_batch_sizes,
    ),
    "sweep batch_sizes": Argument(
        "Batch sizes to compare; full is the whole training set. Default: full, and those of "
        "64, 256 and 1024 that are smaller.",
        kind=_SIZES,
        check=values.checked_batch_sizes,
    ),
    "profile batch_sizes": Argument(
        "Batch sizes to measure; full is the whole training set. Default: 1, 2, 4 and so on "
        "to full, and the workload's own.",
        kind=_SIZES,
        check=values.checked_batch_sizes,
    ),
    "learning_rates": Argument(
        "Train each batch size at each of these. Default: the workload's own rate.",
        kind=Text("0.01,0.1", values.learning_rates),
        check=values.checked_rates,
    ),
    "seeds": Argument(
        "Train each combination this often, each time with other random numbers.",
        default=1,
        kind=_COUNT,
    ),
    "advise epochs": Argument(
        "How many epochs a training of yours takes. Default: the workload's own number, or what "
        "the budget allows; 10 for quality, or with a schedule.",
        kind=_COUNT,
    ),
    "sweep epochs": Argument(
        "How often each training goes through the training data. Default: the workload's own "
        "number, or 10; no limit where --steps is given. A script without {epochs} trains as long "
        "as it does by itself.",
        kind=_COUNT,
    ),
    "at_most_epochs": Argument(
        "For the least time another batch size may train for more epochs than yours, if it takes "
        "no longer: this many at most. Default: any number.",
        kind=_COUNT,
    ),
    "sweep steps": Argument(
        "How many steps (updates of the model) each training takes. With --epochs too, whichever "
        "ends first.",
        kind=_COUNT,
    ),
    "noise steps": Argument(
        "How far to train; 0 measures the initial weights alone. Default: the planned "
        "training, or 10 epochs.",
        kind=_whole_number(0),
    ),
    "tune": Argument(
        "Also try a quarter and four times the optimizer's weight decay. Takes a budget of 30 "
        "trainings or more.",
        kind=("weight_decay",),
    ),
    "train_s": Argument(
        "With --objective quality: compare after this much training time instead of --epochs.",
        flag="--train-time",
        kind=_TRAIN_TIME,
    ),
    "memory_limit_bytes": Argument(
        "The most memory that training may take. Default: all there is.",
        flag="--memory-limit",
        kind=Text("2GiB", values.n_bytes),
        check=values.checked_memory_limit,
    ),
    "profile": Argument(
        "Answer for another machine: the file that batchlab profile --json made there.",
        kind=Path,
        check=values.read_profile,
    ),
    "settings": Argument(
        "Change a setting of the workload, such as width=64. Give it again for another setting.",
        flag="--set",
        kind=Text("KEY=VALUE", values.setting),
        is_repeated=True,
    ),
    "scaling_rule": Argument(
        "How to change the learning rates with the batch size. Those given are for the "
        "workload's own batch size. All but none also move AdamW's weight decay and beta 2; "
        "sde-adam both betas and eps.",
        kind=tuple(SCALING_RULES),
        default="none",
        check=_known_rule,
    ),
    "sampling": Argument(
        "reshuffle: each epoch takes every example once, in a new order. replacement: each step "
        "draws its examples at random.",
        kind=("reshuffle", "replacement"),
        default="reshuffle",
    ),
    "drop_last": Argument("Leave out the last batch of each epoch if it is smaller.", kind=bool),
    "micro_batch_size": Argument(
        "Cut each batch into pieces of this many examples, to save memory. Default: the "
        "whole batch.",
        kind=_COUNT,
        check=values.checked_micro_batch_size,
    ),
    "measure": Argument(
        "Also measure this at the start and at the end of each epoch: noise_scale, "
        "gradient_variance or top_eigenvalue; or at the start and at the end: sharpness, "
        "sharpness_half_box, sharpness_subspace or sharpness_subspace_half_box. Give it again for "
        "another.",
        kind=Text("NAME", str),
        is_repeated=True,
        check=values.checked_measurements,
    ),
    "plans": Argument(
        "Compare some of small,large,grow,decay, made of two --batch-sizes: small and large "
        "throughout, growing from one to the other, and small with its rate cut instead.",
        flag="--plan",
        kind=Text("small,large,grow,decay", values.split),
        check=values.checked_plans,
    ),
    "per_layer": Argument("Also show each trainable parameter alone, at the last step.", kind=bool),
    "branches": Argument(
        "Also measure the critical batch size along the training, by training on from it "
        "with larger batches. Takes a few times as long as the training.",
        kind=bool,
    ),
    "device": Argument(
        "Where to run: cpu, cuda, or cuda:1 for the second GPU.",
        default="cpu",
        check=values.checked_device,
    ),
    "trainer": Argument(
        "fastest: small models on a CPU are trained in C made for them, which agrees with "
        "PyTorch but for rounding. plain: PyTorch's own loop trains all.",
        kind=("fastest", "plain"),
        default="fastest",
    ),
    # A cluster is one value in Python, and these on the command line.
    "cluster": Argument("The Ray cluster that takes the trials.", check=values.checked_cluster),
    "engine": Argument(
        "Where to train. local: this machine. ray: the nodes of a Ray cluster. Steps are "
        "timed on this machine.",
        kind=("local", "ray"),
        default="local",
    ),
    "address": Argument(
        "With --engine ray: the cluster, as HOST:PORT, ray://HOST:PORT or auto. Whoever can "
        "reach a cluster can run code on it. Default: auto, RAY_ADDRESS or this machine's.",
        kind=Text("HOST:PORT", str),
    ),
    "cpus_per_trial": Argument(
        "With --engine ray: the processors of a node that one training takes. Default: 1.",
        kind=_COUNT,
    ),
    "gpus_per_trial": Argument(
        "With --engine ray: the GPU, or the part of one, that one training takes. Default: 1 "
        "with --device cuda.",
        kind=_number("0.5"),
    ),
    # The facts about a training command.
    "metric": Argument(
        "With a command of your own: the validation metric that counts, as your script "
        "prints it, such as val_loss. Default of profile: loss."
    ),
    "better": Argument(
        "Which way --metric improves. Needed where its name does not tell.",
        kind=("higher", "lower"),
    ),
    "examples": Argument(
        "With a command of your own: how many training examples there are. Default: by its "
        "progress, or assumed if that shows no number.",
        kind=_COUNT,
    ),
    "batch_size": Argument(
        "With a command of your own: the batch size that you train with now. Default: the "
        "flag's default, by the script's code or --help. Without one advise asks; others take the "
        "first of --batch-sizes, or 64.",
        kind=_COUNT,
    ),
    "learning_rate": Argument(
        "With a command of your own: the learning rate that you train with now. Default: the "
        "flag's default, by the script's code or --help.",
        kind=_number("0.001"),
    ),
    "pattern": Argument(
        "A regular expression that finds progress in the output, with groups such as "
        "(?P<step>...) and (?P<val_loss>...). Default: progress is known by its shape."
    ),
    "config": Argument(
        "A configuration file with placeholders. Each training gets a copy with its own "
        "values, at {config}.",
        kind=Path,
    ),
    "devices": Argument(
        "With a command of your own: on how many devices it trains at once, each with a part "
        "of every batch. {world_size} stands for it. Default: 1.",
        kind=_COUNT,
    ),
    # Where results are kept and shown.
    "store": Argument(
        "The file that keeps all results.", kind=Path, default="batchlab.db", check=Path
    ),
    "study_id": Argument("Which study, by the start of its id. Default: the last.", flag="--study"),
    "advise report": Argument(
        "Write the report to this file.", kind=Path, default="batchlab-report.html"
    ),
    "sweep report": Argument("Write the report to this file.", kind=Path),
    "noise report": Argument("Write a page to this file.", kind=Path),
    "output_format": Argument(
        "What to make of it. Default: html.",
        flag="--format",
        kind=("html", "text", "csv", "svg", "png", "json"),
    ),
    "path": Argument(
        "The file to write; csv, svg and png make several beside it. Default: "
        "batchlab-report.*, for text and json the terminal.",
        flag="--report",
        kind=Path,
    ),
    "live": Argument(
        "Write the page beside the store, or to --report, and show it in your browser. It is "
        "written anew every 20 s, and loads itself again, until the study has finished or Ctrl-C.",
        kind=bool,
    ),
    "output": Argument("The file to write.", kind=Path, default="model.safetensors"),
    "as_json": Argument("Print one JSON document and nothing else.", flag="--json", kind=bool),
    "quiet": Argument("Print only the result and errors: no progress, no warnings.", kind=bool),
    "explain": Argument("Also print what was done and why, step by step.", kind=bool),
    "require": Argument(
        "Exit with code 3 unless another configuration than yours is named, and the answer "
        "is as sure: likely (8 in 10) or sure (19 in 20) to be no slower and to end no worse.",
        kind=("likely", "sure"),
    ),
}
