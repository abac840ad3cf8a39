"""tqdm: bars such as ` 40%|████      | 120/300 [00:10<00:15, 11.5it/s, loss=0.3]`."""

from __future__ import annotations

from batchlab.launching.epoch_bar import EpochBar
from batchlab.launching.progress_bar import ProgressBar, bar_of
from batchlab.launching.reading import Reading
from batchlab.launching.shape import Shape

_EPOCHS = ("epoch", "epochs", "training epochs")


class _Lines:
    """One bar trains: the first that is not called otherwise. Drawn anew, it is a new epoch."""

    def __init__(self) -> None:
        self._bar = EpochBar("tqdm")
        self._description: str | None = None
        self._epoch = 0
        self._last = 0

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        bar = bar_of(line)
        if bar is None:
            return None
        if not bar.may_train or not self._is_ours(bar):
            return []
        if bar.description.lower() in _EPOCHS:
            return [Reading(at_s=at_s, shape="tqdm", epoch=float(bar.n), values=bar.values)]
        if bar.n < self._last:
            self._epoch += 1
        self._last = bar.n
        return self._bar.show(
            epoch=self._epoch, n=bar.n, total=bar.total, at_s=at_s, values=bar.values
        )

    def finish(self) -> list[Reading]:
        return self._bar.finish()

    def _is_ours(self, bar: ProgressBar) -> bool:
        if self._description is None:
            self._description = bar.description
        return bar.description == self._description


SHAPE = Shape(
    place=6,
    label="a bar of tqdm",
    needles=(b"%|",),
    counts="batches",
    reader=_Lines,
)
