"""TrainingCommand: anybody's training command, and what of it counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import UsageError
from batchlab.launching.command_template import CommandTemplate
from batchlab.launching.config_template import ConfigTemplate
from batchlab.launching.metric_direction import direction_of
from batchlab.launching.placeholders import Value
from batchlab.records.quantities import Better

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
