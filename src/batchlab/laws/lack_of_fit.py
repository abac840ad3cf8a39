"""LackOfFit: whether batch sizes lie further from the law than the scatter of seeds explains."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.reason import Reason

_SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class LackOfFit:
    """The F test of the law against the scatter of the seeds.

    Attributes:
        statistic: mean square between batch sizes over that within them, None: not testable.
        p_value: chance of one as large or larger if the law holds, None: not testable.
        rejected: whether `p_value` is below 0.05, None: not testable.
        reason: why it can't be tested, None where it was.
    """

    statistic: float | None
    p_value: float | None
    rejected: bool | None
    reason: Reason | None = None

    @classmethod
    def cannot_tell(cls, reason: Reason) -> LackOfFit:
        """No test; `reason` says what was missing."""
        return cls(statistic=None, p_value=None, rejected=None, reason=reason)


def lack_of_fit(
    *, between: float, between_degrees: int, within: float, within_degrees: int
) -> LackOfFit:
    """Test sums of squares between and within batch sizes.

    Args:
        between: sum of squares of the means around the law, each times its observations.
        between_degrees: batch sizes less fitted parameters.
        within: sum of squares of the observations around their batch size's mean.
        within_degrees: observations less batch sizes.

    Source: Draper and Smith, Applied Regression Analysis, section 2.1 (pure error).
    """
    from scipy.special import fdtrc

    if between_degrees < 1:
        return LackOfFit.cannot_tell(Reason.of("two_sizes_always_fit"))
    if within_degrees < 1:
        return LackOfFit.cannot_tell(Reason.of("no_seeds_repeated"))
    statistic = (between / between_degrees) / (within / within_degrees)
    p_value = float(fdtrc(between_degrees, within_degrees, statistic))
    return LackOfFit(
        statistic=statistic, p_value=p_value, rejected=p_value < _SIGNIFICANT, reason=None
    )
