"""GridHeader, WholeGridHeader: what a grid's JSON file says of its trainings."""

from __future__ import annotations

from pathlib import Path

import msgspec

from batchlab.errors import DatasetError
from batchlab.records.quantities import Better


class _Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of every grid; further fields in its file are for people.

    Attributes:
        workload: its name.
        n_train: examples in the training set.
        metric: the validation metric whose curves were recorded.
        better: its direction.
        reference_batch_size: of the workload's own configuration.
        reference_learning_rate: of the workload's own configuration.
        step_s: measured seconds a step, by batch size.
    """

    workload: str
    n_train: int
    metric: str
    better: Better
    reference_batch_size: int
    reference_learning_rate: float
    step_s: dict[int, float]


class GridHeader(_Recorded, frozen=True, kw_only=True):
    """Of a grid of runs to a given target.

    Attributes:
        target: the level that counts as trained.
        easier: a level before it.
        harder: a level after it; the runs went on until it was met.
        cut: runs were ended at so many times the fewest steps of their batch size to the target.
    """

    target: float
    easier: float
    harder: float
    cut: float


class WholeGridHeader(_Recorded, frozen=True, kw_only=True):
    """Of a grid of whole trainings: no level had a part in how long they went on.

    Attributes:
        epochs: passes over the training set of each training.
        has_schedule: whether the learning rate followed a shape that spans them.
        eval_s: measured seconds of an evaluation on validation data.
    """

    epochs: int
    has_schedule: bool
    eval_s: float


class _Epochs(msgspec.Struct):
    """The one field that tells the two kinds apart."""

    epochs: int | None = None


def read_header(path: Path) -> GridHeader | WholeGridHeader:
    """What the JSON file at `path` says.

    Raises:
        DatasetError: it is missing, or lacks something; the message names it.
    """
    try:
        content = path.read_bytes()
        is_whole = msgspec.json.decode(content, type=_Epochs).epochs is not None
        if is_whole:
            return msgspec.json.decode(content, type=WholeGridHeader)
        return msgspec.json.decode(content, type=GridHeader)
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); a grid is two files, NAME.csv.gz and "
            "NAME.json beside it"
        ) from error
    except msgspec.MsgspecError as error:
        raise DatasetError(f"{path}: is no description of a grid: {error}") from error
