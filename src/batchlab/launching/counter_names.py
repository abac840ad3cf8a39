"""Counter names: what trainings call their steps, epochs and samples."""

from __future__ import annotations

from functools import lru_cache

# Singular alone: "steps: 1000" is how many there will be, not how many were done.
# Of two in one object the first counts: fairseq prints num_updates beside an update of its epoch.
STEPS = ("step", "global_step", "iteration", "iter", "it", "num_updates", "update", "_step")
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
