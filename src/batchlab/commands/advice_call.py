"""AdviceCall: what `advise` was called with beside the workload, as it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batchlab.advice.parts import Objective
from batchlab.profiling.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Sampling, Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class AdviceCall:
    """One call of `batchlab.advise`, nothing of it checked; its arguments say what each field is.

    The Python name and the command line both build one, and only they spell it out.
    """

    objective: Objective
    target: tuple[str, float] | None
    budget: str | float | None
    trainings: float | None
    batch_sizes: Sequence[int | Literal["full"]] | None
    epochs: int | None
    train_s: float | None
    memory_limit_bytes: int | None
    profile: Profile | str | Path | None
    settings: Mapping[str, Setting] | None
    sampling: Sampling
    drop_last: bool
    device: str
    store: str | Path
    command: str | None
    listener: ProgressListener | None
    reserved_s: float
