"""Six constants of a race, each chosen again with every recorded workload left out in turn.

    python benchmarks/leave_one_out.py [--trainings 0.5 1.5 3 6 10] [--draws 2] [--processes 2]

Each constant is set to its other values, the rest as they stand. For a workload that is left out
the value of each is taken that does best on all the others, and the workload is answered with all
of these. Two workloads that differ in their schedule alone are left out together. What this does
not show: the values in question, and those of the other constants meanwhile, were found on all.

Best is the least mean, each workload weighing the same, of the log of how many times as long as the
optimum what is named takes to the level. What ends worse than the reference as it is counts as one
that never gets there.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from regret.table_parts import both, head, percent, row
from regret.whole_situation import profiles_of, whole_situation
from regret.whole_table import ADVISE, WholeAnswer
from regret_whole import GRIDS, advised, answer_to

from batchlab.engines.recorded_grid import RecordedGrid

TRAININGS = (0.5, 1.5, 3.0, 6.0, 10.0)
_NEVER = 20.0
Changes = tuple[tuple[str, float], ...]
"""Names and values of the constants that differ from what stands."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A constant of the advisor and the values that were in question.

    Attributes:
        module: where it stands, in `batchlab.advice`.
        name: its name there.
        about: what it is, for the table.
        values: those in question, the one that stands among them.
    """

    module: str
    name: str
    about: str
    values: tuple[float, ...]

    @property
    def standing(self) -> float:
        """Its value in the code."""
        value: float = getattr(self._module, self.name)
        return value

    def way_to(self, value: float) -> Changes:
        """What has to be changed for it; nothing where it stands."""
        return () if value == self.standing else ((self.name, value),)

    def put(self, value: float) -> None:
        """Change it in this process, for whoever asks next."""
        setattr(self._module, self.name, value)

    @property
    def _module(self) -> object:
        return importlib.import_module(f"batchlab.advice.{self.module}")


CONSTANTS = (
    Constant(
        module="race_sizes",
        name="_FIRST_TIMES",
        about="first batch size, in times the reference's",
        values=(4, 8, 16),
    ),
    Constant(
        module="race",
        name="_FIRST_OCTAVE",
        about="first rate, in octaves above the reference's",
        values=(0, 1, 2),
    ),
    Constant(
        module="race",
        name="_SLACK_EARLY",
        about="so much slower a challenger may be at first",
        values=(0.3, 0.6, 1.2),
    ),
    Constant(
        module="advisor",
        name="_PILOT_SHARE",
        about="share of the budget that the pilot may take",
        values=(0.34, 0.5, 0.7),
    ),
    Constant(
        module="few_trainings",
        name="_ENOUGH",
        about="whole trainings left from which on it does not race",
        values=(4.0, 8.0, 13.0),
    ),
    Constant(
        module="few_trainings",
        name="_EARLY",
        about="first part of a training from which half the soonest rate is named",
        values=(0.0, 0.15, 0.4),
    ),
)


def answers_of(
    path: Path, profile: str, trainings: Sequence[float], draws: int, changes: Changes
) -> list[WholeAnswer]:
    """What the advice names for one grid and its step times, with some constants changed."""
    known = {constant.name: constant for constant in CONSTANTS}
    before = {name: known[name].standing for name, _ in changes}
    for name, value in changes:
        known[name].put(value)
    try:
        return _answers_of(path, profile, trainings, draws)
    finally:
        for name, value in before.items():
            known[name].put(value)


def _answers_of(
    path: Path, profile: str, trainings: Sequence[float], draws: int
) -> list[WholeAnswer]:
    grid = RecordedGrid.read(path)
    answers = []
    for draw in range(draws):
        drawn = whole_situation(grid, profile, draw=draw)
        for n in trainings:
            budget_s = n * drawn.whole_reference_s
            reply = advised(drawn, budget_s)
            answers.append(answer_to(drawn, reply, who=ADVISE, draw=draw, budget_s=budget_s))
    return answers


def loss_of(answers: Sequence[WholeAnswer]) -> float:
    """By how many times (a log) what is named takes longer than the optimum, in the mean."""
    return statistics.fmean(
        math.log(_NEVER)
        if answer.shortfall_of_own > 1
        else math.log(min(_NEVER, 1 + max(0.0, answer.regret)))
        for answer in answers
    )


def chosen_without(
    left_out: str, losses: Mapping[Changes, Mapping[str, float]]
) -> tuple[tuple[Constant, float], ...]:
    """The value of each constant that does best on all workloads but one and its twin.

    Args:
        left_out: the workload that has no part in it.
        losses: by what was changed: the loss on each workload.
    """

    def mean_loss(changes: Changes) -> float:
        of_others = losses[changes].items()
        return statistics.fmean(loss for name, loss in of_others if twin(name) != twin(left_out))

    chosen = []
    for constant in CONSTANTS:
        ways = {value: constant.way_to(value) for value in constant.values}
        # Of two that do as well the one that stands: it needs no other answer.
        best = min(ways, key=lambda value: (mean_loss(ways[value]), ways[value] != ()))
        chosen.append((constant, best))
    return tuple(chosen)


def twin(name: str) -> str:
    """What a workload is called without its schedule."""
    return name.removesuffix("-cosine")


class _Record:
    """Answers on the recorded grids, made side by side."""

    def __init__(self, pool: ProcessPoolExecutor, trainings: Sequence[float], draws: int) -> None:
        self._pool = pool
        self._trainings = trainings
        self._draws = draws
        self.paths = {
            path.name.removesuffix(".csv.gz"): path for path in sorted(GRIDS.glob("*.csv.gz"))
        }

    def answers(self, asked: Sequence[tuple[str, Changes]]) -> list[list[WholeAnswer]]:
        """By workload and changes, in the order asked."""
        jobs = [
            [
                self._pool.submit(
                    answers_of, self.paths[name], profile, self._trainings, self._draws, changes
                )
                for profile in profiles_of(RecordedGrid.read(self.paths[name]))
            ]
            for name, changes in asked
        ]
        return [[answer for job in each for answer in job.result()] for each in jobs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", nargs="+", type=float, default=TRAININGS)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    started_s = time.monotonic()
    with ProcessPoolExecutor(given.processes) as pool:
        record = _Record(pool, given.trainings, given.draws)
        names = list(record.paths)
        ways = dict.fromkeys(c.way_to(value) for c in CONSTANTS for value in c.values)
        asked = [(name, way) for way in ways for name in names]
        found = dict(zip(asked, record.answers(asked), strict=True))
        losses = {way: {name: loss_of(found[name, way]) for name in names} for way in ways}
        chosen = {name: chosen_without(name, losses) for name in names}
        refitted = {
            name: tuple(change for c, value in chosen[name] for change in c.way_to(value))
            for name in names
        }
        left_out = record.answers([(name, refitted[name]) for name in names])
    print("\n".join(_by_value(losses, chosen)))
    print()
    standing = [answer for name in names for answer in found[name, ()]]
    print("\n".join(_by_budget(standing, [answer for some in left_out for answer in some])))
    print(f"\n{time.monotonic() - started_s:.0f} s")


def _by_value(
    losses: Mapping[Changes, Mapping[str, float]],
    chosen: Mapping[str, Sequence[tuple[Constant, float]]],
) -> list[str]:
    """What each value costs over all workloads, and how often it is chosen without one."""
    lines = head("constant", "value", "times the optimum", "chosen without one of the workloads")
    for constant in CONSTANTS:
        for value in constant.values:
            loss = statistics.fmean(losses[constant.way_to(value)].values())
            times = sum((constant, value) in each for each in chosen.values())
            shown = f"**{value:g}**" if value == constant.standing else f"{value:g}"
            lines.append(
                row(constant.about, shown, f"{math.exp(loss):.2f}", f"{times} of {len(chosen)}")
            )
    return lines


def _by_budget(standing: Sequence[WholeAnswer], left_out: Sequence[WholeAnswer]) -> list[str]:
    lines = head(
        "whole trainings",
        "answers",
        "as it stands",
        "each workload left out",
        "ends worse than the reference as it is",
        "each left out",
    )
    for n in sorted({round(answer.whole_trainings, 6) for answer in standing}):
        some, others = (
            [answer for answer in answers if round(answer.whole_trainings, 6) == n]
            for answers in (standing, left_out)
        )
        lines.append(
            row(
                f"{n:g}",
                str(len(some)),
                both([answer.regret for answer in some]),
                both([answer.regret for answer in others]),
                percent(statistics.fmean(answer.shortfall_of_own > 1 for answer in some)),
                percent(statistics.fmean(answer.shortfall_of_own > 1 for answer in others)),
            )
        )
    return lines


if __name__ == "__main__":
    main()
