"""noise_scale, sharpness, top_eigenvalue: what a sweep measures where it is asked to."""

from __future__ import annotations

import copy
import math
import statistics
from dataclasses import replace

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.made_up import made_up_study
from tests.reference.moments import moment_of
from tests.reference.random_streams import random_streams
from tests.reference.small_workloads import small_trial, small_workload
from torch import nn
from torch.utils.data import Dataset

from batchlab.measure.gradient_noise import GradientNoise, drawn_variance
from batchlab.measure.registry import measured_at_steps, measurement_rows, on_request
from batchlab.measure.rows.gradient_variance import expected_variance
from batchlab.measure.sharpness import LossSurface, sharpness
from batchlab.records.run import RunLength
from batchlab.workload.builtin.least_squares import optimum
from batchlab.workload.loading import loaded_workload


def row(name: str):
    return measurement_rows()[name].at_step


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


def test_they_are_these() -> None:
    assert on_request() == ("noise_scale", "gradient_variance", "sharpness", "top_eigenvalue")
    assert all(
        list(row.notes(made_up_study())) for row in measurement_rows().values() if row.on_request
    )


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
    from batchlab.measure import gradient_noise

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
        assert known == [each.has_all_splits for each in asked.evaluations]
        assert sum(known) == 4 < len(known)  # of the initial weights, and after three epochs
    assert not plain.evaluations[0].measured
    assert {name for name, _ in asked.evaluations[0].measured} == set(on_request())
    assert plain.tensors.keys() == asked.tensors.keys()
    assert all(torch.equal(plain.tensors[key], asked.tensors[key]) for key in plain.tensors)
    assert [e.scores for e in plain.evaluations] == [e.scores for e in asked.evaluations]


@pytest.mark.slow
def test_the_variance_is_that_of_sampling_without_replacement_at_the_trials_batch_size() -> None:
    workload, model = least_squares(200)
    x, y = workload.train
    residual = (model(x).squeeze(1) - y).detach().double()
    gradients = residual[:, None] * x.double()
    trace = float((gradients - gradients.mean(0)).square().sum(1).mean())

    for size in (1, 10, 100):
        trial = small_trial(workload, batch_size=size)
        found = [
            drawn_variance(
                workload, model, trial, device=torch.device("cpu"), seed=seed, n_batches=4
            )
            for seed in range(300)
        ]

        expected = trace / size * (200 - size) / 199
        standard_error = statistics.stdev(found) / math.sqrt(len(found))
        assert abs(statistics.fmean(found) - expected) < 4 * standard_error
        assert expected_variance({size: expected}, drawn_study(200))[size] == pytest.approx(
            expected
        )


@pytest.mark.slow
def test_drawn_with_replacement_a_batch_has_the_variance_of_so_many_independent_examples() -> None:
    workload, model = least_squares(200)
    x, y = workload.train
    residual = (model(x).squeeze(1) - y).detach().double()
    gradients = residual[:, None] * x.double()
    trace = float((gradients - gradients.mean(0)).square().sum(1).mean())

    for size in (10, 200):
        trial = small_trial(workload, batch_size=size, sampling="replacement")
        found = [
            drawn_variance(
                workload, model, trial, device=torch.device("cpu"), seed=seed, n_batches=4
            )
            for seed in range(300)
        ]

        standard_error = statistics.stdev(found) / math.sqrt(len(found))
        assert abs(statistics.fmean(found) - trace / size) < 4 * standard_error
    study = drawn_study(200, sampling="replacement")
    line = expected_variance({10: trace / 10, 200: trace / 200}, study)
    assert line == {10: pytest.approx(trace / 10), 200: pytest.approx(trace / 200)}


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


def test_examples_that_are_all_alike_have_no_variance_exactly() -> None:
    workload, model = least_squares(64)
    x, y = workload.train
    alike = replace(workload, train=(x[:1].repeat(64, 1), y[:1].repeat(64)))

    trial = small_trial(alike, batch_size=1)

    assert row("gradient_variance")(moment_of(model, workload=alike, trial=trial)) == 0.0


def test_a_batch_that_is_cut_has_the_variance_of_the_whole_one() -> None:
    workload, model = least_squares(200)
    whole = moment_of(model, workload=workload, trial=small_trial(workload, batch_size=50))
    cut = small_trial(workload, batch_size=50, micro_batch_size=7)

    found = row("gradient_variance")(moment_of(model, workload=workload, trial=cut))

    assert found == pytest.approx(row("gradient_variance")(whole))


def test_the_whole_training_set_has_no_variance_and_no_place_in_what_is_expected() -> None:
    workload, model = least_squares(200)
    trial = small_trial(workload, batch_size=200)

    assert row("gradient_variance")(moment_of(model, workload=workload, trial=trial)) == 0.0
    assert expected_variance({200: 0.0}, drawn_study(200)) == {}
    line = expected_variance({10: 3.0, 200: 0.0}, drawn_study(200))
    assert line == {10: pytest.approx(3.0)}


def test_what_theory_expects_goes_through_all_that_was_measured() -> None:
    seen = {10: 2 * 0.1 * 190 / 199, 20: 0.5 * 0.05 * 180 / 199}

    line = expected_variance(seen, drawn_study(200))

    assert line == {10: pytest.approx(0.1 * 190 / 199), 20: pytest.approx(0.05 * 180 / 199)}


def test_what_nobody_asked_for_is_taken_after_a_step_alone() -> None:
    model = nn.Linear(2, 2)
    initial = [torch.zeros_like(part) for part in model.parameters()]
    distance = measured_at_steps()["distance"]

    assert distance(moment_of(model, initial=initial, step=0)) is None
    assert distance(moment_of(model, initial=initial, step=1)) is not None


def test_what_nobody_asked_for_is_not_taken() -> None:
    assert not set(on_request()) & set(measured_at_steps())
    assert "sharpness" in measured_at_steps(["sharpness"])


class Noisy(Dataset):
    """Examples that are drawn anew each time they are fetched."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int):
        return torch.randn(4) + index % 3, index % 3


def drawing_workload():
    """Dropout, and a Dataset that draws."""
    small = small_workload()

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))

    return replace(small, train=Noisy(), validation=None, test=None, model=model)


def test_where_examples_are_drawn_the_surface_is_the_same_each_time() -> None:
    workload = drawing_workload()
    torch.manual_seed(0)
    moment = moment_of(workload.model(), workload=workload)

    assert row("sharpness")(moment) == row("sharpness")(moment)


@pytest.mark.parametrize("name", ["noise_scale", "sharpness", "top_eigenvalue"])
def test_where_examples_are_drawn_the_training_is_the_same_too(name: str) -> None:
    workload = drawing_workload()
    trial, length = small_trial(workload, batch_size=6), RunLength(epochs=3)

    plain = run_engine(workload, trial, length)
    asked = run_engine(workload, trial, length, measures=[name])

    assert [each.scores for each in plain.evaluations] == [e.scores for e in asked.evaluations]


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


def test_attention_has_an_eigenvalue() -> None:
    workload = small_workload()
    torch.manual_seed(0)
    inside = nn.TransformerEncoderLayer(4, 2, dim_feedforward=8, batch_first=True)
    model = nn.Sequential(nn.Unflatten(1, (1, 4)), inside, nn.Flatten(), nn.Linear(4, 3))
    fitting = replace(
        workload, train=(torch.randn(40, 4), torch.arange(40) % 3), model=lambda: model
    )

    assert math.isfinite(row("top_eigenvalue")(moment_of(model, workload=fitting)))


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature() -> None:
    workload, model = least_squares(500)
    linear = replace(workload, loss=lambda m, batch: m(batch[0]).mean())

    assert row("top_eigenvalue")(moment_of(model, workload=linear)) == pytest.approx(0, abs=1e-9)


def test_batch_normalization_meets_no_pass_of_one_example() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    data = (torch.randn(513, 4), torch.arange(513) % 3)
    workload = replace(small_workload(), train=data, model=lambda: model)

    assert row("sharpness")(moment_of(model, workload=workload)) > 0


def test_micro_batches_are_small_enough_for_an_interval() -> None:
    """Batch normalization couples examples: gradients are of micro-batches of the batch size."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    data = (torch.randn(1600, 4), torch.arange(1600) % 3)
    workload = replace(small_workload(), train=data, model=lambda: model, batch_size=200)

    noise = GradientNoise(workload, torch.device("cpu"))
    point = noise.sample(model, seed=0, most_examples=160)

    assert point.way == "micro-batches"
    assert len(point.sample.block_examples) >= 8
    assert point.sample.n_examples <= 160
