"""The figure of docs/sharpness.md: the loss between a small-batch and a large-batch solution.

    python benchmarks/sharpness_figures.py

mnist-mlp at batch size 64 and its own rate for 20 epochs, and at 4,096 and eight times that rate
(the square-root rule) for 200, from the same initial weights. Left the line through both, right a
random filter-normalized direction from each. Two minutes on two cores.
"""

from __future__ import annotations

from pathlib import Path

import altair as alt
import torch
import vl_convert
from torch import nn

from batchlab.measurements.curvature import top_eigenvalues
from batchlab.measurements.loss_line import LinePoint, line_along, line_between
from batchlab.measurements.loss_surface import LossSurface
from batchlab.measurements.sharpness import sharpness
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.loading import loaded_workload

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "loss-between.svg"
SMALL, LARGE = 64, 4096
# In 20 epochs the large batch takes 245 steps, and has not fitted the training set.
EPOCHS = {SMALL: 20, LARGE: 200}
CPU = torch.device("cpu")
_BLUE, _RED, _GREY = "#1f5fa8", "#a8321f", "#777777"
_BETWEEN = [place / 10 for place in range(-5, 16)]
_ALONG = [place / 10 for place in range(-10, 11)]


def solution(workload: Workload, batch_size: int) -> nn.Module:
    """The model after its training."""
    trial = Trial.of_whole_batches(
        workload_id="figure",
        workload=workload.name,
        n_train=size_of(workload.train),
        batch_size=batch_size,
        learning_rate=workload.learning_rate * (batch_size / SMALL) ** 0.5,
        seed=0,
    )
    stepper = Stepper(workload, trial, CPU)
    stepper.steps(stepper.stream(0), trial.plan.steps_in(EPOCHS[batch_size]), first_step=0)
    return stepper.model


def rows(points: tuple[LinePoint, ...], of: str) -> list[dict[str, object]]:
    """The losses of a line as rows of a chart."""
    return [
        {"at": point.at, "loss": point.score(split, "loss"), "split": split, "of": of}
        for point in points
        for split in ("train", "test")
    ]


def between(found: list[dict[str, object]]) -> alt.LayerChart:
    """The line through both solutions."""
    lines = (
        alt.Chart(alt.Data(values=found))
        .mark_line(color=_BLUE)
        .encode(
            x=alt.X("at:Q", title="0: small batch, 1: large batch"),
            y=alt.Y("loss:Q", scale=alt.Scale(type="log"), title="loss"),
            strokeDash=alt.StrokeDash("split:N", sort=["train", "test"], title=None),
        )
    )
    ends = alt.Chart(alt.Data(values=[{"at": 0}, {"at": 1}]))
    rule = ends.mark_rule(color=_GREY, strokeDash=[3, 3]).encode(x="at:Q")
    chart: alt.LayerChart = alt.layer(rule, lines).properties(
        width=300, height=240, title="along the line through both"
    )
    return chart


def beside(found: list[dict[str, object]]) -> alt.Chart:
    """A random direction from each."""
    chart: alt.Chart = (
        alt.Chart(alt.Data(values=found))
        .mark_line()
        .encode(
            x=alt.X("at:Q", title="along a random filter-normalized direction"),
            y=alt.Y("loss:Q", scale=alt.Scale(type="log"), title="loss"),
            strokeDash=alt.StrokeDash("split:N", sort=["train", "test"], title=None),
            color=alt.Color("of:N", scale=alt.Scale(range=[_BLUE, _RED]), sort=None, title="batch"),
        )
        .properties(width=300, height=240, title="around each")
    )
    return chart


def main() -> None:
    workload = loaded_workload("mnist-mlp", {}).workload
    small, large = solution(workload, SMALL), solution(workload, LARGE)
    line = rows(line_between(workload, small, large, _BETWEEN, device=CPU), "both")
    around = [
        row
        for size, model in ((SMALL, small), (LARGE, large))
        for row in rows(line_along(workload, model, _ALONG, device=CPU), f"{size:,}")
    ]
    for size, model in ((SMALL, small), (LARGE, large)):
        surface = LossSurface(workload, model, torch.arange(2000), device=CPU)
        box, top = sharpness(surface, epsilon=1e-3), top_eigenvalues(surface, tolerance=1e-3)[0]
        print(f"batch size {size}: sharpness {box:.3g} %, top eigenvalue {top:.3g}")
    for row in line:
        if row["at"] in (0.0, 0.5, 1.0):
            print(f"at {row['at']}: {row['split']} loss {row['loss']:.4g}")
    chart = alt.hconcat(between(line), beside(around)).configure(background="white")
    chart = chart.configure_axis(gridColor="#e5e5e5").configure_view(stroke=None)
    FIGURE.write_text(vl_convert.vegalite_to_svg(chart.to_dict()) + "\n")
    print(FIGURE.name)


if __name__ == "__main__":
    main()
