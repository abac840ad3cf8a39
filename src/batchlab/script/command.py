"""TrainingCommand: anybody's training command, with its placeholders."""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batchlab.errors import UsageError
from batchlab.records.quantities import Better
from batchlab.records.trial import Trial
from batchlab.script.metric import direction_of

COUNTS = ("batch_size", "micro_batch_size", "accumulation_steps", "seed", "epochs", "steps")
RATES = ("learning_rate",)
PATHS = ("output_dir", "resume_from", "config")
PLACEHOLDERS = (*COUNTS[:3], *RATES, *COUNTS[3:], *PATHS)
Value = int | float | str | Path

# What other programs call them.
_ELSEWHERE = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "bs": "batch_size",
    "batch": "batch_size",
    "micro_batch": "micro_batch_size",
    "grad_accum": "accumulation_steps",
    "gradient_accumulation_steps": "accumulation_steps",
    "epoch": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "max_steps": "steps",
    "output": "output_dir",
    "out_dir": "output_dir",
    "resume": "resume_from",
    "checkpoint": "resume_from",
    "config_file": "config",
}
# `${name}` belongs to a shell or to Hydra; `{{name}}` stands for the text `{name}`. Braces around
# anything but a lower-case name, as in JSON, are text.
_PLACEHOLDER = re.compile(r"(?P<kept>\$\{[^}]*\}|\{\{[a-z_]\w*\}\})|\{(?P<name>[a-z_][a-z0-9_]*)\}")


def placeholders_in(text: str, *, where: str) -> list[str]:
    """The names of the placeholders in a text, in order.

    Args:
        text: an argument, or a file's text.
        where: what the text is, for the message.

    Raises:
        UsageError: one of them is unknown; the message says which may be meant.
    """
    names = [match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"]]
    for name in names:
        if name not in PLACEHOLDERS:
            raise UsageError(f"unknown placeholder {{{name}}} in {where}: {_meant(name)}")
    return names


def with_values(text: str, written: Callable[[str, int, int], str]) -> str:
    """The text with its placeholders replaced.

    Args:
        text: with placeholders that `placeholders_in` knows.
        written: what takes the place of one: of its name, and where it begins and ends in `text`.
    """

    def replaced(match: re.Match[str]) -> str:
        kept: str | None = match["kept"]
        if kept is None:
            return written(match["name"], match.start(), match.end())
        return kept[1:-1] if kept.startswith("{") else kept

    return _PLACEHOLDER.sub(replaced, text)


def written_value(name: str, value: Value | None) -> str:
    """A value so that Python and argparse read back exactly the same.

    Raises:
        UsageError: there is no value, or one that is no count for a placeholder that is one.
    """
    if value is None:
        raise UsageError(f"there is no value for {{{name}}} here; leave it out of the command")
    if name in COUNTS:
        count = int(value) if not isinstance(value, str | Path) else None
        if count is None or count != value:
            raise UsageError(f"{{{name}}} is a whole number, not {value!r}")
        return str(count)
    if name in RATES:
        return repr(float(value)) if not isinstance(value, Path) else str(value)
    return str(value)


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name, PLACEHOLDERS, n=1)
    meant = _ELSEWHERE.get(name, next(iter(near), None))
    if meant is not None:
        return f"did you mean {{{meant}}}? For the text itself write {{{{{name}}}}}"
    known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
    return f"there are {known}; for the text itself write {{{{{name}}}}}"


_EXAMPLE = "python train.py --batch-size {batch_size}"


class CommandTemplate:
    """The arguments of a command, never text for a shell.

    Attributes:
        argv: as given.
        placeholders: the names in the arguments and in the configuration file.
    """

    def __init__(self, argv: Sequence[str], *, in_config: Collection[str] | None = None) -> None:
        """A template that is known to take a batch size.

        Args:
            argv: the program and its arguments.
            in_config: the placeholders of the configuration template; None: there is none.

        Raises:
            UsageError: no command, an unknown placeholder, none for the batch size, or `{config}`
                without a template or the other way round.
        """
        self.argv = tuple(argv)
        _check_is_command(self.argv)
        in_arguments = {
            name
            for argument in self.argv
            for name in placeholders_in(argument, where=f"the argument {argument!r}")
        }
        _check_config(in_arguments, in_config)
        self.placeholders = frozenset(in_arguments | set(in_config or ()))
        _check_batch_size(self.placeholders)

    @property
    def can_resume(self) -> bool:
        """Whether the command can be told to go on from a checkpoint."""
        return "resume_from" in self.placeholders

    @property
    def can_accumulate(self) -> bool:
        """Whether the command takes micro-batches and how many of them make a batch."""
        return {"micro_batch_size", "accumulation_steps"} <= self.placeholders

    def filled(self, values: Mapping[str, Value | None]) -> list[str]:
        """The arguments with these values.

        Where `resume_from` has no value, the argument that holds it is left out. If that argument
        is the placeholder alone, the flag before it (`--resume {resume_from}`) is left out too.

        Args:
            values: by placeholder; those that the command does not have are passed over.

        Raises:
            UsageError: a placeholder of the command has no value, or one that it can't take.
        """
        filled: list[str] = []
        for argument in self.argv:
            if values.get("resume_from") is None and "resume_from" in _names(argument):
                if argument == "{resume_from}" and filled and _is_flag(filled[-1]):
                    filled.pop()
                continue
            filled.append(
                with_values(argument, lambda name, *_: written_value(name, values.get(name)))
            )
        return filled


def _names(argument: str) -> list[str]:
    return placeholders_in(argument, where="the command")


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and "=" not in argument


def _check_is_command(argv: tuple[str, ...]) -> None:
    if not argv:
        raise UsageError(f"there is no command; give it after --, as in -- {_EXAMPLE}")
    if len(argv) == 1 and " " in argv[0].strip():
        raise UsageError(
            f"the command {argv[0]!r} is one argument with spaces in it; leave out the quotes "
            f"around it, as in -- {_EXAMPLE}"
        )


def _check_config(in_arguments: set[str], in_config: Collection[str] | None) -> None:
    if "config" in in_arguments and in_config is None:
        raise UsageError(
            "the command holds {config}, and there is no template for it; name the file with "
            "placeholders in it: --config FILE"
        )
    if "config" not in in_arguments and in_config is not None:
        raise UsageError(
            "there is a configuration template, and no {config} in the command; put {config} "
            "where the command takes its file"
        )


def _check_batch_size(names: frozenset[str]) -> None:
    if "batch_size" in names or {"micro_batch_size", "accumulation_steps"} <= names:
        return
    if "micro_batch_size" in names:
        raise UsageError(
            "the command holds {micro_batch_size} without {accumulation_steps}; give both, or "
            "{batch_size} alone where no gradients are accumulated"
        )
    raise UsageError(
        f"the command has no placeholder for the batch size; put {{batch_size}} where it takes "
        f"one, as in -- {_EXAMPLE}"
    )


Syntax = Literal["json", "toml", "yaml"]

_SYNTAXES: dict[str, Syntax] = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_NOTHING = {"json": "null", "yaml": "null"}
# A YAML value that is a placeholder and nothing else: "lr: {learning_rate}  # a comment".
_WHOLE_BEFORE, _WHOLE_AFTER = re.compile(r"(?:[:,\[-]\s+|^\s*|\[)$"), re.compile(r"\s*(?:$|[,\]#])")


class ConfigTemplate:
    """The text of a YAML, JSON or TOML file with placeholders where its values belong.

    Attributes:
        path: the template.
        syntax: by the end of its name.
        placeholders: the names in it.
    """

    def __init__(self, path: Path) -> None:
        """Read a template, and see that it is valid once its placeholders are filled.

        Raises:
            UsageError: no such file, another kind of file, an unknown placeholder, or a text that
                is not valid with values in it.
        """
        self.path = path
        self.syntax = _syntax_of(path)
        self._text = _text_of(path)
        self.placeholders = frozenset(placeholders_in(self._text, where=str(path)))
        if "config" in self.placeholders:
            raise UsageError(f"{path} holds {{config}}, which is the file itself; leave it out")
        if self.syntax == "toml" and "resume_from" in self.placeholders:
            raise UsageError(
                f"{path} holds {{resume_from}}, and TOML has no value for nothing to resume from; "
                f"put it into the command, as in --resume {{resume_from}}"
            )
        self.filled(dict.fromkeys(COUNTS, 1) | {"learning_rate": 0.5, "output_dir": "out"})

    def filled(self, values: Mapping[str, Value | None]) -> str:
        """The text with these values, written as the file's own syntax writes them.

        Args:
            values: by placeholder; those that the file does not have are passed over.

        Raises:
            UsageError: a placeholder has no value, or the text is not valid with it.
        """
        filled = with_values(
            self._text, lambda name, start, end: self._written(name, values.get(name), start, end)
        )
        self._check(filled)
        return filled

    def write(self, values: Mapping[str, Value | None], folder: Path) -> Path:
        """Write the filled file into a folder, under the template's name.

        Args:
            values: as for `filled`.
            folder: it is there.

        Returns:
            The file.
        """
        written = folder / self.path.name
        written.write_text(self.filled(values), encoding="utf-8")
        return written

    def _written(self, name: str, value: Value | None, start: int, end: int) -> str:
        if name == "resume_from" and value is None:
            return "" if self._quote_around(start) else _NOTHING[self.syntax]
        text = written_value(name, value)
        is_number = name in COUNTS or name == "learning_rate"
        if is_number:
            # YAML 1.1 takes 1e-05 for a text: its numbers have a point.
            return re.sub(r"^(-?\d+)e", r"\1.0e", text)
        quote = self._quote_around(start)
        if quote == '"':
            return json.dumps(text, ensure_ascii=False)[1:-1]
        if quote == "'":
            return text.replace("'", "''") if self.syntax == "yaml" else text
        if self.syntax == "yaml" and not self._is_whole(start, end):
            return text  # part of a plain text, as in out: {output_dir}/logs
        return json.dumps(text, ensure_ascii=False)  # YAML and TOML read JSON's texts, too

    def _quote_around(self, start: int) -> str | None:
        """The quotation mark that is open at this place of its line; None: none is."""
        line_start = self._text.rfind("\n", 0, start) + 1
        quote: str | None = None
        escaped = False
        for character in self._text[line_start:start]:
            if quote == '"' and character == "\\" and not escaped:
                escaped = True
                continue
            if character == quote and not escaped:
                quote = None
            elif (
                quote is None
                and character in "\"'"
                and not (character == "'" and self.syntax == "json")
            ):
                quote = character
            escaped = False
        return quote

    def _is_whole(self, start: int, end: int) -> bool:
        line_start = self._text.rfind("\n", 0, start) + 1
        line_end = self._text.find("\n", end)
        after = self._text[end : len(self._text) if line_end < 0 else line_end]
        before = self._text[line_start:start]
        return bool(_WHOLE_BEFORE.search(before) and _WHOLE_AFTER.match(after))

    def _check(self, filled: str) -> None:
        try:
            if self.syntax == "json":
                json.loads(filled)
            elif self.syntax == "toml":
                tomllib.loads(filled)
        except ValueError as error:
            raise UsageError(
                f"{self.path} is not valid {self.syntax.upper()} once its placeholders have "
                f"values: {error}"
            ) from None


def _syntax_of(path: Path) -> Syntax:
    syntax = _SYNTAXES.get(path.suffix.lower())
    if syntax is None:
        raise UsageError(
            f"configuration template {path}: expected a file that ends in {', '.join(_SYNTAXES)}"
        )
    return syntax


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"configuration template {path} can't be read: {why}") from None


# What people train with who have not said.
_BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCommand:
    """A training command with placeholders, and what batchlab must know of it.

    Attributes:
        arguments: the program and its arguments, such as ("python", "train.py", "--batch-size",
            "{batch_size}", "--lr", "{learning_rate}"). No shell sees them.
        metric: the validation metric that counts, as the script's progress names it.
        better: its direction; None: by its name.
        examples: training examples, N; None: found from the progress, if that counts epochs too.
        batch_size: the one that you train with now.
        learning_rate: the one that you train with now; None: the command has no {learning_rate}.
        epochs: how many a training of yours takes; None: not said.
        pattern: a regular expression that finds progress in the output; None: by its shape.
        config: a template of a configuration file, for {config}; None: there is none.
        folder: where the command runs; None: where batchlab was called.

    Raises:
        UsageError: no placeholder for the batch size, one that is unknown, a metric without a
            direction, or a number that is impossible.
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

    def __post_init__(self) -> None:
        """Refuse what could only fail later, and later less clearly."""
        object.__setattr__(self, "arguments", tuple(self.arguments))
        template = self.template  # refuses what is no command
        if self.better is None and direction_of(self.metric) is None:
            raise UsageError(
                f"metric {self.metric!r}: its name does not tell whether it goes up or down; give "
                f"--better higher or --better lower"
            )
        for name in ("examples", "batch_size", "epochs"):
            given = getattr(self, name)
            if given is not None and not (isinstance(given, int) and given >= 1):
                raise UsageError(f"{name}={given!r}: expected a whole number of at least 1")
        self._check_rate("learning_rate" in template.placeholders)

    def _check_rate(self, is_taken: bool) -> None:
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise UsageError(f"learning rate {rate!r}: expected a number above 0, such as 0.01")
        if is_taken and rate is None:
            raise UsageError(
                "the command has {learning_rate}, and nothing says which rate you train with now; "
                "give --learning-rate, such as --learning-rate 0.001"
            )
        if rate is not None and not is_taken:
            raise UsageError(
                f"learning rate {rate:g}: the command has no {{learning_rate}}, so it would not "
                f"act; put it where your script takes its rate, such as --lr {{learning_rate}}"
            )

    @property
    def template(self) -> CommandTemplate:
        """The arguments, with the placeholders of the configuration file."""
        return CommandTemplate(self.arguments, in_config=self._names_in_config())

    @property
    def direction(self) -> Better:
        """Whether the metric goes up or down."""
        found = self.better or direction_of(self.metric)
        assert found is not None
        return found

    @property
    def spans_a_length(self) -> bool:
        """Whether the script is told how long it trains, so that its rate may follow that."""
        return self.takes("epochs") or self.takes("steps")

    @property
    def place(self) -> Path:
        """The folder that it runs in, absolute."""
        return (self.folder or Path()).absolute()

    @property
    def name(self) -> str:
        """What it is called: its script, else its program."""
        scripts = [part for part in self.arguments if part.endswith((".py", ".sh"))]
        return Path(scripts[0] if scripts else self.arguments[0]).name

    def filled(
        self, values: Mapping[str, Value | None], *, folder: Path, output_dir: Path
    ) -> list[str]:
        """The arguments of one training.

        Args:
            values: of the placeholders, but for `output_dir` and `config`.
            folder: where a copy of the configuration file goes.
            output_dir: of the training.

        Raises:
            UsageError: a value that a placeholder cannot take.
        """
        known: dict[str, Value | None] = {**values, "output_dir": output_dir}
        if self.config is not None:
            known["config"] = ConfigTemplate(self.place / self.config).write(known, folder)
        return self.template.filled(known)

    def takes(self, placeholder: str) -> bool:
        """Whether a value for this placeholder reaches the script."""
        return placeholder in self.template.placeholders

    def _names_in_config(self) -> frozenset[str] | None:
        if self.config is None:
            return None
        return ConfigTemplate(self.place / self.config).placeholders


def trial_values(trial: Trial, *, last_step: int) -> dict[str, Value | None]:
    """The values of one training, but for its folders.

    Where the trial has a horizon, the script is told that length: its rate may follow it. The
    training is ended where it has gone far enough.

    Args:
        trial: what is trained.
        last_step: at which the run ends at the latest.
    """
    steps = trial.horizon_steps or last_step
    return {
        "batch_size": trial.batch_size,
        "micro_batch_size": trial.micro_batch_size,
        "accumulation_steps": -(-trial.batch_size // trial.micro_batch_size),
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "steps": steps,
        "epochs": max(1, math.ceil(trial.plan.epoch_at(steps))),
        "resume_from": None,
    }
