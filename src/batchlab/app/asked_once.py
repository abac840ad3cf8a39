"""Asked once: one message that asks for all that is missing of a user's command, after one look."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchlab.app.init import trained_with_now
from batchlab.errors import ProgressError, UsageError
from batchlab.records.quantities import direction_of
from batchlab.records.trial import Status
from batchlab.report.advice_answer import follow_up
from batchlab.script.command import TrainingCommand, placeholders_of
from batchlab.script.flags import RAMP_UPS, ScriptCode
from batchlab.script.look import Look
from batchlab.script.metric import plain_name
from batchlab.words.reasons import reason_text

# Most scripts have evaluated within these seconds. A look takes at most this share of a budget, and
# --help as much again, because a script that does not know --help begins to train.
_LOOK_S = 20.0
_BUDGET_SHARE = 0.25
# For each option, an example and an explanation.
_ASKED: dict[str, tuple[Any, str]] = {
    "metric": ("val_loss", "the validation metric that counts"),
    "better": ("lower", "higher or lower: its name does not tell"),
    "batch_size": (64, "what you train with now"),
    "learning_rate": (0.001, "what you train with now"),
    "epochs": (10, "how long a whole training of yours is"),
    "examples": (50_000, "how many training examples there are"),
}


def completed(
    command_line: str, name: str, known: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a TrainingCommand: those `known`, and those by its code or --help.

    Raises:
        UsageError: some are missing; after a look at the command, the message names all of them.
    """
    given = {key: value for key, value in known.items() if value is not None}
    place, is_advice = given.get("folder", Path()).absolute(), name == "advise"
    config = place / given["config"] if "config" in given else None
    takes = placeholders_of(given["arguments"], config)
    needs = {"metric", *({"learning_rate"} & takes), *({"batch_size"} if is_advice else ())}
    is_fixed = params.get("objective") == "quality" or takes & {"epochs", "steps"}
    if is_advice and is_fixed and not params.get("train_s"):
        needs.add("epochs")
    wanted = {"batch_size", "learning_rate", *needs} - given.keys()
    share_s = _BUDGET_SHARE * (params.get("budget") or math.inf)
    code = ScriptCode(given["arguments"], place)
    given["grows"] = bool(code.flags_set(RAMP_UPS))
    shown = trained_with_now(code, wanted, share_s)
    given |= {key: value for key, value in shown.items() if key != "epochs"}
    sizes = [size for size in params.get("batch_sizes") or () if size != "full"]
    if sizes and not is_advice:
        given.setdefault("batch_size", sizes[0])
    missing = {
        key: shown.get(key, example)
        for key, (example, _) in _ASKED.items()
        if key in needs - given.keys()
    }

    def is_clear(metric: str) -> bool:
        return "better" in given or direction_of(metric) is not None

    if not missing and is_clear(given["metric"]):
        return given
    command = TrainingCommand(**{"better": "lower", **given, **missing})
    look, trouble = _looked(command, max(1.0, min(_LOOK_S, share_s)))
    printed = [] if look is None else list(look.progress.names)
    if printed and look and not ("metric" in given and look.trained):
        missing["metric"] = _of_validation(printed)
    if not is_clear(missing.get("metric") or given["metric"]):
        missing["better"] = _ASKED["better"][0]
    if look and "examples" not in given and look.needs_examples:
        missing["examples"] = _ASKED["examples"][0]
    if is_advice and "learning_rate" not in takes:
        trouble += ". It also needs {learning_rate}, as in --lr {learning_rate}, and its value now"
    if name != "profile" and "seed" not in takes:
        trouble += ". Where its runs give the same numbers it needs {seed}, as in --seed {seed}"
    what = {key: what for key, (_, what) in _ASKED.items() if key in missing}
    if printed and "metric" in what:
        what["metric"] += f"; it printed {', '.join(printed)}"
    options = {key: f"--{key.replace('_', '-')}" for key in what}
    asked = ", ".join(f"{options[key]} ({text})" for key, text in what.items())
    found = {*shown, *(["metric"] if printed else [])}
    unsure = ", ".join(str(missing[key]) for key in what if key not in found)
    replace = f", with your own in place of {unsure}" if unsure else ""
    if look is None:  # what failed would fail again
        raise UsageError(f"{name} needs {asked}{trouble}. Have it run first")
    paste = follow_up(command_line, {options[key]: str(missing[key]) for key in what})
    raise UsageError(f"{name} needs {asked}{trouble}. To paste{replace}: {paste}")


def _looked(command: TrainingCommand, limit_s: float) -> tuple[Look | None, str]:
    """Return a look at a command, None if it failed, and the fault as text, empty without one."""
    look, marker = Look(command, command.own_trial()), f"look-{os.getpid()}/0"
    with tempfile.TemporaryDirectory(prefix="batchlab-") as folder:
        try:
            look.run(Look.has_trained, folder=Path(folder), marker=marker, limit_s=limit_s)
        except ProgressError as error:
            return None, f". Its progress was not understood: {error}"
    if not look.end.was_asked and look.end.status is not Status.OK:
        return None, f". As it was tried, it failed: {reason_text(look.end.reason).rstrip('.')}"
    within = f" within {look.took_s:.0f} s" if look.end.was_asked else ""
    return look, "" if look.readings else f". It printed no progress{within}"


def _of_validation(names: Sequence[str]) -> str:
    """Return the name that is most likely to be of validation data."""
    validation = [name for name in names if plain_name(name).startswith(("val_", "test_"))]
    others = [name for name in names if not plain_name(name).startswith("train")]
    higher = [name for name in others if direction_of(name) == "higher"]
    known = [name for name in (*validation, *higher) if direction_of(name)]
    return [*known, *validation, *names][0]
