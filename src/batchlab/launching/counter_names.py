"""Counter names: what trainings call their steps, epochs and samples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

Value = TypeVar("Value")

# Singular alone: "steps: 1000" is how many there will be, not how many were done.
STEPS = ("step", "global_step", "iteration", "iter", "it", "update", "_step", "num_updates")
EPOCHS = ("epoch",)
SAMPLES = ("samples", "examples", "samples_seen", "examples_seen")
# Words that may stand before a counter in a line of plain text, as in "Train Epoch: 3".
_BEFORE = ("train", "training", "global", "at", "current", "end of", "after")
# In plain text alone; a batch is counted within its epoch.
_WORDS_FOR_STEPS = ("iters", "batch", "mini-batch", "minibatch")


@lru_cache(maxsize=1000)
def spoken_kind(name: str) -> str | None:
    """What a name in plain text counts: "step", "epoch", "samples" or None, nothing."""
    plain = name.lower().strip()
    for before in _BEFORE:
        plain = plain.removeprefix(before + " ")
    plain = plain.replace(" ", "_")
    if plain in STEPS or plain in _WORDS_FOR_STEPS:
        return "step"
    if plain in EPOCHS:
        return "epoch"
    return "samples" if plain in SAMPLES else None


def first_of(pairs: dict[str, Value], names: Iterable[str]) -> Value | None:
    """The value of the first of these names that is there; the others stay values."""
    return next((pairs[name] for name in names if name in pairs), None)
