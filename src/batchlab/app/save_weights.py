"""Save weights: the trained model of an advice's named configuration, written to a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from batchlab.advice.advice import Advice, Configuration
from batchlab.app.output_file import check_output_file, write_output_file
from batchlab.app.report import Advised, stored
from batchlab.errors import UsageError
from batchlab.records.trial import TrialRecord
from batchlab.store.store import Store
from batchlab.words.catalogue import number_text


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedWeights:
    """The weights that were written."""

    path: Path  # the safetensors file
    record: TrialRecord  # the training run that made them
    metric: str  # the validation metric
    value: float | None  # its value for these weights, or None if the run was never evaluated
    are_averaged: bool = False  # averaged along the run, as for its evaluations


def save_weights(
    path: str | Path = "model.safetensors",
    *,
    store: str | Path = "batchlab.db",
    study: str | None = None,
) -> SavedWeights:
    """Write the weights of a training run with the configuration that an advice names.

    The run is the longest with that batch size and learning rate, and among equally long ones the
    one that ended best. Load the file with
    `model.load_state_dict(safetensors.torch.load_file(path))`. For a workload with `ema` they are
    the averaged weights.

    Args:
        path: the file to write.
        store: the SQLite file, which must exist, with the folder of checkpoints next to it.
        study: the start of the study's id; None for the one asked for last.

    Returns:
        The `path` that was written, the `record` of the run, the validation `metric` with the
        `value` of these weights (None if never evaluated), and whether they `are_averaged`.

    Raises:
        UsageError: the study is not an advice or names nothing, no study has such an id, or no
            file can be written to `path`.
        StoreError: there is no store, or the checkpoint is gone.
        BatchlabError: the file cannot be written.
    """
    from safetensors.torch import save  # it loads torch

    from batchlab.training.checkpoint import load_weights

    path, store = Path(path), Path(store)
    check_output_file(path, store=store, option="--output", example="model.safetensors")
    shown = stored(store, study)
    if not isinstance(shown, Advised):
        raise UsageError(
            f"study {shown.study_id} of {store} is no advice, and only an advice names a "
            f"batch size; run batchlab advise, or give the id of an advice with --study"
        )
    named = shown.advice.named
    if named is None:
        raise UsageError(
            f"the advice of study {shown.study.study_id} names no configuration, so it has no "
            f"weights to give"
        )
    record = _longest(shown.study.records, named, shown.advice)
    with Store.existing(store) as opened:
        checkpoint = opened.checkpoint_path(record.trial.trial_id)
    weights, are_averaged = load_weights(checkpoint)
    write_output_file(path, save(weights))
    metric = shown.advice.metric
    return SavedWeights(
        path=path,
        record=record,
        metric=metric,
        value=record.last("validation", metric),
        are_averaged=are_averaged,
    )


def _longest(records: tuple[TrialRecord, ...], named: Configuration, advice: Advice) -> TrialRecord:
    """Return the longest run of a configuration; of equally long runs, the one that ended best."""
    runs = [record for record in records if record.ended_well and advice.is_of(record.trial, named)]
    if not runs:
        raise UsageError(
            f"no run with batch size {named.batch_size} and learning rate "
            f"{number_text(named.learning_rate, 'rate')} was trained, so there are no weights to "
            f"give"
        )

    def length_and_end(record: TrialRecord) -> tuple[int, float]:
        value = record.last("validation", advice.metric)
        if value is None:
            return record.steps, -math.inf
        return record.steps, value if advice.better == "higher" else -value

    return max(runs, key=length_and_end)
