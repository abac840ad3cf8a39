"""The laws that an advice shows: of steps, step time and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import Laws, Option
from batchlab.advice.study import AdviceStudy
from batchlab.belief.outlook import Outlook
from batchlab.belief.steps_law import StepsLaw, log2_steps_between
from batchlab.laws.lines import SIZES_FOR_LAW, fit_memory, points_for_law
from batchlab.laws.step_time import StepTimeFit, fit_step_time
from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]


def laws_of(study: AdviceStudy, outlook: Outlook, met: Sequence[int]) -> Laws | None:
    """Fit the laws; None if fewer than three batch sizes met the level.

    Args:
        study: the configurations and their runs.
        outlook: the belief.
        met: the configuration that represents each batch size that met the level.
    """
    if len(met) < SIZES_FOR_LAW or study.log.until is None:
        return None
    if study.log.has_schedule:  # every size meets the level near the end of its schedule
        steps = _law_over_lengths(study, outlook) if study.whole_only else None
    else:
        draws = np.stack([_at_best_rate(study, outlook, i) for i in met], axis=1)
        steps = StepsLaw.of(study.sizes[list(met)].astype(float), draws)
    whole = [o for o in study.options.values() if o.micro_batch_size == o.batch_size]
    peaks = [(o.batch_size, o.peak_bytes) for o in whole if o.peak_bytes is not None]
    memory = fit_memory(points_for_law(peaks, n_train=study.question.n_train))
    time_fit = _step_time(study, whole)
    untimed = Estimate.cannot_tell(Reason.of("timed_at_fewer_than_three"))
    unknown = Estimate.cannot_tell(Reason.of("steps_of_schedule"))
    laws = Laws(
        s_min=unknown,
        e_min=unknown,
        b_crit=unknown,
        fixed_bytes=memory.fixed_bytes,
        bytes_per_example=memory.bytes_per_example,
        step_overhead_s=untimed,
        step_s_per_example=untimed,
        knee_batch_size=untimed,
    )
    if steps is not None:
        laws = replace(laws, s_min=steps.s_min, e_min=steps.e_min, b_crit=steps.b_crit)
    if steps is not None and steps.holds:
        curve = steps.curve(_places(study.sizes[list(met)]))
        laws = replace(laws, curve=curve, law_holds=bool(curve))
    if time_fit is not None:
        laws = replace(
            laws,
            step_overhead_s=time_fit.overhead_s,
            step_s_per_example=time_fit.s_per_example,
            knee_batch_size=time_fit.knee_batch_size,
            step_curve=tuple((n, time_fit.step_s(n)) for n in _places(time_fit.batch_sizes)),
        )
    return laws


def _law_over_lengths(study: AdviceStudy, outlook: Outlook) -> StepsLaw | None:
    """Fit the law to the steps of the shortest trainings that end at the level, at best rates.

    They lie between two lengths of a batch size of which only the longer one ends at the level. At
    other batch sizes all lengths do, or none does, and the law has to agree with that.
    """
    enclosed, bounds, level = {}, [], study.level_worse
    for size in study.options:
        steps, worse = _by_length(study, outlook, size)
        meets = [float(draws.mean()) <= level for draws in worse]
        if not meets:
            continue
        if True in meets[1:] and not meets[0]:
            k = meets.index(True)
            enclosed[size] = log2_steps_between(steps[k - 1 : k + 1], worse[k - 1 : k + 1], level)
        else:
            k = 0 if meets[0] else -1
            bounds.append((size, steps[k], worse[k]))
    if len(enclosed) < SIZES_FOR_LAW:
        return None
    law = StepsLaw.of(np.array([*enclosed], dtype=float), np.stack([*enclosed.values()], axis=1))
    is_possible = np.ones(len(law.fewest), dtype=bool)
    for size, bound, worse_there in bounds:
        needs_more = np.log2(np.maximum(law.fewest + law.slope / size, 1e-9)) > bound
        is_possible &= needs_more == (worse_there > level)
    return law.where(is_possible)


def _by_length(study: AdviceStudy, outlook: Outlook, size: int) -> tuple[list[float], list[Array]]:
    """Return log2 of the steps of each length of a batch size, and draws of its end at its best."""
    steps, worse, planned = [], [], study.log.whole_epochs or 0.0
    fine = study.of_size(size, failed=False)
    for horizon in sorted({study.cells[i].cell.horizon for i in fine}):
        at = [i for i in fine if study.cells[i].cell.horizon == horizon]
        steps.append(math.log2(study.log.steps_in(size, horizon * planned)))
        worse.append(outlook.end[:, at].min(axis=1))
    return steps, worse


def _at_best_rate(study: AdviceStudy, outlook: Outlook, i: int) -> Array:
    """Return draws of log2 of the steps of a batch size at its best rate, trained or not.

    The law is about tuned rates, and a size that only ran at the reference's rate is too slow.
    """
    size = study.cells[i].cell.batch_size
    at = study.of_size(size, failed=False)
    return np.asarray(outlook.cost[:, at].min(axis=1) - math.log2(study.weight[size]))


def _step_time(study: AdviceStudy, whole: Sequence[Option]) -> StepTimeFit | None:
    """Fit the law of the step time to batch sizes in one piece; None if there are fewer than 3."""
    timed = [(option.batch_size, option.timed_s or option.step_s) for option in whole]
    times = [(size, step_s) for size, step_s in timed if step_s.estimate is not None]
    used = points_for_law(times, n_train=study.question.n_train)
    return fit_step_time(used) if len(used) >= SIZES_FOR_LAW else None


def _places(batch_sizes: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """Return batch sizes for a smooth curve, half an octave apart."""
    n = round(2 * math.log2(max(batch_sizes) / min(batch_sizes))) + 1
    return sorted({round(size) for size in np.geomspace(min(batch_sizes), max(batch_sizes), n)})
