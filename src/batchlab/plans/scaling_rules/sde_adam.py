"""sde-adam: rate, betas and eps follow the same stochastic differential equation.

Over the same examples; it assumes gradients that are mostly noise.
Source: Malladi et al. 2022, arXiv:2205.10287, definition 5.2.
"""

from __future__ import annotations

import math

from batchlab.errors import UsageError
from batchlab.plans.scaling_rule import ScalingRule
from batchlab.records.adam_settings import AdamSettings


def _moved(adam: AdamSettings, batch_size: int, reference_batch_size: int) -> AdamSettings:
    """Betas 1 - kappa (1 - beta) and eps / sqrt(kappa), kappa the ratio of the batch sizes.

    Raises:
        UsageError: so far from the reference that a beta would not be above 0.
    """
    kappa = batch_size / reference_batch_size
    for name, beta in zip(("beta 1", "beta 2"), adam.betas, strict=True):
        # 1 - 0.9 is not quite 0.1, and kappa = 10 has to be refused all the same.
        if kappa * (1 - beta) >= 1 - 1e-12:
            largest = math.ceil(reference_batch_size / (1 - beta) - 1e-9) - 1
            raise UsageError(
                f"scaling rule sde-adam from batch size {reference_batch_size} to {batch_size}: "
                f"{name} = {beta:g} would become {1 - kappa * (1 - beta):.3g}, and has to stay "
                f"above 0; stay at batch sizes up to {largest}, use the rule sqrt, or tune the rate"
            )
    first, second = (1 - kappa * (1 - beta) for beta in adam.betas)
    return AdamSettings(betas=(first, second), eps=adam.eps / math.sqrt(kappa))


RULE = ScalingRule(place=3, rate_factor=math.sqrt, move_adam=_moved)
