"""The bounce of SGD at a constant rate, measured and by its closed form, in a figure.

    python -m benchmarks.bounce_of_small_batches

Least squares, batches drawn with replacement: after the start is forgotten, the loss stays above
the optimum's by an amount that shrinks as the batch grows. Its expectation is known exactly.
Writes docs/figures/bounce-of-small-batches.svg and benchmarks/results/bounce_of_small_batches.json.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import altair as alt
import numpy as np
import vl_convert

import batchlab
from batchlab.workload.builtin import least_squares
from replications.papers.least_squares import LeastSquares

BATCH_SIZES = (1, 4, 16)
LEARNING_RATE = 0.1
SEEDS = 8
EPOCHS = 400
BURN_IN_EPOCHS = 20  # even the flattest direction has forgotten its start by then, at B = 16 too
SETTINGS = {"n": 320, "dimension": 6, "condition_number": 2.0}
ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "figures" / "bounce-of-small-batches.svg"
RESULTS = ROOT / "benchmarks" / "results" / "bounce_of_small_batches.json"
COLOURS = ("#0072b2", "#d55e00", "#009e73")


def main() -> None:
    workload = least_squares.workload(**SETTINGS)
    x, y = (part.numpy() for part in workload.train)
    closed_form = LeastSquares(x, y)
    best = closed_form.least_loss
    with tempfile.TemporaryDirectory() as folder:
        study = batchlab.sweep(
            "least-squares",
            settings=SETTINGS,
            batch_sizes=BATCH_SIZES,
            learning_rates=[LEARNING_RATE],
            seeds=SEEDS,
            epochs=EPOCHS,
            sampling="replacement",
            store=Path(folder) / "bounce.db",
        )
    curves, rows = [], []
    for batch_size in BATCH_SIZES:
        expected = closed_form.stationary_excess_loss(
            learning_rate=LEARNING_RATE, batch_size=batch_size
        )
        means = []
        for record in study.records:
            if record.trial.batch_size != batch_size:
                continue
            excess = [
                (record.epoch_of(evaluation), loss - best)
                for evaluation, loss in record.curve("train", "loss")
            ]
            means.append(np.mean([value for epoch, value in excess if epoch > BURN_IN_EPOCHS]))
            if record.trial.seed == 0:
                curves += [
                    {"epoch": epoch, "excess": value, "batch size": str(batch_size)}
                    for epoch, value in excess
                    if epoch > 0
                ]
        standard_error = float(np.std(means, ddof=1) / SEEDS**0.5)
        rows.append(
            {
                "batch_size": batch_size,
                "measured_excess_loss": float(np.mean(means)),
                "standard_error": standard_error,
                "closed_form": expected,
                "n_seeds": SEEDS,
            }
        )
        print(
            f"B = {batch_size:2d}: {np.mean(means):.5f} ± {standard_error:.5f}, "
            f"closed form {expected:.5f}, ratio {np.mean(means) / expected:.3f}"
        )
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    specification = json.loads(figure(curves, rows).to_json())
    FIGURE.write_text(vl_convert.vegalite_to_svg(specification))
    print(f"written: {RESULTS}, {FIGURE}")


def figure(curves: list[dict[str, object]], rows: list[dict[str, float]]) -> alt.LayerChart:
    """Excess loss of one seed by epoch, and the closed form as a level line, per batch size."""
    sizes = [str(size) for size in BATCH_SIZES]
    colour = alt.Color(
        "batch size:N", sort=sizes, scale=alt.Scale(domain=sizes, range=list(COLOURS))
    )
    lines = (
        alt.Chart(alt.Data(values=curves))
        .mark_line(strokeWidth=1)
        .encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=alt.Y(
                "excess:Q",
                scale=alt.Scale(type="log"),
                title="training loss above the optimum's",
            ),
            color=colour,
        )
    )
    levels = [
        {"closed form": row["closed_form"], "batch size": str(row["batch_size"])} for row in rows
    ]
    rules = (
        alt.Chart(alt.Data(values=levels))
        .mark_rule(strokeDash=[6, 3], strokeWidth=2)
        .encode(y="closed form:Q", color=colour)
    )
    return alt.layer(lines, rules).properties(
        width=640,
        height=320,
        background="white",
        title="Least squares at a constant rate: the bounce shrinks as the batch grows",
    )


if __name__ == "__main__":
    main()
