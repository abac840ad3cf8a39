"""CommandTemplate: a user's training command with placeholders in its arguments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from batchlab.errors import UsageError
from batchlab.launching.placeholders import (
    Value,
    placeholders_in,
    with_values,
    written_value,
)

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
