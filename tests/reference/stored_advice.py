"""An advice put into a store with its study, its profile and a checkpoint for every run."""

import copy

import torch
from tests.reference.made_up_advice import advice_study
from tests.reference.made_up_profile import made_up_profile
from tests.reference.stored_study import name_of, put_study
from torch import nn

from batchlab.advice.advice import Advice
from batchlab.app.report import put_advice
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.runs.replay import Journal, JournalEntry
from batchlab.store.store import Store
from batchlab.training.checkpoint import AVERAGED, MODEL, Progress, save_checkpoint


def put_advised(store: Store, advice: Advice) -> Study:
    study = advice_study(advice)
    put_study(store, study)
    profile = made_up_profile().to_json()
    first = JournalEntry(profile=profile, budget_s=100.0, n_workers=2, spent_s=1.0)
    Journal(store, name_of(study)).begin(first)
    put_advice(store, study.study_id, advice)
    return study


def put_checkpoint(store: Store, record: TrialRecord, *, averaged: bool = False) -> nn.Linear:
    """Weights of its own for a run; its seed tells them from those of others.

    Where they are averaged, the raw ones have gone on to zero.
    """
    torch.manual_seed(record.trial.seed)
    model = nn.Linear(3, 2)
    kept = {MODEL: model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    if averaged:
        kept[AVERAGED] = copy.deepcopy(model)
        nn.init.zeros_(model.weight)
    said = {
        name: getattr(record, name) for name in ("evaluations", "versions", "engine", "samples")
    }
    times = {"train_s": 1.0, "eval_s": 0.0, "loss_sum": 0.0, "threads": 1}
    progress = Progress(step=record.steps, **said, **times)
    save_checkpoint(store.checkpoint_path(record.trial.trial_id), kept=kept, progress=progress)
    return model
