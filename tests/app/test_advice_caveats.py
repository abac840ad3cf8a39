"""What an advice says besides its figures: of its subject, its trainings and this machine."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tests.app.conftest import about
from tests.reference.made_up_advice import made_up_advice
from tests.reference.made_up_profile import made_up_profile, told_profile
from tests.reference.small_workloads import cosine
from tests.reference.tiny_workload import tiny
from torch import nn

from batchlab.advice.advice import Advice
from batchlab.app.caveats import caveats_of
from batchlab.records.estimate import Reason
from batchlab.runs.cluster import Cluster
from batchlab.training.optimizers import adam_settings
from batchlab.words.reasons import reason_text


def caveats(
    advice: Advice | None = None,
    *,
    fields: dict[str, Any] | None = None,
    found: dict[str, Any] | None = None,
    **given: Any,
) -> dict[str, Reason]:
    """By their codes, of a tiny workload with these fields that a check has `found` to be so."""
    subject = about("advise", tiny(**(fields or {})), **given)
    subject.summary = replace(subject.summary, **(found or {}))
    here = told_profile(subject.summary, lambda size: 0.01, [20])
    advice = replace(advice or made_up_advice(), metric=subject.metric)
    return {each.code: each for each in caveats_of(advice, subject, here, options=())}


def test_the_answer_says_that_its_times_are_of_this_machine():
    said, *_ = caveats(cluster=Cluster()).values()

    assert reason_text(said) == (
        "step times and memory were measured on here, "
        "so all times are for that machine, wherever the trainings ran"
    )


@pytest.mark.parametrize("cluster", [Cluster(), None])
def test_the_answer_says_that_its_times_are_of_the_profile(cluster):
    there = replace(made_up_profile(), device_name="a GPU")

    first, second, *_ = caveats(cluster=cluster, profile=there).values()

    said = reason_text(first)
    assert said.startswith("step times and memory were measured on a GPU")
    assert ("wherever the trainings ran" in said) is bool(cluster)
    assert ("Steps were counted on this machine, here" in said) is not bool(cluster)
    assert second.code == "profile_of_another_version"


@pytest.mark.parametrize(
    ("fields", "is_said"), [({}, True), ({"metrics": {}}, True), ({"weight": len}, False)]
)
def test_what_few_validation_examples_cannot_tell_is_said(fields, is_said):
    few = caveats(fields=fields).get("few_validation_examples")

    assert (few is not None) == is_said
    assert few is None or "the validation data have only 20 examples" in reason_text(few)


@pytest.mark.parametrize(("epochs", "whole"), [(12, 12), (5, None)])
def test_a_target_that_is_met_early_stays_and_that_is_said(epochs, whole):
    # Every batch size takes half of the 100 examples.
    advice = made_up_advice(steps=lambda size: 50 / size)

    early = caveats(advice, target=("accuracy", 0.95), epochs=epochs).get("target_is_early")

    assert (early and early.named["whole"]) == whole
    assert early is None or early.named["epochs"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("case", "codes"),
    [
        ({}, {"rate_was_constant"}),
        ({"fields": {"schedule": cosine}, "epochs": 4}, {"rate_followed_schedule"}),
        ({"advice": replace(made_up_advice(), tried=())}, set()),  # there was no rate
        ({"fields": {"validation": "split"}}, {"rate_was_constant", "seeds_draw_examples"}),
        (
            {"found": {"loss_couples": True, "has_batch_norm": True}},
            {"rate_was_constant", "loss_couples", "model_has_batch_norm"},
        ),
    ],
)
def test_what_is_known_of_the_subject_is_said(case, codes):
    said = caveats(**case)

    assert said.keys() - {"as_written", "few_validation_examples"} == codes


def decayed() -> Advice:
    """A larger batch size is named at the same rate."""
    advice = made_up_advice()
    named = replace(advice.reference, batch_size=8 * advice.reference.batch_size)
    return replace(advice, recommendation=named)


def test_a_weight_decay_that_acts_otherwise_is_named():
    for optimizer, is_said in (
        (partial(torch.optim.SGD, weight_decay=0.01), True),
        (torch.optim.SGD, False),
        (torch.optim.AdamW, False),  # its weight decay was moved
    ):
        made = optimizer([nn.Parameter(torch.zeros(1))], lr=0.1)
        decays = made.param_groups[0]["weight_decay"] > 0
        found = {"adam": adam_settings(made), "has_weight_decay": decays}
        assert ("weight_decay_stayed" in caveats(decayed(), found=found)) == is_said
    advice, found = decayed(), {"has_weight_decay": True}
    linear = replace(advice.named, learning_rate=8 * advice.reference.learning_rate)
    assert caveats(advice, found=found)["weight_decay_stayed"].named["share"] == 1 / 8
    assert "weight_decay_stayed" not in caveats(replace(advice, recommendation=linear), found=found)
