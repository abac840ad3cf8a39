"""GradientMixture: how the gradient of a whole batch is made of those of its parts."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def is_multiple(one: Tensor, other: Tensor) -> bool:
    """Whether the second is the first times a number."""
    size = torch.linalg.vector_norm(one.double()) * torch.linalg.vector_norm(other.double())
    return bool((one.double() @ other.double()).abs() >= (1 - 1e-9) * size) and bool(size > 0)


def is_mixture(parts: list[Tensor], whole: Tensor) -> bool:
    """Whether the whole is a mixture of the parts, with weights above 0 that add up to 1."""
    columns = torch.stack([part.double() for part in parts], dim=1)
    solved = torch.linalg.lstsq(columns, whole.double().unsqueeze(1)).solution.squeeze(1)
    far = torch.linalg.vector_norm(columns @ solved - whole.double())
    fits = bool(far <= 1e-6 * torch.linalg.vector_norm(whole.double()))
    above = bool((solved > 1e-4).all())  # of the hardest example alone, the other part has none
    return fits and above and math.isclose(float(solved.sum()), 1, rel_tol=1e-4)
