"""The measurements: what each row says, and what it measures of a model at a step."""

import math
import statistics
from dataclasses import replace
from typing import Any

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

CPU = torch.device("cpu")


def moment_of(
    model: nn.Module, *, workload: Workload | None = None, trial: Trial | None = None
) -> Moment:
    """The model where an epoch ends."""
    return Moment(
        model=model,
        initial=(),
        before=(),
        workload=workload,
        device=CPU,
        trial=trial or made_up_trial(),
        step=10,
        is_end=True,
        is_last=True,
    )


def least_squares(n: int) -> tuple[Workload, nn.Module]:
    workload = loaded_workload("least-squares", {"n": str(n)}).workload
    torch.manual_seed(0)
    return workload, workload.model()


# After any step


def test_the_lengths_of_steps_and_gradients_are_those_of_the_textbooks() -> None:
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)

    run = run_engine(workload, trial, RunLength(epochs=2))

    stepper = Stepper(workload, trial, CPU)

    def weights() -> torch.Tensor:
        return nn.utils.parameters_to_vector(stepper.model.parameters()).detach().clone()

    path, norms = [weights()], [0.0]
    for batches, _ in zip(stepper.stream(0), range(run.evaluations[-1].step), strict=False):
        stepper.step(batches)
        path.append(weights())
        gradients = [parameter.grad.flatten() for parameter in stepper.model.parameters()]
        norms.append(float(torch.cat(gradients).norm()))
    for at in run.evaluations[1:]:
        moved, away = path[at.step] - path[at.step - 1], path[at.step] - path[0]
        assert at.measurement("update_norm") == pytest.approx(float(moved.norm()), rel=1e-5)
        assert at.measurement("gradient_norm") == pytest.approx(norms[at.step], rel=1e-5)
        assert at.measurement("distance") == pytest.approx(float(away.norm()), rel=1e-5)
    for name in ("update_norm", "gradient_norm"):
        assert run.evaluations[0].measurement(name) is None
    assert AT_STEP["gradient_norm"](moment_of(workload.model())) is None


# On request


def test_the_rows_on_request_are_what_is_measured_of_the_model() -> None:
    workload, model = least_squares(500)
    surface = LossSurface(workload, model, torch.arange(500), device=CPU)
    sample = GradientNoise(workload, CPU).sample(model, seed=0)
    expected = {
        "noise_scale": sample.gradient_noise_scale.estimate,
        "sharpness": sharpness(surface, epsilon=1e-3),
        "top_eigenvalue": top_eigenvalue(surface),
    }

    values = {name: AT_STEP[name](moment_of(model, workload=workload)) for name in expected}

    assert values == pytest.approx(expected, rel=2e-3)


def test_no_more_than_two_thousand_examples_stand_for_a_large_set_the_same_each_time() -> None:
    workload, model = least_squares(5000)
    half = replace(workload, train=tuple(column[:2500] for column in workload.train))

    of_all, of_all_again, of_half = (
        AT_STEP["sharpness"](moment_of(model, workload=data)) for data in (workload, workload, half)
    )

    assert of_all == of_all_again != of_half


def test_what_cannot_be_measured_has_no_value() -> None:
    """The gradient is lost in the noise, or the loss fails."""
    workload, model = least_squares(40_000)
    with torch.no_grad():
        next(iter(model.parameters())).copy_(optimum(*workload.train).weights.reshape(1, -1))
    broken = replace(small_workload(), loss=lambda model, batch: 1 / 0)

    assert AT_STEP["noise_scale"](moment_of(model, workload=workload)) is None
    for name in on_request():
        at_step = measured_at_steps([name])[name]
        assert at_step(moment_of(broken.model(), workload=broken)) is None


def test_they_are_taken_where_epochs_end_and_the_training_is_the_same_bit_for_bit(tmp_path) -> None:
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)

    plain, measured = (
        run_engine(
            workload, trial, RunLength(epochs=3), checkpoint=tmp_path / name, measures=measures
        )
        for name, measures in (("plain", ()), ("measured", on_request()))
    )

    n = len(measured.evaluations)
    at_ends = [evaluation.has_all_splits for evaluation in measured.evaluations]
    assert sum(at_ends) == 4 < n  # of the initial weights, and after three epochs
    for name in on_request():
        is_measured = [dict(at.measured).get(name) is not None for at in measured.evaluations]
        at_both_ends = [True, *[False] * (n - 2), True]
        assert is_measured == (at_both_ends if name.startswith("sharpness") else at_ends)
    assert not plain.evaluations[0].measured
    assert plain.tensors.keys() == measured.tensors.keys()
    assert all(torch.equal(plain.tensors[key], measured.tensors[key]) for key in plain.tensors)
    assert [at.scores for at in plain.evaluations] == [at.scores for at in measured.evaluations]


def test_a_training_that_cannot_be_measured_ends_as_it_does_unseen() -> None:
    workload = small_workload()
    trial = small_trial(workload, batch_size=4, learning_rate=1e30)

    plain, measured = (
        run_engine(workload, trial, RunLength(epochs=2), measures=measures).outcome
        for measures in ((), on_request())
    )

    assert not plain.status.ended_well
    assert (measured.status, measured.reason) == (plain.status, plain.reason)


# The variance of a gradient


def drawn_study(n_train: int, *, sampling: str = "reshuffle") -> Any:
    """A study of one training whose examples are drawn so."""
    study = made_up_study()
    (record, *_) = study.records
    return replace(
        study,
        workload=replace(study.workload, n_train=n_train),
        records=(replace(record, trial=replace(record.trial, sampling=sampling)),),
    )


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

    variances = [
        drawn_variance(workload, model, trial, device=CPU, seed=seed, n_batches=4)
        for seed in range(300)
    ]

    standard_error = statistics.stdev(variances) / math.sqrt(len(variances))
    assert abs(statistics.fmean(variances) - expected) < 4 * standard_error
    study = drawn_study(200, sampling=sampling)
    assert expected_variance({size: expected}, study)[size] == pytest.approx(expected)


def test_the_whole_training_set_has_no_variance_and_no_place_in_what_is_expected() -> None:
    workload, model = least_squares(200)
    trial = small_trial(workload, batch_size=200)

    assert AT_STEP["gradient_variance"](moment_of(model, workload=workload, trial=trial)) == 0.0
    assert expected_variance({200: 0.0}, drawn_study(200)) == {}
    line = expected_variance({10: 3.0, 200: 0.0}, drawn_study(200))
    assert line == {10: pytest.approx(3.0)}


def variance_of(workload: Workload, **fields: Any) -> float:
    torch.manual_seed(0)
    model, trial = small_workload().model(), small_trial(workload, **fields)
    return AT_STEP["gradient_variance"](moment_of(model, workload=workload, trial=trial))


def test_each_micro_batch_counts_by_its_weight_as_in_a_step() -> None:
    """Half of the examples are padding, which weighs nothing; its mean loss is not a number."""
    small = small_workload(n=64)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        losses = nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
        return (losses * batch[2]).sum() / batch[2].sum()

    padded = replace(
        small,
        train=(*small.train, torch.arange(64) % 2),
        loss=loss,
        weight=lambda batch: float(batch[2].sum()),
    )
    whole, *in_pieces = (
        variance_of(padded, batch_size=16, micro_batch_size=size) for size in (16, 4, 1)
    )

    assert whole > 0
    assert in_pieces == pytest.approx([whole, whole], rel=1e-4)


def test_where_the_batch_has_grown_its_own_size_is_drawn() -> None:
    """At step 10 of 8 examples each, 64 of them are next."""
    small = small_workload(n=128)
    stages = (Stage(from_samples=80, batch_size=64),)

    grown = variance_of(small, batch_size=8, stages=stages, micro_batch_size=64)

    assert grown == variance_of(small, batch_size=64)
