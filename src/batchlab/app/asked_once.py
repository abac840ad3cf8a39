"""Asked once: ask the user for all missing facts about a command in a single message."""

from __future__ import annotations

import math
import os
import shlex
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchlab.errors import ProgressError, UsageError
from batchlab.records.quantities import direction_of
from batchlab.records.trial import Status
from batchlab.script.command import TrainingCommand, flag_of, placeholders_of, plain_flag
from batchlab.script.flags import RAMP_UPS, defaults_in_code, flags_set
from batchlab.script.look import Look
from batchlab.script.metric import plain_name
from batchlab.words.reasons import reason_text

# A probe run of a script is stopped after `_LOOK_S` seconds, in which most scripts evaluate, or
# after the share `_BUDGET_SHARE` of the budget if that is less.
_LOOK_S = 20.0
_BUDGET_SHARE = 0.25
# For each fact about a command: an example value, and an explanation for the user.
_FACTS: dict[str, tuple[Any, str]] = {
    "metric": ("val_loss", "the validation metric that counts"),
    "better": ("lower", "higher or lower; its name does not show it"),
    "batch_size": (64, "what you train with now"),
    "learning_rate": (0.001, "what you train with now"),
    "epochs": (10, "how long a whole training of yours is"),
    "examples": (50_000, "how many training examples there are"),
}


def completed(
    command_line: str, name: str, known: Mapping[str, Any], params: Mapping[str, Any]
) -> TrainingCommand:
    """Return a training command, made from the `known` facts and facts in the script's code.

    Raises:
        UsageError: facts are missing; the message requests all of them in one sentence.
    """
    facts = {key: value for key, value in known.items() if value is not None}
    folder = facts.get("folder", Path()).absolute()
    config = folder / facts["config"] if "config" in facts else None
    takes = placeholders_of(facts["arguments"], config)
    needs = {"metric"}
    if "learning_rate" in takes:
        needs.add("learning_rate")
    if name == "advise":
        needs.add("batch_size")
        if params.get("objective") == "quality" or takes & {"epochs", "steps"}:
            needs.add("epochs")
    wanted = {"batch_size", "learning_rate", *needs} - facts.keys()
    arguments = facts["arguments"]
    in_code = defaults_in_code(arguments, folder)
    facts["grows"] = bool(flags_set(RAMP_UPS, arguments, in_code))
    defaults = _trained_with_now(arguments, in_code, wanted)
    for key in defaults.keys() - {"epochs"}:
        facts[key] = defaults[key]
    for size in params.get("batch_sizes") or ():
        if size != "full" and name != "advise":
            facts.setdefault("batch_size", size)
    missing = {}
    for key, (example, _) in _FACTS.items():
        if key in needs and key not in facts:
            missing[key] = defaults.get(key, example)
    if not missing and _is_clear(facts["metric"], facts):
        return TrainingCommand(**facts)
    command = TrainingCommand(**{"better": "lower", **facts, **missing})
    share_s = _BUDGET_SHARE * (params.get("budget") or math.inf)
    look, trouble = _looked(command, max(1.0, min(_LOOK_S, share_s)))
    if name == "advise" and "learning_rate" not in takes:
        trouble += ". It also needs {learning_rate}, as in --lr {learning_rate}, and its value now"
    if name != "profile" and "seed" not in takes:
        trouble += ". Where its runs give the same numbers it needs {seed}, as in --seed {seed}"
    printed, certain = "", set(defaults)
    if look is not None:
        names = list(look.progress.names)
        if names and not ("metric" in facts and look.trained):
            missing["metric"] = min(names, key=_doubt)
            certain.add("metric")
            printed = f"; it printed {', '.join(names)}"
        if "examples" not in facts and look.needs_examples:
            missing["examples"], _ = _FACTS["examples"]
    if not _is_clear(missing.get("metric") or facts["metric"], facts):
        missing["better"], _ = _FACTS["better"]
    requests, options, unsure = [], {}, []
    for key in filter(missing.__contains__, _FACTS):
        option, (_, explanation) = f"--{key.replace('_', '-')}", _FACTS[key]
        if key == "metric":
            explanation += printed
        requests.append(f"{option} ({explanation})")
        options[option] = str(missing[key])
        if key not in certain:
            unsure.append(options[option])
    request = f"{name} needs {', '.join(requests)}{trouble}"
    if look is None:  # The command failed, so suggest no command to paste.
        raise UsageError(f"{request}. Make it run first")
    own = f", with your own value instead of {', '.join(unsure)}" if unsure else ""
    raise UsageError(f"{request}. To paste{own}: {_with_options(command_line, options)}")


def _with_options(command_line: str, options: Mapping[str, str]) -> str:
    """Return a command line with new values of some options."""
    head, dashes, command = command_line.partition(" -- ")
    words = shlex.split(head)
    for name, value in options.items():
        if name in words:  # Remove the option and the value that the user gave.
            at = words.index(name)
            del words[at : at + 2]
        words += [name, value]
    return f"{shlex.join(words)}{dashes}{command}"


def _trained_with_now(
    arguments: Sequence[str], in_code: Mapping[str, float], wanted: Collection[str]
) -> dict[str, int | float]:
    """Return the batch size, learning rate and epochs that are defaults in the script's code.

    `in_code` has the default of each flag in the code, and `arguments` show which flag takes which
    value. Only values whose names are in `wanted` are returned.
    """
    trained_with: dict[str, int | float] = {}
    for name in sorted({"batch_size", "learning_rate", "epochs"}.intersection(wanted)):
        value = in_code.get(plain_flag(flag_of(arguments, name) or ""))
        if value and value > 0 and name == "learning_rate":
            trained_with[name] = value
        elif value and value > 0 and value % 1 == 0:
            trained_with[name] = int(value)
    return trained_with


def _is_clear(metric: str, facts: Mapping[str, Any]) -> bool:
    """Return whether it is known if higher or lower values of the metric are better."""
    return "better" in facts or direction_of(metric) is not None


def _looked(command: TrainingCommand, limit_s: float) -> tuple[Look | None, str]:
    """Make a probe run; return the run (None if it failed) and a text on what went wrong."""
    look, marker = Look(command, command.own_trial()), f"look-{os.getpid()}/0"
    with tempfile.TemporaryDirectory(prefix="batchlab-") as folder:
        try:
            look.run(Look.has_trained, folder=Path(folder), marker=marker, limit_s=limit_s)
        except ProgressError as error:
            return None, f". Its progress was not understood: {error}"
    if not look.end.was_asked and look.end.status is not Status.OK:
        return None, f". As it was tried, it failed: {reason_text(look.end.reason).rstrip('.')}"
    if look.readings:
        return look, ""
    within = f" within {look.took_s:.0f} s" if look.end.was_asked else ""
    return look, f". It printed no progress{within}"


def _doubt(name: str) -> int:
    """Return, from 0 to 3, how unlikely it is that this metric is the validation metric."""
    direction, is_of_validation = direction_of(name), plain_name(name).startswith(("val_", "test_"))
    if is_of_validation and direction:
        return 0
    if direction == "higher" and not plain_name(name).startswith("train"):
        return 1
    return 2 if is_of_validation else 3
