"""AdviceRequest: what the advice is asked, checked as far as it can be before anything runs."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import get_args

from batchlab.advice.parts import Objective
from batchlab.commands.advice_call import AdviceCall
from batchlab.commands.advice_options import candidate_batch_sizes, options_of, reference_of
from batchlab.commands.budget import seconds_of
from batchlab.errors import ProfileError, UsageError
from batchlab.planning.sweep_request import (
    SweepRequest,
    checked_request,
    checked_target,
    plan_trials,
)
from batchlab.profiling.measuring import ProfileRequest, profile_request
from batchlab.profiling.profile import Profile
from batchlab.records.target import Target
from batchlab.records.trial import Trial
from batchlab.version import __version__
from batchlab.workload.definition import Workload
from batchlab.workload.loading import LoadedWorkload

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
