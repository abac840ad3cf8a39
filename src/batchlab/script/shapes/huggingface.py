"""huggingface: the dict lines of a Trainer, `{'loss': 0.5, 'epoch': 0.3}`, and the bar's steps."""

from __future__ import annotations

from dataclasses import replace

from batchlab.script.bars import bar_of
from batchlab.script.reading import SAMPLES, STEPS, Reading, Shape, dict_in, number_in

# A Trainer prints no counter but its epoch, which is a fraction but at the very start, and some of
# these. Any other dict with an epoch is somebody's own.
_ITS_OWN = ("learning_rate", "grad_norm", "eval_samples_per_second", "train_samples_per_second")
_RUNTIMES = ("eval_runtime", "train_runtime", "test_runtime", "predict_runtime")


class _Lines:
    """A dict line has no step: the bar, which is drawn again right below it, has.

    So a line waits for the bar of the training, the first one without words before it.
    """

    def __init__(self) -> None:
        self._total: int | None = None
        self._waiting: list[Reading] = []
        self._has_dicts = False

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        if line.startswith("{'"):
            return self._logged(line, at_s)
        bar = bar_of(line)
        if bar is None or bar.description:
            return None
        if self._total is None:
            self._total = bar.total
        if bar.total == self._total:
            done = [replace(reading, step=bar.n) for reading in self._waiting]
            self._waiting = []
            # Before the first dict line it may be any bar.
            return done if self._has_dicts else None
        return [] if self._has_dicts else None

    def finish(self) -> list[Reading]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _logged(self, line: str, at_s: float) -> list[Reading] | None:
        values = _trainers(line)
        if values is None:
            return None
        epoch = values.pop("epoch")
        self._has_dicts = True
        before = self.finish()
        reading = Reading(at_s=at_s, shape="huggingface", epoch=epoch, values=tuple(values.items()))
        if self._total is None:
            return [*before, reading]
        self._waiting = [reading]
        return before


def _trainers(line: str) -> dict[str, float] | None:
    """The numbers of a Trainer's dict; newer versions write them as texts. None: it is no such."""
    found = dict_in(line)
    if found is None or len(found) < 2 or any(name in found for name in (*STEPS, *SAMPLES)):
        return None
    numbers = {
        name: float(number)
        for name, value in found.items()
        if (number := number_in(value)) is not None
    }
    epoch = numbers.get("epoch")
    if epoch is None or len(numbers) < 2:
        return None
    is_number = isinstance(found["epoch"], int)
    marks = _RUNTIMES if is_number else (*_ITS_OWN, *_RUNTIMES)
    is_fraction = not is_number and not epoch.is_integer()
    return numbers if is_fraction or any(name in numbers for name in marks) else None


SHAPE = Shape(
    place=2,
    label="dict lines of a Hugging Face Trainer",
    needles=(b"{'", b"%|"),
    counts="updates",
    reader=_Lines,
)
