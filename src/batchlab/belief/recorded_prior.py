"""The prior of costs and final values (`SurfacePrior`), fitted to fifteen recorded workloads."""

from __future__ import annotations

from batchlab.belief.surface import SurfacePrior

# The arguments of `SurfacePrior.of`, as `python -m benchmarks.surface_prior` prints them.
_NUMBERS = (
    *(-0.1619, -0.9416, 0.3705, 0.1391, 0.1117),  # trend of costs: means of coefficients
    *(-1.575, -2.601, -2.058, -2.443, -2.841),  # trend of costs: log standard deviations
    *(-0.08648, 0.08691, 0.5154, 0.187, 0.1878),  # trend of final values: means
    *(-1.488, -2.457, -2.133, -2.161, -2.766),  # trend of final values: log standard deviations
    *(1.586, 0.1142, 0.8652, 0.9438, 0.3279),  # correlations of the two trends' coefficients
    *(1.7, 1.054, -0.06046, 0.4347, 0.759),  # scales, residuals and their correlation
    *(-3.179, -1.305, 0.6638),  # roughness, ridge
)
PRIOR = SurfacePrior.of(_NUMBERS)
"""The prior, fitted with references at the recorded rate and 3, 1, 0 octaves below the best."""
