"""The figure of docs/batch-size-basics.md: the same 60 steps at batch sizes 1, 16 and full.

    python benchmarks/basics_figures.py

Least squares with two weights, so that the path of the weights can be drawn over the exact lines
of equal loss. All three begin at the same weights and have the same learning rate.
"""

from __future__ import annotations

import math
from itertools import islice, pairwise
from pathlib import Path

import altair as alt
import torch
import vl_convert

from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.builtin import least_squares
from batchlab.workload.definition import Workload, size_of

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "three-paths.svg"
N, STEPS, LEARNING_RATE, SEED = 320, 60, 0.1, 1
SIZES = {
    1: "batch size 1 (stochastic)",
    16: "batch size 16 (mini-batch)",
    N: "all 320 (full batch)",
}
_LEVELS = (0.02, 0.1, 0.3, 0.6)  # of the loss above the optimum's
_BLUE, _GREY, _RED = "#1f5fa8", "#bbbbbb", "#a8321f"


def path(workload: Workload, batch_size: int) -> list[list[float]]:
    """The two weights at the start and after each step."""
    trial = Trial.of_whole_batches(
        workload_id="figure",
        workload=workload.name,
        n_train=size_of(workload.train),
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        seed=SEED,
    )
    stepper = Stepper(workload, trial, torch.device("cpu"))
    (weights,) = stepper.model.parameters()
    places = [weights.detach().flatten().tolist()]
    for batches in islice(stepper.stream(0), STEPS):
        stepper.step(batches)
        places.append(weights.detach().flatten().tolist())
    return places


def rings(best: least_squares.Optimum) -> list[dict[str, float]]:
    """Ellipses of equal loss; the Hessian of this workload is diagonal."""
    center, curvatures = best.weights.tolist(), best.curvatures.tolist()
    turns = [2 * math.pi * part / 90 for part in range(91)]
    return [
        {
            "x": center[0] + math.cos(turn) * (2 * level / curvatures[0]) ** 0.5,
            "y": center[1] + math.sin(turn) * (2 * level / curvatures[1]) ** 0.5,
            "level": level,
            "turn": turn,
        }
        for level in _LEVELS
        for turn in turns
    ]


def panel(
    places: list[list[float]], lines: list[dict[str, float]], best: list[float], title: str
) -> alt.LayerChart:
    """One path over the lines of equal loss."""
    x = alt.X("x:Q", title="first weight", scale=alt.Scale(domain=[-0.4, 2.4], nice=False))
    y = alt.Y("y:Q", title="second weight", scale=alt.Scale(domain=[-0.2, 1.8], nice=False))
    contours = (
        alt.Chart(alt.Data(values=lines))
        .mark_line(color=_GREY, strokeWidth=1, clip=True)
        .encode(x=x, y=y, detail="level:N", order="turn:Q")
    )
    rows = [{"x": at[0], "y": at[1], "step": step} for step, at in enumerate(places)]
    line = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, order="step:Q")
    marks = line.mark_circle(color=_BLUE, size=14, opacity=1)
    goal = alt.Chart(alt.Data(values=[{"x": best[0], "y": best[1]}]))
    chart: alt.LayerChart = alt.layer(
        contours,
        line.mark_line(color=_BLUE, strokeWidth=1.3),
        marks,
        goal.mark_point(shape="cross", color=_RED, filled=True, size=90).encode(x=x, y=y),
    ).properties(width=220, height=190, title=title)
    return chart


def main() -> None:
    """Print a line for each batch size, and write the figure."""
    torch.set_num_threads(1)
    workload = least_squares.workload(n=N, dimension=2, condition_number=4.0)
    best = least_squares.optimum(*workload.train)
    lines, panels = rings(best), []
    for batch_size, title in SIZES.items():
        places = path(workload, batch_size)
        panels.append(panel(places, lines, best.weights.tolist(), title))
        lengths = [math.dist(*pair) for pair in pairwise(places)]
        print(
            f"| {batch_size} | {STEPS} | {STEPS * batch_size:,} | {STEPS * batch_size / N:.3g} | "
            f"{sum(lengths):.2f} | {math.dist(places[0], places[-1]):.2f} |"
        )
    chart = alt.hconcat(*panels).configure(background="white")
    chart = chart.configure_axis(grid=False).configure_view(stroke="#dddddd")
    FIGURE.write_text(vl_convert.vegalite_to_svg(chart.to_dict()) + "\n")
    print(FIGURE.name)


if __name__ == "__main__":
    main()
