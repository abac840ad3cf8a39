"""words: plain lines such as `epoch 3 step 100 val_loss=0.41`, by the names beside the numbers."""

from __future__ import annotations

import re
from functools import lru_cache

from batchlab.script.reading import (
    NUMBER,
    Counters,
    NumberStyle,
    Reading,
    Shape,
    count_of,
    number_of,
    spoken_kind,
)

_LONGEST_LINE = 2000
_WORD = r"(?!(?i:nan|inf(?:inity)?)\b)[A-Za-z_][\w@./\-]*(?:'s\b)?"
# "val loss: 0.4", "Epoch [3/10]", "Accuracy: 9000/10000", "Epoch: [0]  [ 10/391]", "acc 0.9"
_PAIR = re.compile(
    rf"(?<![\w@./\-])(?P<name>(?>{_WORD}(?: {_WORD}){{0,3}}))"
    r"(?P<sign>\s*[:=]\s*|\s+|(?=\[))\[?\s*"
    rf"(?P<number>{NUMBER})"
    rf"(?:\s*(?:/|of)\s*(?P<total>{NUMBER}))?"
    r"(?![A-Za-z_\d]|[:/,.]\d)"
    r"(?:\]?\s*[\[(]\s*(?P<part>\d+)\s*/\s*(?P<whole>\d+))?"
)
# Ways of writing the same that are brought into the form above.
_TENSOR = re.compile(rf"tensor\(({NUMBER})[^)]{{0,80}}\)")
_EPOCH_AND_STEP = re.compile(r"^\[(\d+),\s*(\d+)\]")
_BOOSTED = re.compile(r"^\[(\d+)\]\t")  # XGBoost and LightGBM number their trees so
# An iteration of scikit-learn's networks is a pass.
_OF_SCIKIT_LEARN = re.compile(r"^Iteration (\d+), loss = (?=\d+\.\d{8}$)")
# "Train: 0 [  50/1251 (  4%)]" has the epoch's number before how far it is.
_TRAIN_PART = re.compile(r"^Train: (?=\d+ \[\s*\d+/)")
# A line within a loop over validation batches: its values are of one batch, the averages so far in
# parentheses; whole at its end alone.
_EVALUATION = re.compile(r"^(?:Test|Val|Valid|Validation|Eval):\s*\[\s*(\d+)/(\d+)\]")
_AVERAGE = re.compile(rf"{NUMBER}\s+\(\s*({NUMBER})\s*\)")
_AT_STEP = re.compile(
    r"([A-Za-z][\w ./\-]{0,40}?)(?: \([^)]{0,40}\))? (?:at|after) "
    rf"(step|epoch|iteration|update) (\d+)\s*(?:is|was|[:=])\s*({NUMBER})"
)
_OF_BATCHES = re.compile(r"(?<![\d.])(\d+)\s*/\s*(\d+) (?:batches|steps|iterations)\b")
_COUNTERS = ("epoch", "step", "iter", "batch", "update", "sample", "example")
# Longer than two letters, for two are in any binary data; the metric asked for is looked for too.
_METRICS = (
    *("loss", "acc", "err", "val", "test", "score", "auc", "bleu", "perplexity", "ppl"),
    *("precision", "recall", "mse", "mae", "reward", "return", "iou", "metric"),
)
# Most lines that hold one of these words have no number where it would have to be. It begins at
# words alone and every repetition is bounded: else a line of "loss" a thousand times takes seconds.
_LIKELY = re.compile(
    rf"(?:{'|'.join(_COUNTERS)})[\w/]{{0,40}}\W{{0,4}}\d"
    r"|^\[\d+, *\d+\]"
    rf"|(?<![\w@./\-])(?=[\w@./\-]{{0,60}}?(?:{'|'.join(_METRICS)}))[\w@./\-]{{1,80}}"
    r"(?:[ \w]{0,60}[:=]\s{0,20}|\s{1,20})(?:tensor\()?[-+.]?(?:\d|nan|inf)"
)
_LOG_LEVELS = ("INFO ", "DEBUG ", "WARNING ")
_FILLERS = ("the", "is", "was", "of")


class _Lines:
    def __init__(self) -> None:
        self._counters = Counters()
        self._style = NumberStyle()

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        line = line[:_LONGEST_LINE]
        if evaluation := _EVALUATION.match(line):
            if int(evaluation[1]) < int(evaluation[2]):
                return []
            line = _AVERAGE.sub(r"\1", line[evaluation.end() :])
        found = _Found(line, self._style)
        if not found.values and found.step is None:
            return None if found.epoch is None else self._begun(found.epoch)
        samples = found.samples if found.values else None  # alone it is the size of a data set
        position = self._counters.position(
            step=found.step,
            n_steps=found.n_steps,
            epoch=found.epoch,
            samples=samples,
            part=found.part,
        )
        return [
            Reading(
                at_s=at_s,
                shape="words",
                step=position.step,
                epoch=position.epoch,
                epoch_step=position.epoch_step,
                samples=position.samples,
                epoch_length=position.epoch_length,
                values=tuple(found.values.items()),
                unsure=tuple(found.unsure),
            )
        ]

    def _begun(self, epoch: float) -> list[Reading]:
        """A line with the number of an epoch and nothing else: it begins, for all that is known."""
        if isinstance(epoch, int):
            self._counters.begin_epoch(epoch)
        return []

    def finish(self) -> list[Reading]:
        return []


class _Found:
    """The counters of one line and its other numbers by their names."""

    def __init__(self, line: str, style: NumberStyle) -> None:
        self.step: int | None = None
        self.n_steps: int | None = None
        self.epoch: float | None = None
        self.samples: int | None = None
        self.part: tuple[int, int] | None = None
        self.values: dict[str, float] = {}
        self.unsure: list[str] = []
        self._style = style
        line = _in_one_form(line)
        if batches := _OF_BATCHES.search(line):
            self._take_part(int(batches[1]), int(batches[2]))
        pairs = list(_PAIR.finditer(line))
        for match in pairs:
            style.see(match["number"])
        for match in pairs:
            name, sign, number, total, part, whole = match.groups()
            if whole is not None:
                self._take_part(int(part), int(whole))
            self._take(_name(name, sign), number, total)

    def _take(self, name: str, number: str, total: str | None) -> None:
        kind = spoken_kind(name)
        if kind is None:
            self._take_value(name, number, total)
        elif kind == "epoch" and self.epoch is None:
            self.epoch = count_of(number) if number.isdigit() else number_of(number)
        elif kind == "step" and self.step is None:
            self.step = count_of(number)
            self.n_steps = None if total is None else count_of(total)
        elif kind == "samples" and self.samples is None:
            self.samples = count_of(number)

    def _take_part(self, n: int, whole: int) -> None:
        if self.part is None and whole > 0:
            self.part = (n, whole)

    def _take_value(self, name: str, number: str, total: str | None) -> None:
        """A value; `9000/10000` is 0.9."""
        value, is_sure = self._style.number_of(number)
        whole = 1.0 if total is None else number_of(total)
        if value is not None and whole:
            self.values[name] = value / whole
            if not is_sure and total is None:
                self.unsure.append(name)


@lru_cache(maxsize=1000)
def _name(name: str, sign: str) -> str:
    """The words before the number; before `=` only the last of them is the name."""
    for level in _LOG_LEVELS:
        name = name.removeprefix(level)
    words = name.split()
    while len(words) > 1 and words[0].lower() in _FILLERS:
        words.pop(0)
    while len(words) > 1 and words[-1].lower() in _FILLERS:
        words.pop()
    return words[-1] if "=" in sign else " ".join(words)


def _in_one_form(line: str) -> str:
    """The line with `loss at step 3: 0.5` and the like as names before their numbers."""
    if "tensor(" in line:
        line = _TENSOR.sub(r"\1", line)
    if line.startswith("["):
        line = _EPOCH_AND_STEP.sub(r"epoch \1 step \2", _BOOSTED.sub(r"iteration \1 ", line))
    elif line.startswith("Iteration "):
        line = _OF_SCIKIT_LEARN.sub(r"epoch \1 loss = ", line)
    elif line.startswith("Train: "):
        line = _TRAIN_PART.sub("epoch: ", line)
    if " at " in line or " after " in line:
        line = _AT_STEP.sub(r"\2 \3 \1: \4", line)
    return line


SHAPE = Shape(
    place=7,
    label="names and numbers in plain lines",
    needles=tuple(word.encode() for word in (*_COUNTERS, *_METRICS)),
    likely=_LIKELY,
    counts="updates",
    reader=_Lines,
)
