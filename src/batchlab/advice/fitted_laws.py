"""Fitted laws: what the study's fits say of steps, step time, memory and learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from batchlab.advice.combined_estimates import from_log_draws
from batchlab.advice.costs import Costs
from batchlab.advice.parts import Laws
from batchlab.advice.study_state import StudyState
from batchlab.laws.lack_of_fit import LackOfFit
from batchlab.laws.memory import fit_memory
from batchlab.laws.power_law import fit_power_law
from batchlab.laws.step_time import StepTimeFit, fit_step_time
from batchlab.laws.steps_to_target import StepsToTargetFit
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


def laws_of(state: StudyState, costs: Costs) -> Laws | None:
    """The laws of steps, step time, memory and learning rate; None: nothing could be fitted."""
    if costs.fit is None:
        return None
    fit = costs.fit
    memory = [
        (option.batch_size, option.peak_bytes)
        for option in state.options()
        if option.peak_bytes is not None and option.micro_batch_size == option.batch_size
    ]
    memory_fit = fit_memory(memory) if len(memory) >= 3 else None
    none = Estimate.cannot_tell(Reason.of("memory_at_fewer_than_three"))
    time_fit = _step_time(state)
    untimed = Estimate.cannot_tell(Reason.of("timed_at_fewer_than_three"))
    return Laws(
        s_min=fit.s_min,
        e_min=fit.e_min,
        b_crit=fit.b_crit,
        exponent=fit.exponent,
        lack_of_fit=_p_value(fit.lack_of_fit, n=len(fit.observations)),
        learning_rate_exponent=_rate_exponent(state),
        fixed_bytes=none if memory_fit is None else memory_fit.fixed_bytes,
        bytes_per_example=none if memory_fit is None else memory_fit.bytes_per_example,
        step_overhead_s=untimed if time_fit is None else time_fit.overhead_s,
        step_s_per_example=untimed if time_fit is None else time_fit.s_per_example,
        knee_batch_size=untimed if time_fit is None else time_fit.knee_batch_size,
        step_curve=()
        if time_fit is None
        else tuple((size, time_fit.step_s(size)) for size in _places(time_fit.batch_sizes)),
        curve=_curve(fit, _places(costs.batch_sizes)),
        law_holds=fit.law_holds,
    )


def _step_time(state: StudyState) -> StepTimeFit | None:
    """The law of the step time, from batch sizes in one piece; None: fewer than 3."""
    whole = [o for o in state.options() if o.micro_batch_size == o.batch_size]
    timed = [(option.batch_size, option.timed_s or option.step_s) for option in whole]
    times = [(size, step_s) for size, step_s in timed if step_s.estimate is not None]
    # The full batch gathers nothing and so takes less: it is used where others tell too little.
    partial = [(size, time) for size, time in times if size < state.question.n_train]
    used = partial if len(partial) >= 3 else times
    return fit_step_time(used) if len(used) >= 3 else None


def _rate_exponent(state: StudyState) -> Estimate:
    cells = [state.cell(size) for size in state.that_met_the_target()]
    points = [cell for cell in cells if cell is not None]
    if len(points) < 3:
        return Estimate.cannot_tell(Reason.of("rates_at_too_few", n=len(points)), n=len(points))
    return fit_power_law([float(size) for size, _ in points], [rate for _, rate in points]).exponent


def _curve(fit: StepsToTargetFit, sizes: Sequence[int]) -> tuple[tuple[int, Estimate], ...]:
    """The law with its band; where it does not hold, the interpolated measurements."""
    line, draws = fit.line(), fit.line_draws()
    if line is None or draws is None:
        return tuple((size, fit.steps(size)) for size in sizes)
    middle, spread = line.log_steps(sizes)[0], draws.log_steps(sizes)
    n = len(fit.observations)
    return tuple(
        (size, from_log_draws(float(middle[i]), spread[:, i], n)) for i, size in enumerate(sizes)
    )


def _p_value(test: LackOfFit, *, n: int) -> Estimate:
    if test.p_value is None:
        return Estimate.cannot_tell(test.reason or Reason.of("no_size_run_twice"), n=n)
    return Estimate.of(test.p_value, interval=(None, None), n=n)


def _places(batch_sizes: Sequence[int]) -> list[int]:
    """Batch sizes for a smooth curve: steps of a half octave."""
    n = round(2 * math.log2(max(batch_sizes) / min(batch_sizes))) + 1
    return sorted({round(size) for size in np.geomspace(min(batch_sizes), max(batch_sizes), n)})
