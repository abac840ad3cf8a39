from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tests.reference.made_up_advice import cannot_tell_advice, made_up_advice
from tests.reference.stored_advice import put_advised, put_checkpoint
from tests.reference.stored_study import put_study
from torch import nn

from batchlab.app.save_weights import save_weights
from batchlab.errors import StoreError, UsageError
from batchlab.records.trial import Score
from batchlab.store.store import Store

MADE = made_up_advice()
DIVERGED = tuple(replace(run, status="diverged") for run in MADE.tried)


def test_of_the_longest_runs_with_what_is_named_it_is_the_one_that_ended_best(lab):
    advice = MADE
    with Store(lab) as store:
        study = put_advised(store, advice)
        found = advice.named
        named = (found.batch_size, found.learning_rate)
        runs = [r for r in study.records if (r.trial.batch_size, r.trial.learning_rate) == named]
        longest = max(runs, key=lambda run: run.steps)
        *before, end = longest.evaluations
        others = []
        for seed, value in ((901, 0.90), (902, 0.99), (903, 0.95)):
            trial = replace(longest.trial, seed=seed)
            score = Score(split="validation", metric=advice.metric, value=value)
            evaluations = (*before, replace(end, scores=(score,)))
            others.append(replace(longest, trial=trial, evaluations=evaluations))
        put_study(store, replace(study, records=(*study.records, *others)))
        models = {r.trial.seed: put_checkpoint(store, r) for r in (*study.records, *others)}

    saved = save_weights(lab.with_name("model.safetensors"), store=lab)

    assert saved.record.steps == longest.steps
    assert (saved.record.trial.seed, saved.value) == (902, 0.99)
    assert saved.value == saved.record.evaluations[-1].score("validation", advice.metric)
    loaded = nn.Linear(3, 2)
    loaded.load_state_dict(load_file(saved.path))
    assert torch.equal(loaded.weight, models[902].weight)
    assert torch.equal(loaded.bias, models[902].bias)


@pytest.mark.parametrize(
    ("advice", "told"),
    [
        (replace(MADE, tried=DIVERGED), r"no run with batch size .* was trained"),
        (replace(cannot_tell_advice(), provisional=None), "names no configuration"),
        (MADE, "cannot be read"),  # its checkpoint is gone
    ],
)
def test_weights_that_are_not_there_are_told_and_no_file_is_left(advice, told, lab):
    with Store(lab) as store:
        put_advised(store, advice)

    with pytest.raises((StoreError, UsageError), match=told):
        save_weights(lab.with_name("model.safetensors"), store=lab)
    assert not lab.with_name("model.safetensors").exists()
