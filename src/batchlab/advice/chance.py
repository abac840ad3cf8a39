"""Chance: how likely what is named is neither slower than the reference nor ends worse."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaincinv, expit, ndtr

from batchlab.advice.advice import Advice, Configuration, Ending, Endings
from batchlab.advice.carried_over import pooled_sd
from batchlab.advice.run_log import CellKey, RunLog
from batchlab.records.estimate import Reason

LIKELY, SURE = 0.8, 0.95
"""From the second on it is sure, from the first on likely, below that a first guess."""
# `python -m benchmarks.regret.chance` prints these, from the recorded answers.
NO_END_SEEN = 0.89  # the mean over workloads: of their answers it is more, and some have few
SHOWN_GAIN, NOT_SHOWN = 1.5, 0.5
"""A smaller gain of single runs may be one seed's; of two on the record neither was one."""
LOG_ODDS = (-0.9, 1.58)  # of an end at the margin, and of each error above it
_DIVERGED, _DID_NOT = 1, 5  # an octave below a rate that diverged: 7 of 40 recorded trainings did
_USUAL_SCATTER = 0.7  # of ends, in margins; it counts as much as a seed
_N_JUDGING = 5
_FARTHEST, _MOST = 3.0, 0.98  # nineteen workloads do not show more
SCALED = {8: (0.7, 3.6), 4: (-0.6, 3.4), 2: (-0.1, 0.6)}
"""Of so many times batch size and rate: how many margins worse that ends on recorded workloads.

The mean and the deviation over workloads; `python -m benchmarks.regret.chance` prints these too.
"""
AFTER_WORSE = (0.6, 0.5)  # of twice both, where four times both ends more than half a margin worse
SCALED_UNSEEN = 0.85
"""Of answers that stayed after less than 6 whole trainings, so many had done no worse doubled."""
_CONFIDENCE = 0.95
_UP_TO = 2.1  # rates lie on octaves; a found one may lie a little off its octave
_VERIFIED = 0.975  # where the 95 % interval of a gain lies above 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """How what is named ended beside the reference as it is, in margins."""

    n: int = 0  # seeds that both were trained to their ends on
    worse: float = 0.0  # by how much it ended worse, in the mean
    scatter: float = _USUAL_SCATTER  # of ends from seed to seed, a standard deviation
    # By how many margins such a one ends worse: mean and deviation. None: it was searched for.
    prior: tuple[float, float] | None = None

    @property
    def errors(self) -> float:
        """By how many standard errors other seeds are expected to end above the margin.

        Before a seed tells, both end alike within a margin and the scatter, if there is no prior.
        """
        expected, deviation = self.prior or (0.0, math.hypot(1, self.scatter))
        told = self.n / (2 * self.scatter**2)
        left = 1 / (deviation**-2 + told)
        worse = left * (expected * deviation**-2 + told * self.worse)
        error = math.sqrt(left + 2 * self.scatter**2 / _N_JUDGING)
        return min((1 - worse) / error, _FARTHEST)

    @property
    def chance(self) -> float:
        """By the recorded answers; with a prior the best of many was not chosen."""
        if self.prior is not None:
            return min(float(ndtr(self.errors)), _MOST)
        return float(expit(LOG_ODDS[0] + LOG_ODDS[1] * self.errors))


def chance_of(advice: Advice) -> tuple[float, Reason | None] | None:
    """The chance that what is named is neither slower nor ends worse; by the record a sentence.

    None where it is the reference, or nothing tells. Where a target was given no end is compared:
    then, and for objective quality, a verified gain tells.
    """
    named, own, low = advice.named, advice.reference, advice.gain.low
    if named is None or named.is_same(own) or advice.objective == "samples":
        return None
    is_given = not any(run.purpose == "pilot" for run in advice.tried)
    if is_given or advice.objective == "quality":
        is_verified = advice.recommendation is not None and low is not None and low >= 1
        return (_VERIFIED, None) if is_verified else None
    seen, size, rate = seen_of(advice, named), named.batch_size, named.learning_rate
    is_shown = (advice.gain.estimate or SHOWN_GAIN) >= SHOWN_GAIN
    unseen = NO_END_SEEN if is_shown else NOT_SHOWN
    edge = next((each for each in advice.caveats if each.code == "at_the_edge"), None)
    chance = (unseen if seen is None else seen.chance) * left_at_the_edge(edge)
    if chance < LIKELY:
        return chance, Reason.of("first_guess", chance=chance, size=size, rate=rate)
    how = "sure" if chance >= SURE else "likely"
    return chance, Reason.of("no_worse_on_the_record", how=how, chance=chance)


def at_the_edge(run_log: RunLog, cell: CellKey) -> Reason | None:
    """That a rate lies beside one that diverges, or diverged once itself; if anything says so.

    The share of trainings that diverge is at most the bound of Clopper & Pearson 1934, Biometrika
    26(4), by its seeds.
    """
    batch_size, learning_rate = cell
    records = {key: record for key, record in run_log.records.items() if key[0] == batch_size}
    diverged = {key for key, record in records.items() if record.has_diverged}
    above = [rate for _, rate, _ in diverged if learning_rate <= rate <= _UP_TO * learning_rate]
    n = sum(key[:2] == cell for key in records)
    held = n - sum(key[:2] == cell for key in diverged)
    if not above or not held:
        return None
    top, share = max(above), float(betaincinv(n - held + 1, held, _CONFIDENCE))
    return Reason.of(
        "at_the_edge", size=batch_size, rate=learning_rate, above=top, held=held, n=n, share=share
    )


def left_at_the_edge(edge: Reason | None) -> float:
    """The chance that the next training holds, given `at_the_edge`."""
    if edge is None:
        return 1.0
    held, n = edge.named["held"], edge.named["n"]
    return (held + _DID_NOT) / (n + _DID_NOT + _DIVERGED)  # type: ignore[operator]


def seen_of(advice: Advice, found: Configuration) -> Seen | None:
    """What was seen of the ends of a configuration.

    None: no end was seen, and the level is one on the way.
    """
    if advice.target_origin == "easier":
        return None
    if (endings := advice.endings) is None:
        return Seen()
    mine = next(filter(found.is_same, endings.trainings), None)
    return Seen() if mine is None else seen_in(endings, mine)


def seen_in(endings: Endings, mine: Ending, *, prior: tuple[float, float] | None = None) -> Seen:
    """What whole trainings showed; `prior` as in `Seen`."""
    own = endings.reference
    if not (mine.found and own.found):
        return Seen(prior=prior)
    several = [each.found for each in endings.trainings if len(each.found) > 1]
    sd, degrees = pooled_sd(several) if several else (0.0, 0)
    variance = (degrees * (sd / endings.margin) ** 2 + _USUAL_SCATTER**2) / (degrees + 1)
    worse = own.mean - mine.mean if endings.better == "higher" else mine.mean - own.mean
    n = min(len(mine.found), len(own.found))
    return Seen(n=n, worse=worse / endings.margin, scatter=math.sqrt(variance), prior=prior)
