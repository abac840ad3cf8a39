"""What an advice is asked, checked as far as it can be before anything runs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from batchlab.advice.advice import Configuration, Objective
from batchlab.advice.decision import scaled
from batchlab.advice.question import Option
from batchlab.app.budget import seconds_of
from batchlab.errors import NoStoreError, ProfileError, UsageError, WorkloadError
from batchlab.measure.profile import Profile, ProfilePoint, Stopped
from batchlab.measure.profiling import ProfileRequest, profile_request
from batchlab.plans.scaling import scaled_learning_rate
from batchlab.plans.sweep_request import (
    SweepRequest,
    check_batch_size,
    checked_request,
    checked_target,
    outside_of_a_share,
    plan_trials,
)
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.study import USUAL_SIZES, WorkloadSummary
from batchlab.records.trial import Sampling, Setting, Status, Target, Trial
from batchlab.script.check import flag_named, help_of
from batchlab.script.command import TrainingCommand
from batchlab.store.file import check_store_folder
from batchlab.store.store import Store
from batchlab.version import __version__
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload
from batchlab.workload.loading import LoadedWorkload


@dataclass(frozen=True, kw_only=True, slots=True)
class AdviceCall:
    """One call of `batchlab.advise`, nothing of it checked; its arguments say what each field is.

    The Python name and the command line both build one, and only they spell it out.
    """

    objective: Objective
    target: tuple[str, float] | None
    budget: str | float | None
    trainings: float | None
    batch_sizes: Sequence[int | Literal["full"]] | None
    epochs: int | None
    train_s: float | None
    memory_limit_bytes: int | None
    profile: Profile | str | Path | None
    settings: Mapping[str, Setting] | None
    sampling: Sampling
    drop_last: bool
    device: str
    store: str | Path
    command: str | None
    listener: ProgressListener | None
    reserved_s: float


_SMALLEST = 8
# Of a small training set, sizes are still worth a look down to so many steps an epoch.
_STEPS_PER_EPOCH = 32
_NOT_REACHED: dict[Stopped | None, Reason] = {
    "memory": Reason.of("does_not_fit"),
    "time": Reason.of("profile_ended_before"),
    "errors": Reason.of("smaller_did_not_run"),
}
_UNKNOWN = Reason.of("not_profiled")
_STAND_IN_RULE = "sqrt"


def candidate_batch_sizes(n_train: int, *, reference: int) -> tuple[int, ...]:
    """Powers of two from 8 to N, with 16, 32, 64, 128 and the reference always among them.

    Args:
        n_train: examples in the training set, N >= 1; no candidate is above it.
        reference: the workload's own batch size.

    Returns:
        Ascending; of a training set below 256 examples the powers begin below 8.
    """
    smallest = min(_SMALLEST, max(1, n_train // _STEPS_PER_EPOCH))
    powers = [2**power for power in range(n_train.bit_length())]
    wanted = {*(size for size in powers if size >= smallest), *USUAL_SIZES, reference}
    return tuple(sorted(size for size in wanted if 1 <= size <= n_train))


def options_of(
    profile: Profile, batch_sizes: Sequence[int], *, trial: Trial, may_accumulate: bool = True
) -> tuple[Option, ...]:
    """Each batch size as the profile saw it, or with a note why it cannot be had.

    Between two batch sizes of the profile the time is interpolated, and the memory is that of its
    law: so a profile made elsewhere need not hold the very same sizes.

    Args:
        profile: step times and memory.
        batch_sizes: those in question.
        trial: of the workload, which says how many examples an epoch's last batch has.
        may_accumulate: whether a batch that does not fit whole may be cut into micro-batches.
    """
    sizes = sorted(set(batch_sizes))
    options = (_option(profile, batch_size, trial) for batch_size in sizes)
    if may_accumulate:
        return tuple(options)
    return tuple(_whole(option, profile) for option in options)


def _whole(option: Option, profile: Profile) -> Option:
    """The option for a step that takes whole batches only."""
    size = option.batch_size
    had_no_room = any(
        point.status is Status.OOM for point in profile.points if point.batch_size == size
    )
    is_cut = option.runs and option.micro_batch_size < size
    if is_cut or (not option.runs and (had_no_room or option.note == _NOT_REACHED["memory"])):
        return _refused(size, Reason.of("does_not_fit_whole"))
    return option


def reference_of(
    options: Sequence[Option], *, batch_size: int, learning_rate: float, device_name: str
) -> tuple[Configuration, Reason | None]:
    """What the answer is measured against: the workload's own configuration, or a stand-in.

    Where the workload's own batch size cannot be had, the nearest one that can stands in, at the
    rate that the rule sqrt gives it.

    Args:
        options: the batch sizes in question, the workload's own among them.
        batch_size: the workload's own.
        learning_rate: the workload's own, > 0.
        device_name: where they were profiled, for people.

    Returns:
        The configuration, and why it is not the workload's own (None where it is).

    Raises:
        WorkloadError: no batch size ran there; the message says why the workload's own did not.
    """
    own = next(option for option in options if option.batch_size == batch_size)
    near = [option for option in options if option.runs]
    if not near:
        raise WorkloadError(
            f"batch size {batch_size}, the workload's own, cannot be used on {device_name}: "
            f"{reason_text(own.note).rstrip('.')}; nor can any other of those asked for"
        )
    chosen = min(near, key=lambda o: (abs(math.log(o.batch_size / batch_size)), o.batch_size))
    configuration = Configuration(
        batch_size=chosen.batch_size,
        micro_batch_size=chosen.micro_batch_size,
        learning_rate=scaled_learning_rate(
            learning_rate,
            rule=_STAND_IN_RULE,
            batch_size=chosen.batch_size,
            reference_batch_size=batch_size,
        ),
    )
    if own.note is None:
        return configuration, None
    return configuration, Reason.of(
        "stand_in",
        size=batch_size,
        device=device_name,
        why=own.note,
        chosen=chosen.batch_size,
        rate=configuration.learning_rate,
        rule=_STAND_IN_RULE,
    )


def _option(profile: Profile, batch_size: int, trial: Trial) -> Option:
    tried = [point for point in profile.points if point.batch_size == batch_size]
    best = profile.best_micro_batch(batch_size)
    if best is not None:
        return Option(
            batch_size=batch_size,
            micro_batch_size=best.micro_batch_size,
            step_s=_mean_step_s(profile, batch_size, trial),
            timed_s=profile.timed_s(best),
            peak_bytes=best.peak_bytes,
        )
    if tried:
        return _refused(batch_size, _why_not(tried[0]))
    between = profile.step_s(batch_size)
    largest = profile.largest_batch_size
    is_below = largest is not None and between.estimate is None and batch_size < largest
    if is_below and profile.stopped is not None:
        # The workload's own and larger ones were tried before it, and time ended before its turn.
        return _refused(batch_size, Reason.of("profile_ended_before"))
    if between.estimate is None or largest is None or batch_size > largest:
        return _refused(batch_size, _NOT_REACHED.get(profile.stopped, between.reason or _UNKNOWN))
    return Option(
        batch_size=batch_size,
        micro_batch_size=batch_size,
        step_s=_mean_step_s(profile, batch_size, trial),
        timed_s=Estimate.cannot_tell(Reason.of("between_two_timed")),
        peak_bytes=_peak_bytes(profile, batch_size),
    )


def _mean_step_s(profile: Profile, batch_size: int, trial: Trial) -> Estimate:
    """Seconds per step over an epoch: a smaller last batch takes what the profile says of it.

    One smaller than all that were timed takes as long as the smallest of these.
    """
    whole = profile.step_s(batch_size)
    plan = replace(trial, batch_size=batch_size).plan
    n_steps = plan.steps_in(1)
    n_last = plan.batch_size_at(n_steps - 1)
    if n_last == batch_size or not whole.estimate:
        return whole
    smallest = min(point.batch_size for point in profile.points)
    last = profile.step_s(max(n_last, smallest)).estimate or whole.estimate
    return scaled(whole, (n_steps - 1 + min(1.0, last / whole.estimate)) / n_steps)


def _why_not(point: ProfilePoint) -> Reason:
    return point.reason or Reason.of("ended_as", status=point.status.value)


def _refused(batch_size: int, why: Reason) -> Option:
    return Option(
        batch_size=batch_size,
        micro_batch_size=batch_size,
        step_s=Estimate.cannot_tell(why),
        peak_bytes=None,
        note=why,
    )


def _peak_bytes(profile: Profile, batch_size: int) -> int | None:
    fit = profile.memory
    fixed, each = fit.fixed_bytes.estimate, fit.bytes_per_example.estimate
    return None if fixed is None or each is None else round(fixed + each * batch_size)


def stored_summary(store: Path, workload_id: str) -> WorkloadSummary | None:
    """The summary of a workload; None: the store does not know it, or is not there yet.

    Args:
        store: the file; it is not made.
        workload_id: of the workload.

    Raises:
        StoreError: the store cannot be read, or its folder cannot hold one.
    """
    try:
        with Store.existing(store) as opened:
            return opened.workload(workload_id)
    except NoStoreError:  # its place is looked at without making it
        check_store_folder(store)
        return None


# Long enough to import a framework; a script that does not know --help is stopped after it.
_LIMIT_S = 30.0
# Of a budget it takes no more: a script that does not know --help begins to train.
_BUDGET_SHARE = 0.25
_READ: dict[str, Callable[[str], int | float]] = {"batch_size": int, "learning_rate": float}


def trained_with_now(
    arguments: Sequence[str], wanted: Collection[str], *, budget_s: float | None
) -> dict[str, int | float]:
    """The defaults of a script's own flags, as its `--help` shows them.

    Args:
        arguments: the command, with placeholders.
        wanted: of "batch_size" and "learning_rate".
        budget_s: of the whole call, in seconds; None: there is no end.

    Returns:
        Those that follow a flag in the command, where its default is shown. Without a flag before
        one of them nothing is run.

    Raises:
        BatchlabError: the command can't be run.
    """
    flags = {name: _flag_of(arguments, name) for name in _READ if name in wanted}
    asked = {name: flag for name, flag in flags.items() if flag is not None}
    if not asked:
        return {}
    limit_s = _LIMIT_S if budget_s is None else min(_LIMIT_S, _BUDGET_SHARE * budget_s)
    text, _ = help_of(arguments, limit_s)
    found = {}
    for name, typed in asked.items():
        flag = flag_named(text, typed)
        if flag is None or flag.default is None:
            continue
        try:
            found[name] = _READ[name](flag.default)
        except ValueError:
            continue
    return found


def _flag_of(arguments: Sequence[str], placeholder: str) -> str | None:
    """The flag that takes a placeholder: `--lr`, or `optim.lr` of optim.lr=...; None: none does."""
    for index, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if value == f"{{{placeholder}}}" and flag:
            return flag
        if argument == f"{{{placeholder}}}" and index and arguments[index - 1].startswith("-"):
            return arguments[index - 1]
    return None


_DEFAULT_EPOCHS = 10
# Two to three minutes is what people wait for a first answer.
_DEFAULT_BUDGET_S = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AdviceRequest:
    """What was asked for, checked: two calls that ask for the same are the same study.

    Attributes:
        objective: what is to be best.
        target: the level that counts as trained; None: a pilot run sets it.
        batch_sizes: the candidates, ascending, the workload's own among them.
        trial: the workload's own configuration, with seed 0.
        budget_s: seconds for the whole call; None: as long as `trainings` take.
        trainings: trainings of the reference for the whole call; None: `budget_s` says.
        epochs: no run goes further; None: as the budget allows.
        train_s: with quality, the seconds of training that all get instead; None: `epochs`.
        memory_limit_bytes: the memory to judge by; None: what the device has.
        elsewhere: a profile of another machine.
        to_profile: what to measure on this one.
        device: the PyTorch device.
    """

    objective: Objective
    target: Target | None
    batch_sizes: tuple[int, ...]
    trial: Trial
    budget_s: float | None
    trainings: float | None
    epochs: int | None
    train_s: float | None
    memory_limit_bytes: int | None
    elsewhere: Profile | None
    to_profile: ProfileRequest
    device: str

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate has a shape of its own."""
        return self.trial.horizon_steps is not None

    @property
    def budget_in_words(self) -> str:
        """As it was asked for, for messages."""
        if self.budget_s is None:
            return f"{self.trainings:g} trainings"
        return f"budget {self.budget_s:.3g} s"

    @property
    def ask_for_more(self) -> str:
        """What to give for more, for messages."""
        return "more --trainings" if self.budget_s is None else "a larger --budget"

    @property
    def study_id(self) -> str:
        """A hash of all that the answer depends on, but for the machine."""
        document = {
            "batchlab": __version__,
            "question": "advise",
            "trial": _told_apart_by(self.trial),
            "objective": self.objective,
            "target": None if self.target is None else _told_apart_by(self.target),
            "batch_sizes": self.batch_sizes,
            "budget_s": self.budget_s,
            "epochs": self.epochs,
            "train_s": self.train_s,
            "memory_limit_bytes": self.memory_limit_bytes,
            "profile": None if self.elsewhere is None else self.elsewhere.to_json(),
            "device": self.device,
        }
        if self.trainings is not None:
            document["trainings"] = float(self.trainings)
        text = json.dumps(document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told_apart_by(record: Trial | Target) -> dict[str, object]:
    """The record's fields, those with a default (added later) only where they differ from it.

    So a field that is added takes no study from who asks for it again.
    """
    at_default = {
        field.name for field in fields(record) if getattr(record, field.name) == field.default
    }
    return {name: value for name, value in asdict(record).items() if name not in at_default}


def check_objective(objective: str) -> None:
    """Refuse an objective that there is not.

    Raises:
        UsageError: naming those that there are.
    """
    if objective not in get_args(Objective):
        raise UsageError(
            f"objective {objective!r}: expected one of {', '.join(get_args(Objective))}"
        )


def read_profile(given: Profile | str | Path | None) -> Profile | None:
    """A profile as it is, or read from its file.

    Raises:
        ProfileError: the file cannot be read, or holds no profile.
    """
    if given is None or isinstance(given, Profile):
        return given
    path = Path(given)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"profile {path}: it cannot be read ({error.strerror}); make one with batchlab profile "
            f"--json > profile.json"
        ) from error
    try:
        return Profile.from_json(text)
    except ProfileError as error:
        raise ProfileError(f"profile {path}: {error}") from error


def advice_request(
    loaded: LoadedWorkload, call: AdviceCall, *, elsewhere: Profile | None
) -> AdviceRequest:
    """What is asked of the advice about `loaded`, checked.

    Args:
        loaded: the workload.
        call: what is asked of it, as it was given.
        elsewhere: the call's profile of another machine, read.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        ProfileError: the profile is of another workload.
        WorkloadError: in the profile no batch size ran.
    """
    workload = loaded.workload
    request = checked_request(
        batch_sizes=call.batch_sizes,
        learning_rates=None,
        seeds=1,
        epochs=call.epochs,
        steps=None,
        scaling_rule="none",
        sampling=call.sampling,
        drop_last=call.drop_last,
        micro_batch_size=None,
        device=call.device,
    )
    _check_comparison(call, workload)
    target, epochs = _target(call, workload), _epochs(call, workload)
    if call.trainings is not None:
        _check_planned_end(call.trainings, call, workload, epochs=epochs)
    reference = _reference(loaded, request, epochs=epochs)
    sizes = candidate_batch_sizes(reference.n_train, reference=workload.batch_size)
    if request.batch_sizes is not None:
        given = plan_trials(loaded, request)
        sizes = tuple(sorted({workload.batch_size, *(trial.batch_size for trial in given)}))
    if elsewhere is not None:
        elsewhere = usable_profile(
            elsewhere, reference, sizes, memory_limit_bytes=call.memory_limit_bytes
        )
    return AdviceRequest(
        objective=call.objective,
        target=None if target is None else checked_target(workload, target),
        batch_sizes=sizes,
        trial=reference,
        budget_s=budget_s_of(call),
        trainings=call.trainings,
        epochs=epochs,
        train_s=call.train_s,
        memory_limit_bytes=call.memory_limit_bytes,
        elsewhere=elsewhere,
        to_profile=profile_request(
            loaded,
            batch_sizes=sizes,
            device=request.device,
            # The limit is of the device that the profile was made on.
            memory_limit_bytes=call.memory_limit_bytes if elsewhere is None else None,
        ),
        device=request.device,
    )


def budget_s_of(call: AdviceCall) -> float | None:
    """Seconds for the whole call; None: as long as so many trainings take, once that is known.

    Raises:
        UsageError: both were given, or no time, or no number of trainings.
    """
    trainings = call.trainings
    budget_s = None if call.budget is None else seconds_of(call.budget)
    if trainings is None:
        return budget_s or _DEFAULT_BUDGET_S
    if budget_s is not None:
        raise UsageError(
            f"{trainings:g} trainings and a budget of {budget_s:g} s: both say how long it may "
            f"take; give one of the two"
        )
    if not (math.isfinite(trainings) and trainings > 0):
        raise UsageError(f"trainings {trainings:g}: expected more than 0, such as 4")
    return None


def _check_planned_end(
    trainings: float, call: AdviceCall, workload: Workload, *, epochs: int | None
) -> None:
    if epochs is None and call.train_s is None:
        raise UsageError(
            f"{trainings:g} trainings: workload {workload.name!r} does not say how many epochs one "
            f"takes; give --epochs, such as --epochs 10, or a time with --budget"
        )


def _check_comparison(call: AdviceCall, workload: Workload) -> None:
    if workload.validation is None:
        raise UsageError(
            f"workload {workload.name!r} has no validation set, by which runs are compared; give "
            f'it one, or leave validation="split" to have it taken from the training set'
        )
    if call.objective == "quality" and call.target is not None:
        chosen = checked_target(workload, call.target)
        raise UsageError(
            f"target {chosen.metric}={chosen.value:g} with objective quality: quality is "
            f"compared after the same number of epochs for all; leave --target out, or ask for "
            f"objective time"
        )
    if call.train_s is not None:
        check_train_s(call.train_s, call)
        if workload.has_schedule:
            raise UsageError(
                f"train time {call.train_s:g} s: workload {workload.name!r} has a learning rate "
                f"with a shape of its own, which spans epochs; give --epochs instead"
            )


def check_train_s(train_s: float, call: AdviceCall) -> None:
    """Refuse a time to compare after where it is none, or something else says when.

    Args:
        train_s: as it was given, in seconds.
        call: what else was.

    Raises:
        UsageError: naming what to leave out.
    """
    given = f"train time {train_s:g} s"
    if not (math.isfinite(train_s) and train_s > 0):
        raise UsageError(f"{given}: expected more than 0, such as 60s")
    if call.objective != "quality":
        raise UsageError(
            f"{given} with objective {call.objective}: it is for objective quality; leave it out, "
            f"or limit runs by --epochs"
        )
    if call.epochs is not None:
        raise UsageError(
            f"{given} and {call.epochs} epochs: both say when quality is compared; give one of the "
            f"two"
        )


def _target(call: AdviceCall, workload: Workload) -> tuple[str, float] | None:
    """The target given, else the workload's own; quality is compared without one."""
    if call.target is not None or workload.target is None or call.objective == "quality":
        return call.target
    return workload.target.metric, workload.target.value


def _epochs(call: AdviceCall, workload: Workload) -> int | None:
    """The epochs given or planned, or as many as equal epochs or a schedule need."""
    if call.train_s is not None:
        return call.epochs
    planned = call.epochs or workload.epochs
    if workload.has_schedule or call.objective == "quality":
        return planned or _DEFAULT_EPOCHS
    return planned


def _reference(loaded: LoadedWorkload, request: SweepRequest, *, epochs: int | None) -> Trial:
    """The workload's own configuration, its schedule over `epochs`."""
    workload = loaded.workload
    (planned,) = plan_trials(loaded, replace(request, batch_sizes=(workload.batch_size,)))
    reference = replace(planned, horizon_steps=None)
    if not workload.has_schedule:
        return reference
    assert epochs is not None
    return replace(reference, horizon_steps=reference.plan.steps_in(epochs))


def usable_profile(
    elsewhere: Profile,
    reference: Trial,
    sizes: tuple[int, ...],
    *,
    memory_limit_bytes: int | None,
) -> Profile:
    """The profile under the call's memory limit; refused now, before anything is measured here.

    Args:
        elsewhere: made on another machine.
        reference: the workload's own configuration.
        sizes: the batch sizes in question.
        memory_limit_bytes: to judge by; None: the profile's own.

    Raises:
        ProfileError: it is of another workload.
        WorkloadError: in it no batch size ran.
    """
    _check_same_workload(elsewhere, reference)
    if memory_limit_bytes is not None:
        elsewhere = replace(elsewhere, memory_limit_bytes=memory_limit_bytes)
    reference_of(
        options_of(elsewhere, sizes, trial=reference),
        batch_size=reference.batch_size,
        learning_rate=reference.learning_rate,
        device_name=elsewhere.device_name,
    )
    return elsewhere


def _check_same_workload(profile: Profile, trial: Trial) -> None:
    if (profile.workload, profile.n_train) != (trial.workload, trial.n_train):
        raise ProfileError(
            f"the profile is of workload {profile.workload!r} with {profile.n_train} training "
            f"examples, this is {trial.workload!r} with {trial.n_train}; profile this one there"
        )


# A command that names no rate has one of its own: the same in all trials.
_NO_RATE = 1.0
# Of a budget, what starting and timing the batch sizes may take.
_TIMING_SHARE = 0.3
# Seconds of steps that a batch size is timed for, where steps are short.
_TIMED_S = 4.0


def command_advice_request(
    command: TrainingCommand,
    summary: WorkloadSummary,
    call: AdviceCall,
    *,
    elsewhere: Profile | None,
) -> AdviceRequest:
    """What is asked of the advice about a command, checked.

    Args:
        command: what is trained.
        summary: what the check of the command found.
        call: what is asked, as it was given.
        elsewhere: the call's profile of another machine, read.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        ProfileError: the profile is of another command.
    """
    epochs = _command_request_epochs(command, call)
    target = call.target
    reference = command_trial(
        command, summary, batch_size=summary.batch_size, learning_rate=command.learning_rate
    )
    if command.spans_a_length and epochs is not None:
        reference = replace(reference, horizon_steps=reference.plan.steps_in(epochs))
    sizes = _batch_sizes(summary, call)
    if elsewhere is not None:
        elsewhere = usable_profile(
            elsewhere, reference, sizes, memory_limit_bytes=call.memory_limit_bytes
        )
    return AdviceRequest(
        objective=call.objective,
        target=None if target is None else command_target(command, target),
        batch_sizes=sizes,
        trial=reference,
        budget_s=budget_s_of(call),
        trainings=call.trainings,
        epochs=epochs,
        train_s=call.train_s,
        memory_limit_bytes=call.memory_limit_bytes,
        elsewhere=elsewhere,
        to_profile=ProfileRequest(
            trial=reference,
            batch_sizes=sizes,
            reference_batch_size=summary.batch_size,
            device=reference.device,
            memory_limit_bytes=call.memory_limit_bytes if elsewhere is None else None,
        ),
        device=reference.device,
    )


def command_trial(
    command: TrainingCommand,
    summary: WorkloadSummary,
    *,
    batch_size: int,
    learning_rate: float | None,
    seed: int = 0,
) -> Trial:
    """One training of a command.

    Args:
        command: what is trained.
        summary: what the check of the command found.
        batch_size: examples per step.
        learning_rate: None: the command has one of its own.
        seed: 0, 1, ...
    """
    return Trial.of_whole_batches(
        workload_id=summary.workload_id,
        workload=summary.name,
        n_train=summary.n_train,
        batch_size=batch_size,
        learning_rate=_NO_RATE if learning_rate is None else learning_rate,
        seed=seed,
    )


def command_target(command: TrainingCommand, target: tuple[str, float]) -> Target:
    """The target `(metric, value)` of a command.

    Raises:
        UsageError: another metric than the one that is followed, or no number.
    """
    metric, value = target
    if metric != command.metric:
        raise UsageError(
            f"target {metric}={value:g}: the metric of this command is {command.metric}; give "
            f"--target {command.metric}={value:g}, or --metric {metric}"
        )
    if not math.isfinite(value):
        raise UsageError(f"target {metric}={value}: expected a finite number")
    is_share = "acc" in metric.lower()
    if is_share and value < 0:
        raise UsageError(outside_of_a_share(metric, value))
    return Target(metric=metric, value=value, better=command.direction)


def command_sweep_trials(
    command: TrainingCommand, summary: WorkloadSummary, request: SweepRequest
) -> tuple[Trial, ...]:
    """The trials of a sweep of a command: seeds, then rates, then batch sizes; each once.

    Args:
        command: what is trained.
        summary: what the check of the command found.
        request: what is asked.

    Raises:
        UsageError: several rates for a command without {learning_rate}.
        BatchSizeError: a batch size that the training set does not allow.
    """
    rates: Sequence[float | None] = request.learning_rates or (command.learning_rate,)
    if request.learning_rates is not None and not command.takes("learning_rate"):
        raise UsageError(
            f"learning rates {', '.join(f'{rate:g}' for rate in request.learning_rates)}: the "
            f"command has no {{learning_rate}}, so none of them would act; put it where your "
            f"script takes its rate, such as --lr {{learning_rate}}"
        )
    sizes = request.batch_sizes
    if sizes is None:
        sizes = around(summary)
    trials: dict[str, Trial] = {}
    for seed in range(request.seeds):
        for rate in rates:
            for given in sizes:
                size = summary.n_train if given == "full" else int(given)
                check_batch_size(size, workload=summary.name, n_train=summary.n_train)
                trial = command_trial(
                    command, summary, batch_size=size, learning_rate=rate, seed=seed
                )
                if command.spans_a_length:
                    trial = replace(trial, horizon_steps=request.length.last_step(trial))
                trials[trial.trial_id] = trial
    return tuple(trials.values())


def around(summary: WorkloadSummary) -> tuple[int, ...]:
    """A few batch sizes around the one that one trains with now.

    Args:
        summary: says which that is, and how many examples there are.
    """
    own = summary.batch_size
    sizes = {max(1, own // 4), own, 4 * own, 16 * own}
    return tuple(sorted(size for size in sizes if size <= summary.n_train))


def check_command_call(command: TrainingCommand, call: AdviceCall) -> None:
    """Refuse what can be refused before anything runs.

    Args:
        command: what is trained.
        call: what is asked, as it was given.

    Raises:
        UsageError: what cannot be asked of a command; the message says what can.
    """
    if not command.takes("learning_rate"):
        raise UsageError(
            "the command has no {learning_rate}: batch sizes can only be compared with a rate "
            "tuned for each; put it where your script takes its rate, such as --lr "
            "{learning_rate}, or use batchlab sweep for a comparison at one rate"
        )
    if call.objective == "quality" and call.target is not None:
        raise UsageError(
            "a target with objective quality: quality is compared after the same number of epochs "
            "for all; leave --target out, or ask for objective time"
        )
    if call.train_s is not None:
        check_train_s(call.train_s, call)
    for name, given, usual in (
        ("--set", call.settings or {}, {}),
        ("--sampling", call.sampling, "reshuffle"),
        ("--drop-last", call.drop_last, False),
        ("--device", call.device, "cpu"),
    ):
        refuse_for_commands(name, is_given=given != usual)
    if call.target is not None:
        command_target(command, call.target)
    _command_request_epochs(command, call)


def refuse_for_commands(option: str, *, is_given: bool) -> None:
    """Refuse an option that acts on a workload and cannot act on a script.

    Args:
        option: its name.
        is_given: whether it was given.

    Raises:
        UsageError: it was.
    """
    if is_given:
        raise UsageError(
            f"{option} with a command of your own: it cannot reach into your script; give the "
            f"script's own option after the --"
        )


def _command_request_epochs(command: TrainingCommand, call: AdviceCall) -> int | None:
    epochs = call.epochs or command.epochs
    if (
        epochs is None
        and call.train_s is None
        and (command.spans_a_length or call.objective == "quality")
    ):
        raise UsageError(
            "the command takes its length ({epochs} or {steps}), and nothing says how long a "
            "training of yours is; give --epochs, such as --epochs 10"
            if command.spans_a_length
            else "objective quality: it is compared after the same number of epochs for all; give "
            "--epochs, such as --epochs 10"
        )
    return epochs


def _batch_sizes(summary: WorkloadSummary, call: AdviceCall) -> tuple[int, ...]:
    """Those given, with the reference; else powers of two, as many as the budget can time."""
    n_train, own = summary.n_train, summary.batch_size
    if call.batch_sizes is not None:
        return given_sizes(call.batch_sizes, summary)
    possible = candidate_batch_sizes(n_train, reference=own)
    budget_s = budget_s_of(call)
    if budget_s is None or summary.start_s is None:
        return possible
    affordable = max(4, int(_TIMING_SHARE * budget_s / (summary.start_s + _TIMED_S)))
    return nearest_sizes(possible, own, most=affordable)


def nearest_sizes(possible: Sequence[int], own: int, *, most: int) -> tuple[int, ...]:
    """At most so many of the batch sizes, spread around one: two larger for each smaller.

    Args:
        possible: ascending, `own` among them.
        own: always kept.
        most: how many, >= 1.
    """
    below = [size for size in possible if size < own][::-1]
    above = [size for size in possible if size > own]
    n_below = min(len(below), (most - 1) // 3)
    n_above = min(len(above), most - 1 - n_below)
    n_below = min(len(below), most - 1 - n_above)
    return tuple(sorted({own, *_spread(below, n_below), *_spread(above, n_above)}))


def _spread(sizes: Sequence[int], n: int) -> list[int]:
    """The nearest, the farthest and those between, `n` in all; every second one at the most."""
    if n >= len(sizes):
        return list(sizes)
    if n * 2 <= len(sizes):
        return list(sizes[1 : 2 * n : 2])
    return [sizes[round(place * (len(sizes) - 1) / max(1, n - 1))] for place in range(n)]


def given_sizes(
    batch_sizes: Sequence[int | Literal["full"]], summary: WorkloadSummary
) -> tuple[int, ...]:
    """The batch sizes asked for, with the one that one trains with now, ascending.

    Args:
        batch_sizes: each 1 to N, or "full" for N.
        summary: of the command.

    Raises:
        BatchSizeError: one that the training set does not allow.
    """
    found = {summary.batch_size}
    for given in batch_sizes:
        size = summary.n_train if given == "full" else int(given)
        check_batch_size(size, workload=summary.name, n_train=summary.n_train)
        found.add(size)
    return tuple(sorted(found))
