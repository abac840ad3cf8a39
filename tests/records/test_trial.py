"""A trial's identity: the same for ever, and another one for every other field."""

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_trial

from batchlab.records.batch_plan import Stage

TRIAL = made_up_trial()
OTHERWISE = {
    "settings": (("width", 8),),
    "micro_batch_size": 16,
    "sampling": "replacement",
    "drop_last": True,
    "scaling_rule": "sqrt",
    "horizon_steps": 100,
    "device": "cuda",
}
STAGES = (
    Stage(from_samples=100, batch_size=32),
    Stage(from_samples=200, batch_size=128, rate_factor=0.5),
)


@pytest.mark.parametrize(
    ("changes", "trial_id"), [({}, "7ac45b8771f86750"), (OTHERWISE, "7506421a88cb9209")]
)
def test_an_identity_is_the_same_for_ever(changes, trial_id):
    assert replace(TRIAL, **changes).trial_id == trial_id


def test_an_identity_leaves_out_what_is_at_its_default():
    whole = replace(TRIAL, batch_size=32, micro_batch_size=32)

    assert TRIAL.identity == {
        "format": 2,
        "workload_id": "made-up-id",
        "workload": "made-up",
        "n_train": 4096,
        "batch_size": 64,
        "learning_rate": 0.01,
        "seed": 0,
    }
    assert "micro_batch_size" not in whole.identity
    assert replace(TRIAL, micro_batch_size=32).trial_id != whole.trial_id


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *OTHERWISE.items(),
        ("stages", STAGES),
        ("stages", STAGES[:1]),
        ("workload_id", "other"),
        ("workload", "other"),
        ("n_train", 5000),
        ("batch_size", 32),
        ("learning_rate", 0.02),
        ("seed", 1),
        ("weight_decay_factor", 2.0),
        ("world_size", 2),
    ],
)
def test_every_field_tells_trials_apart(name, value):
    assert replace(TRIAL, **{name: value}).trial_id != TRIAL.trial_id


def test_stages_are_part_of_an_identity_and_of_the_plan():
    staged = replace(TRIAL, micro_batch_size=0, stages=STAGES)

    assert staged.identity["stages"] == [
        {"from_samples": 100, "batch_size": 32, "rate_factor": 1.0},
        {"from_samples": 200, "batch_size": 128, "rate_factor": 0.5},
    ]
    assert "micro_batch_size" not in staged.identity
    assert staged.micro_batch_sizes == {64: 64, 32: 32, 128: 128}
    assert not staged.accumulates
    assert replace(staged, micro_batch_size=64).accumulates
    assert staged.plan.stage_at(10).batch_size == 128
