"""The closed forms of least squares against the moments of each step, and against SGD itself."""

import numpy as np
import pytest

from replications.papers.least_squares import LeastSquares


def expected_excess_loss(
    x: np.ndarray, y: np.ndarray, *, learning_rate: float, batch_size: int, steps: int
) -> float:
    """E[loss] - min loss after `steps` of SGD from w = 0, batches drawn with replacement.

    M = E[(w - w*)(w - w*)^T] and m = E[w - w*] obey, with fresh independent batches,
    M <- A M A + rate^2 / B (Q - H M H) and m <- A m, where
    Q = 1/N sum x x^T (x^T M x + 2 r x^T m + r^2). The excess is tr(H M) / 2.
    """
    n, d = x.shape
    hessian = x.T @ x / n
    optimum = np.linalg.solve(hessian, x.T @ y / n)
    residuals = x @ optimum - y
    contraction = np.eye(d) - learning_rate * hessian
    mean = -optimum
    second = np.outer(mean, mean)
    for _ in range(steps):
        drawn = np.zeros((d, d))
        for row, residual in zip(x, residuals, strict=True):
            square = row @ second @ row + 2 * residual * (row @ mean) + residual**2
            drawn += np.outer(row, row) * square / n
        noise = drawn - hessian @ second @ hessian
        second = contraction @ second @ contraction + learning_rate**2 / batch_size * noise
        mean = contraction @ mean
    return float(np.trace(hessian @ second) / 2)


def problem(seed: int, n: int = 12, d: int = 3) -> LeastSquares:
    draw = np.random.default_rng(seed)
    return LeastSquares(draw.standard_normal((n, d)), draw.standard_normal(n))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_the_bounce_is_that_of_the_slow_twin(seed: int, batch_size: int) -> None:
    made = problem(seed)
    found = made.stationary_excess_loss(learning_rate=0.05, batch_size=batch_size)

    late = expected_excess_loss(
        made.x, made.y, learning_rate=0.05, batch_size=batch_size, steps=4000
    )
    assert found == pytest.approx(late, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_descent_is_what_steps_of_full_batches_do(seed: int) -> None:
    made = problem(seed)
    weights, rate = np.zeros(3), 0.1
    for _ in range(25):
        weights -= rate * made.x.T @ (made.x @ weights - made.y) / len(made.x)

    loss = float(np.mean((made.x @ weights - made.y) ** 2)) / 2
    found = made.excess_loss_of_descent(learning_rate=rate, steps=25)
    assert found == pytest.approx(loss - made.least_loss, rel=1e-9)


def test_the_published_numbers_of_a_worked_example() -> None:
    # Six examples in two dimensions: formulas.md, tests F and J.
    x = np.array([[1, 0], [0, 1], [1, 1], [1, -1], [2, 1], [0, 2]], dtype=float)
    made = LeastSquares(x, np.array([1, 2, 3, 0, 2, 5], dtype=float))

    assert made.optimum == pytest.approx([15 / 26, 103 / 52])
    assert made.least_loss == pytest.approx(0.39262821, abs=1e-8)
    for batch_size, expected in ((1, 0.19202835), (2, 0.08297169)):
        found = made.stationary_excess_loss(learning_rate=0.2, batch_size=batch_size)
        assert found == pytest.approx(expected, abs=1e-8)
    assert made.excess_loss_of_descent(learning_rate=0.2, steps=0) == pytest.approx(3.190705, 1e-6)
    assert made.excess_loss_of_descent(learning_rate=0.2, steps=10) == pytest.approx(
        0.00620459, rel=1e-5
    )
