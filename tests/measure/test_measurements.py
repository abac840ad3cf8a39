"""The measurements: what each row says, and what it measures of a model at a step."""

import math
import statistics
from dataclasses import replace

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.least_squares import optimum
from tests.reference.made_up import made_up_study, made_up_trial
from tests.reference.small_workloads import small_trial, small_workload
from torch import nn

from batchlab.measure.at_steps import (
    AT_STEP,
    LossSurface,
    measured_at_steps,
    sharpness,
    top_eigenvalue,
)
from batchlab.measure.gradient_noise import GradientNoise, drawn_variance
from batchlab.measure.measurements import expected_variance, on_request
from batchlab.records.batch_plan import Stage
from batchlab.records.measurement import Moment
from batchlab.records.run import RunLength
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload
from batchlab.workload.loading import loaded_workload


def row(name: str):
    return AT_STEP[name]


def moment_of(
    model: nn.Module, *, workload: Workload | None = None, trial: Trial | None = None
) -> Moment:
    """The model where an epoch ends."""
    return Moment(
        model=model,
        initial=(),
        before=(),
        workload=workload,
        device=torch.device("cpu"),
        trial=trial or made_up_trial(),
        step=10,
        is_end=True,
        is_last=True,
    )


def stepped(model: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    """The gradients that a step leaves in the model."""
    loss.backward()
    return [part.grad for part in model.parameters() if part.grad is not None]


def test_the_gradient_norm_is_that_of_all_parameters_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    assert row("gradient_norm")(moment_of(model)) is None

    gradients = stepped(model, model(torch.randn(8, 3).double()).square().mean())

    flat = torch.cat([part.flatten() for part in gradients])
    assert len(gradients) == 4
    assert row("gradient_norm")(moment_of(model)) == pytest.approx(float(flat.norm()))


def test_the_length_of_a_step_is_that_of_the_textbooks() -> None:
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)

    run = run_engine(workload, trial, RunLength(epochs=2))

    stepper = Stepper(workload, trial, torch.device("cpu"))
    stream = stepper.stream(0)
    weights = [nn.utils.parameters_to_vector(stepper.model.parameters()).detach().clone()]
    for _ in range(run.evaluations[-1].step):
        stepper.step(next(stream))
        weights.append(nn.utils.parameters_to_vector(stepper.model.parameters()).detach().clone())
    for each in run.evaluations[1:]:
        moved = float((weights[each.step] - weights[each.step - 1]).norm())
        assert each.measurement("update_norm") == pytest.approx(moved, rel=1e-5)
        assert each.measurement("distance") == pytest.approx(
            float((weights[each.step] - weights[0]).norm()), rel=1e-5
        )
    assert run.evaluations[0].measurement("update_norm") is None


def least_squares(n: int):
    workload = loaded_workload("least-squares", {"n": str(n)}).workload
    torch.manual_seed(0)
    return workload, workload.model()


def drawn_study(n_train: int, *, sampling: str = "reshuffle"):
    """A study of one training whose examples are drawn so."""
    study = made_up_study()
    (record, *_) = study.records
    return replace(
        study,
        workload=replace(study.workload, n_train=n_train),
        records=(replace(record, trial=replace(record.trial, sampling=sampling)),),
    )


def test_the_rows_on_request_are_what_is_measured_of_the_model() -> None:
    workload, model = least_squares(500)
    device = torch.device("cpu")
    surface = LossSurface(workload, model, torch.arange(500), device=device)
    sample = GradientNoise(workload, device).sample(model, seed=0)
    expected = {
        "noise_scale": sample.gradient_noise_scale.estimate,
        "sharpness": sharpness(surface, epsilon=1e-3),
        "top_eigenvalue": top_eigenvalue(surface),
    }

    found = {name: row(name)(moment_of(model, workload=workload)) for name in expected}

    assert found == pytest.approx(expected, rel=2e-3)


def test_where_the_gradient_is_lost_in_the_noise_there_is_no_noise_scale() -> None:
    workload, model = least_squares(40_000)
    with torch.no_grad():
        next(iter(model.parameters())).copy_(optimum(*workload.train).weights.reshape(1, -1))

    assert row("noise_scale")(moment_of(model, workload=workload)) is None


def test_no_more_than_two_thousand_examples_stand_for_a_large_set_the_same_each_time() -> None:
    workload, model = least_squares(5000)
    half = replace(workload, train=tuple(part[:2500] for part in workload.train))
    of_all = row("sharpness")(moment_of(model, workload=workload))

    assert of_all == row("sharpness")(moment_of(model, workload=workload))
    assert of_all != row("sharpness")(moment_of(model, workload=half))


def test_they_are_taken_where_epochs_end_and_the_training_is_the_same_bit_for_bit(tmp_path) -> None:
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)
    length = RunLength(epochs=3)

    plain = run_engine(workload, trial, length, checkpoint=tmp_path / "plain")
    asked = run_engine(
        workload, trial, length, checkpoint=tmp_path / "asked", measures=on_request()
    )

    for name in on_request():
        known = [dict(each.measured).get(name) is not None for each in asked.evaluations]
        if name.startswith("sharpness"):
            assert known == [True, *[False] * (len(known) - 2), True]
            continue
        assert known == [each.has_all_splits for each in asked.evaluations]
        assert sum(known) == 4 < len(known)  # of the initial weights, and after three epochs
    assert not plain.evaluations[0].measured
    assert {name for name, _ in asked.evaluations[0].measured} == set(on_request())
    assert plain.tensors.keys() == asked.tensors.keys()
    assert all(torch.equal(plain.tensors[key], asked.tensors[key]) for key in plain.tensors)
    assert [e.scores for e in plain.evaluations] == [e.scores for e in asked.evaluations]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampling", "size", "share"),
    [
        ("reshuffle", 1, 1.0),
        ("reshuffle", 10, 0.1 * 190 / 199),
        ("reshuffle", 100, 0.01 * 100 / 199),
        ("replacement", 10, 0.1),
        ("replacement", 200, 0.005),
    ],
)
def test_the_variance_is_what_sampling_theory_says_at_the_trials_batch_size(
    sampling: str, size: int, share: float
) -> None:
    workload, model = least_squares(200)
    x, y = workload.train
    residual = (model(x).squeeze(1) - y).detach().double()
    gradients = residual[:, None] * x.double()
    expected = share * float((gradients - gradients.mean(0)).square().sum(1).mean())
    trial = small_trial(workload, batch_size=size, sampling=sampling)

    found = [
        drawn_variance(workload, model, trial, device=torch.device("cpu"), seed=seed, n_batches=4)
        for seed in range(300)
    ]

    standard_error = statistics.stdev(found) / math.sqrt(len(found))
    assert abs(statistics.fmean(found) - expected) < 4 * standard_error
    study = drawn_study(200, sampling=sampling)
    assert expected_variance({size: expected}, study)[size] == pytest.approx(expected)


def padded(micro_batch_size: int):
    """Half of the examples are padding, which weighs nothing; its mean loss is not a number."""
    small = small_workload(n=64)
    x, y = small.train
    counts = torch.arange(64) % 2

    def loss(model: nn.Module, batch):
        each = nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
        return (each * batch[2]).sum() / batch[2].sum()

    workload = replace(
        small, train=(x, y, counts), loss=loss, weight=lambda batch: float(batch[2].sum())
    )
    return workload, small_trial(workload, batch_size=16, micro_batch_size=micro_batch_size)


def test_each_micro_batch_counts_by_its_weight_as_in_a_step() -> None:
    torch.manual_seed(0)
    model = small_workload().model()
    found = {
        size: row("gradient_variance")(moment_of(model, workload=workload, trial=trial))
        for size, (workload, trial) in ((size, padded(size)) for size in (16, 4, 1))
    }

    assert found[16] > 0
    assert found[4] == pytest.approx(found[16], rel=1e-4)
    assert found[1] == pytest.approx(found[16], rel=1e-4)


def test_where_the_batch_has_grown_its_own_size_is_drawn() -> None:
    """At step 10 of 8 examples each, 64 of them are next."""
    small = small_workload(n=128)
    torch.manual_seed(0)
    model = small.model()
    grown = small_trial(
        small, batch_size=8, stages=(Stage(from_samples=80, batch_size=64),), micro_batch_size=64
    )
    known = small_trial(small, batch_size=64)

    found, expected = (
        row("gradient_variance")(moment_of(model, workload=small, trial=trial))
        for trial in (grown, known)
    )

    assert found == expected


def test_the_whole_training_set_has_no_variance_and_no_place_in_what_is_expected() -> None:
    workload, model = least_squares(200)
    trial = small_trial(workload, batch_size=200)

    assert row("gradient_variance")(moment_of(model, workload=workload, trial=trial)) == 0.0
    assert expected_variance({200: 0.0}, drawn_study(200)) == {}
    line = expected_variance({10: 3.0, 200: 0.0}, drawn_study(200))
    assert line == {10: pytest.approx(3.0)}


def test_a_training_that_cannot_be_looked_at_ends_as_it_does_unseen() -> None:
    workload = small_workload()
    trial = replace(small_trial(workload, batch_size=4), learning_rate=1e30)

    plain = run_engine(workload, trial, RunLength(epochs=2))
    asked = run_engine(workload, trial, RunLength(epochs=2), measures=on_request())

    assert not plain.outcome.status.ended_well
    assert (asked.outcome.status, asked.outcome.reason) == (
        plain.outcome.status,
        plain.outcome.reason,
    )


@pytest.mark.parametrize("name", ["noise_scale", "sharpness", "top_eigenvalue"])
def test_what_cannot_be_taken_has_no_value(name: str) -> None:
    def broken(model: nn.Module, batch):
        raise ValueError("not here")

    workload = replace(small_workload(), loss=broken)
    moment = moment_of(workload.model(), workload=workload)

    assert measured_at_steps([name])[name](moment) is None
