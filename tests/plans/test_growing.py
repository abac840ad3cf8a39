"""What growing does where everything is known: least squares, against its closed form."""

import numpy as np
import pytest
import torch
from tests.reference.least_squares import optimum, stationary_excess_loss

import batchlab
from batchlab import plans
from batchlab.plans import Plan
from batchlab.workload.loading import load_workload

N, RATE = 256, 0.3


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    settings = {"n": N, "dimension": 4, "condition_number": 4.0}
    return load_workload("least-squares", settings).workload.train


def excess_losses(data: tuple[torch.Tensor, torch.Tensor], plan: Plan, *, n: int) -> torch.Tensor:
    """Where `n` trainings of a plan end above the least loss, batches drawn with replacement."""
    x, y = data
    for_data = plan.for_data(N)
    draw = torch.Generator().manual_seed(0)
    weights = torch.zeros(n, x.shape[1], dtype=x.dtype)
    for step in range(for_data.steps_in(plan.epochs)):
        size = for_data.batch_size_at(step)
        seen, wanted = x.expand(n, -1, -1), y.expand(n, -1)
        if size < N:
            places = torch.randint(N, (n, size), generator=draw)
            seen, wanted = x[places], y[places]
        residuals = torch.einsum("nbd,nd->nb", seen, weights) - wanted
        weights -= RATE * torch.einsum("nbd,nb->nd", seen, residuals) / size
    residuals = weights @ x.T - y
    return residuals.square().mean(1) / 2 - optimum(x, y).loss


def test_small_batches_stay_as_far_from_the_optimum_as_the_closed_form_says(data) -> None:
    x, y = (part.numpy() for part in data)
    expected = stationary_excess_loss(x, y.astype(np.float64), learning_rate=RATE, batch_size=4)

    found = excess_losses(data, plans.constant(4, epochs=4), n=600)

    error = float(found.std()) / len(found) ** 0.5
    assert error < 0.1 * expected
    assert abs(float(found.mean()) - expected) < 4 * error


def test_grown_to_the_full_batch_it_gets_to_the_optimum_as_the_full_batch_does(data) -> None:
    full = excess_losses(data, plans.constant(N, epochs=200), n=1)
    small = excess_losses(data, plans.constant(4, epochs=4), n=50)

    grown = excess_losses(data, plans.steps(4, {4: 64, 8: N}, unit="epochs", epochs=208), n=50)

    assert float(full) < 1e-6 * float(small.mean())
    assert float(grown.max()) < 10 * float(full)


def test_a_quick_start_is_what_small_batches_are_for(data) -> None:
    after_an_epoch = [
        float(excess_losses(data, plans.constant(size, epochs=1), n=50).mean()) for size in (4, N)
    ]

    assert after_an_epoch[0] < 0.1 * after_an_epoch[1]


def test_through_the_sampler_it_ends_at_the_optimum(data) -> None:
    x, y = data
    plan = plans.steps(4, {4: 64, 8: N}, unit="epochs", epochs=208)
    weights = torch.zeros(x.shape[1], dtype=x.dtype)

    for places in batchlab.BatchSizeSampler(x, plan):
        weights -= RATE * x[places].T @ (x[places] @ weights - y[places]) / len(places)

    apart = (weights - optimum(x, y).weights).norm()
    assert float(apart) < 1e-6
