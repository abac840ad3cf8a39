"""TrainingCommand: a training command of any script, with its placeholders."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchlab.errors import UsageError
from batchlab.records.quantities import Better, direction_of
from batchlab.records.trial import Trial
from batchlab.script.trained_size import TrainedSize

PLACEHOLDERS = (
    *("batch_size", "micro_batch_size", "accumulation_steps", "world_size", "learning_rate"),
    *("seed", "epochs", "steps", "output_dir", "resume_from", "config"),
)
PlaceholderValue = int | float | str | Path

# `${name}` belongs to a shell or to Hydra; `{{name}}` stands for the text `{name}`. Braces around
# anything but a lower-case name, as in JSON, are text.
_PLACEHOLDER = re.compile(r"(?P<kept>\$\{[^}]*\}|\{\{[a-z_]\w*\}\})|\{(?P<name>[a-z_][a-z0-9_]*)\}")


def placeholders_in(text: str, *, where: str) -> list[str]:
    """Return the names of the placeholders in a text, in order; `where` describes the text.

    Raises:
        UsageError: a placeholder is unknown; the message lists the known ones.
    """
    names = []
    for match in _PLACEHOLDER.finditer(text):
        if match["name"]:
            names.append(match["name"])
    for name in names:
        if name not in PLACEHOLDERS:
            placeholders = ", ".join(map("{{{}}}".format, PLACEHOLDERS))
            raise UsageError(
                f"unknown placeholder {{{name}}} in {where}: there are {placeholders}; for the "
                f"text itself write {{{{{name}}}}}"
            )
    return names


def _with_values(text: str, values: Mapping[str, PlaceholderValue | None]) -> str:
    """Return the text with a value in place of each placeholder, and {name} in place of {{name}}.

    Raises:
        UsageError: a placeholder has no value.
    """

    def replaced(match: re.Match[str]) -> str:
        kept: str | None = match["kept"]
        if kept is None:
            return _written_value(match["name"], values.get(match["name"]))
        return kept[1:-1] if kept.startswith("{") else kept

    return _PLACEHOLDER.sub(replaced, text)


def _written_value(name: str, value: PlaceholderValue | None) -> str:
    """Return a value as text from which Python and argparse read exactly that value.

    Raises:
        UsageError: there is no value.
    """
    if value is None and name == "resume_from":
        return ""  # There is no checkpoint to resume from yet.
    if value is None:
        raise UsageError(f"there is no value for {{{name}}} here; leave it out of the command")
    if isinstance(value, str | Path):
        return str(value)
    if name == "learning_rate":
        # YAML 1.1 reads 1e-05 as text, because numbers need a decimal point: write 1.0e-05.
        return re.sub(r"^(\d+)e", r"\1.0e", repr(float(value)))
    return str(int(value))


def plain_flag(name: str) -> str:
    """Return a flag in a normal form for comparison: `max_epochs` for `--trainer.max-epochs`."""
    return name.lstrip("-").replace("-", "_").lower().rpartition(".")[2]


def flag_of(arguments: Sequence[str], placeholder: str) -> str | None:
    """Return the flag before a placeholder (`--lr {...}` or `optim.lr={...}`), or None."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        flag, _, value = argument.partition("=")
        if value == f"{{{placeholder}}}" and flag:
            return flag
        if argument == f"{{{placeholder}}}" and before.startswith("-"):
            return before
    return None


_EXAMPLE = "python train.py --batch-size {batch_size}"


def placeholders_of(argv: Sequence[str], config: Path | None) -> frozenset[str]:
    """Return the names of the placeholders in the arguments and in the template `config`, if any.

    Raises:
        UsageError: the command is empty, a placeholder is unknown, there is no placeholder for the
            batch size, or only one of `{config}` and a template is given.
    """
    if not argv:
        raise UsageError(f"no command was given; give it after --, as in -- {_EXAMPLE}")
    if len(argv) == 1 and " " in argv[0].strip():
        raise UsageError(
            f"the command {argv[0]!r} is one argument with spaces in it; leave out the quotes "
            f"around it, as in -- {_EXAMPLE}"
        )
    in_config = config and {*placeholders_in(_template(config), where=str(config))}
    names: set[str] = set()
    for argument in argv:
        names.update(placeholders_in(argument, where=f"the argument {argument!r}"))
    if ("config" in names) != (in_config is not None):
        raise UsageError(
            "{config} in the command, where it takes its configuration file, and --config FILE, "
            "the template with placeholders, go together; give both or neither"
        )
    names |= in_config or set()
    if "batch_size" in names:
        return frozenset(names)
    if "micro_batch_size" not in names:
        raise UsageError(
            f"the command has no placeholder for the batch size; put {{batch_size}} where it takes "
            f"one, as in -- {_EXAMPLE}; where it reads a variable of the environment, as in -- env "
            f"BATCH_SIZE={{batch_size}} python train.py"
        )
    if not names & {"accumulation_steps", "world_size"}:
        raise UsageError(
            "the command holds {micro_batch_size} without {accumulation_steps} or {world_size}; "
            "give them too, or only {batch_size} if no gradients are accumulated"
        )
    return frozenset(names)


def filled_arguments(
    argv: Sequence[str], values: Mapping[str, PlaceholderValue | None]
) -> list[str]:
    """Return the arguments with their placeholders replaced; ignore values of unused placeholders.

    If `resume_from` has no value, leave out the argument that contains its placeholder. If that
    argument consists of the placeholder only, as in `--resume {resume_from}`, leave out the flag
    before it too.

    Raises:
        UsageError: a placeholder of the command has no value, or an invalid value.
    """
    filled: list[str] = []
    for argument in argv:
        names = placeholders_in(argument, where="the command")
        if values.get("resume_from") is None and "resume_from" in names:
            has_flag = bool(filled) and filled[-1].startswith("-") and "=" not in filled[-1]
            if argument == "{resume_from}" and has_flag:
                filled.pop()
            continue
        filled.append(_with_values(argument, values))
    return filled


def _template(path: Path) -> str:
    """Return the text of a configuration file with placeholders.

    Raises:
        UsageError: the file can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        trouble = getattr(error, "strerror", "it is no text in UTF-8")
        raise UsageError(f"configuration template {path} can't be read: {trouble}") from None


# The batch size that the user is assumed to train with now if none is given.
_BATCH_SIZE = 64
# If a command has no {learning_rate}, its trials have this number as their learning rate.
_NO_RATE = 1.0
# The assumed number of steps per epoch: a prime number, so that the assumed number of training
# examples rarely equals the true number of a data set.
_STEPS_OF_EPOCH = 97


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCommand:
    """A training command with placeholders, and the facts about it that batchlab needs.

    Attributes:
        arguments: the program and its arguments, such as ("python", "train.py", "--batch-size",
            "{batch_size}", "--lr", "{learning_rate}"). No shell interprets them.
        metric: the validation metric of the study, by the name that the script prints.
        better: whether higher or lower values are better; None to decide by the metric's name.
        examples: the number of training examples; None to derive the number from the progress.
        batch_size: the batch size that the user trains with now.
        learning_rate: the rate that the user trains with now; None without {learning_rate}.
        epochs: how many epochs the user's training takes; None if the number was not given.
        pattern: a regular expression that finds progress in the output; None to detect the format.
        config: the template of a configuration file, for {config}; None if there is none.
        folder: the working directory of the command; None for batchlab's working directory.
        devices: the number of devices that share each batch: the {world_size} of the launcher.
        grows: whether the script's batch grows to {batch_size} during a training.
        placeholders: the names of all placeholders in the arguments and in `config`.

    Raises:
        UsageError: the batch size has no placeholder, a placeholder is unknown, the direction of
            the metric is unknown, or a number is out of range.
    """

    arguments: Sequence[str]
    metric: str
    better: Better | None = None
    examples: int | None = None
    batch_size: int = _BATCH_SIZE
    learning_rate: float | None = None
    epochs: int | None = None
    pattern: str | None = None
    config: Path | None = None
    folder: Path | None = None
    devices: int = 1
    grows: bool = False
    placeholders: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values, so that an invalid value raises an error with a clear message now."""
        object.__setattr__(self, "arguments", tuple(self.arguments))
        config = self.config and self.place / self.config
        object.__setattr__(self, "placeholders", placeholders_of(self.arguments, config))
        if self.better is None and direction_of(self.metric) is None:
            raise UsageError(
                f"metric {self.metric!r}: its name does not show whether higher or lower is "
                "better; give --better higher or --better lower"
            )
        for name in ("examples", "batch_size", "epochs", "devices"):
            count = getattr(self, name)
            if count is not None and not (isinstance(count, int) and count >= 1):
                raise UsageError(f"{name}={count!r}: expected a whole number of at least 1")
        if self.devices > 1 and not self.takes("world_size"):
            raise UsageError(
                f"devices {self.devices}: the command has no {{world_size}}, so it would not act; "
                f"put it where its launcher takes the number of processes, such as torchrun "
                f"--nproc-per-node {{world_size}}"
            )
        rate = self.learning_rate
        if rate is None and self.takes("learning_rate"):
            raise UsageError(
                "the command has {learning_rate}, but the rate that you train with now is not "
                "known; give --learning-rate, such as --learning-rate 0.001"
            )
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"learning rate {rate!r}: expected a number above 0, such as 0.01")
        if rate is not None and not self.takes("learning_rate"):
            raise UsageError(
                f"learning rate {rate:g}: the command has no {{learning_rate}}, so it would not "
                f"act; put it where your script takes its rate, such as --lr {{learning_rate}}"
            )

    @property
    def direction(self) -> Better:
        """The better direction of the metric: `better` if given, else by the metric's name."""
        direction = self.better or direction_of(self.metric)
        assert direction is not None
        return direction

    @property
    def unit(self) -> str:
        """What the batch size counts, by the name of its flag: "examples" or "tokens"."""
        flag = flag_of(self.arguments, "batch_size") or ""
        return "tokens" if "tokens" in plain_flag(flag).split("_") else "examples"

    @property
    def has_limit(self) -> bool:
        """Whether {batch_size} is only an upper limit, so that batches may be smaller."""
        return self.grows or self.unit == "tokens"

    def trained_size(self, trial: Trial) -> TrainedSize:
        """Return an object that compares the output of a run with the batch size of `trial`."""
        # A number of examples that was derived from the steps of an epoch may be too low by almost
        # one batch.
        most: float = self.examples or trial.n_train + self.batch_size - 1
        if self.assumes_examples(trial.n_train):
            most = math.inf
        return TrainedSize(trial, most_examples=most, is_limit=self.has_limit)

    def own_trial(self, batch_size: int | None = None) -> Trial:
        """Return a trial with the user's current settings, but with `batch_size` if given."""
        size = batch_size or self.batch_size
        return Trial(
            workload_id=self.name,
            workload=self.name,
            n_train=self.examples or size,  # use the batch size until the number is known
            batch_size=size,
            learning_rate=self.learning_rate or _NO_RATE,
            seed=0,
            world_size=self.devices,
        )

    @property
    def assumed_examples(self) -> int:
        """The number of training examples to assume if the progress does not show the number."""
        return _STEPS_OF_EPOCH * self.batch_size

    def assumes_examples(self, n_train: int) -> bool:
        """Return whether `n_train` is only the assumed number of training examples."""
        return self.examples is None and n_train == self.assumed_examples

    @property
    def spans_a_length(self) -> bool:
        """Whether the script receives its training length, as a value of {epochs} or {steps}."""
        return self.takes("epochs") or self.takes("steps")

    @property
    def place(self) -> Path:
        """The folder that the command runs in, as an absolute path."""
        return (self.folder or Path()).absolute()

    @property
    def name(self) -> str:
        """The display name of the command: the file name of its script, or else of its program."""
        for argument in self.arguments:
            if argument.endswith((".py", ".sh")):
                return Path(argument).name
        return Path(self.arguments[0]).name

    def filled(
        self, values: Mapping[str, PlaceholderValue | None], *, folder: Path, output_dir: Path
    ) -> list[str]:
        """Return the arguments of one training; write its configuration file, if any, to `folder`.

        Raises:
            UsageError: a placeholder has no value, or an invalid value.
        """
        values = {**values, "output_dir": output_dir}
        if self.config is not None:
            written = folder / self.config.name
            text = _with_values(_template(self.place / self.config), values)
            written.write_text(text, encoding="utf-8")
            values["config"] = written
        return filled_arguments(self.arguments, values)

    def takes(self, placeholder: str) -> bool:
        """Return whether the command contains this placeholder."""
        return placeholder in self.placeholders


def trial_values(trial: Trial, *, last_step: int) -> dict[str, PlaceholderValue | None]:
    """Return the placeholder values of one training, except for its folders.

    {steps} and {epochs} give the trial's horizon, over which the script may decay its learning
    rate. If the trial has no horizon, they give `last_step`, at which batchlab ends the training at
    the latest.
    """
    steps = trial.horizon_steps or last_step
    return {
        "batch_size": trial.batch_size,
        "micro_batch_size": trial.process_batch_size,
        "world_size": trial.world_size,
        "accumulation_steps": -(-trial.batch_size // trial.micro_batch_size),
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "steps": steps,
        "epochs": max(1, math.ceil(trial.plan.epoch_at(steps))),
        "resume_from": None,
    }
