"""tqdm: bars such as ` 40%|████      | 120/300 [00:10<00:15, 11.5it/s, loss=0.3]`."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from batchlab.script.bars import EpochBar, PassesBar, ProgressBar, Values, bar_of
from batchlab.script.reading import Reading, Shape

_EPOCHS = ("epoch", "epochs", "training epochs")
_STEPS = re.compile(r"step|iter|batch|update", re.IGNORECASE)
# A bar may vanish at its end, or between two of its states: of an epoch so much has to be shown.
_NEARLY = 0.9
# A bar around the epochs is drawn ten times a second at most, and may be so many behind.
_BEHIND = 3
_MOST_OTHERS = 3

_NOT_TOLD_APART = (
    'bars of tqdm are not told apart: give each its words, such as tqdm(loader, desc="train") and '
    'desc="val", or log steps with batchlab.log'
)
_UNSEEN_END = (
    "a bar of tqdm began again before its end was shown: leave out leave=False, or log steps with "
    "batchlab.log"
)

Key = tuple[str, int]


class _Lines:
    """One bar trains, told by its words and its length. Drawn anew, it is a new epoch.

    It is the first that is not called otherwise. Where another one begins before the first has
    moved, the first goes around the epochs, and the other trains.
    """

    def __init__(self) -> None:
        self._bar = EpochBar("tqdm")
        self._passes = PassesBar("tqdm")
        self._training: Key | None = None
        self._outer: Key | None = None
        self._outer_values: Values = ()
        self._n: dict[Key, int] = {}
        self._epochs = 0
        self._others: Counter[Key] = Counter()
        self._is_lost = False

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        bar = bar_of(line)
        if bar is None:
            return None
        if not bar.may_train or self._is_lost:
            return []
        key = _key(bar)
        before = self._n.get(key)
        self._n[key] = bar.n
        if key == self._outer:
            return self._around(bar, at_s)
        if bar.description.lower() in _EPOCHS:
            if self._training is None:
                return self._passes.show(n=bar.n, at_s=at_s, values=bar.values)
            self._outer = key
            return self._around(bar, at_s)
        begins = before is None or bar.n < before
        if begins and self._is_around(key):
            self._outer, self._training, self._epochs = self._training, None, 0
        if self._training is None:
            self._training = key
        if key != self._training:
            return self._other(key, at_s) if begins else []
        return self._train(bar, before, at_s)

    def finish(self) -> list[Reading]:
        return [*self._bar.finish(), *self._passes.finish()]

    def _is_around(self, key: Key) -> bool:
        """Whether the bar that was taken for the training's goes around the one that begins."""
        first = self._training
        if first is None or self._outer is not None or key == first:
            return False
        return self._n[first] == 0 and self._epochs == 1 and first[0] in ("", key[0])

    def _around(self, bar: ProgressBar, at_s: float) -> list[Reading]:
        """The bar around the epochs: what it shows belongs to where the bar inside it is."""
        is_done = bar.n == bar.total
        if bar.n > self._epochs or (is_done and self._epochs > bar.n):
            return self._lost(_NOT_TOLD_APART, at_s)
        new = tuple(pair for pair in bar.values if pair not in self._outer_values)
        self._outer_values = bar.values
        return [Reading(at_s=at_s, shape="tqdm", values=new)] if new else []

    def _other(self, key: Key, at_s: float) -> list[Reading]:
        """Another bar, such as that of a validation, after which the training's comes again."""
        assert self._training is not None
        if key[0] == self._training[0]:
            self._others[key] += 1
            if self._others[key] > 1 or self._others.total() > _MOST_OTHERS:
                return self._lost(_NOT_TOLD_APART, at_s)
        return []

    def _train(self, bar: ProgressBar, before: int | None, at_s: float) -> list[Reading]:
        if bar.n != before:
            self._others.clear()
        if before is None or bar.n < before:
            self._epochs += 1
            if before is not None and before < _NEARLY * bar.total:
                return self._lost(_UNSEEN_END, at_s)
            if self._outer is not None and self._epochs > self._n[self._outer] + _BEHIND:
                return self._lost(_NOT_TOLD_APART, at_s)
        shown = self._bar.show(
            epoch=self._epochs - 1, n=bar.n, total=bar.total, at_s=at_s, values=bar.values
        )
        # Once it has begun again, or inside another, it is that of an epoch for sure.
        is_sure = self._outer is not None or self._epochs > 1
        if is_sure or _STEPS.search(bar.description):
            return [replace(each, epoch_length=None) for each in shown]
        return shown

    def _lost(self, complaint: str, at_s: float) -> list[Reading]:
        self._is_lost = True
        return [Reading(at_s=at_s, shape="tqdm", complaint=complaint)]


def _key(bar: ProgressBar) -> Key:
    """What tells bars apart; words may hold the number of the epoch."""
    return re.sub(r"\d+", "#", bar.description), bar.total


SHAPE = Shape(
    place=6,
    label="a bar of tqdm",
    needles=(b"%|",),
    counts="batches",
    reader=_Lines,
)
