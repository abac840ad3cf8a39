"""Options: the batch sizes in question as a profile saw them, the reference among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from batchlab.advice.advice import Configuration, Option
from batchlab.advice.decision import scaled
from batchlab.errors import WorkloadError
from batchlab.measure.profile import Profile, Stopped
from batchlab.plans.scaling import scaling_rule
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Status, Trial
from batchlab.words.reasons import reason_text

_NOT_REACHED: dict[Stopped | None, Reason] = {
    "memory": Reason.of("does_not_fit"),
    "time": Reason.of("profile_ended_before"),
    "errors": Reason.of("smaller_did_not_run"),
}
_UNKNOWN = Reason.of("not_profiled")
_STAND_IN_RULE = "sqrt"


def options_of(
    profile: Profile, batch_sizes: Sequence[int], *, trial: Trial, may_accumulate: bool = True
) -> tuple[Option, ...]:
    """Each batch size as the profile saw it, or with a note why it cannot be had.

    Between two batch sizes of the profile the time is interpolated, and the memory is that of its
    law: so a profile made elsewhere need not hold the very same sizes. `trial` says how many
    examples an epoch's last batch has.
    """
    options = tuple(
        _option(profile, replace(trial, batch_size=size)) for size in sorted(set(batch_sizes))
    )
    return options if may_accumulate else tuple(_whole(option, profile) for option in options)


def _whole(option: Option, profile: Profile) -> Option:
    """The option for a step that takes whole batches only."""
    size = option.batch_size
    had_no_room = any(
        point.status is Status.OOM for point in profile.points if point.batch_size == size
    )
    is_cut = option.runs and option.micro_batch_size < size
    if is_cut or (not option.runs and (had_no_room or option.note == _NOT_REACHED["memory"])):
        return _refused(option, Reason.of("does_not_fit_whole"))
    return option


def reference_of(
    options: Sequence[Option], trial: Trial, *, device_name: str
) -> tuple[Configuration, Reason | None]:
    """What the answer is measured against, and why it is no configuration of the workload's own.

    Where the workload's own batch size cannot be had, the nearest one that can stands in, at the
    rate that the rule sqrt gives it.

    Raises:
        WorkloadError: no batch size ran there; the message says why the workload's own did not.
    """
    size = trial.batch_size
    own = next(option for option in options if option.batch_size == size)
    near = [option for option in options if option.runs]
    if not near:
        raise WorkloadError(
            f"batch size {size}, the workload's own, cannot be used on {device_name}: "
            f"{reason_text(own.note).rstrip('.')}; nor can any other of those asked for"
        )
    chosen = min(near, key=lambda o: (abs(math.log(o.batch_size / size)), o.batch_size))
    configuration = Configuration(
        batch_size=chosen.batch_size,
        micro_batch_size=chosen.micro_batch_size,
        learning_rate=trial.learning_rate
        * scaling_rule(_STAND_IN_RULE).rate_factor(chosen.batch_size / size),
    )
    if own.note is None:
        return configuration, None
    return configuration, Reason.of(
        "stand_in",
        size=size,
        device=device_name,
        why=own.note,
        chosen=chosen.batch_size,
        rate=configuration.learning_rate,
        rule=_STAND_IN_RULE,
    )


def _option(profile: Profile, trial: Trial) -> Option:
    size = trial.batch_size
    best, between = profile.best_micro_batch(size), profile.step_s(size)
    if best is not None:
        return Option(
            batch_size=size,
            micro_batch_size=best.micro_batch_size,
            step_s=_mean_step_s(profile, trial),
            timed_s=profile.timed_s(best),
            peak_bytes=best.peak_bytes,
        )
    fit = profile.memory
    fixed, each = fit.fixed_bytes.estimate, fit.bytes_per_example.estimate
    option = Option(
        batch_size=size,
        micro_batch_size=size,
        step_s=_mean_step_s(profile, trial),
        timed_s=Estimate.cannot_tell(Reason.of("between_two_timed")),
        peak_bytes=None if fixed is None or each is None else round(fixed + each * size),
    )
    tried = next((point for point in profile.points if point.batch_size == size), None)
    if tried is not None:
        return _refused(option, tried.reason or Reason.of("ended_as", status=tried.status.value))
    largest = profile.largest_batch_size
    is_below = largest is not None and between.estimate is None and size < largest
    if is_below and profile.stopped is not None:
        # The workload's own and larger ones were tried before it, and time ended before its turn.
        return _refused(option, Reason.of("profile_ended_before"))
    if between.estimate is None or largest is None or size > largest:
        return _refused(option, _NOT_REACHED.get(profile.stopped, between.reason or _UNKNOWN))
    return option


def _mean_step_s(profile: Profile, trial: Trial) -> Estimate:
    """Seconds per step over an epoch: a smaller last batch takes what the profile says of it.

    One smaller than all that were timed takes as long as the smallest of these.
    """
    whole, plan = profile.step_s(trial.batch_size), trial.plan
    n_steps = plan.steps_in(1)
    n_last = plan.batch_size_at(n_steps - 1)
    if n_last == trial.batch_size or not whole.estimate:
        return whole
    smallest = min(point.batch_size for point in profile.points)
    last = profile.step_s(max(n_last, smallest)).estimate or whole.estimate
    return scaled(whole, (n_steps - 1 + min(1.0, last / whole.estimate)) / n_steps)


def _refused(option: Option, why: Reason) -> Option:
    """The option with a note why it cannot be had, and nothing known of it."""
    return Option(
        batch_size=option.batch_size,
        micro_batch_size=option.batch_size,
        step_s=Estimate.cannot_tell(why),
        peak_bytes=None,
        note=why,
    )
