"""Pairs of made-up studies and profiles: of one truth, or of two that differ in one thing."""

from dataclasses import replace

import numpy as np
from tests.reference.made_up import made_up_curves, made_up_study
from tests.reference.made_up_profile import SCATTER, made_up_point, made_up_profile

from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.records.trial import Target

SIZES = (16, 64, 256, 1024)
TARGET = Target(metric="accuracy", value=0.9, better="higher")
PROCESS_SD = 0.03  # of a log step time, from process to process, and from session to session


def study_to_compare(
    draw: np.random.Generator, *, study_id="a", slower=1.0, worse=0.0, longer=1.0, seeds=3
) -> Study:
    """A sweep: step times `slower` times as long, ends `worse`, `longer` times the steps."""
    slower *= float(np.exp(draw.normal(0, PROCESS_SD)))
    noise = {size: float(np.exp(draw.normal(0, PROCESS_SD))) for size in SIZES}
    made = made_up_study(
        batch_sizes=SIZES,
        learning_rates=(0.01, 0.1),
        seeds=seeds,
        curves=lambda size, rate, _: made_up_curves(
            validation=0.97 - 0.01 * (rate < 0.1) - worse + draw.normal(0, 0.002),
            rate=min(2.0, 6.0 / size**0.5) / longer * np.exp(draw.normal(0, 0.05)),
        ),
        evaluations_per_epoch=16,
        step_s=lambda size: (5e-4 + 2e-6 * size) * noise[size] * slower,
    )
    return replace(made, study_id=study_id, target=TARGET)


def profile_to_compare(draw: np.random.Generator, *, slower=1.0, processes=3) -> Profile:
    """Step times of several processes for each batch size."""
    sizes = (8, 16, 32, 64, 128, 256, 512, 1024)
    slower *= float(np.exp(draw.normal(0, PROCESS_SD)))
    points = []
    for size in sizes:
        each = [
            made_up_point(
                size,
                median_s=slower * (1e-3 + 1e-5 * size) * float(np.exp(draw.normal(0, PROCESS_SD))),
                scatter=tuple(draw.permutation(SCATTER).tolist()),
            )
            for _ in range(processes)
        ]
        timings = [one.timing for one in each if one.timing is not None]
        peak_bytes = int((each[0].peak_bytes or 0) * np.exp(draw.normal(0, 0.02)))
        points.append(replace(each[0], again=tuple(timings[1:]), peak_bytes=peak_bytes))
    return made_up_profile(*points)
