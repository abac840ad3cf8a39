"""What is measured of a model at a step: lengths, the loss around the weights, the variance."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.least_squares import optimum
from tests.reference.made_up import made_up_trial
from tests.reference.small_workloads import cross_entropy, small_trial, small_workload
from torch import Tensor, nn

from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.at_steps import (
    AT_STEP,
    LossSurface,
    distance_between,
    measured_at_steps,
    sharpness,
)
from batchlab.measure.gradient_noise import drawn_variance, sample_gradients
from batchlab.measure.measurements import on_request
from batchlab.records.batch_plan import Stage
from batchlab.records.measurement import Moment
from batchlab.records.run import RunLength
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import load_workload

CPU = torch.device("cpu")


def test_half_precision_is_widened_and_both_parts_of_complex_weights_count_in_a_distance():
    for one, far in ((torch.full((100,), 300.0).half(), 3000.0), (torch.tensor([3 + 4j]), 5.0)):
        assert distance_between([one], [0 * one]) == pytest.approx(far)
        assert distance_between([one, one], [0 * one] * 2) == pytest.approx(2**0.5 * far)


# The loss around the weights, where the truth has a closed form


def bowl(x: list[float], curvatures: list[float]) -> LossSurface:
    """The quadratic 1/2 sum h_i x_i^2 around x."""
    h = torch.tensor(curvatures, dtype=torch.float64)
    point = nn.ParameterList([torch.tensor(x, dtype=torch.float64)])

    def loss(model: nn.ParameterList, batch: Batch) -> Tensor:
        return 0.5 * (h * model[0].square()).sum()

    workload = Workload(
        name="bowl", model=lambda: point, train=(torch.zeros(4, 1),), validation=None, loss=loss
    )
    return LossSurface(workload, point, torch.arange(4), device=CPU)


@pytest.mark.parametrize(
    ("x", "curvatures", "expected"),
    [
        # Test R of the published formulas: the highest point is (1.2, 0.1) or (1.2, -0.1).
        ([1.0, 0.0], [2.0, 3.0], 22.75),
        ([-1.0, 0.0], [2.0, 3.0], 22.75),
        # The search gets away from the lowest point.
        ([0.0, 0.0], [1.0, 1.0], 100 * 0.01),
    ],
)
def test_it_is_that_of_the_published_formula(x, curvatures, expected):
    surface = bowl(x, curvatures)

    assert sharpness(surface, epsilon=0.1) == pytest.approx(expected)


N = 90


def network(between: nn.Module) -> tuple[nn.Module, Workload]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 8), between, nn.Linear(8, 6)).double()
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(N, 20, generator=stream, dtype=torch.float64)
    y = torch.randint(6, (N,), generator=stream)
    return model, Workload(
        name="small", model=lambda: model, train=(x, y), validation=None, loss=cross_entropy
    )


@pytest.mark.parametrize("pass_examples", [N, 31])
def test_loss_and_gradient_are_those_of_a_network(pass_examples, monkeypatch):
    monkeypatch.setattr("batchlab.measure.at_steps._PASS_EXAMPLES", pass_examples)
    model, workload = network(nn.Tanh())
    parameters = dict(model.named_parameters())
    flat = nn.utils.parameters_to_vector(parameters.values()).detach()

    def loss(weights: Tensor) -> Tensor:
        pieces = weights.split([value.numel() for value in parameters.values()])
        shaped = map(Tensor.view_as, pieces, parameters.values())
        x, y = workload.train
        scores = torch.func.functional_call(model, dict(zip(parameters, shaped, strict=True)), x)
        return nn.functional.cross_entropy(scores, y)

    surface = LossSurface(workload, model, torch.arange(N), device=CPU)
    value, gradient = surface.gradient(surface.weights)

    assert value == pytest.approx(float(loss(flat)))
    assert gradient == pytest.approx(torch.autograd.functional.jacobian(loss, flat).numpy())


def test_dropout_is_off_and_batch_normalization_is_as_in_training():
    for layer in (nn.Dropout(), nn.BatchNorm1d(8)):
        model, workload = network(layer)
        surface = LossSurface(workload, model, torch.arange(N), device=CPU)
        layer.training = isinstance(layer, nn.BatchNorm1d)
        loss = float(workload.loss(model, workload.train).detach())
        assert surface.gradient(surface.weights)[0] == pytest.approx(loss)


# The rows of measurements


def measured(name: str, model: nn.Module, workload=None, trial=None) -> float | None:
    """The row of this name where an epoch ends."""
    moment = Moment(
        model=model,
        initial=(),
        workload=workload,
        device=CPU,
        trial=trial or made_up_trial(),
        step=10,
        is_end=True,
        is_last=True,
    )
    functions = measured_at_steps([name]) if name in on_request() else AT_STEP
    return functions[name](moment)


def least_squares(n: int) -> tuple[Workload, nn.Module]:
    workload = load_workload("least-squares", {"n": str(n)}).workload
    torch.manual_seed(0)
    return workload, workload.model()


def test_the_distance_is_that_of_the_weights_from_the_initial_ones():
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)

    run = run_engine(workload, trial, RunLength(epochs=2))

    stepper = Stepper(workload, trial, CPU)

    def weights() -> Tensor:
        return nn.utils.parameters_to_vector(stepper.model.parameters()).detach().clone()

    path = [weights()]
    for batches, _ in zip(stepper.stream(0), range(run.evaluations[-1].step), strict=False):
        stepper.step(batches)
        path.append(weights())
    for at in run.evaluations[1:]:
        away = path[at.step] - path[0]
        assert at.measurement("distance") == pytest.approx(float(away.norm()), rel=1e-5)
    assert run.evaluations[0].measurement("distance") is None


def test_the_rows_on_request_are_what_is_measured_of_the_model():
    workload, model = least_squares(500)
    surface = LossSurface(workload, model, torch.arange(500), device=CPU)
    sample = sample_gradients(workload, model, CPU, seed=0)
    expected = {
        "noise_scale": noise_scale(sample).scale.estimate,
        "sharpness": sharpness(surface),
    }

    values = {name: measured(name, model, workload) for name in expected}

    assert values == pytest.approx(expected, rel=2e-3)


def test_no_more_than_two_thousand_examples_stand_for_a_large_set_the_same_each_time():
    workload, model = least_squares(5000)
    half = replace(workload, train=tuple(column[:2500] for column in workload.train))

    of_all, again, of_half = (
        measured("sharpness", model, data) for data in (workload, workload, half)
    )

    assert of_all == again != of_half


def test_what_cannot_be_measured_has_no_value():
    """The gradient is lost in the noise, or the loss fails."""
    workload, model = least_squares(40_000)
    with torch.no_grad():
        next(iter(model.parameters())).copy_(optimum(*workload.train).weights.reshape(1, -1))
    broken = small_workload(loss=lambda model, batch: 1 / 0)

    assert measured("noise_scale", model, workload) is None
    assert {measured(name, broken.model(), broken) for name in on_request()} == {None}


def test_they_are_taken_where_epochs_end_and_the_training_is_the_same_bit_for_bit(tmp_path):
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)
    runs = (("plain", ()), ("measured", on_request()))

    plain, seen = (
        run_engine(
            workload, trial, RunLength(epochs=3), checkpoint=tmp_path / name, measures=measures
        )
        for name, measures in runs
    )

    n = len(seen.evaluations)
    at_ends = [evaluation.has_all_splits for evaluation in seen.evaluations]
    assert sum(at_ends) == 4 < n  # of the initial weights, and after three epochs
    for name in on_request():
        is_measured = [dict(at.measured).get(name) is not None for at in seen.evaluations]
        at_both_ends = [True, *[False] * (n - 2), True]
        of_surface = name == "sharpness"
        assert is_measured == (at_both_ends if of_surface else at_ends)
    assert not plain.evaluations[0].measured
    assert plain.tensors.keys() == seen.tensors.keys()
    assert all(torch.equal(plain.tensors[key], seen.tensors[key]) for key in plain.tensors)
    assert [at.scores for at in plain.evaluations] == [at.scores for at in seen.evaluations]

    # One that cannot be measured ends as it does unseen.
    wild = replace(trial, learning_rate=1e30)
    unseen, seen = (run_engine(workload, wild, RunLength(epochs=2), measures=m) for _, m in runs)
    assert not unseen.outcome.status.ended_well
    assert unseen.outcome == seen.outcome
    values = {value for at in seen.evaluations for _, value in at.measured}
    assert None in values
    assert all(map(math.isfinite, values - {None}))


# The variance of a gradient


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
def test_the_variance_is_what_sampling_theory_says_at_the_trials_batch_size(sampling, size, share):
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


def test_the_gradient_of_the_whole_training_set_has_no_variance():
    workload, model = least_squares(200)
    trial = small_trial(workload, batch_size=200)

    assert measured("gradient_variance", model, workload, trial) == 0.0


def test_the_variance_is_of_batches_as_a_step_takes_them():
    """Half of the examples are padding, which weighs nothing; its mean loss is not a number."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        losses = nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")
        return (losses * batch[2]).sum() / batch[2].sum()

    def variance_of(workload: Workload, **fields: Any) -> float | None:
        torch.manual_seed(0)
        trial = small_trial(workload, **fields)
        return measured("gradient_variance", small_workload().model(), workload, trial)

    small, larger = small_workload(n=64), small_workload(n=128)
    train, of_marks = (*small.train, torch.arange(64) % 2), lambda batch: float(batch[2].sum())
    padded = replace(small, train=train, loss=loss, weight=of_marks)
    whole, *in_pieces = (
        variance_of(padded, batch_size=16, micro_batch_size=size) for size in (16, 4, 1)
    )
    # At step 10 of 8 examples each, 64 of them are next.
    stages = (Stage(from_samples=80, batch_size=64),)
    grown = variance_of(larger, batch_size=8, stages=stages, micro_batch_size=64)

    assert whole > 0
    assert in_pieces == pytest.approx([whole, whole], rel=1e-4)
    assert grown == variance_of(larger, batch_size=64)
