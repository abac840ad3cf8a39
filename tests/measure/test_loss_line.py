"""Lines through the space of weights: exact at their ends, and nothing is left behind."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.reference.random_streams import random_streams
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.loss_line import filter_normalized, line_along, line_between
from batchlab.workload.builtin.least_squares import optimum
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def blobs(model) -> Workload:
    generator = torch.Generator().manual_seed(3)
    y = torch.randint(3, (300,), generator=generator)
    x = torch.randn(300, 4, generator=generator) + 2 * F.one_hot(y, 4)
    return Workload(
        name="blobs",
        train=(x[:200], y[:200]),
        validation=(x[200:], y[200:]),
        test=None,
        model=model,
        loss=cross_entropy,
        metrics={},
        batch_size=20,
        learning_rate=0.1,
    )


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def two_of(make) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return make(), make()


def test_of_least_squares_the_loss_on_the_line_is_the_closed_form() -> None:
    workload = loaded_workload("least-squares", {"n": "500"}).workload
    first, second = two_of(workload.model)
    with torch.no_grad():
        next(iter(second.parameters())).copy_(optimum(*workload.train).weights.reshape(1, -1))
    x, y = workload.train
    begin, end = (next(iter(model.parameters())).detach().flatten() for model in (first, second))

    found = line_between(workload, first, second, (-0.5, 0.0, 0.25, 1.0, 2.0), device=CPU)

    for point in found:
        residual = x @ ((1 - point.at) * begin + point.at * end) - y
        assert point.score("train", "loss") == pytest.approx(
            float(residual.square().mean() / 2), rel=1e-9
        )
    losses = {point.at: point.score("train", "loss") for point in found}
    assert min(losses, key=losses.__getitem__) == 1.0
    assert losses[0.0] == pytest.approx(losses[2.0])  # a bowl around its minimum


def test_at_its_ends_are_the_two_models() -> None:
    make = lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))  # noqa: E731
    workload = blobs(make)
    first, second = two_of(make)

    begin, end = line_between(workload, first, second, (0.0, 1.0), device=CPU)

    for model, point in ((first, begin), (second, end)):
        with torch.no_grad():
            expected = float(cross_entropy(model, workload.validation))
        assert point.score("validation", "loss") == pytest.approx(expected, rel=1e-6)
        assert point.score("test", "loss") is None


def test_the_statistics_of_batch_normalization_are_those_of_the_place() -> None:
    workload = blobs(network)
    first, second = two_of(network)
    with torch.no_grad():
        first[1].running_mean.fill_(100.0)  # of weights that are long gone
        first[1].num_batches_tracked.fill_(50)

    (point,) = line_between(workload, first, second, (0.5,), device=CPU)

    middle = copy.deepcopy(first)
    with torch.no_grad():
        for part, other in zip(middle.parameters(), second.parameters(), strict=True):
            part.copy_((part + other) / 2)
        # 200 examples are one pass, so its statistics are those of the batch itself.
        expected = float(cross_entropy(middle.train(), workload.train))
    assert point.score("train", "loss") == pytest.approx(expected, rel=0.01)


def test_each_row_of_a_direction_is_as_long_as_the_models_and_biases_do_not_move() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 5))
    with torch.no_grad():
        model[0].weight[1] = 0.0  # a dead filter stays dead

    direction = filter_normalized(model, seed=0)

    for part, step in zip(model.parameters(), direction, strict=True):
        if part.ndim == 1:
            assert not step.any()
            continue
        assert torch.allclose(step.flatten(1).norm(dim=1), part.flatten(1).norm(dim=1))
    again, another = filter_normalized(model, seed=0), filter_normalized(model, seed=1)
    assert torch.equal(direction[0], again[0])
    assert not torch.equal(direction[0], another[0])


def test_how_large_the_weights_are_makes_no_difference_where_the_function_is_the_same() -> None:
    """A rectified network with one layer doubled and the next halved computes the same."""
    make = lambda: nn.Sequential(  # noqa: E731
        nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)
    )
    workload = blobs(make)
    model, _ = two_of(make)
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        scaled[0].weight *= 2
        scaled[2].weight /= 2

    one = line_along(workload, model, (-0.5, 0.0, 0.5), device=CPU)
    other = line_along(workload, scaled, (-0.5, 0.0, 0.5), device=CPU)

    for here, there in zip(one, other, strict=True):
        assert here.score("train", "loss") == pytest.approx(there.score("train", "loss"), rel=1e-5)
    assert one[0].score("train", "loss") != one[1].score("train", "loss")


def test_models_and_random_streams_stay_as_they_were() -> None:
    workload = blobs(network)
    first, second = two_of(network)
    before = [copy.deepcopy(model.state_dict()) for model in (first, second)]
    drawn = random_streams()

    line_between(workload, first, second, (0.0, 0.5), device=CPU)
    line_along(workload, first, (0.5,), device=CPU)

    for model, state in zip((first, second), before, strict=True):
        assert all(torch.equal(part, state[name]) for name, part in model.state_dict().items())
        assert model.training
    assert random_streams() == drawn


def test_models_of_unlike_shape_are_refused() -> None:
    workload = blobs(network)
    narrow = nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))

    with pytest.raises(UsageError, match="no line joins them"):
        line_between(workload, network(), narrow, (0.0,), device=CPU)


def test_a_loss_that_overflows_on_the_way_has_no_value_there() -> None:
    make = lambda: nn.Sequential(nn.Linear(4, 3))  # noqa: E731
    workload = replace(blobs(make), loss=lambda model, batch: model(batch[0]).exp().mean())
    first, second = two_of(make)

    found = line_between(workload, first, second, (0.0, 1e4), device=CPU)

    assert found[0].score("train", "loss") is not None
    assert found[1].score("train", "loss") is None


def test_batch_normalization_meets_no_pass_of_one_example() -> None:
    workload = blobs(network)
    x, y = workload.train
    many = replace(workload, train=(x.repeat(3, 1)[:501], y.repeat(3)[:501]))
    first, second = two_of(network)

    (point,) = line_between(many, first, second, (0.5,), device=CPU)

    assert point.score("train", "loss") is not None
