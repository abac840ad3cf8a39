from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.reference.made_up_advice import cannot_tell_advice, made_up_advice
from tests.reference.stored_advice import put_advised, put_checkpoint
from tests.reference.stored_study import put_study
from torch import nn

from batchlab.advice.advice import Advice
from batchlab.app.save_weights import save_weights
from batchlab.errors import StoreError, UsageError
from batchlab.records.trial import Score, TrialRecord
from batchlab.store.store import Store


def runs_of(advice: Advice, records: tuple[TrialRecord, ...]) -> list[TrialRecord]:
    """The runs with what it recommends."""
    found = advice.recommendation
    assert found is not None
    named = (found.batch_size, found.learning_rate)
    return [r for r in records if (r.trial.batch_size, r.trial.learning_rate) == named]


def is_in(path: Path, model: nn.Module) -> bool:
    state, written = model.state_dict(), load_file(path)
    return written.keys() == state.keys() and all(
        torch.equal(written[name], tensor) for name, tensor in state.items()
    )


def ending_with(record: TrialRecord, accuracy: float) -> TrialRecord:
    last = record.evaluations[-1]
    others = tuple(s for s in last.scores if (s.split, s.metric) != ("validation", "accuracy"))
    score = Score(split="validation", metric="accuracy", value=accuracy)
    evaluations = (*record.evaluations[:-1], replace(last, scores=(*others, score)))
    return replace(record, evaluations=evaluations)


def test_the_weights_of_the_longest_run_with_what_is_named_load_into_the_model(lab: Path) -> None:
    advice = made_up_advice()
    with Store(lab) as store:
        study = put_advised(store, advice)
        models = {r.trial.trial_id: put_checkpoint(store, r) for r in study.records}
    runs = runs_of(advice, study.records)
    longest = max(run.steps for run in runs)

    saved = save_weights(lab.with_name("model.safetensors"), store=lab)

    assert saved.record.trial.trial_id in {run.trial.trial_id for run in runs}
    assert saved.record.steps == longest
    assert saved.value == saved.record.evaluations[-1].score("validation", advice.metric)
    assert is_in(saved.path, models[saved.record.trial.trial_id])
    nn.Linear(3, 2).load_state_dict(load_file(saved.path))


@pytest.mark.slow
def test_of_equally_long_runs_it_is_the_one_that_ended_best(lab: Path) -> None:
    advice = made_up_advice()
    with Store(lab) as store:
        study = put_advised(store, advice)
        longest = max(runs_of(advice, study.records), key=lambda run: run.steps)
        others = [
            ending_with(replace(longest, trial=replace(longest.trial, seed=seed)), accuracy)
            for seed, accuracy in ((901, 0.90), (902, 0.99), (903, 0.95))
        ]
        put_study(store, replace(study, records=(*study.records, *others)))
        for record in (*study.records, *others):
            put_checkpoint(store, record)

    saved = save_weights(lab.with_name("model.safetensors"), store=lab)

    assert (saved.record.trial.seed, saved.value) == (902, 0.99)


def diverged() -> Advice:
    advice = made_up_advice()
    return replace(advice, tried=tuple(replace(run, status="diverged") for run in advice.tried))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("advice", "told"),
    [
        (diverged(), r"no run with batch size .* was trained"),
        (replace(cannot_tell_advice(), provisional=None), "names no configuration"),
        (made_up_advice(), "cannot be read"),  # its checkpoint is gone
    ],
)
def test_weights_that_are_not_there_are_told_and_no_file_is_left(
    advice: Advice, told: str, lab: Path
) -> None:
    with Store(lab) as store:
        put_advised(store, advice)

    with pytest.raises((StoreError, UsageError), match=told):
        save_weights(lab.with_name("model.safetensors"), store=lab)
    assert not lab.with_name("model.safetensors").exists()
