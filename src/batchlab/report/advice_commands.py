"""Commands and lines to copy, which continue an advice or put it to use."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from batchlab.advice.advice import Configuration
from batchlab.records.study import Study

_PROGRAM = "batchlab "
# Options that take no value.
_FLAGS = frozenset({"--drop-last", "--json", "--quiet", "--explain"})
# Both say how much may be spent, so one replaces the other.
_AMOUNTS = frozenset({"--budget", "--trainings"})
_ID_CHARACTERS = 8  # enough of an id in a store of a million studies


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredCommand:
    """A batchlab command line, parsed so that it can be varied."""

    name: str  # such as "advise"
    parts: tuple[tuple[str, ...], ...]  # a named workload, and the options with their values
    own_command: tuple[str, ...]  # the user's own training command, from `--` on

    @classmethod
    def of(cls, command: str) -> StoredCommand | None:
        """Parse a command line as a study stores it; return None if it was a call in Python."""
        if not command.startswith(_PROGRAM):
            return None
        name, *words = shlex.split(command)[1:]
        end = words.index("--") if "--" in words else len(words)
        return cls(name=name, parts=tuple(_parts(words[:end])), own_command=tuple(words[end:]))

    def value(self, option: str) -> str | None:
        """Return the value of an option, the last one if repeated, or None if it was not given."""
        given = [part for part in self.parts if _option(part) == option]
        return None if not given else given[-1][-1].removeprefix(f"{option}=")

    def varied(self, *, leave_out: Collection[str] = (), options: Mapping[str, str]) -> str:
        """Return the command line to copy, with these options in place of the old ones."""
        out = {*leave_out, *options}
        stays = [word for part in self.parts if _option(part) not in out for word in part]
        added = [word for pair in options.items() for word in pair]
        return shlex.join(["batchlab", self.name, *stays, *added, *self.own_command])


def _parts(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    following = iter(words)
    for word in following:
        if not word.startswith("-") or word in _FLAGS or "=" in word:
            yield (word,)
        else:
            yield (word, *itertools.islice(following, 1))


def _option(part: tuple[str, ...]) -> str:
    return part[0].partition("=")[0]


def follow_up(command: str, options: Mapping[str, str]) -> str:
    """Return the command that started the study, with other values of some options.

    For a call in Python only the arguments are returned, because the rest is not known.
    """
    stored = StoredCommand.of(command)
    if stored is None:
        return ", ".join(map(_argument, options, options.values()))
    replaced = _AMOUNTS if _AMOUNTS & options.keys() else frozenset()
    return stored.varied(leave_out=replaced, options=options)


def _argument(option: str, value: str) -> str:
    """Return the option as an argument of `batchlab.advise`."""
    given = {
        "--budget": f'"{value}"',
        "--target": '("{0}", {2})'.format(*value.rpartition("=")),
    }
    return f"{option.removeprefix('--')}={given.get(option, value)}"


def weights_command(study: Study) -> str:
    """Return the command that writes the model an advice has trained."""
    study_id = study.study_id[:_ID_CHARACTERS]
    return shlex.join(["batchlab", "weights", *_store_of(study), "--study", study_id])


def report_command(study: Study) -> str:
    """Return the command that shows a study again as text, with the reasons of each run."""
    return shlex.join(["batchlab", "report", *_store_of(study), "--format", "text"])


def _store_of(study: Study) -> list[str]:
    """Return the option that names the store of a study, if it was named."""
    stored = StoredCommand.of(study.command)
    path = None if stored is None else stored.value("--store")
    return [] if path is None else ["--store", path]


def lines_to_paste(found: Configuration, study: Study) -> tuple[str, ...]:
    """Return what sets `found`: lines for a script, or the user's own command with its values."""
    if not study.workload.is_own_command:
        return script_lines(found)
    _, is_there, own = study.command.partition(" -- ")
    for name in ("batch_size", "micro_batch_size", "accumulation_steps"):
        own = own.replace(f"{{{name}}}", str(getattr(found, name)))
    own = own.replace("{learning_rate}", f"{found.learning_rate:.6g}")
    return (own,) if is_there else ()


def script_lines(found: Configuration) -> tuple[str, ...]:
    """Return lines that set `found`, in a script with `train_set`, `model`, `loss_fn`, `optimizer`.

    They load whole batches and split them, so that the last batch of an epoch, and a batch that the
    micro-batch size does not divide, get the right weight.
    """
    loader = f"loader = DataLoader(train_set, batch_size={found.batch_size}, shuffle=True)"
    group = f"    group.update(lr={found.learning_rate:.6g})"
    lines = (loader, "for group in optimizer.param_groups:  # once, before training", group)
    if found.accumulation_steps == 1:
        return lines
    micro = found.micro_batch_size
    return (
        *lines,
        "for inputs, targets in loader:  # one optimizer step a batch, in micro-batches",
        "    optimizer.zero_grad()",
        f"    for x, y in zip(inputs.split({micro}), targets.split({micro})):",
        "        (loss_fn(model(x), y) * len(x) / len(inputs)).backward()",
        "    optimizer.step()",
    )
