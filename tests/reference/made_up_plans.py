"""A made-up study of plans, as `batchlab.sweep` with `plans` leaves it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.reference.made_up import made_up_record, made_up_study, made_up_timing, made_up_trial

from batchlab import plans
from batchlab.records.run import PlanName
from batchlab.records.study import Study
from batchlab.records.trial import Trial

SMALL, LARGE, EPOCHS, N_TRAIN = 64, 1024, 20, 4096
CUTS, FACTOR = (0.4, 0.7, 0.9), 4.0
OVERHEAD_S, EXAMPLE_S = 8e-4, 3.125e-6
STEP_S = {size: OVERHEAD_S + size * EXAMPLE_S for size in (64, 256, 1024)}
ENDS: Mapping[PlanName, float] = {"small": 0.90, "large": 0.85, "grow": 0.95, "decay": 0.93}
_SEEDS_LUCK = (-0.001, 0.0, 0.001)


def planned_trial(name: PlanName, *, seed: int = 0, rate: float = 0.01) -> Trial:
    size = LARGE if name == "large" else SMALL
    trial = made_up_trial(batch_size=size, learning_rate=rate, seed=seed, n_train=N_TRAIN)
    if name in ("small", "large"):
        return trial
    cap = LARGE if name == "grow" else SMALL
    plan = plans.instead_of_decay(SMALL, CUTS, cap=cap, epochs=EPOCHS, factor=FACTOR)
    return replace(trial, stages=plan.for_data(N_TRAIN).stages, micro_batch_size=cap)


def plan_study(ends=ENDS, *, rates=(0.01,)) -> Study:
    """Return a study whose accuracies rise to these ends; a higher rate ends 0.1 lower."""

    def curve(end: float) -> Callable[[float], float]:
        return lambda epoch: end - 0.5 * (1 - epoch / EPOCHS)

    records = []
    for name, end in ends.items():
        for rate in rates:
            for seed, luck in enumerate(_SEEDS_LUCK):
                value = curve(end + luck - (0.1 if rate > min(rates) else 0.0))
                records.append(
                    made_up_record(
                        trial=planned_trial(name, seed=seed, rate=rate),
                        curves={(split, "accuracy"): value for split in ("train", "validation")},
                        epochs=EPOCHS,
                        evaluations_per_epoch=4,
                        step_s=OVERHEAD_S,
                        example_s=EXAMPLE_S,
                    )
                )
    timings = tuple(made_up_timing(size, step_s=step_s) for size, step_s in STEP_S.items())
    made = made_up_study(batch_sizes=(), n_test=0, n_train=N_TRAIN)
    return replace(made, records=tuple(records), timings=timings)
