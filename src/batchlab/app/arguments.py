"""Arguments: one table of the commands' arguments, for command line, Python and agents.

For each argument the table has its flag, conversion, check, help text and default. The command
line makes options from the table, the server for agents makes schemas, and `asked` checks calls
from Python.
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
class TypedText:
    """The kind of an argument that the command line converts from a text."""

    shown: str  # the placeholder in `--help`
    read: Callable[[str], object]  # converts; may raise a UsageError or ValueError
    expected: str = ""  # what the message for a ValueError asks for


# On the command line an argument is a text (converted or not), a path, a switch that is true if
# given, or one of several choices.
ArgumentKind = TypedText | type[str] | type[Path] | type[bool] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, as every interface knows it."""

    kind: ArgumentKind  # how its text is read
    flag: str | None = None  # its option, if not its name with dashes
    default: object = None  # the value if not given; `--help` shows it unless None
    is_repeated: bool = False
    # Converts a value given in Python, or refuses it. If None, whole numbers and choices are
    # checked by their kind.
    check: Callable[[Any], Any] | None = None


def argument_of(command: str, name: str) -> Argument | None:
    """Return an argument of a command, or None if no command has such an argument."""
    return ARGUMENTS.get(f"{command} {name}") or ARGUMENTS.get(name)


def help_of(command: str, name: str) -> str:
    """Return the help text of an argument in a command."""
    return HELP.get(f"{command} {name}") or HELP[name]


def checked(command: str, name: str, value: Any) -> Any:
    """Return an argument's value, given in Python, as the command takes it, or refuse it."""
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
    scaling_rule(rule)  # raises an error for an unknown rule
    return rule


def _whole_number(least: int) -> TypedText:
    def read(text: str) -> int:
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) or int(text) < least:
            raise ValueError
        return int(text)

    return TypedText("N", read, f"a whole number of at least {least}")


def _number(example: str) -> TypedText:
    return TypedText("NUMBER", float, f"a number, such as {example}")


_COUNT = _whole_number(1)
_SIZES = TypedText("64,256,full", values.batch_sizes)
_TARGET = TypedText("METRIC=VALUE", values.target)
_BUDGET = TypedText("90s|5m|1h30m", seconds_of)
_TRAIN_TIME = TypedText("90s|5m|1h30m", partial(seconds_of, what="train time"))

# The arguments by name in Python; with the command before the name if they differ by command.
ARGUMENTS: Mapping[str, Argument] = {
    "objective": Argument(("time", "samples", "quality"), default="time"),
    "target": Argument(_TARGET),
    "margin": Argument(_number("0.002"), check=values.checked_margin),
    "budget": Argument(_BUDGET, default="60s"),
    "advise budget": Argument(_BUDGET),
    "sweep budget": Argument(_BUDGET),
    "trainings": Argument(_number("4")),
    "batch_sizes": Argument(_SIZES, check=values.checked_batch_sizes),
    "learning_rates": Argument(
        TypedText("0.01,0.1", values.learning_rates), check=values.checked_rates
    ),
    "seeds": Argument(_COUNT, default=1),
    "epochs": Argument(_COUNT),
    "at_most_epochs": Argument(_COUNT),
    "sweep steps": Argument(_COUNT),
    "noise steps": Argument(_whole_number(0)),
    "tune": Argument(("weight_decay",)),
    "train_s": Argument(_TRAIN_TIME, flag="--train-time"),
    "memory_limit_bytes": Argument(
        TypedText("2GiB", values.n_bytes), flag="--memory-limit", check=values.checked_memory_limit
    ),
    "profile": Argument(Path, check=values.read_profile),
    "settings": Argument(TypedText("KEY=VALUE", values.setting), flag="--set", is_repeated=True),
    "scaling_rule": Argument(tuple(SCALING_RULES), default="none", check=_known_rule),
    "sampling": Argument(("reshuffle", "replacement"), default="reshuffle"),
    "drop_last": Argument(bool),
    "micro_batch_size": Argument(_COUNT, check=values.checked_micro_batch_size),
    "measure": Argument(
        TypedText("NAME", str), is_repeated=True, check=values.checked_measurements
    ),
    "plans": Argument(
        TypedText("small,large,grow,decay", values.split), flag="--plan", check=values.checked_plans
    ),
    "device": Argument(str, default="cpu", check=values.checked_device),
    "trainer": Argument(("fastest", "plain"), default="fastest"),
    "cluster": Argument(str, check=values.checked_cluster),
    "engine": Argument(("local", "ray"), default="local"),
    "address": Argument(TypedText("HOST:PORT", str)),
    "cpus_per_trial": Argument(_COUNT),
    "gpus_per_trial": Argument(_number("0.5")),
    "metric": Argument(str),
    "better": Argument(("higher", "lower")),
    "examples": Argument(_COUNT),
    "batch_size": Argument(_COUNT),
    "learning_rate": Argument(_number("0.001")),
    "pattern": Argument(str),
    "config": Argument(Path),
    "devices": Argument(_COUNT),
    "store": Argument(Path, default="batchlab.db", check=Path),
    "study_id": Argument(str, flag="--study"),
    "report": Argument(Path),
    "advise report": Argument(Path, default="batchlab-report.html"),
    "output_format": Argument(("html", "text", "csv", "svg", "png", "json"), flag="--format"),
    "path": Argument(Path, flag="--report"),
    "live": Argument(bool),
    "output": Argument(Path, default="model.safetensors"),
    "as_json": Argument(bool, flag="--json"),
    "quiet": Argument(bool),
    "explain": Argument(bool),
    "require": Argument(("likely", "sure")),
}

# The help texts, by the same names.
HELP: Mapping[str, str] = {
    "objective": "What is best. time: the least time to the target. samples: the largest batch "
    "size that needs hardly more examples to get there. quality: the best validation metric after "
    "--epochs or --train-time.",
    "advise target": "How good a model must be on validation data to count as trained, such as "
    "accuracy=0.97. Default: the workload's own target, or what your training ends with.",
    "sweep target": "End each training once it is this good on validation data, such as "
    "accuracy=0.97.",
    "margin": "How much worse a training may end and still count as ending as well, in the "
    "metric's unit. Default: 5 % of what was learned or of the remaining errors, whichever is "
    "less.",
    "budget": "Stop after this much time at most.",
    "advise budget": "Answer within this much time. Default: 3m.",
    "sweep budget": "Stop after this much time at most. The same command goes on later. Default: "
    "no limit.",
    "trainings": "The budget as a number of trainings as you do them now, such as 4. For models "
    "that train for hours.",
    "advise batch_sizes": "Batch sizes to compare with the workload's own; full is the whole "
    "training set. Default: powers of two from 8; of a command its own one doubled and halved.",
    "sweep batch_sizes": "Batch sizes to compare; full is the whole training set. Default: full, "
    "and those of 64, 256 and 1024 that are smaller.",
    "profile batch_sizes": "Batch sizes to measure; full is the whole training set. Default: 1, "
    "2, 4 and so on to full, and the workload's own.",
    "learning_rates": "Train each batch size at each of these. Default: the workload's own rate.",
    "seeds": "Train each combination this often, each time with other random numbers.",
    "advise epochs": "How many epochs a training of yours takes. Default: the workload's own "
    "number, or what the budget allows; 10 for quality, or with a schedule.",
    "sweep epochs": "How often each training goes through the training data. Default: the "
    "workload's own number, or 10; no limit where --steps is given. A script without {epochs} "
    "trains as long as it does by itself.",
    "at_most_epochs": "For the least time another batch size may train for more epochs than "
    "yours, if it takes no longer: this many at most. Default: any number.",
    "sweep steps": "How many steps (updates of the model) each training takes. With --epochs too, "
    "whichever ends first.",
    "noise steps": "How far to train; 0 measures the initial weights alone. Default: the planned "
    "training, or 10 epochs.",
    "tune": "Also try a quarter and four times the optimizer's weight decay. Takes a budget of 30 "
    "trainings or more.",
    "train_s": "With --objective quality: compare after this much training time instead of "
    "--epochs.",
    "memory_limit_bytes": "The most memory that training may take. Default: all there is.",
    "profile": "Answer for another machine: the file that batchlab profile --json made there.",
    "settings": "Change a setting of the workload, such as width=64. Give it again for another "
    "setting.",
    "scaling_rule": "How to change the learning rates with the batch size. Those given are for "
    "the workload's own batch size. All but none also move AdamW's weight decay and beta 2; "
    "sde-adam both betas and eps.",
    "sampling": "reshuffle: each epoch takes every example once, in a new order. replacement: "
    "each step draws its examples at random.",
    "drop_last": "Leave out the last batch of each epoch if it is smaller.",
    "micro_batch_size": "Cut each batch into pieces of this many examples, to save memory. "
    "Default: the whole batch.",
    "measure": "Also measure this at the start and at the end of each epoch: noise_scale, "
    "gradient_variance or top_eigenvalue; or at the start and at the end: sharpness, "
    "sharpness_half_box, sharpness_subspace or sharpness_subspace_half_box. Give it again for "
    "another.",
    "plans": "Compare some of small,large,grow,decay, made of two --batch-sizes: small and large "
    "throughout, growing from one to the other, and small with its rate cut instead.",
    "device": "Where to run: cpu, cuda, or cuda:1 for the second GPU.",
    "trainer": "fastest: small models on a CPU are trained in C made for them, which agrees with "
    "PyTorch but for rounding. plain: PyTorch's own loop trains all.",
    "engine": "Where to train. local: this machine. ray: the nodes of a Ray cluster. Steps are "
    "timed on this machine.",
    "address": "With --engine ray: the cluster, as HOST:PORT, ray://HOST:PORT or auto. Whoever "
    "can reach a cluster can run code on it. Default: auto, RAY_ADDRESS or this machine's.",
    "cpus_per_trial": "With --engine ray: the processors of a node that one training takes. "
    "Default: 1.",
    "gpus_per_trial": "With --engine ray: the GPU, or the part of one, that one training takes. "
    "Default: 1 with --device cuda.",
    "metric": "With a command of your own: the validation metric that counts, as your script "
    "prints it, such as val_loss. Default of profile: loss.",
    "better": "Which way --metric improves. Needed where its name does not tell.",
    "examples": "With a command of your own: how many training examples there are. Default: by "
    "its progress, or assumed if that shows no number.",
    "batch_size": "With a command of your own: the batch size that you train with now. Default: "
    "the flag's default, by the script's code or --help. Without one advise asks; others take the "
    "first of --batch-sizes, or 64.",
    "learning_rate": "With a command of your own: the learning rate that you train with now. "
    "Default: the flag's default, by the script's code or --help.",
    "pattern": "A regular expression that finds progress in the output, with groups such as "
    "(?P<step>...) and (?P<val_loss>...). Default: progress is known by its shape.",
    "config": "A configuration file with placeholders. Each training gets a copy with its own "
    "values, at {config}.",
    "devices": "With a command of your own: on how many devices it trains at once, each with a "
    "part of every batch. {world_size} stands for it. Default: 1.",
    "store": "The file that keeps all results.",
    "study_id": "Which study, by the start of its id. Default: the last.",
    "report": "Write the report to this file.",
    "noise report": "Write a page to this file.",
    "output_format": "What to make of it. Default: html.",
    "path": "The file to write; csv, svg and png make several beside it. Default: "
    "batchlab-report.*, for text and json the terminal.",
    "live": "Write the page beside the store, or to --report, and show it in your browser. It is "
    "written anew every 20 s, and loads itself again, until the study has finished or Ctrl-C.",
    "output": "The file to write.",
    "as_json": "Print one JSON document and nothing else.",
    "quiet": "Print only the result and errors: no progress, no warnings.",
    "explain": "Also print what was done and why, step by step.",
    "require": "Exit with code 3 unless another configuration than yours is named, and the answer "
    "is as sure: likely (8 in 10) or sure (19 in 20) to be no slower and to end no worse.",
}
