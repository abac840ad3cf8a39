"""sqrt: the learning rate grows as the batch size's root (Hoffer et al. 2017, arXiv:1705.08741)."""

from __future__ import annotations

import math

from batchlab.plans.scaling_rule import ScalingRule

RULE = ScalingRule(place=2, rate_factor=math.sqrt)
