"""Reads progress bars of Lightning, Keras, rich and tqdm as positions in the whole training."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from batchlab.script.reading import NUMBER, Counters, LineReader, Reading, sure_number_of

BarValues = tuple[tuple[str, float], ...]

_LONGEST_BAR = 1000  # search only this many characters of a line for a bar
_BAR = re.compile(
    r"^(?:(?P<description>[^|]{0,200}?):?\s+)?(?P<percent>\d{1,3})%\|[^|]*\|\s*"
    r"(?P<n>\d+)/(?P<total>\d+)\s*\[(?P<rest>[^\]]*)\]?"
)
# A bar whose description contains one of these words does not show the progress of the training.
_ELSEWHERE = re.compile(
    r"valid|\bval|eval|test|predict|infer|sanity|sampl|generat|download|load|map|filter|token|"
    r"fetch|process|read|cach|extract|sav|convert|warm",
    re.IGNORECASE,
)
# A description that begins with a word in -ing, such as "Packing", names an activity other than
# training, unless the word means training, such as "Fitting".
_DOES_ELSE = re.compile(
    r"(?!train|fit|learn|tun|optim|pre|fine|.*\b(?:epoch|step|iter|batch))\w+ing\b", re.IGNORECASE
)
_UNIT = re.compile(r"[\d.?]\s*(?P<unit>[A-Za-z]+)/s\b|\ds/(?P<inverse>[A-Za-z]+)")
_OF_STEPS = re.compile(r"it|ba|step|update|iter.*|batch.*", re.IGNORECASE)
# A comma before a digit is part of the number: tqdm separates values with a comma and a space.
_VALUE = re.compile(r"(?P<name>[^\s,=][^,=]*)=\s*(?P<value>[^,\s]+(?:,\d+)*)")


class ProgressBar(NamedTuple):
    """A progress bar in one line: its description (`words`), count `n` of `total`, and values."""

    words: str
    n: int
    total: int
    values: BarValues
    unit: str = "it"  # what the bar counts: "it" for steps, or another unit such as files

    @property
    def counts_steps(self) -> bool:
        """Whether the bar counts steps, instead of examples, files or epochs."""
        return _OF_STEPS.fullmatch(self.unit) is not None


def bar_of(line: str) -> ProgressBar | None:
    """Return the progress bar in a line, or None; bars of bytes or without a total are ignored."""
    match = _BAR.match(line[:_LONGEST_BAR]) if "%|" in line else None
    if match is None or int(match["total"]) < 1:
        return None
    words, values = (match["description"] or "").strip(" :"), _values(_VALUE, match["rest"])
    bar = ProgressBar(words, int(match["n"]), int(match["total"]), values)
    if unit := _UNIT.search(match["rest"]):
        bar = bar._replace(unit=unit["unit"] or unit["inverse"])
    return bar


def _values(pattern: re.Pattern[str], text: str) -> BarValues:
    values = []
    for match in pattern.finditer(text):
        value = sure_number_of(match["value"])
        if value is not None:
            values.append((match["name"].strip(), value))
    return tuple(values)


def _new(values: BarValues, shown: Collection[tuple[str, float]]) -> BarValues:
    return tuple(pair for pair in values if pair not in shown)


_EPOCHS = ("epoch", "epochs", "training epochs")
_STEPS = re.compile(r"step|iter|batch|update", re.IGNORECASE)
# If a bar restarts before its count reached this fraction of its total, complain that the end of
# the bar was not seen.
_NEARLY = 0.9
# tqdm draws at most ten times a second, so a bar that counts epochs may lag by this many epochs.
_BEHIND = 3

_NOT_TOLD_APART = (
    "bars of tqdm cannot be told apart: give each a description, such as tqdm(loader, "
    'desc="train") and desc="val", or log steps with batchlab.log'
)
_UNSEEN_END = (
    "a bar of tqdm began again before its end was shown: leave out leave=False, or log steps with "
    "batchlab.log"
)

_NUMBERED = re.compile(r"^epoch[\s:\[]*(\d+)(?:\s*/\s*(\d+))?\]?$", re.IGNORECASE)
# A bar of rich: Epoch 2/2  ━━━━━━━━━━ 12/12 0:00:00 • 0:00:00 35.52it/s v_num: 0 train_loss: 0.002
_RICH = re.compile(
    r"^Epoch (?P<epoch>\d+)/(?P<last>\d+)\s+[━╸╺ ]+(?P<n>\d+)/(?P<total>[1-9]\d*)\s+"
    r"\S+\s+•\s+\S+\s+\S+it/s(?P<rest>.*)$"
)
_NAMED = re.compile(rf"(?P<name>[^\s:=]+)[:=]\s*(?P<value>{NUMBER})(?=\s|$)")
# Lightning, which counts epochs from 0, prints one of these texts before its first epoch. Other
# scripts may count epochs from 1.
_FROM_0 = ("Sanity Checking", "Training: |")

# Keras prints `Epoch 2/10`, then `12/120 ━━━ 1s 8ms/step - loss: 0.3 - val_loss: 0.2`.
_KERAS_EPOCH = re.compile(r"^Epoch (\d{1,9})/(\d{1,9})$")
_KERAS = re.compile(r"^(?P<n>\d{1,12})/(?P<total>[1-9]\d{0,11})\s.{0,400}?s/step(?P<rest> - .+)$")
_KERAS_VALUE = re.compile(rf" - (?P<name>[^:]{{1,200}}?): (?P<value>{NUMBER})(?= |$)")

# The key of a bar: its description, with # in place of each number, and its total.
BarKey = tuple[str, int]


class Bars(LineReader):
    """Bars of tqdm, rich and Keras, such as ` 40%|████      | 120/300 [00:10<00:15, loss=0.3]`.

    A bar shows a value until a new value replaces it, so an unchanged value is not read again
    during an epoch. At the end of the epoch, all values that the bar shows are read, because a
    validation after the last batch may have changed some of the values.

    The training bar has an epoch number, in the bar (Lightning) or in a line above it (Keras). If
    no bar has an epoch number, the training bar is the first bar whose description names no
    activity other than training. When the training bar restarts in the next epoch, it is recognized
    by its description and total. If a second bar starts before the first bar has advanced, the
    first bar counts epochs, and the second bar is the training bar.

    The first bar may count something else, such as examples that are tokenized before the training.
    So the first bar gives no readings until it counts steps, shows values or restarts. If another
    bar starts before that, the other bar is assumed to be the training bar.
    """

    shape = "tqdm"
    needles = (b"%|", b"epoch", b"train", b"s/step")

    def __init__(self) -> None:
        self._counters = Counters()
        self._here: Reading | None = None  # The position at the last drawing of the training bar.
        self._shown: dict[str, float] = {}  # The last value that was shown for each name.
        self._state = (0, 0, 1)  # The current epoch (from 0), its steps done, its total steps.
        self._keras_epoch: int | None = None
        self._keras_state: tuple[int, int] | None = None  # The Keras bar's count and total.
        self._first_pass: int | None = None  # The initial count of the bar that counts epochs.
        self._moves_first: bool | None = None
        self._pass: Reading | None = None  # the last reading of the bar that counts epochs
        self._is_numbered = self._is_lost = False
        # Whether a bar named `Epoch 3` counts epochs, or the steps of that epoch; None if unknown.
        self._counts_epochs: bool | None = None
        self._training: BarKey | None = None
        self._is_sure = False  # True if `_training` is certainly the training bar.
        self._outer: BarKey | None = None  # The bar that counts epochs, around the training bar.
        self._outer_values: BarValues = ()
        self._n: dict[BarKey, int] = {}
        self._n_epochs = 0
        self._others: set[BarKey] = set()  # bars that were drawn since the training bar advanced

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """Return the readings of a line; [] if its bar shows no training, None if it has no bar."""
        line = line[:_LONGEST_BAR]
        if line.startswith(_FROM_0):
            self._counters.epoch_number(0, None)
        if rich := _RICH.match(line):
            values = _values(_NAMED, rich["rest"])
            bar = ProgressBar("", int(rich["n"]), int(rich["total"]), values)
            return self._show(int(rich["epoch"]), bar, at_s)
        if header := _KERAS_EPOCH.match(line):
            self._keras_epoch = self._counters.epoch_number(int(header[1]), int(header[2]))
            self._keras_state = None
            return None  # Other scripts print such lines too, so other formats read the line next.
        if self._keras_epoch is not None and (keras := _KERAS.match(line)):
            return self._of_keras(keras, self._keras_epoch, at_s)
        drawn = bar_of(line)
        if drawn is None:
            return None
        if numbered := _NUMBERED.match(drawn.words):
            return self._numbered(numbered, drawn, at_s)
        if self._is_numbered or self._is_lost or _ELSEWHERE.search(drawn.words):
            return []
        return self._unnumbered(drawn, at_s)

    def _of_keras(self, keras: re.Match[str], epoch: int, at_s: float) -> list[Reading]:
        n, total = int(keras["n"]), int(keras["total"])
        before, self._keras_state = self._keras_state, (n, total)
        if before is not None and (total != before[1] or n < before[0]):
            # A Keras bar that restarts without a new header belongs to `evaluate` or `predict`.
            self._keras_state = 0, 0
            return []
        values = _values(_KERAS_VALUE, keras["rest"])
        return self._show(epoch, ProgressBar("", n, total, values), at_s)

    def _show(
        self, epoch: int, bar: ProgressBar, at_s: float, *, is_epoch: bool = True
    ) -> list[Reading]:
        """Return the readings that are complete after `bar` is drawn in the epoch number `epoch`.

        Epoch numbers start at 0. The values of a full bar are returned later, because validation
        may add values. If `is_epoch` is False, the bar may span the whole training instead of one
        epoch. Then `Reading.epoch_length` is set to the total of the bar.
        """
        n, total, values = bar.n, bar.total, bar.values
        if self._counters.complaint is not None:
            return [Reading(at_s=at_s, shape=self.shape, complaint=self._counters.complaint)]
        before_epoch, before_n, _ = self._state
        if self._here is not None and before_epoch == epoch and n < before_n:
            return []  # The bar was cleared for the next epoch, whose number is not shown yet.
        if n == 0:
            # At the start of an epoch the bar still shows the final values of the previous epoch,
            # or, in the first epoch, values of a validation before the training: ignore them.
            if epoch > 0:
                self._shown |= values
            values = ()
        ended = [] if before_epoch == epoch else self._ended()
        here = Reading(at_s=at_s, shape=self.shape, epoch=epoch + n / total, epoch_length=total)
        if bar.counts_steps:
            here = replace(here, step=epoch * total + n)
            if is_epoch:
                here = replace(here, epoch_length=None)
        new = _new(values, self._shown.items())
        self._shown |= values
        self._here, self._state = here, (epoch, n, total)
        if n < total:
            return [*ended, replace(here, values=new)]
        # Hold the values back, because the full bar may be drawn again with validation values.
        return [*ended, here]

    def _ended(self) -> list[Reading]:
        _, n, total = self._state
        if self._here is None or n < total:
            return []  # The values of a bar that is not full were returned already.
        return [replace(self._here, values=tuple(self._shown.items()))]

    def _show_pass(self, n: int, at_s: float, values: BarValues) -> list[Reading]:
        """Return the readings that are complete after a bar over epochs is drawn at count `n`.

        Some scripts set an epoch's values and then advance the bar; others advance it first. If
        the bar has values at its initial count, the script sets them first, so the first drawing at
        each count shows the epoch that just ended. Otherwise, the last drawing at each count does.
        """
        before, here = self._pass, Reading(at_s=at_s, shape=self.shape, epoch=float(n))
        if values and self._moves_first is None:
            self._moves_first = n != self._first_pass
        self._pass = replace(here, values=values)
        if before is None:
            self._first_pass = n
        elif n == before.epoch:
            return []
        if not self._moves_first:
            return [self._pass]
        return [here] if before is None else [before, here]

    def _numbered(self, numbered: re.Match[str], bar: ProgressBar, at_s: float) -> list[Reading]:
        """Return the readings of a bar described as `Epoch 3`; the bar counts steps or epochs."""
        if not self._is_numbered:
            self._forget()
            self._is_numbered = True
        number, last = int(numbered[1]), int(numbered[2]) if numbered[2] else None
        if self._counts_epochs is None:
            if last == bar.total > 1 and number == 1 and bar.n <= 1:
                # Wait for the next drawing: "Epoch 1/30: 1/30" may count epochs or steps.
                return []
            self._counts_epochs = last == bar.total and bar.n in (number - 1, number)
        if self._counts_epochs:
            return self._show_pass(bar.n, at_s, bar.values)
        return self._show(self._counters.epoch_number(number, last), bar, at_s)

    def _unnumbered(self, bar: ProgressBar, at_s: float) -> list[Reading]:
        key = (re.sub(r"\d+", "#", bar.words), bar.total)
        before = self._n.get(key)
        self._n[key] = bar.n
        counts_epochs = bar.words.lower() in _EPOCHS or bar.unit.lower().startswith("epoch")
        if counts_epochs and key != self._outer:
            if self._training is None:
                return self._show_pass(bar.n, at_s, bar.values)
            self._outer = key
        if key == self._outer:
            return self._around(bar, at_s)
        begins = before is None or bar.n < before
        if begins and self._is_around(key):
            self._outer, self._training, self._n_epochs = self._training, None, 0
        elif begins and key != self._training and not self._is_sure:
            self._forget()
        if self._training is None:
            self._training = key
        if key != self._training:
            return self._other(key, bar, at_s, begins=begins)
        shown = self._train(bar, before, at_s)
        has_moved = bar.n > 0 and bar.counts_steps and not _DOES_ELSE.match(bar.words)
        is_sure = has_moved or self._outer is not None or self._n_epochs > 1
        self._is_sure = self._is_sure or is_sure or bool(bar.values)
        return shown if self._is_sure else []

    def finish(self) -> list[Reading]:
        """Return the last readings, which the training bar and the bar over epochs held back."""
        readings = []
        if self._training is None or self._is_sure:
            readings = self._ended()
            self._here = None
        if self._moves_first and self._pass is not None:
            readings.append(self._pass)
        return readings

    def _forget(self) -> None:
        """Discard the bar that was assumed to be the training bar."""
        self._here, self._shown = None, {}
        self._training, self._is_sure, self._n_epochs = None, False, 0

    def _is_around(self, key: BarKey) -> bool:
        first = self._training
        if first is None or self._outer is not None or key == first:
            return False
        # The first bar counts epochs if it is still at 0 when the bar `key` starts.
        return self._n[first] == 0 and self._n_epochs == 1 and first[0] in ("", key[0])

    def _around(self, bar: ProgressBar, at_s: float) -> list[Reading]:
        # Complain if this bar counts more epochs than the training bar has started, or if it is
        # full although the training bar has started more epochs than its total.
        is_done = bar.n == bar.total
        if bar.n > self._n_epochs or (is_done and self._n_epochs > bar.n):
            return self._lost(_NOT_TOLD_APART, at_s)
        new = _new(bar.values, self._outer_values)
        self._outer_values = bar.values
        return [Reading(at_s=at_s, shape=self.shape, values=new)] if new else []

    def _other(self, key: BarKey, bar: ProgressBar, at_s: float, *, begins: bool) -> list[Reading]:
        assert self._training is not None
        if begins and key in self._others and key[0] == self._training[0]:
            return self._lost(_NOT_TOLD_APART, at_s)
        self._others.add(key)
        # A bar that becomes full while the training bar is full shows a validation after the epoch.
        is_below = self._n[self._training] == self._training[1] and bar.n == bar.total
        if not (is_below and bar.values):
            return []
        return [Reading(at_s=at_s, shape=self.shape, values=bar.values, split="val")]

    def _train(self, bar: ProgressBar, before: int | None, at_s: float) -> list[Reading]:
        if bar.n != before:
            self._others.clear()
        if before is None or bar.n < before:
            self._n_epochs += 1
            if before is not None and before < _NEARLY * bar.total:
                return self._lost(_UNSEEN_END, at_s)
            if self._outer is not None and self._n_epochs > self._n[self._outer] + _BEHIND:
                return self._lost(_NOT_TOLD_APART, at_s)
        # A bar that has restarted, or that runs inside a bar over epochs, spans exactly one epoch.
        is_epoch = self._outer is not None or self._n_epochs > 1 or _STEPS.search(bar.words)
        return self._show(self._n_epochs - 1, bar, at_s, is_epoch=bool(is_epoch))

    def _lost(self, complaint: str, at_s: float) -> list[Reading]:
        self._is_lost = True
        return [Reading(at_s=at_s, shape=self.shape, complaint=complaint)]
