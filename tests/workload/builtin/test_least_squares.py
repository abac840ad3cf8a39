"""least-squares: the optimum is where the formulas say it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.by_day import by_day
from tests.reference.least_squares import optimum, stationary_excess_loss
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.workload.builtin.least_squares import workload
from batchlab.workload.definition import Workload

# Test F of the project's collected formulas; its numbers were worked out there in fractions.
X = [[1, 0], [0, 1], [1, 1], [1, -1], [2, 1], [0, 2]]
Y = [1, 2, 3, 0, 2, 5]


def trained(
    given: Workload, *, learning_rate: float, batch_size: int, steps: int, draws: int = 0
) -> list[float]:
    """Full-set loss after each step of SGD, batches drawn with replacement; all when B = N."""
    model = given.model()
    assert given.optimizer is not None
    optimizer = given.optimizer(model.parameters(), learning_rate)
    x, y = given.train
    generator = torch.Generator().manual_seed(draws)
    losses = []
    for _ in range(steps):
        index = torch.randint(len(x), (batch_size,), generator=generator)
        batch = (x, y) if batch_size == len(x) else (x[index], y[index])
        optimizer.zero_grad()
        given.loss(model, batch).backward()
        optimizer.step()
        with torch.no_grad():
            losses.append(given.loss(model, (x, y)).item())
    return losses


def tensors(x: list[list[int]], y: list[int]) -> tuple[Tensor, Tensor]:
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)


class TestOptimum:
    def test_it_is_that_of_the_worked_example(self) -> None:
        found = optimum(*tensors(X, Y))

        assert found.weights.tolist() == pytest.approx([15 / 26, 103 / 52], rel=1e-12)
        assert found.loss == pytest.approx(0.39262821, abs=5e-9)
        assert found.curvatures.tolist() == pytest.approx([0.90640786, 1.59359214], abs=5e-9)


class TestWorkload:
    def test_curvatures_are_spread_over_the_condition_number(self) -> None:
        found = optimum(*workload(dimension=5, condition_number=16.0).train[:2])

        assert found.curvatures.tolist() == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])

    @pytest.mark.parametrize("momentum", [0.0, 0.5])
    def test_full_batches_reach_the_optimum(self, momentum: float) -> None:
        given = workload(momentum=momentum)

        losses = trained(given, learning_rate=1.0, batch_size=1000, steps=200)

        assert abs(losses[-1] - optimum(*given.train).loss) < 1e-12

    def test_noise_is_what_is_left_at_the_optimum(self) -> None:
        n, dimension, noise = 20_000, 4, 3.0

        loss = optimum(*workload(n=n, dimension=dimension, noise=noise).train).loss

        # 2 n loss / noise^2 is chi-squared with n - dimension degrees of freedom.
        expected = noise**2 / 2 * (n - dimension) / n
        standard_error = noise**2 / 2 * (2 / n) ** 0.5
        assert abs(loss - expected) < 4 * standard_error

    def test_the_data_do_not_depend_on_the_number_of_threads(self) -> None:
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            alone = workload(n=5000, dimension=40).train
        finally:
            torch.set_num_threads(threads)

        assert torch.equal(alone[0], workload(n=5000, dimension=40).train[0])

    def test_every_model_starts_at_zero_without_a_bias(self) -> None:
        model = workload(dimension=3).model()

        assert isinstance(model, nn.Linear)
        assert model.bias is None
        assert model.weight.tolist() == [[0.0, 0.0, 0.0]]

    @pytest.mark.slow
    @pytest.mark.parametrize("batch_size", by_day([1, 4], [4]))
    def test_the_bounce_of_small_batches_is_the_one_of_the_formula(self, batch_size: int) -> None:
        given = workload(n=100, dimension=3, condition_number=4.0)
        x, y = (part.numpy() for part in given.train)
        expected = stationary_excess_loss(x, y, learning_rate=0.2, batch_size=batch_size)
        best, n_runs = optimum(*given.train).loss, 8

        runs = [
            np.mean(
                trained(given, learning_rate=0.2, batch_size=batch_size, steps=1200, draws=draws)[
                    200:
                ]
            )
            - best
            for draws in range(n_runs)
        ]

        standard_error = np.std(runs, ddof=1) / n_runs**0.5
        assert standard_error < 0.1 * expected
        assert abs(np.mean(runs) - expected) < 4 * standard_error

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"n": 9}, "n=9"),
            ({"dimension": 0}, "dimension=0; expected a whole number"),
            ({"noise": -1.0}, "noise=-1.0; expected a finite number"),
            ({"condition_number": 0.5}, "condition_number=0.5; expected a finite number"),
            ({"condition_number": 2.0, "dimension": 1}, "one direction has one curvature"),
            ({"seed": -1}, "seed=-1; expected a whole number"),
            ({"momentum": 1.0}, "momentum=1.0; expected a finite number"),
        ],
    )
    def test_an_impossible_setting_is_refused(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(WorkloadError, match=f"least-squares: .*{message}"):
            workload(**settings)
