"""WholeAnswer and the table of them: what the answers without a given target were worth."""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.regret.harness import both, head, percent, quantile, row

ADVISE = "advise"
# From so many whole trainings of the reference on, to the next of them: what a user knows.
WHOLE_BINS = (0.0, 1.0, 3.0, 6.0, 10.0, 20.0, 40.0, math.inf)
N_RESAMPLES = 1000
_LOW, _HIGH = 0.025, 0.975
# So many standard errors above are 5 %, one-sided.
_BY_CHANCE = 1.645


@dataclass(frozen=True, kw_only=True)
class WholeAnswer:
    """What one draw gave.

    Attributes:
        workload: the grid.
        profile: the step times.
        rate_octaves: how far the user's rate is above the best one of its batch size.
        draw: which split of the seeds.
        who: "advise", or the habit.
        tuned_trainings: the budget, in trainings of the tuned reference to the level.
        whole_trainings: the budget, in whole trainings of the reference.
        batch_size: what was named; None: nothing that was recorded.
        learning_rate: its rate.
        named_as: "named", or "reference": nothing was named, so it stays.
        n_workers: how many runs went side by side.
        origin: where its level came from; empty for a habit.
        regret: how much longer it takes to the level than the optimum, a fraction; infinite: it
            does not get there.
        of_reference: how long it takes over what the reference takes, as it is.
        of_reference_error: its standard error, by the scatter of both from seed to seed.
        shortfall: how many margins worse than the better of the references it ends.
        shortfall_of_own: how many margins worse than the reference as it is.
        shortfall_error: its standard error, by the scatter of the reference's ends.
        spent: of the budget, a fraction.
        problem: the error that the advice ended with, if any.
        chance: how likely it is neither slower nor ends worse, as stated; None: it stays.
        gain_low: the lower end of the interval of the gain, as stated.
        gain: how many times as long the reference takes, as stated.
        gain_high: the upper end of the interval.
        gain_seen: how many times as long the reference takes to the level that the answer states,
            on the seeds that judge, 0 where what is named misses it; None: the reference does.
        n_sizes: how many batch sizes were trained.
    """

    workload: str
    profile: str
    rate_octaves: int
    draw: int
    who: str
    tuned_trainings: float
    whole_trainings: float
    batch_size: int | None
    learning_rate: float | None
    named_as: str
    origin: str
    n_workers: int
    regret: float
    of_reference: float
    of_reference_error: float
    shortfall: float
    shortfall_of_own: float
    shortfall_error: float
    spent: float
    problem: str = ""
    chance: float | None = None
    gain_low: float | None = None
    gain: float | None = None
    gain_high: float | None = None
    gain_seen: float | None = None
    n_sizes: int | None = None

    @property
    def has_good_rate(self) -> bool:
        """Whether the user's rate is within an octave of the best one of its batch size."""
        return abs(self.rate_octaves) <= 1

    @property
    def ends_worse(self) -> bool:
        """Whether it ends worse than the better of the references by more than the margin."""
        return self.shortfall > 1

    @property
    def is_worse_than_own_for_sure(self) -> bool:
        """Whether it is slower than the reference as it is, or ends worse, by more than chance."""
        is_slower = self.of_reference > 1 + _BY_CHANCE * self.of_reference_error
        ends_worse = self.shortfall_of_own > 1 + _BY_CHANCE * self.shortfall_error
        # What misses the level has no time, and no error of one.
        return math.isinf(self.of_reference) or is_slower or ends_worse


def tables(answers: Sequence[WholeAnswer]) -> str:
    """What the answers were worth, and what went wrong, as Markdown."""
    lines = []
    own = [each for each in answers if each.who == ADVISE]
    for title, some in (
        ("The user's rate is within an octave of the best", [e for e in own if e.has_good_rate]),
        ("The user's rate is further off", [e for e in own if not e.has_good_rate]),
    ):
        if some:
            lines += [f"## {title}, by the budget in whole trainings of the reference", ""]
            lines += [*by_whole_trainings(some), ""]
            lines += ["What is stated beside what was seen.", "", *stated(some), ""]
    lines += ["## All, beside the habits", "", *beside_habits(answers), ""]
    problems = Counter(each.problem for each in own if each.problem)
    lines += [f"- problem, {n} times: {text}" for text, n in problems.items()]
    return "\n".join(lines).rstrip()


def beside_habits(answers: Sequence[WholeAnswer]) -> list[str]:
    """Regret by the budget in whole trainings, and how many end worse than the reference as it is.

    As Markdown: median / 90th percentile, then that share.
    """
    everybody = [ADVISE, *dict.fromkeys(each.who for each in answers if each.who != ADVISE)]
    lines = head("whole trainings", *everybody)
    for name, some in whole_bins(answers):
        cells = []
        for who in everybody:
            named = [each for each in some if each.who == who]
            worse = statistics.fmean(each.shortfall_of_own > 1 for each in named)
            cells.append(f"{both([each.regret for each in named])}, {percent(worse)}")
        lines.append(row(name, *cells))
    return lines


def by_whole_trainings(own: Sequence[WholeAnswer]) -> list[str]:
    """What a budget brings that is counted in what a user knows, as Markdown."""
    lines = head(
        "whole trainings",
        "answers",
        "workloads",
        "an end was seen",
        "median / 90th percentile",
        "of all, end worse",
        "of all, slower than the reference",
        "named",
        "of these, slower or worse than the reference for sure",
    )
    for name, some in whole_bins(own):
        named = [each for each in some if each.named_as != "reference"]
        lines.append(
            row(
                name,
                str(len(some)),
                str(len({each.workload for each in some})),
                percent(statistics.fmean(each.origin == "pilot" for each in some)),
                both([each.regret for each in some]),
                percent(statistics.fmean(each.ends_worse for each in some)),
                percent(statistics.fmean(each.of_reference > 1 for each in some)),
                str(len(named)),
                share_worse_for_sure(named),
            )
        )
    return lines


def share_worse_for_sure(named: Sequence[WholeAnswer]) -> str:
    """Return the share that is slower or ends worse than the reference by more than chance."""
    if not named:
        return "-"
    return f"{statistics.fmean(each.is_worse_than_own_for_sure for each in named):.1%}"


def stated(own: Sequence[WholeAnswer]) -> list[str]:
    """Chances and gains as stated, beside what was seen; 95 % intervals over workloads.

    As Markdown. A gain that was seen is a ratio of mean times on the seeds that judge, to the level
    that the answer states.
    """
    lines = head("whole trainings", "named", "chance stated", "seen", "gain in its interval")
    for name, some in whole_bins(own):
        named = [each for each in some if each.chance is not None]
        if not named:
            continue
        said = statistics.fmean(each.chance or 0.0 for each in named)
        timed = [each for each in named if each.gain_low and each.gain_seen is not None]
        lines.append(
            row(
                name,
                str(len(named)),
                percent(said),
                _with_interval(named, _no_worse),
                _with_interval(timed, _gain_held),
            )
        )
    lines += ["", *head("chance stated", "named", "seen")]
    for low, high in ((0.0, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.01)):
        named = [each for each in own if each.chance is not None and low <= each.chance < high]
        if named:
            said = statistics.fmean(each.chance or 0.0 for each in named)
            lines.append(row(percent(said), str(len(named)), _with_interval(named, _no_worse)))
    return lines


def _no_worse(some: Sequence[WholeAnswer]) -> float:
    """The share that was neither slower than the reference nor ended worse."""
    return statistics.fmean(e.of_reference <= 1 and e.shortfall_of_own <= 1 for e in some)


def _gain_held(some: Sequence[WholeAnswer]) -> float:
    """The share whose gain lay in its interval."""
    return statistics.fmean(
        (e.gain_low or 0.0) <= (e.gain_seen or 0.0) <= (e.gain_high or math.inf) for e in some
    )


def _with_interval(
    answers: Sequence[WholeAnswer], value_of: Callable[[Sequence[WholeAnswer]], float]
) -> str:
    if not answers:
        return "-"
    low, high = _interval_over_workloads(answers, value_of)
    return f"{percent(value_of(answers))} ({percent(low)} to {percent(high)})"


def _interval_over_workloads(
    answers: Sequence[WholeAnswer], value_of: Callable[[Sequence[WholeAnswer]], float]
) -> tuple[float, float]:
    """The 95 % interval of a figure if other workloads had been recorded.

    Answers about one workload are alike; so whole workloads are drawn, with replacement.
    """
    groups: dict[str, list[WholeAnswer]] = {}
    for each in answers:
        groups.setdefault(each.workload, []).append(each)
    names = sorted(groups)
    stream = random.Random(0)
    values = [
        value_of([each for name in stream.choices(names, k=len(names)) for each in groups[name]])
        for _ in range(N_RESAMPLES)
    ]
    return quantile(values, _LOW), quantile(values, _HIGH)


def whole_bins(answers: Sequence[WholeAnswer]) -> Iterator[tuple[str, list[WholeAnswer]]]:
    """Yield the answers by the budget in whole trainings, as far as there are any."""
    for low, high in pairwise(WHOLE_BINS):
        some = [each for each in answers if low <= each.whole_trainings < high]
        if some:
            yield _name_of_bin(low, high), some


def _name_of_bin(low: float, high: float) -> str:
    return f"> {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
