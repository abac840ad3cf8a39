"""Question: one call of batchlab from any interface, checked as far as it needs no subject."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from batchlab.advice.advice import FEWEST_TO_TUNE, Objective
from batchlab.app.budget import Budget, seconds_of
from batchlab.app.progress import listener_or_notebook
from batchlab.errors import BatchSizeError, LearningRateError, ProfileError, UsageError
from batchlab.measure.measurements import checked_on_request
from batchlab.measure.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import PlanName, TrainerName
from batchlab.records.trial import Sampling, Setting
from batchlab.runs.cluster import Cluster
from batchlab.script.command import TrainingCommand
from batchlab.workload.definition import Workload

# Two to three minutes is what people wait for a first answer.
DEFAULT_BUDGET_S = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One call of batchlab; its fields are the arguments that the public functions explain."""

    name: str  # the function: "advise", "sweep", "profile", "noise" or "check"
    workload: Workload | TrainingCommand | str
    budget: Budget  # counts from when the question was asked
    listener: ProgressListener
    objective: Objective = "time"
    target: tuple[str, float] | None = None
    margin: float | None = None
    trainings: float | None = None
    batch_sizes: tuple[int | Literal["full"], ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    seeds: int = 1
    epochs: int | None = None
    at_most_epochs: int | None = None
    tune: Literal["weight_decay"] | None = None
    steps: int | None = None
    train_s: float | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    scaling_rule: str = "none"
    sampling: Sampling = "reshuffle"
    drop_last: bool = False
    micro_batch_size: int | None = None
    measure: tuple[str, ...] = ()
    plans: tuple[PlanName, ...] = ()
    device: str = "cpu"
    trainer: TrainerName = "fastest"
    cluster: Cluster | None = None  # where its trials run, or None for this machine
    memory_limit_bytes: int | None = None
    # The profile of another machine, already read, with the question's memory limit.
    profile: Profile | None = None
    store: Path | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        """Refuse arguments that do not go together."""
        if self.cluster is not None:
            cluster = self.cluster.for_device(self.device)
            object.__setattr__(self, "cluster", cluster)
            if self.name == "advise" and self.profile is None and not self.is_device_here:
                raise UsageError(
                    f"device {self.device!r} with --engine ray: steps are timed on this machine, "
                    f"which has no such device; give --profile with the file that batchlab profile "
                    f"--json made on one that has it"
                )
        elif not self.is_device_here:
            n = torch.cuda.device_count()
            raise UsageError(
                f"device {self.device!r}: PyTorch {torch.__version__} sees {n} CUDA devices on "
                f"this machine; use cpu" + (f", or cuda:0 to cuda:{n - 1}" if n else "")
            )
        if self.tune and self.trainings is not None and self.trainings < FEWEST_TO_TUNE:
            raise UsageError(
                f"tune {self.tune} with {self.trainings:g} trainings: it takes {FEWEST_TO_TUNE} or "
                f"more; give more, or leave --tune out"
            )
        if self.at_most_epochs is not None and self.objective != "time":
            raise UsageError(
                f"at most {self.at_most_epochs} epochs with objective {self.objective}: there all "
                f"batch sizes train for as many epochs; leave it out, or give --epochs"
            )
        if self.train_s is None:
            return
        given = f"train time {self.train_s:g} s"
        if not (math.isfinite(self.train_s) and self.train_s > 0):
            raise UsageError(f"{given}: expected more than 0, such as 60s")
        if self.objective != "quality":
            raise UsageError(
                f"{given}: it is for objective quality; leave it out, or limit runs by --epochs"
            )
        if self.epochs is not None:
            raise UsageError(
                f"{given} and {self.epochs} epochs: both say when quality is compared; give one "
                f"of the two"
            )

    @property
    def is_device_here(self) -> bool:
        """Whether this machine has the device; it need not have it if a cluster trains."""
        kind, _, index = self.device.partition(":")
        return kind != "cuda" or int(index or 0) < torch.cuda.device_count()


def asked(
    name: str,
    *,
    workload: Workload | TrainingCommand | str,
    budget: str | float | None,
    reserved_s: float = 0.0,
    listener: ProgressListener | None = None,
    **given: Any,
) -> Question:
    """Return the question of a call, from a public function's name and unchecked arguments."""
    if name == "advise":
        budget = _advice_budget_s(budget, given.get("trainings"))
    counting = Budget(budget, reserved_s=reserved_s)
    checked = {
        argument: _CHECKS[argument](value) if argument in _CHECKS else value
        for argument, value in given.items()
        if value is not None
    }
    profile, limit_bytes = checked.get("profile"), checked.get("memory_limit_bytes")
    if profile is not None and limit_bytes is not None:
        checked["profile"] = replace(profile, memory_limit_bytes=limit_bytes)
    return Question(
        name=name,
        workload=workload,
        budget=counting,
        listener=listener_or_notebook(listener),
        **checked,
    )


def _advice_budget_s(budget: str | float | None, trainings: float | None) -> float | None:
    """Return the seconds for the whole call, or None if `trainings` will set them later."""
    budget_s = None if budget is None else seconds_of(budget)
    if trainings is None:
        return budget_s or DEFAULT_BUDGET_S
    if budget_s is not None:
        raise UsageError(
            f"{trainings:g} trainings and a budget of {budget_s:g} s: both say how long it may "
            f"take; give one of the two"
        )
    if not (math.isfinite(trainings) and trainings > 0):
        raise UsageError(f"trainings {trainings:g}: expected more than 0, such as 4")
    return None


def _one_of(name: str, known: tuple[str, ...], said: str, given: str) -> str:
    if given not in known:
        raise UsageError(f"{name} {given!r}: expected {said}")
    return given


def _whole(name: str, value: object) -> int:
    found = as_whole(value)
    if found is None or found < 1:
        raise UsageError(f"{name}={value}: expected a whole number of at least 1")
    return found


def as_whole(value: object) -> int | None:
    """Return a whole number as an int (NumPy's count, truth values do not), or else None."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _several(
    name: str, such_as: str, error: type[UsageError], one: Callable[[Any], Any], given: object
) -> tuple[Any, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise error(f"{name}s {given!r}: expected several, such as {such_as}")
    found = tuple(map(one, given))
    if not found:
        raise error(f"no {name} was given; give some, such as {such_as}")
    return found


def _batch_size(given: object) -> int | Literal["full"]:
    if isinstance(given, str) and given == "full":
        return "full"
    size = as_whole(given)
    if size is None:
        raise BatchSizeError(f"batch size {given!r}: expected a whole number, or 'full'")
    return size


def _micro_batch_size(given: object) -> int:
    size = as_whole(given)
    if size is None or size < 1:
        raise BatchSizeError(f"micro-batch size {given!r}: expected a whole number of at least 1")
    return size


def checked_rate(given: Any, *, whose: str = "") -> float:
    """Return a learning rate, or refuse what is not a finite number above 0."""
    try:
        rate = float(given)
    except (TypeError, ValueError):
        rate = math.nan
    if isinstance(given, (str, bool)) or not (math.isfinite(rate) and rate > 0):
        raise LearningRateError(
            f"learning rate {given!r}{whose}: expected a finite number above 0, such as 0.01"
        )
    return rate


def _margin(given: float) -> float:
    if not (math.isfinite(given) and given > 0):
        raise UsageError(
            f"margin {given:g}: expected more than 0, in the unit of the metric that counts, such "
            f"as 0.002 of an accuracy"
        )
    return given


def _plan(given: object) -> object:
    if given not in PLANS:
        raise UsageError(f"plan {given!r}: expected one of {', '.join(PLANS)}")
    return given


def _device(device: str) -> str:
    kind, _, index = str(device).partition(":")
    if device not in ("cpu", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise UsageError(f"device {device!r}: expected cpu, cuda or cuda:N")
    return device


def _cluster(given: object) -> object:
    if not isinstance(given, Cluster):
        raise UsageError(
            f"cluster {given!r}: expected a batchlab.Cluster, such as Cluster(address='auto')"
        )
    return given


def _memory_limit(given: object) -> object:
    if not (isinstance(given, int | float) and given >= 1):
        raise UsageError(
            f"memory limit {given!r}: expected a number of bytes, at least 1, such as 2 * 2**30"
        )
    return given


def read_profile(given: Profile | str | Path) -> Profile:
    """Return a profile as it is, or read the one of a file.

    Raises:
        ProfileError: the file cannot be read, or is not a profile.
    """
    if isinstance(given, Profile):
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


PLANS = get_args(PlanName)
_OBJECTIVES = get_args(Objective)
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "objective": partial(_one_of, "objective", _OBJECTIVES, f"one of {', '.join(_OBJECTIVES)}"),
    "batch_sizes": partial(
        _several, "batch size", "(64, 256, 'full')", BatchSizeError, _batch_size
    ),
    "learning_rates": partial(
        _several, "learning rate", "(0.01, 0.1)", LearningRateError, checked_rate
    ),
    "seeds": partial(_whole, "seeds"),
    "epochs": partial(_whole, "epochs"),
    "at_most_epochs": partial(_whole, "at_most_epochs"),
    "steps": partial(_whole, "steps"),
    "tune": partial(_one_of, "tune", ("weight_decay",), "weight_decay"),
    "sampling": partial(_one_of, "sampling", get_args(Sampling), "reshuffle or replacement"),
    "micro_batch_size": _micro_batch_size,
    "measure": checked_on_request,
    "plans": partial(_several, "plan", f"{PLANS}", UsageError, _plan),
    "device": _device,
    "cluster": _cluster,
    "margin": _margin,
    "memory_limit_bytes": _memory_limit,
    "profile": read_profile,
    "store": Path,
}
