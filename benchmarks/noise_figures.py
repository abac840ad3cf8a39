"""The two figures of docs/noise-and-check.md: noise along a training and by batch size.

    python benchmarks/noise_figures.py

mnist-mlp as it is. Along its training the noise scale with its 95 % interval, which
`batchlab noise` prints; and at weights of one epoch the variance of the gradient by batch size,
drawn batch by batch, beside what sampling theory expects.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import altair as alt
import torch
import vl_convert

import batchlab
from batchlab.laws.mean import mean_interval
from batchlab.laws.noise_scale import noise_scale
from batchlab.measure import gradient_noise
from batchlab.measure.gradient_noise import drawn_variance, sample_gradients
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import size_of
from batchlab.workload.loading import load_workload

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
BATCHES, SEEDS, AT_ONCE = 8, 6, 1024
CPU = torch.device("cpu")
_BLUE, _GREY = "#1f5fa8", "#777777"


def along() -> alt.LayerChart:
    """The noise scale by step, with the batch size in use."""
    noise = batchlab.noise("mnist-mlp", budget="2m")
    rows = [
        {"step": max(1, point.step), "low": scale.low, "high": scale.high, "scale": scale.estimate}
        for point in noise.along
        for scale in (point.gradient_noise_scale,)
    ]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "step:Q", scale=alt.Scale(type="log"), title="optimizer steps taken (1 stands for none)"
        )
    )
    y = alt.Y("scale:Q", scale=alt.Scale(type="log"), title="noise scale, examples")
    lines = base.mark_line(color=_BLUE, point=alt.OverlayMarkDef(size=36, color=_BLUE)).encode(y=y)
    bars = base.mark_rule(color=_BLUE).encode(
        y=alt.Y("low:Q", scale=alt.Scale(type="log"), title="noise scale, examples"), y2="high:Q"
    )
    own = [{"size": noise.workload.batch_size, "said": f"batch size {noise.workload.batch_size}",
            "step": noise.along[-1].step}]  # fmt: skip
    rule = alt.Chart(alt.Data(values=own)).mark_rule(color=_GREY, strokeDash=[4, 3])
    said = alt.Chart(alt.Data(values=own)).mark_text(align="right", dy=-7, color=_GREY)
    chart: alt.LayerChart = alt.layer(
        rule.encode(y="size:Q"),
        said.encode(y="size:Q", x="step:Q", text="said:N"),
        bars,
        lines,
    ).properties(width=460, height=270)
    return chart


def measured() -> list[dict[str, float | None]]:
    """The variance by batch size after an epoch, beside what sampling must give."""
    workload = load_workload("mnist-mlp", {}).workload
    n_train = size_of(workload.train)
    trial = Trial(
        workload_id="figure",
        workload=workload.name,
        n_train=n_train,
        batch_size=workload.batch_size,
        learning_rate=workload.learning_rate,
        seed=0,
    )
    stepper = Stepper(workload, trial, CPU)
    stepper.steps(stepper.stream(0), trial.plan.steps_in(1), first_step=0)
    gradient_noise.PRECISION = 0.0  # take all examples
    trace = noise_scale(sample_gradients(workload, stepper.model, CPU, seed=0)).trace
    assert trace.estimate is not None
    rows = []
    for size in (1 << power for power in range(n_train.bit_length())):
        of_size = replace(trial, batch_size=size, micro_batch_size=min(size, AT_ONCE))
        variance = mean_interval(
            [
                drawn_variance(
                    workload, stepper.model, of_size, device=CPU, seed=seed, n_batches=BATCHES
                )
                for seed in range(SEEDS)
            ]
        )
        rows.append(
            {
                "size": size,
                "variance": variance.estimate,
                "low": variance.low,
                "high": variance.high,
                "expected": trace.estimate / size * (n_train - size) / (n_train - 1),
            }
        )
    return rows


def by_batch_size(rows: list[dict[str, float | None]]) -> alt.LayerChart:
    """The drawn variance beside the expected one; the whole set has none."""
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("size:Q", scale=alt.Scale(type="log", base=2), title="batch size")
    )
    title = "variance of the gradient"
    scale = alt.Scale(type="log")
    line = base.mark_line(color=_GREY).encode(y=alt.Y("expected:Q", scale=scale, title=title))
    marks = base.mark_circle(color=_BLUE, size=44, opacity=1).encode(
        y=alt.Y("variance:Q", scale=scale, title=title)
    )
    bars = base.mark_rule(color=_BLUE).encode(
        y=alt.Y("low:Q", scale=scale, title=title), y2="high:Q"
    )
    chart: alt.LayerChart = alt.layer(line, bars, marks).properties(width=460, height=270)
    return chart


def main() -> None:
    torch.set_num_threads(1)
    points = measured()
    for name, chart in (("noise-along", along()), ("gradient-variance", by_batch_size(points))):
        (FIGURES / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(chart.to_dict()))
    print("| batch size | variance of the gradient (95 %) | expected |\n|---|---|---|")
    for row in points:
        print(
            f"| {row['size']} | {row['variance']:.3g} ({row['low']:.3g} to {row['high']:.3g}) | "
            f"{row['expected']:.3g} |"
        )


if __name__ == "__main__":
    main()
