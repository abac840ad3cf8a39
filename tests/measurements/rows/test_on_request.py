"""noise_scale, sharpness, top_eigenvalue: what a sweep measures where it is asked to."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.moments import moment_of
from tests.reference.random_streams import random_streams
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.measurements.loss_surface import LossSurface
from batchlab.measurements.registry import measured_at_steps, measurement_rows, on_request
from batchlab.measurements.sharpness import sharpness
from batchlab.records.run_length import RunLength
from batchlab.workload.builtin.least_squares import optimum
from batchlab.workload.loading import loaded_workload


def row(name: str):
    return measurement_rows()[name].at_step


def least_squares(n: int):
    workload = loaded_workload("least-squares", {"n": str(n)}).workload
    torch.manual_seed(0)
    return workload, workload.model()


def test_they_are_these() -> None:
    assert on_request() == ("noise_scale", "sharpness", "top_eigenvalue")
    assert all(row.told for row in measurement_rows().values() if row.on_request)


def test_the_noise_scale_is_that_of_the_whole_training_set_where_all_of_it_is_seen() -> None:
    workload, model = least_squares(2000)
    x, y = workload.train
    residual = (model(x).squeeze(1) - y).detach().double()
    gradients = residual[:, None] * x.double()
    mean = gradients.mean(0)
    trace = (gradients - mean).square().sum(1).mean()

    # Its interval is narrow enough after a part of the examples: within that of the truth.
    found = row("noise_scale")(moment_of(model, workload=workload))

    assert found == pytest.approx(float(trace / mean.square().sum()), rel=0.25)


def test_the_noise_scale_looks_at_no_more_examples_than_it_says(monkeypatch) -> None:
    from batchlab.measurements import gradient_noise

    workload, model = least_squares(2000)
    seen = []
    fetched = gradient_noise.GradientNoise._fetched

    def counted(self, chosen):
        seen.append(chosen)
        return fetched(self, chosen)

    monkeypatch.setattr(gradient_noise.GradientNoise, "_fetched", counted)
    noise = gradient_noise.GradientNoise(workload, torch.device("cpu"))

    point = noise.sample(model, seed=0, precision=1e-9, most_examples=300)

    assert sum(point.sample.block_examples) == 300
    assert len(torch.cat(seen[-10:]).unique()) <= 300


def test_where_the_gradient_is_lost_in_the_noise_there_is_no_noise_scale() -> None:
    workload, model = least_squares(40_000)
    with torch.no_grad():
        next(iter(model.parameters())).copy_(optimum(*workload.train).weights.reshape(1, -1))

    assert row("noise_scale")(moment_of(model, workload=workload)) is None


def test_the_top_eigenvalue_is_that_of_the_examples_second_moments() -> None:
    workload, model = least_squares(500)
    x, _ = workload.train
    second = x.double().T @ x.double() / len(x)

    found = row("top_eigenvalue")(moment_of(model, workload=workload))

    assert found == pytest.approx(float(torch.linalg.eigvalsh(second)[-1]), rel=2e-3)


def test_sharpness_is_that_of_two_thousand_examples_in_the_box_of_a_thousandth() -> None:
    workload, model = least_squares(500)
    surface = LossSurface(workload, model, torch.arange(500), device=torch.device("cpu"))

    found = row("sharpness")(moment_of(model, workload=workload))

    assert found == pytest.approx(sharpness(surface, epsilon=1e-3), rel=1e-3)


def test_no_more_than_two_thousand_examples_stand_for_a_large_set_the_same_each_time() -> None:
    workload, model = least_squares(5000)
    half = replace(workload, train=tuple(part[:2500] for part in workload.train))
    of_all = row("sharpness")(moment_of(model, workload=workload))

    assert of_all == row("sharpness")(moment_of(model, workload=workload))
    assert of_all != row("sharpness")(moment_of(model, workload=half))


@pytest.mark.parametrize("name", ["noise_scale", "sharpness", "top_eigenvalue"])
def test_the_model_and_random_streams_stay_as_they_were(name: str) -> None:
    workload = small_workload()
    model = workload.model()
    workload.loss(model, workload.train).backward()
    before, drawn = copy.deepcopy(model.state_dict()), random_streams()
    gradients = [part.grad.clone() for part in model.parameters() if part.grad is not None]

    row(name)(moment_of(model, workload=workload))

    assert all(torch.equal(part, before[key]) for key, part in model.state_dict().items())
    kept = [part.grad for part in model.parameters() if part.grad is not None]
    assert all(torch.equal(one, other) for one, other in zip(gradients, kept, strict=True))
    assert model.training
    assert random_streams() == drawn


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
        assert known == [each.has_all_splits and each.step > 0 for each in asked.evaluations]
        assert sum(known) == 3 < len(known) - 1
    assert plain.tensors.keys() == asked.tensors.keys()
    assert all(torch.equal(plain.tensors[key], asked.tensors[key]) for key in plain.tensors)
    assert [e.scores for e in plain.evaluations] == [e.scores for e in asked.evaluations]


def test_what_nobody_asked_for_is_not_taken() -> None:
    assert not set(on_request()) & set(measured_at_steps())
    assert "sharpness" in measured_at_steps(["sharpness"])
