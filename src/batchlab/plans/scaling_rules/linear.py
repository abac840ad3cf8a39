"""linear: the learning rate grows as the batch size (Goyal et al. 2017, arXiv:1706.02677)."""

from __future__ import annotations

from batchlab.plans.scaling_rule import ScalingRule

RULE = ScalingRule(place=1, rate_factor=lambda kappa: kappa)
