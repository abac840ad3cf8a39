"""Arguments: one table of the commands' arguments, for command line, Python and agents.

For each argument the table has the flag, reader, help text and default. The command line makes
options from the table, the MCP server makes schemas, and `question.asked` converts Python values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from batchlab.app import argument_values as values
from batchlab.errors import UsageError
from batchlab.plans.scaling import SCALING_RULES


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command: how it is read, and how the command line shows it."""

    # The function that converts a given text or Python value to the argument's value. None for a
    # switch, and for an argument with `choices`.
    read: Callable[[Any], Any] | None = None
    expected: str = ""  # The possible values in words, for error messages.
    shown: str = ""  # The placeholder for the value in `--help`, such as "N".
    choices: Collection[str] = ()
    flag: str | None = None  # The option; None if it is the argument's name with dashes.
    default: object = None  # The default value, which `--help` shows unless it is None.
    is_repeated: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether the argument is an option without a value."""
        return self.read is None and not self.choices


def argument_of(command: str, name: str) -> Argument:
    """Return an argument of a command by the argument's name in Python, such as "batch_size"."""
    return ARGUMENTS.get(f"{command} {name}") or ARGUMENTS[name]


def help_of(command: str, name: str) -> str:
    """Return the help text of a command's argument."""
    return HELP.get(f"{command} {name}") or HELP[name]


def flag_of(command: str, name: str) -> str:
    """Return the command-line option of an argument, such as `--batch-size`."""
    return argument_of(command, name).flag or f"--{name.replace('_', '-')}"


def read(command: str, name: str, value: Any) -> Any:
    """Convert a text or a Python value to the value of a command's argument.

    Raises:
        UsageError: the value is not possible.
    """
    argument = argument_of(command, name)
    reader, expected = argument.read, argument.expected
    if reader is None and argument.choices:
        reader, expected = values.choice(*argument.choices), f"one of {', '.join(argument.choices)}"
    if reader is None:
        return value
    try:
        return reader(value)
    except UsageError:
        raise
    except (TypeError, ValueError, OverflowError):
        words = flag_of(command, name)[2:].replace("-", " ")
        raise UsageError(f"{words} {value!r}: expected {expected}") from None


_COUNT = partial(Argument, read=values.count, shown="N", expected="a whole number of at least 1")
_NUMBER = partial(Argument, read=values.positive, shown="NUMBER")
_TEXT = partial(Argument, read=values.text, shown="TEXT", expected="a text")
_PATH = partial(Argument, read=Path, shown="PATH", expected="a path")
_TIME = partial(
    Argument,
    read=values.seconds,
    shown="90s|5m|1h30m",
    expected="a time above 0, such as 90s, 5m or 1h30m",
)
_TARGET = partial(
    Argument,
    read=values.target,
    shown="METRIC=VALUE",
    expected="a metric and its value, such as accuracy=0.97",
)
_SIZES = partial(
    Argument,
    read=values.batch_sizes,
    shown="64,256,full",
    expected="whole numbers of at least 1, or full for the whole training set, such as 64,256,full",
)

# The arguments, by their names in Python. For the command `sweep`, an entry such as "sweep budget"
# replaces the entry "budget".
ARGUMENTS: Mapping[str, Argument] = {
    "objective": Argument(choices=("time", "samples", "quality"), default="time"),
    "target": _TARGET(),
    "margin": _NUMBER(
        expected="more than 0, in the unit of the metric that counts, such as 0.002 of an accuracy"
    ),
    "budget": _TIME(default="60s"),
    "advise budget": _TIME(),
    "sweep budget": _TIME(),
    "batch_sizes": _SIZES(),
    "learning_rates": Argument(
        read=values.learning_rates,
        shown="0.01,0.1",
        expected="finite numbers above 0, such as 0.01,0.1",
    ),
    "seeds": _COUNT(default=1),
    "epochs": _COUNT(),
    "at_most_epochs": _COUNT(),
    "sweep steps": _COUNT(),
    "noise steps": Argument(
        read=partial(values.count, least=0),
        shown="N",
        expected="0, for only the initial weights, or more",
    ),
    "memory_limit_bytes": Argument(
        read=values.n_bytes,
        shown="2GiB",
        expected="a number of bytes above 0, such as 2GiB, 1.5GB or 500MB",
        flag="--memory-limit",
    ),
    "profile": Argument(
        read=values.read_profile,
        shown="PATH",
        expected="the file that batchlab profile --json made",
    ),
    "settings": Argument(
        read=values.settings,
        shown="KEY=VALUE",
        expected="values by name",
        flag="--set",
        is_repeated=True,
    ),
    "scaling_rule": Argument(choices=SCALING_RULES, default="none"),
    "sampling": Argument(choices=("reshuffle", "replacement"), default="reshuffle"),
    "drop_last": Argument(),
    "micro_batch_size": _COUNT(),
    "measure": Argument(read=values.measurements, shown="NAME", expected="names", is_repeated=True),
    "plans": Argument(
        read=values.plans,
        shown="small,large,grow,decay",
        expected="some of small, large, grow and decay",
        flag="--plan",
    ),
    "device": Argument(
        read=values.device, shown="TEXT", expected="cpu, cuda or cuda:N", default="cpu"
    ),
    "trainer": Argument(choices=("fastest", "plain"), default="fastest"),
    "cluster": Argument(
        read=values.cluster,
        expected="a batchlab.Cluster, such as Cluster(address='auto')",
    ),
    "engine": Argument(choices=("local", "ray"), default="local"),
    "address": _TEXT(shown="HOST:PORT"),
    "cpus_per_trial": _COUNT(),
    "gpus_per_trial": Argument(read=float, shown="NUMBER", expected="a number, such as 0.5"),
    "metric": _TEXT(),
    "better": Argument(choices=("higher", "lower")),
    "examples": _COUNT(),
    "batch_size": _COUNT(),
    "learning_rate": _NUMBER(expected="a finite number above 0, such as 0.01"),
    "pattern": _TEXT(read=values.pattern),
    "config": _PATH(),
    "devices": _COUNT(),
    "store": _PATH(default="batchlab.db"),
    "study_id": _TEXT(flag="--study"),
    "report": _PATH(),
    "advise report": _PATH(default="batchlab-report.html"),
    "output_format": Argument(
        choices=("html", "text", "csv", "svg", "png", "json"), flag="--format"
    ),
    "path": _PATH(flag="--report"),
    "output": _PATH(default="model.safetensors"),
    "as_json": Argument(flag="--json"),
    "quiet": Argument(),
    "explain": Argument(),
    "require": Argument(choices=("likely", "sure")),
}

# The help texts of the arguments; the keys have the same form as the keys of `ARGUMENTS`.
HELP: Mapping[str, str] = {
    "objective": "What counts as best. time: the least time to the target. samples: the largest "
    "batch size that needs hardly more examples to reach it. quality: the best validation metric "
    "after --epochs.",
    "advise target": "The value on validation data at which a model counts as trained, such as "
    "accuracy=0.97. Default: the workload's own target, or the final value of your training.",
    "sweep target": "End each training when it reaches this value on validation data, such as "
    "accuracy=0.97.",
    "margin": "How much worse a training may end and still count as ending as well, in the "
    "metric's unit. Default: 5 % of what was learned or, if less, of the remaining errors.",
    "budget": "Stop after this time at most.",
    "advise budget": "Answer within this time. Default: 3m.",
    "sweep budget": "Stop after this time at most. Run the command again to continue. Default: no "
    "limit.",
    "advise batch_sizes": "Batch sizes to compare with the workload's own; full is the whole "
    "training set. Default: powers of two from 8; for your own command, its batch size doubled and "
    "halved repeatedly.",
    "sweep batch_sizes": "Batch sizes to compare; full is the whole training set. Default: full, "
    "and 64, 256 and 1024 if they are smaller.",
    "profile batch_sizes": "Batch sizes to measure; full is the whole training set. Default: 1, "
    "2, 4 and so on to full, and the workload's own.",
    "learning_rates": "Train each batch size at each of these rates. Default: the workload's own "
    "rate.",
    "seeds": "Train each combination this many times, each time with other random numbers.",
    "advise epochs": "How many epochs your training takes. Default: the workload's own number, or "
    "what the budget allows; 10 for objective quality, or with a schedule.",
    "sweep epochs": "How many epochs each training takes. Default: the workload's own number, or "
    "10; no limit if --steps is given. A script without {epochs} trains for as long as it does by "
    "itself.",
    "at_most_epochs": "For objective time: another batch size may train for at most this many "
    "epochs, which may be more than yours if it takes no longer. Default: any number.",
    "sweep steps": "How many steps (updates of the model) each training takes. With --epochs, a "
    "training ends at whichever comes first.",
    "noise steps": "How many steps to train; 0 measures only the initial weights. Default: the "
    "planned training, or 10 epochs.",
    "memory_limit_bytes": "The memory limit for training. Default: all memory of the device.",
    "profile": "Answer for another machine: the file that batchlab profile --json wrote there.",
    "settings": "Change a setting of the workload, such as width=64. Can be given several times.",
    "scaling_rule": "How to change the learning rates with the batch size. The rates given are "
    "for the workload's own batch size. All rules except none also change AdamW's weight decay and "
    "beta 2; sde-adam changes both betas and eps.",
    "sampling": "reshuffle: each epoch uses every example once, in a new order. replacement: each "
    "step draws its examples at random.",
    "drop_last": "Leave out the last batch of each epoch if it is smaller.",
    "micro_batch_size": "Split each batch into micro-batches of this many examples, to save "
    "memory. Default: the whole batch.",
    "measure": "Also measure noise_scale or gradient_variance at the start and after each epoch, "
    "or sharpness at the start and at the end. Can be given several times.",
    "plans": "Compare some of small,large,grow,decay, made of two --batch-sizes: the small one, "
    "the large one, one that grows from small to large, and the small one with a decaying rate "
    "instead.",
    "device": "Where to run: cpu, cuda, or cuda:1 for the second GPU.",
    "trainer": "fastest: small models on a CPU are trained by C code generated for them, which "
    "agrees with PyTorch except for rounding. plain: PyTorch trains all models.",
    "engine": "Where to train. local: on this machine. ray: on the nodes of a Ray cluster; steps "
    "are still timed on this machine.",
    "address": "With --engine ray: the cluster, as HOST:PORT, ray://HOST:PORT or auto. Anyone who "
    "can reach a cluster can run code on it. Default: auto, which uses RAY_ADDRESS or a cluster on "
    "this machine.",
    "cpus_per_trial": "With --engine ray: the processors that each training takes on a node. "
    "Default: 1.",
    "gpus_per_trial": "With --engine ray: the GPUs, or the fraction of one, that each training "
    "takes. Default: 1 with --device cuda.",
    "metric": "With your own command: the validation metric to compare, as your script prints it, "
    "such as val_loss. Default of profile: loss.",
    "better": "Whether higher or lower values of --metric are better. Needed if its name does not "
    "show it.",
    "examples": "With your own command: the number of training examples. Default: read from its "
    "progress, or assumed if its progress shows no number.",
    "batch_size": "With your own command: the batch size that you train with now. Default: the "
    "flag's default in the script's code. If there is none, advise asks for it; other commands use "
    "the first of --batch-sizes, or 64.",
    "learning_rate": "With your own command: the learning rate that you train with now. Default: "
    "the flag's default in the script's code.",
    "pattern": "A regular expression that finds progress in the output, with groups such as "
    "(?P<step>...) and (?P<val_loss>...). Default: common formats are recognized.",
    "config": "A configuration file with placeholders. Each training gets a copy with its own "
    "values, whose path replaces {config}.",
    "devices": "With your own command: the number of devices that it trains on, each with a part "
    "of every batch. It replaces {world_size}. Default: 1.",
    "store": "The file that keeps all results.",
    "study_id": "The study, given by the start of its id. Default: the latest.",
    "report": "Write the report to this file.",
    "output_format": "The format to write. Default: html.",
    "path": "The file to write; csv, svg and png write several files next to it. Default: "
    "batchlab-report.*, or the terminal for text and json.",
    "output": "The file to write.",
    "as_json": "Print only one JSON document.",
    "quiet": "Print only the result and errors: no progress, no warnings.",
    "explain": "Also print each decision with its reason.",
    "require": "Exit with code 3 unless the answer is another configuration than yours, and is at "
    "least this sure to be no slower and to end no worse: likely (8 in 10) or sure (19 in 20).",
}
