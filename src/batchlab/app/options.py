"""Options: the batch sizes that the model and the profile allow, and the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from batchlab.advice.advice import Configuration, Option
from batchlab.app.subject import Subject
from batchlab.errors import BatchSizeError, WorkloadError
from batchlab.measure.profile import Profile
from batchlab.plans.scaling import SCALING_RULES, moved_adam
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Status, Trial
from batchlab.words.reasons import reason_text

# ---- options that the model allows


def checked_trials(subject: Subject) -> tuple[Trial, ...]:
    """Return the requested trials, or raise an error if the model cannot train on their batches."""
    trials = subject.trials
    for trial in trials:
        check_batch_norm(subject.summary, trial)
        check_last_batch(subject.summary, trial)
    return trials


def check_last_batch(summary: WorkloadSummary, trial: Trial) -> None:
    """Refuse a trial with a smaller last batch if the workload's check failed on such a batch."""
    rests = trial.plan.last_batch_sizes()
    if rests and not summary.last_batch_runs:
        raise BatchSizeError(
            f"batch size {trial.batch_size}: the last batch of an epoch has {min(rests)} of the "
            f"{trial.n_train} examples, and such a step failed when {summary.name!r} was checked; "
            f"use --drop-last (drop_last=True) or another batch size"
        )


def refused(option: Option, why: Reason) -> Option:
    """Return the option marked as unusable, with the reason, and without step time and memory."""
    return replace(
        option,
        micro_batch_size=option.batch_size,
        note=why,
        step_s=Estimate.cannot_tell(why),
        peak_bytes=None,
    )


def check_batch_norm(summary: WorkloadSummary, trial: Trial) -> None:
    """Refuse a trial in which a BatchNorm layer would get a micro-batch of one example."""
    if not summary.has_batch_norm:
        return
    lasts = [(rest, trial.micro_batch_size) for rest in trial.plan.last_batch_sizes()]
    for size, micro in [*trial.micro_batch_sizes.items(), *lasts]:
        if micro == 1 or size % micro == 1:
            raise BatchSizeError(
                f"batch size {trial.batch_size}: a batch of {size} in micro-batches of {micro} has "
                f"one of a single example, on which the model of {trial.workload!r} cannot train, "
                f"because it has BatchNorm; use another batch size or micro-batch size, or leave "
                f"out a smaller last batch with --drop-last (drop_last=True)"
            )


def rule_multiples(
    subject: Subject, options: Sequence[Option]
) -> tuple[tuple[int, tuple[tuple[str, float], ...]], ...]:
    """Return for each batch size by which factor each scaling rule changes the reference's rate."""
    summary = subject.summary
    # Use both sources, because a candidate may have no option, and a profile may have added sizes
    # that are no candidates.
    sizes = {*subject.candidates, *(option.batch_size for option in options)}
    multiples = []
    for size in sorted(sizes):
        kappa, of_size = size / summary.batch_size, []
        for name, rule in SCALING_RULES.items():
            if not rule.needs_adam or (summary.adam and rule.moved(summary.adam, kappa)):
                of_size.append((name, rule.rate_factor(kappa)))
        multiples.append((size, tuple(of_size)))
    return tuple(multiples)


# ---- options that a profile allows

_TOO_LARGE = Reason.of("does_not_fit")


def candidates_in(subject: Subject, profile: Profile) -> tuple[Option, ...]:
    """Return the options of an advice; an unusable option has a note with the reason."""
    summary, trial = subject.summary, subject.reference
    why_not = subject.why_not_comparable
    options = []
    for option in options_of(
        profile, subject.sizes_in(profile), trial=trial, may_accumulate=subject.may_accumulate
    ):
        size, micro = option.batch_size, option.micro_batch_size
        try:
            check_batch_norm(summary, replace(trial, batch_size=size, micro_batch_size=micro))
        except BatchSizeError as error:
            if option.note is None:
                option = refused(option, Reason.as_written(str(error)))
        if why_not is not None and size != summary.batch_size:
            option = refused(option, why_not)
        if size != summary.batch_size:
            moved = moved_adam(
                summary.adam,
                subject.settings_rule,
                batch_size=size,
                reference_batch_size=summary.batch_size,
                whose=summary.name,
            )
            option = replace(option, adam=moved)
        options.append(option)
    return tuple(options)


def why_untimed(option: Option) -> Reason | None:
    """Return why a step time is missing; None if it is known or if the option is unusable."""
    if not option.runs:
        return None
    return option.step_s.reason


def options_of(
    profile: Profile, batch_sizes: Sequence[int], *, trial: Trial, may_accumulate: bool = True
) -> tuple[Option, ...]:
    """Return an option for each batch size: its step time and memory, or why it cannot be used.

    Step time and memory are from the profile. Between two profiled batch sizes, the step time is
    interpolated, and the memory is computed by the fitted memory law. `trial` determines the size
    of an epoch's last batch.
    """
    options = []
    for size in sorted(set(batch_sizes)):
        option = _option(profile, replace(trial, batch_size=size))
        if option.runs and option.micro_batch_size < size and not may_accumulate:
            option = refused(option, Reason.of("does_not_fit_whole"))
        options.append(option)
    return tuple(options)


def reference_of(options: Sequence[Option], trial: Trial, *, device_name: str) -> Configuration:
    """Return the workload's own configuration, or raise an error if it cannot be used."""
    size = trial.batch_size
    reference = next(option for option in options if option.batch_size == size)
    if reference.runs:
        return Configuration(
            batch_size=size,
            micro_batch_size=reference.micro_batch_size,
            learning_rate=trial.learning_rate,
        )
    others = [option.batch_size for option in options if option.runs]
    can = "nor can any other of those asked for"
    if others:
        nearest = min(others, key=lambda other: (abs(math.log(other / size)), other))
        can = f"give the workload one that can, such as {nearest}"
    raise WorkloadError(
        f"batch size {size}, the workload's own, cannot be used on {device_name}: "
        f"{reason_text(reference.note).rstrip('.')}; {can}"
    )


def _option(profile: Profile, trial: Trial) -> Option:
    size = trial.batch_size
    best, between = profile.best_micro_batch(size), profile.step_s(size)
    if best is not None:
        return Option(
            batch_size=size,
            micro_batch_size=best.micro_batch_size,
            step_s=_mean_step_s(profile, trial),
            peak_bytes=profile.training_bytes(best.peak_bytes),
        )
    by_law = profile.memory.predicted_bytes(size).estimate
    option = Option(
        batch_size=size,
        micro_batch_size=size,
        step_s=_mean_step_s(profile, trial),
        peak_bytes=profile.training_bytes(None if by_law is None else round(by_law)),
    )
    tried = next((point for point in profile.points if point.batch_size == size), None)
    if tried is not None and tried.is_untimed and profile.is_within_limit(tried):
        option = replace(option, peak_bytes=tried.peak_bytes)
        if between.estimate:
            return option
        return replace(option, step_s=tried.step_s)
    if tried is not None and tried.status is Status.OK:
        return refused(option, _TOO_LARGE)
    if tried is not None:
        return refused(option, tried.reason or Reason.as_written(tried.status.value))
    largest = profile.largest_batch_size
    is_above = largest is None or size > largest
    if between.estimate is not None and not is_above:
        return option
    if is_above and profile.stopped == "memory":
        return refused(option, _TOO_LARGE)
    # The workload's own and larger sizes are profiled first, so smaller sizes may be missing in a
    # profile that stopped early.
    if profile.stopped == "time" or (profile.stopped is not None and not is_above):
        return refused(option, Reason.of("profile_ended_before"))
    return refused(option, between.reason or Reason.of("not_profiled"))


def _mean_step_s(profile: Profile, trial: Trial) -> Estimate:
    """Return the mean seconds per step of an epoch, including a smaller last batch.

    A last batch that is smaller than all profiled batch sizes counts with the step time of the
    smallest profiled size.
    """
    whole, plan = profile.step_s(trial.batch_size), trial.plan
    n_steps = plan.steps_in(1)
    n_last = plan.batch_size_at(n_steps - 1)
    if n_last == trial.batch_size or not whole.estimate:
        return whole
    smallest = min(point.batch_size for point in profile.points)
    last = profile.step_s(max(n_last, smallest)).estimate or whole.estimate
    return whole.times((n_steps - 1 + min(1.0, last / whole.estimate)) / n_steps)
