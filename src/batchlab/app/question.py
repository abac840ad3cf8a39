"""Question: the arguments of one call of batchlab, with checks that do not need the workload."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from batchlab.advice.advice import Objective
from batchlab.app.arguments import read
from batchlab.app.budget import Budget
from batchlab.app.progress import listener_or_notebook
from batchlab.errors import UsageError
from batchlab.measure.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import PlanName, TrainerName
from batchlab.records.trial import Sampling, Setting
from batchlab.runs.cluster import Cluster
from batchlab.script.command import TrainingCommand
from batchlab.workload.definition import Workload

# The default budget of an advice, in seconds: people wait 2 to 3 minutes for a first answer.
DEFAULT_BUDGET_S = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The arguments of one call of batchlab, as explained in functions such as `advise`."""

    name: str  # The called function: "advise", "sweep", "profile", "noise" or "check".
    workload: Workload | TrainingCommand | str
    budget: Budget  # The time limit of the call, counted from its start.
    listener: ProgressListener
    objective: Objective = "time"
    target: tuple[str, float] | None = None
    margin: float | None = None
    batch_sizes: tuple[int | Literal["full"], ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    seeds: int = 1
    epochs: int | None = None
    at_most_epochs: int | None = None
    steps: int | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    scaling_rule: str = "none"
    sampling: Sampling = "reshuffle"
    drop_last: bool = False
    micro_batch_size: int | None = None
    measure: tuple[str, ...] = ()
    plans: tuple[PlanName, ...] = ()
    device: str = "cpu"
    trainer: TrainerName = "fastest"
    cluster: Cluster | None = None  # The cluster on which trials run; None for this machine.
    memory_limit_bytes: int | None = None
    # The profile of another machine. If `memory_limit_bytes` is given, it is set in the profile.
    profile: Profile | None = None
    store: Path | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        """Raise a UsageError for arguments that contradict each other or this machine."""
        if self.cluster is not None:
            if self.name == "advise" and self.profile is None and not self.is_device_here:
                raise UsageError(
                    f"device {self.device!r} with --engine ray: steps are timed on this machine, "
                    f"which has no such device; give --profile with the file that batchlab profile "
                    f"--json made on one that has it"
                )
        elif not self.is_device_here:
            n = torch.cuda.device_count()
            others = f", or cuda:0 to cuda:{n - 1}" if n else ""
            raise UsageError(
                f"device {self.device!r}: PyTorch {torch.__version__} sees {n} CUDA devices on "
                f"this machine; use cpu{others}"
            )
        if self.at_most_epochs is not None and self.objective != "time":
            raise UsageError(
                f"at most {self.at_most_epochs} epochs with objective {self.objective}: there all "
                f"batch sizes train for as many epochs; leave it out, or give --epochs"
            )

    @property
    def is_device_here(self) -> bool:
        """Whether this machine has the device; if not, only the nodes of a cluster can use it."""
        kind, _, index = self.device.partition(":")
        return kind != "cuda" or int(index or 0) < torch.cuda.device_count()


def asked(
    name: str,
    *,
    workload: Workload | TrainingCommand | str,
    budget: str | float | None,
    reserved_s: float = 0.0,
    command: str | None = None,
    listener: ProgressListener | None = None,
    **given: Any,
) -> Request:
    """Check the arguments of a call of the function `name`, and return them as a Request."""
    arguments: dict[str, Any] = {}
    for argument, value in {"budget": budget, **given}.items():
        if value is not None:
            arguments[argument] = read(name, argument, value)
    usual_s = DEFAULT_BUDGET_S if name == "advise" else math.inf
    arguments["budget"] = Budget(arguments.get("budget", usual_s), reserved_s=reserved_s)
    profile, limit_bytes = arguments.get("profile"), arguments.get("memory_limit_bytes")
    if profile is not None and limit_bytes is not None:
        arguments["profile"] = replace(profile, memory_limit_bytes=limit_bytes)
    if "cluster" in arguments:
        arguments["cluster"] = arguments["cluster"].for_device(arguments.get("device", "cpu"))
    return Request(
        name=name,
        workload=workload,
        command=command,
        listener=listener_or_notebook(listener),
        **arguments,
    )
