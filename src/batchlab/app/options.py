"""Options: which batch sizes the model and the profile allow, with step times and memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """Return the requested trials; raise an error if the model cannot train on their batches."""
    trials = subject.trials
    for trial in trials:
        check_batch_norm(subject.summary, trial)
        check_last_batch(subject.summary, trial)
    return trials


def check_last_batch(summary: WorkloadSummary, trial: Trial) -> None:
    """Refuse a trial with smaller last batches if the workload's check failed on such a batch."""
    rests = trial.plan.last_batch_sizes()
    if rests and not summary.last_batch_runs:
        raise BatchSizeError(
            f"batch size {trial.batch_size}: the last batch of an epoch has {min(rests)} of the "
            f"{trial.n_train} examples, and such a step failed when {summary.name!r} was checked; "
            f"use --drop-last (drop_last=True) or another batch size"
        )


def refused(option: Option, why: Reason) -> Option:
    """Return a copy of the option, marked as unusable for the reason `why`."""
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
    lasts = dict.fromkeys(trial.plan.last_batch_sizes(), trial.micro_batch_size)
    for size, micro in (lasts | trial.micro_batch_sizes).items():
        if micro == 1 or size % micro == 1:
            raise BatchSizeError(
                f"batch size {trial.batch_size}: a batch of {size} in micro-batches of {micro} has "
                f"one of a single example, on which the model of {trial.workload!r} cannot train, "
                f"because it has BatchNorm; use another batch size or micro-batch size, or leave "
                f"out a smaller last batch with --drop-last (drop_last=True)"
            )


def rule_multiples(
    subject: Subject, batch_sizes: Iterable[int]
) -> tuple[tuple[int, tuple[tuple[str, float], ...]], ...]:
    """Return the factors by which the scaling rules multiply the rate at each batch size."""
    summary, multiples = subject.summary, []
    for size in batch_sizes:
        kappa, of_size = size / summary.batch_size, []
        for name, rule in SCALING_RULES.items():
            if not rule.needs_adam or (summary.adam and rule.moved(summary.adam, kappa)):
                of_size.append((name, rule.rate_factor(kappa)))
        multiples.append((size, tuple(of_size)))
    return tuple(multiples)


# ---- options that a profile allows

_TOO_LARGE = Reason.of("does_not_fit")


def candidates_in(subject: Subject, profile: Profile) -> tuple[Option, ...]:
    """Return the batch sizes of an advice as options; if one is unusable, its note says why."""
    summary, options = subject.summary, []
    for size in subject.sizes_in(profile):
        trial = replace(subject.reference, batch_size=size)
        option = option_of(profile, trial, may_accumulate=subject.may_accumulate)
        try:
            check_batch_norm(summary, replace(trial, micro_batch_size=option.micro_batch_size))
        except BatchSizeError as error:
            if option.note is None:
                option = refused(option, Reason.as_written(str(error)))
        if size != summary.batch_size:
            if subject.why_not_comparable is not None:
                option = refused(option, subject.why_not_comparable)
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
    """Return why a step time is unknown; None if it is known, or if the option is unusable."""
    if not option.runs:
        return None
    return option.step_s.reason


def reference_of(options: Sequence[Option], trial: Trial, *, device_name: str) -> Configuration:
    """Return the workload's own configuration, or raise an error if the option is unusable."""
    size = trial.batch_size
    reference = next(option for option in options if option.batch_size == size)
    if reference.runs:
        return Configuration(
            batch_size=size,
            micro_batch_size=reference.micro_batch_size,
            learning_rate=trial.learning_rate,
        )
    others = ", ".join(str(option.batch_size) for option in options if option.runs) or "none"
    raise WorkloadError(
        f"batch size {size}, the workload's own, cannot be used on {device_name}: "
        f"{reason_text(reference.note).rstrip('.')}; give the workload one that can, of which the "
        f"profile has {others}"
    )


def option_of(profile: Profile, trial: Trial, *, may_accumulate: bool = True) -> Option:
    """Return the trial's batch size as an option; if it cannot be used, the option says why.

    Step time and memory are from the profile. Between two profiled batch sizes, the step time is
    interpolated, and the memory is computed by the fitted memory law.
    """
    size = trial.batch_size
    best, by_law = profile.best_micro_batch(size), profile.memory.predicted_bytes(size).estimate
    option = Option(
        batch_size=size,
        micro_batch_size=size,
        step_s=mean_step_s(profile, trial),
        peak_bytes=profile.training_bytes(None if by_law is None else round(by_law)),
    )
    if best is not None:
        if best.micro_batch_size < size and not may_accumulate:
            return refused(option, Reason.of("does_not_fit_whole"))
        peak_bytes = profile.training_bytes(best.peak_bytes)
        return replace(option, micro_batch_size=best.micro_batch_size, peak_bytes=peak_bytes)
    time = profile.step_s(size)
    tried = next((point for point in profile.points if point.batch_size == size), None)
    if tried is not None:
        if tried.is_untimed and profile.is_within_limit(tried):
            step_s = option.step_s if time.estimate else tried.step_s
            return replace(option, step_s=step_s, peak_bytes=tried.peak_bytes)
        if tried.status is Status.OK:
            return refused(option, _TOO_LARGE)
        return refused(option, tried.reason or Reason.as_written(tried.status.value))
    largest = profile.largest_batch_size
    is_above = largest is None or size > largest
    if time.estimate is not None and not is_above:
        return option
    if is_above and profile.stopped == "memory":
        return refused(option, _TOO_LARGE)
    # A profile that stopped early may lack small batch sizes, because the workload's own size and
    # larger sizes are profiled first.
    if profile.stopped == "time" or (profile.stopped is not None and not is_above):
        return refused(option, Reason.of("profile_ended_before"))
    return refused(option, time.reason or Reason.of("not_profiled"))


def mean_step_s(profile: Profile, trial: Trial) -> Estimate:
    """Return the mean seconds per step of an epoch, whose last batch may be smaller.

    A last batch that is smaller than all profiled batch sizes is assumed to take as long as the
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
