"""Commands and lines to copy, which continue an advice or put it to use."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from batchlab.advice.advice import Configuration
from batchlab.records.study import Study

_PROGRAM = "batchlab "
# Both say how much may be spent, so one replaces the other.
_AMOUNTS = {"--budget", "--trainings"}
_ID_CHARACTERS = 8  # enough of an id in a store of a million studies


def follow_up(command: str, options: Mapping[str, str]) -> str:
    """Return the command that started a study, with other values of some options.

    For a call in Python only the arguments are returned, because the rest is not known.
    """
    if not command.startswith(_PROGRAM):
        return ", ".join(map(_argument, options, options.values()))
    words = shlex.split(command)
    end = words.index("--") if "--" in words else len(words)  # then comes the user's own command
    old = {*options, *(_AMOUNTS if _AMOUNTS & options.keys() else ())}
    new = [word for pair in options.items() for word in pair]
    return shlex.join([*_without(words[:end], old), *new, *words[end:]])


def _without(words: Sequence[str], options: Collection[str]) -> Iterator[str]:
    following = iter(words)
    for word in following:
        if word in options:
            next(following, None)  # its value
        elif word.partition("=")[0] not in options:
            yield word


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
    return shlex.join(["batchlab", "weights", *_store_option(study), "--study", study_id])


def report_command(study: Study) -> str:
    """Return the command that shows a study again as text, with the reasons of each run."""
    return shlex.join(["batchlab", "report", *_store_option(study), "--format", "text"])


def _store_option(study: Study) -> list[str]:
    """Return the option that names the store of a study, if it was named."""
    if not study.command.startswith(_PROGRAM):
        return []
    words = shlex.split(study.command.partition(" -- ")[0])
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word == "--store":
            return [word, value]
        if word.startswith("--store="):
            return ["--store", word.removeprefix("--store=")]
    return []


def lines_to_paste(chosen: Configuration, study: Study) -> tuple[str, ...]:
    """Return lines for a script that set a configuration, or the user's command with its values."""
    if not study.workload.is_own_command:
        return script_lines(chosen)
    _, is_there, own = study.command.partition(" -- ")
    for name in ("batch_size", "micro_batch_size", "accumulation_steps"):
        own = own.replace(f"{{{name}}}", str(getattr(chosen, name)))
    own = own.replace("{learning_rate}", f"{chosen.learning_rate:.6g}")
    return (own,) if is_there else ()


def script_lines(chosen: Configuration) -> tuple[str, ...]:
    """Return lines for a script with `train_set`, `model`, `loss_fn` and `optimizer`.

    They load whole batches and split them, so that the last batch of an epoch, and a batch that the
    micro-batch size does not divide, get the right weight.
    """
    lines = (
        f"loader = DataLoader(train_set, batch_size={chosen.batch_size}, shuffle=True)",
        "for group in optimizer.param_groups:  # once, before training",
        f"    group.update(lr={chosen.learning_rate:.6g})",
    )
    if chosen.accumulation_steps == 1:
        return lines
    micro = chosen.micro_batch_size
    return (
        *lines,
        "for inputs, targets in loader:  # one optimizer step a batch, in micro-batches",
        "    optimizer.zero_grad()",
        f"    for x, y in zip(inputs.split({micro}), targets.split({micro})):",
        "        (loss_fn(model(x), y) * len(x) / len(inputs)).backward()",
        "    optimizer.step()",
    )
