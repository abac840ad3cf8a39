"""Step times profiled again and again: do the intervals of two processes hold what others take?

    python -m benchmarks.process_scatter [--folder benchmarks/profiles] [--most 4096]

Each pair of the profiles of one machine makes one profile with two processes. The geometric mean of
the others stands for the truth; it scatters itself, by the standard deviation from process to
process that all of them show, and an interval is widened by that before it is asked whether it
holds. A time is asked for one batch size, a ratio for two of them: that is what decisions rest on.

The profiles: `batchlab profile --json`, on the H200 with `--device cuda --batch-sizes
16,64,256,1024,2048,4096,8192`. Those of the CPU are told up to 4096: beyond, its own two threads
wait for one another at random. Prints a table of benchmarks/results/coverage.md.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate

_NORMAL_95 = 1.959964
_PROFILES = Path(__file__).parent / "profiles"
# Of looking at a point of a profile with two processes.
WAYS: dict[str, Callable[[Profile, ProfilePoint], Estimate]] = {
    "one process": lambda profile, point: replace(point, again=()).step_s,
    "two": lambda profile, point: point.step_s,
    "with their scatter": lambda profile, point: profile.timed_s(point),
    "and the law": lambda profile, point: profile.step_s(point.batch_size),
}


def log_step_s(profile: Profile, batch_size: int) -> float:
    """Log seconds a step in the one process that timed it."""
    (point,) = [point for point in profile.points if point.batch_size == batch_size]
    assert point.timing is not None
    return math.log(point.timing.step_s)


def sd_of(known: Estimate) -> float:
    """Standard deviation of its logarithm, by its interval."""
    half_width = known.log_half_width
    assert half_width is not None
    return half_width / _NORMAL_95


def process_sd(profiles: Sequence[Profile], sizes: Sequence[int]) -> float:
    """Standard deviation from process to process, over all batch sizes."""
    variances = (
        statistics.variance([log_step_s(profile, size) for profile in profiles]) for size in sizes
    )
    return math.sqrt(statistics.fmean(variances))


def paired(profiles: Sequence[Profile]) -> Iterator[tuple[Profile, list[Profile]]]:
    """Each pair as a profile of two processes, and the others."""
    for pair in combinations(range(len(profiles)), 2):
        first, second = (profiles[index] for index in pair)
        points = tuple(
            replace(one, again=(other.timing,))
            for one, other in zip(first.points, second.points, strict=True)
        )
        others = [profiles[index] for index in range(len(profiles)) if index not in pair]
        yield replace(first, points=points), others


def held(profiles: Sequence[Profile], sizes: Sequence[int]) -> dict[str, tuple[float, ...]]:
    """By way: shares of times and of ratios that are held, and the mean standard deviation."""
    own_sd = process_sd(profiles, sizes)
    times: dict[str, list[bool]] = {way: [] for way in WAYS}
    ratios: dict[str, list[bool]] = {way: [] for way in WAYS}
    widths: dict[str, list[float]] = {way: [] for way in WAYS}
    for profile, others in paired(profiles):
        truth_sd = own_sd / math.sqrt(len(others))
        truth = {
            size: statistics.fmean(log_step_s(other, size) for other in others) for size in sizes
        }
        for way, look in WAYS.items():
            known = {p.batch_size: look(profile, p) for p in profile.points}
            sd = {size: sd_of(known[size]) for size in sizes}
            away = {size: math.log(known[size].estimate or 0.0) - truth[size] for size in sizes}
            widths[way] += sd.values()
            times[way] += [
                abs(away[size]) < _NORMAL_95 * math.hypot(sd[size], truth_sd) for size in sizes
            ]
            ratios[way] += [
                abs(away[a] - away[b]) < _NORMAL_95 * math.hypot(sd[a], sd[b], truth_sd, truth_sd)
                for a, b in combinations(sizes, 2)
            ]
    return {
        way: tuple(map(statistics.fmean, (times[way], ratios[way], widths[way]))) for way in WAYS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=_PROFILES)
    parser.add_argument("--most", type=int, default=4096, help="on a CPU, up to this batch size")
    arguments = parser.parse_args()
    print("| machine | process to process | " + " | ".join(WAYS) + " |")
    print("|---|---|" + "---|" * len(WAYS))
    for folder in sorted(arguments.folder.iterdir()):
        files = sorted(folder.glob("mnist-mlp-*.json"))
        profiles = [Profile.from_json(file.read_text()) for file in files]
        sizes = [point.batch_size for point in profiles[0].points]
        if profiles[0].device == "cpu":
            sizes = [size for size in sizes if size <= arguments.most]
        cells = [
            f"{100 * times:.0f} %, {100 * ratios:.0f} % (± {100 * sd:.1f} %)"
            for times, ratios, sd in held(profiles, sizes).values()
        ]
        name = f"{profiles[0].device_name}, {len(files)} profiles"
        apart = f"{100 * process_sd(profiles, sizes):.1f} %"
        print(f"| {name} | {apart} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
