"""Save weights: write the weights of a model, trained as an advice recommends, to a file."""

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
    """The file with the weights, the run that they are from, and their metric value."""

    path: Path  # The safetensors file.
    record: TrialRecord  # The training run that made the weights.
    metric: str  # The name of the validation metric.
    value: float | None  # The metric value of the saved weights; None if never evaluated.
    are_averaged: bool = False  # Whether the weights are the averages that `Workload.ema` makes.


def save_weights(
    path: str | Path = "model.safetensors",
    *,
    store: str | Path = "batchlab.db",
    study: str | None = None,
) -> SavedWeights:
    """Write the weights of a training run with the configuration that an advice recommends.

    The run is the longest run with that batch size and learning rate; of equally long runs, the run
    with the best final value. Load the file with
    `model.load_state_dict(safetensors.torch.load_file(path))`. For a workload with `ema`, the
    averaged weights are written.

    Args:
        path: the file to write.
        store: the SQLite file, which must exist, with the folder of checkpoints next to it.
        study: the start of the study's id; None for the study that was run last.

    Returns:
        The `path` of the file, the `record` of the run, the validation `metric` with the `value`
        of these weights (None if never evaluated), and whether the weights `are_averaged`.

    Raises:
        BatchlabError: the study has no recommendation that was trained, or no file can be written.
    """
    from safetensors.torch import save  # Imported only if used, because importing torch is slow.

    from batchlab.training.checkpoint import load_weights

    path, store = Path(path), Path(store)
    check_output_file(path, store=store, option="--output", example="model.safetensors")
    shown = stored(store, study)
    if not isinstance(shown, Advised):
        raise UsageError(
            f"study {shown.study_id} of {store} is not an advice, and only an advice names a "
            "batch size; run batchlab advise, or give the id of an advice with --study"
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
    """Return a configuration's longest run; of equally long runs, that with the best end value."""
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
