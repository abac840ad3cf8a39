"""Growing to the full batch, where everything is known: least squares against its optimum."""

import pytest
import torch
from tests.reference.least_squares import optimum

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


def test_grown_to_the_full_batch_it_gets_to_the_optimum_as_the_full_batch_does(data) -> None:
    full = excess_losses(data, plans.constant(N, epochs=200), n=1)
    small = excess_losses(data, plans.constant(4, epochs=4), n=50)

    grown = excess_losses(data, plans.steps(4, {4: 64, 8: N}, unit="epochs", epochs=208), n=50)

    assert float(full) < 1e-6 * float(small.mean())
    assert float(grown.max()) < 10 * float(full)
