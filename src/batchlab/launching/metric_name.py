"""MetricName: the metric that a user asked for, among the names that a training prints."""

from __future__ import annotations

import re
from functools import lru_cache

from batchlab.errors import ProgressError
from batchlab.launching.reading import Reading

_SPLITS = {
    "eval": "val",
    "evaluation": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "training": "train",
}
BATCH_LOSSES = ("train_loss", "loss")
"""What scripts call the loss of their training batches, as `plain_name` spells it."""
_SHORT = {"acc": "accuracy", "err": "error"}


class MetricName:
    """Finds one metric in the readings of one run, under the name that is printed.

    A name is taken that is the same to the letter; else one that says the same (`eval/loss` for
    `val_loss`); else that of the validation data (`eval_loss` for `loss`).

    Attributes:
        asked: the name that was given.
        printed: the name that is read; None: it was not seen yet.
        seen: all names so far, in the order in which they came.
    """

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.printed: str | None = None
        self.seen: dict[str, None] = {}

    def value_in(self, reading: Reading) -> float | None:
        """The metric's value; None: this reading has none.

        Raises:
            ProgressError: several names may be meant; the message lists them.
        """
        values = dict(reading.values)
        for name in sorted(values, key=self._is_another):
            if name not in self.seen:
                self.seen[name] = None
                self._consider(name)
        return None if self.printed is None else values.get(self.printed)

    def _is_another(self, name: str) -> bool:
        return name != self.asked

    def _consider(self, name: str) -> None:
        if not _is_near(self.asked, name):
            return
        if self.printed is None:
            self.printed = name
        elif self.printed != self.asked:
            raise ProgressError(
                f"metric {self.asked!r} may be {self.printed!r} or {name!r}: both were printed; "
                f"give the one that is meant, as in --metric {self.printed!r}"
            )


def _is_near(asked: str, name: str) -> bool:
    """Whether a printed name may be the one asked for."""
    wanted, found = plain_name(asked), plain_name(name)
    return name == asked or found in (wanted, f"val_{wanted}")


@lru_cache(maxsize=1000)
def plain_name(name: str) -> str:
    """A name in the spelling in which names are compared: `Eval/Acc` is `val_accuracy`."""
    # LightGBM numbers its validation sets: "valid_0's auc".
    words = re.findall(r"[a-z0-9]+", re.sub(r"\bvalid_\d+'s\b", "valid", name.lower()))
    return "_".join(_SHORT.get(_SPLITS.get(word, word), _SPLITS.get(word, word)) for word in words)
