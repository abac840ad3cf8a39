"""convex: does full batch reach the optimum, and how far from it do small batches stay?"""

from __future__ import annotations

import math
from functools import partial
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from batchlab import BatchSizeSampler, Estimate, TrialRecord, Workload, plans
from replications.experiment import Experiment, Measured, Studies
from replications.papers.least_squares import LeastSquares
from replications.seeds import Seeds, by_seed, exponent, geometric_mean, mean, ratio, trials

_BOUNCING = (4, 16, 64)
_N, _SMALL = 256, 4
_BOUNCING_RATE, _RATE = 0.2, 0.5
_EPOCHS = 100
_BURN_IN_STEPS = 400  # even the flattest direction has forgotten its start
_ON_THE_WAY_EPOCHS = 30  # later only rounding is left


# ---- The problem


def _problem() -> LeastSquares:
    """Return a regression on four inputs whose curvatures lie between about 1/4 and 1."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((_N, 4)) * np.sqrt(np.geomspace(1 / 4, 1, 4))
    return LeastSquares(x, x.sum(axis=1) + draw.standard_normal(_N))


_PROBLEM = _problem()


def _model() -> nn.Linear:
    model = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    return model


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    predictions: Tensor = model(x).squeeze(1)
    return 0.5 * (predictions - y).square().mean()


def _workload() -> Workload:
    """Return the problem as a workload; its validation data are its training data."""
    data = torch.from_numpy(_PROBLEM.x), torch.from_numpy(_PROBLEM.y)
    return Workload(
        name="least-squares-of-convex",
        model=_model,
        train=data,
        validation=tuple(part.clone() for part in data),
        loss=_loss,
        optimizer=torch.optim.SGD,
        batch_size=16,
        learning_rate=_RATE,
    )


# ---- What is trained


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps; what grows is trained by `_grown`."""
    workload = _workload()
    return (
        Experiment(
            name="bouncing",
            workload=workload,
            batch_sizes=_BOUNCING,
            learning_rates=(_BOUNCING_RATE,),
            seeds=12 if is_quick else 24,
            steps=9_000 if is_quick else 40_000,
            sampling="replacement",
        ),
        Experiment(
            name="to the optimum",
            workload=workload,
            batch_sizes=(_SMALL, "full"),
            learning_rates=(_RATE,),
            seeds=5,
            epochs=_EPOCHS,
        ),
    )


def _grown(seed: int) -> float:
    """Train with batches that grow to all examples; return the excess loss left of the first."""
    x, y = torch.from_numpy(_PROBLEM.x), torch.from_numpy(_PROBLEM.y)
    weights = torch.zeros(4, dtype=torch.float64)
    plan = plans.steps(_SMALL, {0.2: 32, 0.4: _N}, epochs=_EPOCHS)
    for batch in BatchSizeSampler(x, plan, seed=seed):
        residuals = x[batch] @ weights - y[batch]
        weights -= _RATE * x[batch].T @ residuals / len(batch)
    loss = 0.5 * float((x @ weights - y).square().mean())
    return (loss - _PROBLEM.least_loss) / _PROBLEM.excess_loss_of_descent(
        learning_rate=_RATE, steps=0
    )


# ---- What it shows


def _excess(record: TrialRecord) -> dict[int, float]:
    """Return the training loss above the least one, by step."""
    return {
        each.step: loss - _PROBLEM.least_loss for each, loss in record.curve("validation", "loss")
    }


def _last_step(record: TrialRecord, epochs: float) -> int:
    """Return the last evaluated step up to an epoch."""
    most = record.trial.plan.steps_in(min(epochs, record.epochs))
    return max(step for step in _excess(record) if step <= most)


def _left(record: TrialRecord, epochs: float = math.inf) -> float:
    """Return the excess loss at the last evaluation up to an epoch, over that at the start."""
    excess = _excess(record)
    return excess[_last_step(record, epochs)] / excess[0]


def _over_descent(record: TrialRecord) -> float:
    """Return the excess loss over that of the closed form, while enough of it is left."""
    step = _last_step(record, _ON_THE_WAY_EPOCHS)
    return _excess(record)[step] / _PROBLEM.excess_loss_of_descent(learning_rate=_RATE, steps=step)


def _bounce(record: TrialRecord) -> float:
    """Return the mean excess loss once the start is forgotten."""
    return fmean(loss for step, loss in _excess(record).items() if step > _BURN_IN_STEPS)


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    numbers: dict[str, Estimate] = {}
    bounces: dict[int, Seeds] = {}
    for size in _BOUNCING:
        bounces[size] = by_seed(trials(studies["bouncing"], batch_size=size), _bounce)
        closed_form = _PROBLEM.stationary_excess_loss(learning_rate=_BOUNCING_RATE, batch_size=size)
        numbers[f"bounce {size}"] = mean({s: v / closed_form for s, v in bounces[size].items()})
    numbers["bounce exponent"] = exponent(_BOUNCING, bounces.values())
    small, full = (trials(studies["to the optimum"], batch_size=size) for size in (_SMALL, _N))
    numbers["full"] = mean(by_seed(full, _left))
    numbers["full on the way"] = mean(by_seed(full, _over_descent))
    numbers["small"] = geometric_mean(by_seed(small, _left))
    numbers["early"] = ratio(*(by_seed(each, partial(_left, epochs=1)) for each in (small, full)))
    numbers["grown"] = mean({record.trial.seed: _grown(record.trial.seed) for record in small})
    return numbers
