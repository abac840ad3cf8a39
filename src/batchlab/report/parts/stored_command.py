"""StoredCommand: the command line that asked for a study, read apart so that it can be varied."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

_PROGRAM = "batchlab "
# The options that stand without a value.
_FLAGS = frozenset({"--drop-last", "--json", "--quiet", "--explain"})


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCommand:
    """A command line of batchlab.

    Attributes:
        name: the command, such as "advise".
        parts: a workload that was named, and the options, each with its value where it has one.
        own_command: what stood after `--`: somebody's own training command; None: nothing.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    own_command: tuple[str, ...] | None

    @classmethod
    def of(cls, command: str) -> StoredCommand | None:
        """The command line read apart; None: it was a call in Python.

        Args:
            command: as the study keeps it.
        """
        if not command.startswith(_PROGRAM):
            return None
        words = shlex.split(command)[1:]
        own = None
        if "--" in words:
            place = words.index("--")
            words, own = words[:place], tuple(words[place + 1 :])
        return cls(name=words[0], parts=tuple(_parts(words[1:])), own_command=own)

    def value(self, option: str) -> str | None:
        """The value of an option, the last where it was given twice; None: it was not given."""
        given = [_value(part) for part in self.parts if _name(part) == option]
        return given[-1] if given else None

    def varied(
        self,
        *,
        name: str | None = None,
        keep: Collection[str] | None = None,
        leave_out: Collection[str] = (),
        options: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> str:
        """The command line with other options, to be copied.

        Args:
            name: of another command; None: the same.
            keep: the options that stay; None: all.
            leave_out: options that go.
            options: new ones, with their values; they take the place of the old ones.
        """
        new = dict(options)
        stays = [
            word
            for part in self.parts
            if not _is_option(part)
            or (_name(part) not in {*leave_out, *new} and (keep is None or _name(part) in keep))
            for word in part
        ]
        added = [word for pair in new.items() for word in pair]
        own = [] if self.own_command is None else ["--", *self.own_command]
        return shlex.join(["batchlab", name or self.name, *stays, *added, *own])


def _parts(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    following = iter(words)
    for word in following:
        if not word.startswith("-") or word in _FLAGS or "=" in word:
            yield (word,)
        else:
            value = next(following, None)
            yield (word,) if value is None else (word, value)


def _is_option(part: tuple[str, ...]) -> bool:
    return part[0].startswith("-")


def _name(part: tuple[str, ...]) -> str:
    return part[0].partition("=")[0]


def _value(part: tuple[str, ...]) -> str:
    return part[1] if len(part) > 1 else part[0].partition("=")[2]
