"""The chances that answers state, from the answers of the second record of regret.

    python -m benchmarks.regret.chance

Prints the constants of `batchlab.advice.chance` and how right they are: each workload is asked with
constants that were fitted on the others, twins under a schedule left out together. What a scaled
step ends with as a rule comes from the recorded trainings themselves. Writes
docs/figures/chance.svg.
"""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import altair as alt
import numpy as np
import vl_convert
from benchmarks.regret.harness import head, percent, row
from benchmarks.regret.rule_of_thumb import nearest, recorded
from benchmarks.regret.whole_table import ADVISE, HOWEVER_UNSURE, WHOLE_BINS, name_of_bin
from scipy.optimize import minimize
from scipy.special import expit

from batchlab.advice.chance import LIKELY, NOT_SHOWN, SCALED, SHOWN_GAIN, SURE, Seen

RESULTS = Path(__file__).parents[1] / "results"
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "chance.svg"
_FILES = ("regret_whole.json.gz", "regret_later.json.gz")
# What workloads with a schedule are called after those without.
_TWIN = "-cosine"
# Margins; what ends worse by more is bad enough.
_FARTHEST, _HALF = 8.0, 0.5
_AFTER_WORSE = 0  # among scales
LEVELS = (0.0, 0.5, 0.65, LIKELY, 0.9, SURE, 1.0)

Constants = tuple[float, tuple[float, float], float]
Priors = dict[int, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An answer that names another configuration than the reference, with or without a chance.

    Attributes:
        workload: what it is about.
        whole_trainings: the budget.
        seen: what was seen of its ends; None: none was, and its level is one on the way.
        is_no_worse: whether it was neither slower nor ended worse, by the seeds that judge.
        is_shown: whether its gain is more than one seed's may be, or could not be told.
        scaled: how many times the reference's batch size and rate; None: it was searched for.
        after_worse: whether a larger such step was trained before, and not named.
        chance: as stated by constants of the other workloads.
    """

    workload: str
    whole_trainings: float
    seen: Seen | None
    is_no_worse: bool
    is_shown: bool
    scaled: int | None = None
    after_worse: bool = False
    chance: float = math.nan


def judged() -> list[Judged]:
    """What the record holds, each with the chance by the other workloads."""
    answers, trained = list(_recorded()), scaled_ends()
    found = []
    for workload in dict.fromkeys(_family(each.workload) for each in answers):
        constants = fitted([e for e in answers if _family(e.workload) != workload])
        others = [e for e in trained if _family(e.workload) != workload]
        priors = scaled_priors(others) | {_AFTER_WORSE: prior_after_worse(others)}
        for each in answers:
            if _family(each.workload) == workload:
                found.append(replace(each, chance=_stated(each, constants, priors)))
    return found


def _stated(each: Judged, constants: Constants, priors: Priors) -> float:
    no_end_seen, log_odds, unseen = constants
    if each.scaled is not None:
        which = _AFTER_WORSE if each.after_worse and each.scaled == min(SCALED) else each.scaled
        return unseen if each.seen is None else replace(each.seen, prior=priors[which]).chance
    if each.seen is None:
        return no_end_seen if each.is_shown else NOT_SHOWN
    return float(expit(log_odds[0] + log_odds[1] * each.seen.errors))


def fitted(answers: Sequence[Judged]) -> Constants:
    """The shares of those without an end that were no worse; of the others a logistic regression.

    (without an end but a gain that is shown, the regression, twice the reference without a run)
    """
    searched = [each for each in answers if each.scaled is None]
    unseen = [each for each in searched if each.seen is None and each.is_shown]
    known = [(each.seen.errors, each.is_no_worse) for each in searched if each.seen is not None]
    doubled = [each.is_no_worse for each in answers if each.scaled and each.seen is None]
    errors = np.array([error for error, _ in known])
    signs = np.array([1 if is_no_worse else -1 for _, is_no_worse in known])

    def cost(at: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * (at[0] + at[1] * errors)).sum())

    first, each_error = minimize(cost, (0.0, 1.0)).x
    odds = round(float(first), 2), round(float(each_error), 2)
    return by_workload(unseen), odds, round(statistics.fmean(doubled), 2)


def by_workload(answers: Sequence[Judged]) -> float:
    """The share that was no worse, as the mean over workloads: one may have most of the answers."""
    found: dict[str, list[bool]] = {}
    for each in answers:
        found.setdefault(_family(each.workload), []).append(each.is_no_worse)
    return round(statistics.fmean(map(statistics.fmean, found.values())), 2)


@dataclass(frozen=True, kw_only=True)
class ScaledEnd:
    """By how many margins a scaled step ends worse than the reference, on all seeds."""

    workload: str
    times: int
    worse: float
    error: float


def scaled_ends() -> list[ScaledEnd]:
    """Of every recorded workload and scale."""
    found = []
    for (workload, _), situation in recorded().items():
        size, rate = situation.reference
        for times in SCALED:
            if times * size in situation.step_s:
                cell, seeds = nearest(situation, times * size, times * rate), situation.grid.seeds
                worse = min(max(situation.shortfall_of_own(cell, seeds), -_FARTHEST), _FARTHEST)
                error = situation.shortfall_error(cell, seeds)
                each = ScaledEnd(workload=workload, times=times, worse=worse, error=error)
                found.append(each)
    return list({(each.workload, each.times): each for each in found}.values())


def scaled_priors(ends: Sequence[ScaledEnd]) -> Priors:
    """Mean and deviation over workloads, by scale."""
    return {times: _likeliest([each for each in ends if each.times == times]) for times in SCALED}


def prior_after_worse(ends: Sequence[ScaledEnd]) -> tuple[float, float]:
    """The same of the smallest scale, where the next one ends more than half a margin worse.

    Few do, so their errors are not taken out.
    """
    smallest, following = sorted(SCALED)[:2]
    worse = {e.workload for e in ends if e.times == following and e.worse > _HALF}
    found = [e.worse for e in ends if e.times == smallest and e.workload in worse]
    return round(statistics.fmean(found), 1), round(statistics.stdev(found), 1)


def _likeliest(ends: Sequence[ScaledEnd]) -> tuple[float, float]:
    """The likeliest normal, given the errors."""
    worse, error = np.array([e.worse for e in ends]), np.array([e.error for e in ends])

    def cost(at: np.ndarray) -> float:
        variance = np.exp(2 * at[1]) + error**2
        return float((np.log(variance) + (worse - at[0]) ** 2 / variance).sum())

    mean, log_deviation = minimize(cost, (0.0, 0.0)).x
    return round(float(mean), 1), round(math.exp(log_deviation), 1)


def brier(answers: Sequence[Judged]) -> tuple[float, float]:
    """The mean squared error of the chances, and of the base rate of the other workloads."""
    errors, base = [], []
    for workload in dict.fromkeys(_family(each.workload) for each in answers):
        others = [each.is_no_worse for each in answers if _family(each.workload) != workload]
        rate = statistics.fmean(others)
        for each in answers:
            if _family(each.workload) == workload:
                errors.append((each.chance - each.is_no_worse) ** 2)
                base.append((rate - each.is_no_worse) ** 2)
    return statistics.fmean(errors), statistics.fmean(base)


def reliability(answers: Sequence[Judged]) -> Iterator[tuple[float, list[Judged]]]:
    """The answers by what they said."""
    for low, high in pairwise(LEVELS):
        some = [each for each in answers if low <= each.chance < high]
        if some:
            yield low, some


def tables(answers: Sequence[Judged]) -> str:
    """How many of those that said so much were right, as Markdown."""
    names = ("said", "were", "answers", "workloads")
    lines = head(*names)
    lines += [row(*_cells(some)) for _, some in reliability(answers)]
    lines += ["", *head("whole trainings", *names)]
    for low, high in pairwise(WHOLE_BINS):
        of_row = [each for each in answers if low <= each.whole_trainings < high]
        for _, some in reliability(of_row):
            lines.append(row(name_of_bin(low, high), *_cells(some)))
    return "\n".join(lines)


def _cells(some: Sequence[Judged]) -> list[str]:
    said = statistics.fmean(each.chance for each in some)
    were = statistics.fmean(each.is_no_worse for each in some)
    return [percent(said), percent(were), str(len(some)), str(len({e.workload for e in some}))]


def _recorded() -> Iterator[Judged]:
    for name in _FILES:
        document = json.loads(gzip.decompress((RESULTS / name).read_bytes()))
        for answer in document["answers"]:
            named = dict(zip(document["columns"], answer, strict=True))
            # First guesses count, named or not; scaled steps as they were named.
            who = HOWEVER_UNSURE if named["scaled"] is None else ADVISE
            if named["who"] != who or named["named_as"] == "reference":
                continue
            # A number that is missing is infinite: it does not get there.
            takes, worse = (
                math.inf if named[name] is None else named[name]
                for name in ("of_reference", "shortfall_of_own")
            )
            seen, n, gain = None, named["ends_seen"], named["gain"]
            if n is not None:
                seen = Seen(n=n, worse=named["seen_worse"], scatter=named["seen_scatter"])
            yield Judged(
                workload=named["workload"],
                whole_trainings=named["whole_trainings"],
                seen=seen,
                is_no_worse=takes <= 1 and worse <= 1,
                is_shown=gain is None or gain >= SHOWN_GAIN,
                scaled=named["scaled"],
                after_worse=named["after_worse"],
            )


def _family(workload: str) -> str:
    return workload.removesuffix(_TWIN)


def picture(answers: Sequence[Judged]) -> alt.Chart:
    """What was right by what was said, a dot a level, beside the line of those that are right."""
    dots = [
        {
            "said": statistics.fmean(each.chance for each in some),
            "were": statistics.fmean(each.is_no_worse for each in some),
            "answers": len(some),
        }
        for _, some in reliability(answers)
    ]
    scale = alt.Scale(domain=[0.3, 1.0])
    line = alt.Chart(alt.Data(values=[{"at": 0.3}, {"at": 1.0}]))
    said = alt.X("said:Q", scale=scale, title="stated chance", axis=alt.Axis(format="%"))
    were = alt.Y("were:Q", scale=scale, title="no worse", axis=alt.Axis(format="%"))
    dotted = alt.Chart(alt.Data(values=dots)).encode(said, were)
    return (
        line.mark_line(strokeDash=[4, 4], color="gray").encode(x="at:Q", y="at:Q")
        + dotted.mark_point(filled=True, size=80)
        + dotted.mark_text(dx=22, dy=4).encode(text="answers:Q")
    ).properties(width=320, height=320)


def main() -> None:
    answers = judged()
    no_end_seen, log_odds, unseen = fitted(answers)
    print(f"NO_END_SEEN = {no_end_seen}\nLOG_ODDS = {log_odds}\nSCALED_UNSEEN = {unseen}")
    ends = scaled_ends()
    print(f"SCALED = {scaled_priors(ends)}\nAFTER_WORSE = {prior_after_worse(ends)}\n")
    print(tables(answers))
    said, base = brier(answers)
    print(f"\nBrier score {said:.3f}; always saying the base rate: {base:.3f}")
    FIGURE.write_text(vl_convert.vegalite_to_svg(picture(answers).to_dict()))


if __name__ == "__main__":
    main()
