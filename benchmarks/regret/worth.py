"""Print the rows of `batchlab.advice.advice`, from the answers of the second record of regret.

python -m benchmarks.regret.worth
"""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.regret.whole_table import ADVISE, WHOLE_BINS

from batchlab.advice.worth import Worth

RESULTS = Path(__file__).parents[1] / "results" / "regret_whole.json.gz"
_GOOD = 0.2
# Fewer recommendations than these are pooled with those of the next larger budget.
_FEWEST = 50


def worths() -> tuple[tuple[Worth, ...], tuple[Worth, ...]]:
    """What is named for now, and what is recommended, by the budget in whole trainings."""
    answers = list(_own_answers())
    recommended = [each for each in answers if each["named_as"] == "recommendation"]
    for_now = [each for each in answers if each["named_as"] == "provisional"]
    return tuple(_by_budget(for_now)), tuple(_by_budget(recommended))


def _own_answers() -> Iterator[dict[str, Any]]:
    document = json.loads(gzip.decompress(RESULTS.read_bytes()))
    for answer in document["answers"]:
        named = dict(zip(document["columns"], answer, strict=True))
        if named["who"] == ADVISE:
            # A number that is missing is infinite: it does not get there.
            yield {name: math.inf if value is None else value for name, value in named.items()}


def _by_budget(answers: Sequence[dict[str, Any]]) -> Iterator[Worth]:
    pooled: list[dict[str, Any]] = []
    start = 0.0
    for low, high in pairwise(WHOLE_BINS):
        if not pooled:
            start = low
        pooled += [each for each in answers if low <= each["whole_trainings"] < high]
        if len(pooled) >= _FEWEST:
            yield _worth(start, pooled)
            pooled = []
    assert not pooled, f"{len(pooled)} answers with the largest budgets are too few for a row"


def _worth(trainings: float, answers: Sequence[dict[str, Any]]) -> Worth:
    by_workload: dict[str, list[bool]] = {}
    for each in answers:
        is_good = each["regret"] <= _GOOD and each["shortfall_of_own"] <= 1
        by_workload.setdefault(each["workload"], []).append(is_good)
    return Worth(
        trainings=trainings,
        n_answers=len(answers),
        n_workloads=len(by_workload),
        n_good=sum(statistics.fmean(good) > 0.5 for good in by_workload.values()),
        slower=round(statistics.fmean(each["of_reference"] > 1 for each in answers), 3),
        ends_worse=round(statistics.fmean(each["shortfall_of_own"] > 1 for each in answers), 3),
    )


def main() -> None:
    for name, rows in zip(("NAMED_FOR_NOW", "RECOMMENDED"), worths(), strict=True):
        print(f"{name}: tuple[Worth, ...] = (")
        for each in rows:
            print(f"    {each!r},")
        print(")")


if __name__ == "__main__":
    main()
