from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study

from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.sweep import figures as sweep_figures

BUILD = {row.key: row.build for row in figure_rows(sweep_figures)}


def whole(figure, panel: str) -> dict[str, float]:
    return {
        row["batch"]: row["mean"] for row in figure.rows if row["panel"] == panel and row["whole"]
    }


def test_step_time_throughput_and_memory_are_those_of_the_run_alone():
    figure = BUILD["e"](made_up_study(batch_sizes=(64, 256), step_s=lambda b: b / 1e5))

    assert whole(figure, "e-step_s") == {"64": pytest.approx(64e-5), "256": pytest.approx(256e-5)}
    assert whole(figure, "e-samples_per_s") == {
        "64": pytest.approx(1e5),
        "256": pytest.approx(1e5),
    }
    assert whole(figure, "e-peak_bytes") == {"64": 30_064_000, "256": 30_256_000}


def test_the_middle_is_the_median_of_the_blocks_and_the_bar_their_range():
    study = made_up_study(batch_sizes=(64,))
    slow_once = replace(study.timings[0], block_s=(1.0, 1.0, 9.0), block_steps=10)

    figure = BUILD["e"](replace(study, timings=(slow_once,)))

    row = next(r for r in figure.rows if r["panel"] == "e-step_s" and r["whole"])
    assert (row["mean"], row["low"], row["high"], row["n"]) == (0.1, 0.1, 0.9, 3)
    speed = next(r for r in figure.rows if r["panel"] == "e-samples_per_s" and r["whole"])
    assert (speed["mean"], speed["high"]) == (640, 640)
    assert speed["low"] == pytest.approx(64 / 0.9)


def test_memory_of_the_trials_stands_in_where_no_run_alone_measured_it():
    figure = BUILD["e"](made_up_study(batch_sizes=(64,), timed=False))

    assert whole(figure, "e-peak_bytes") == {"64": 50_000_000}
    assert any("No step time was measured alone" in note for note in figure.notes)


def test_nothing_measured_is_said():
    study = made_up_study(batch_sizes=(64,), timed=False)
    blind = replace(study, records=(replace(study.records[0], peak_bytes=None),))

    assert BUILD["e"](blind).absent == "Neither step times nor memory were measured in this study."
