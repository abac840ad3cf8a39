"""The built-in workloads: what each trains, and what each of its settings changes."""

import math
from typing import Any

import pytest
import torch
from tests.reference.least_squares import optimum
from torch import nn

from batchlab.datasets.embedded import load_mnist, load_moby_dick
from batchlab.workload import pieces
from batchlab.workload.builtin import least_squares, mnist_cnn, mnist_mlp, mnist_softmax, moby_dick
from batchlab.workload.definition import Workload
from batchlab.workload.pieces import Pixels


@pytest.fixture(scope="module")
def mnist():
    """The database, read once and not once for each setting."""
    return {n: load_mnist(n_validation=n) for n in (0, 10_000)}


@pytest.fixture
def digits(mnist, monkeypatch):
    monkeypatch.setattr(pieces, "load_mnist", lambda *, n_validation: mnist[n_validation])


def optimizer_of(workload: Workload) -> Any:
    return workload.optimizer(workload.model().parameters(), workload.learning_rate)


# least-squares


def test_curvatures_are_spread_over_the_condition_number_and_settings_are_taken():
    workload = least_squares.workload(dimension=5, condition_number=16.0, momentum=0.5)
    curvatures = optimum(*workload.train).curvatures.tolist()
    (weight,) = workload.model().parameters()

    assert curvatures == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    assert weight.tolist() == [[0.0] * 5]
    assert optimizer_of(workload).defaults["momentum"] == 0.5


def test_noise_is_what_is_left_at_the_optimum():
    n, dimension, noise = 20_000, 4, 3.0

    loss = optimum(*least_squares.workload(n=n, dimension=dimension, noise=noise).train).loss

    # 2 n loss / noise^2 is chi-squared with n - dimension degrees of freedom.
    expected = noise**2 / 2 * (n - dimension) / n
    assert abs(loss - expected) < 4 * noise**2 / 2 * (2 / n) ** 0.5


def test_the_data_do_not_depend_on_the_number_of_threads():
    threads = torch.get_num_threads()
    data = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            data.append(least_squares.workload(n=5000, dimension=40).train[0])
    finally:
        torch.set_num_threads(threads)

    assert torch.equal(*data)


# Digits


LAYERS = [nn.Linear, nn.ReLU]
CNN = [nn.Conv2d, nn.ReLU]


@pytest.mark.parametrize(
    ("of", "settings", "kinds", "n_parameters"),
    [
        (mnist_cnn, {}, [*CNN, *CNN, nn.Flatten], 208 + 3216 + 7850),
        (mnist_cnn, {"channels": 4}, [*CNN, *CNN, nn.Flatten], 104 + 808 + 3930),
        (mnist_mlp, {}, LAYERS * 2, 784 * 128 + 128 + 128 * 128 + 128 + 1290),
        (mnist_mlp, {"layers": 3, "width": 20}, LAYERS * 3, 784 * 20 + 20 + 2 * 420 + 210),
    ],
)
def test_settings_shape_a_network_with_ten_scores(of, settings, kinds, n_parameters, digits):
    first, *rest = of.workload(**settings).model()
    rest = rest[1:] if of is mnist_cnn else rest  # which makes images of the rows first

    assert isinstance(first, Pixels)
    assert [type(module) for module in rest] == [*kinds, nn.Linear]
    model = of.workload(**settings).model()
    assert sum(parameter.numel() for parameter in model.parameters()) == n_parameters
    assert model(torch.zeros(3, 784, dtype=torch.uint8)).shape == (3, 10)


def test_the_reference_is_batch_64_at_rate_0_01_with_momentum_on_50_000_images(digits):
    workload = mnist_mlp.workload()
    optimizer = optimizer_of(workload)

    assert (workload.batch_size, workload.learning_rate) == (64, 0.01)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9
    splits = (workload.train, workload.validation, workload.test)
    assert [len(images) for images, _ in splits] == [50_000, 10_000, 10_000]


def test_softmax_starts_at_zero_where_all_digits_are_as_likely_with_its_settings(digits):
    workload = mnist_softmax.workload(train="all", momentum=0.5, weight_decay=0.1)
    images, labels = workload.train

    loss = workload.loss(workload.model(), (images[:50], labels[:50]))

    assert loss.item() == pytest.approx(math.log(10), rel=1e-6)
    assert (workload.validation, len(images)) == (None, 60_000)
    settings = {"momentum": 0.5, "weight_decay": 0.1}
    assert optimizer_of(workload).defaults.items() >= settings.items()


# The novel


@pytest.fixture(scope="module")
def novel():
    return moby_dick.workload()


def test_the_windows_of_a_part_spell_it_without_gap_or_repeat(novel):
    ids = load_moby_dick()[0]
    starts = {"train": 0, "test": round(0.8 * len(ids)), "validation": round(0.9 * len(ids))}

    for split, start in starts.items():
        (windows,) = getattr(novel, split)
        spelled = torch.cat([windows[0, :1], windows[:, 1:].flatten()]).numpy()
        assert windows.shape == (len(windows), 65)
        assert spelled.tobytes() == ids[start : start + len(spelled)].tobytes()


def test_no_character_sees_what_comes_and_the_loss_is_the_mean_over_all_predicted_ones(novel):
    torch.manual_seed(0)
    model = novel.model().eval().double()
    windows = novel.train[0][:3]
    edited = windows.clone()
    edited[:, 40] = (windows[:, 40] + 1) % 81
    before, after = model(windows), model(edited)

    # Row i predicts character i + 1 from those up to i: character 40 is first seen by row 40.
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40], after[:, 40])
    log_shares, came = before.log_softmax(2).tolist(), windows.tolist()
    costs = [-log_shares[i][at][came[i][at + 1]] for i in range(3) for at in range(64)]
    loss = novel.loss(model, (windows,)).item()
    assert loss == pytest.approx(sum(costs) / len(costs), rel=1e-9)
