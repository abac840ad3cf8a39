"""batchlab: which batch size should I use, answered with measurements.

The names below are the public surface; each is loaded when it is first used, so that
`import batchlab` loads neither torch nor a plotting library. `log`, which a training calls at each
step, needs nothing and is there at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from batchlab.progress_log import log
from batchlab.records.shown import show_with
from batchlab.version import __version__

if TYPE_CHECKING:
    from batchlab.advice.advice import Advice
    from batchlab.advice.parts import Configuration
    from batchlab.commands.advise import advise
    from batchlab.commands.check import check
    from batchlab.commands.noise import noise
    from batchlab.commands.profile import profile
    from batchlab.commands.save_weights import SavedWeights, save_weights
    from batchlab.commands.sweep import sweep
    from batchlab.errors import BatchlabError
    from batchlab.fitting.fit import PointsFit, fit
    from batchlab.launching.training_command import TrainingCommand
    from batchlab.measurements.monitor import Monitor
    from batchlab.measurements.noise import Noise
    from batchlab.measurements.weight_distance import WeightDistance, weight_distance
    from batchlab.profiling.profile import Profile
    from batchlab.profiling.profile_point import ProfilePoint
    from batchlab.records.accumulation import Accumulation
    from batchlab.records.estimate import Estimate
    from batchlab.records.evaluation import Evaluation
    from batchlab.records.study import Study
    from batchlab.records.target import Target
    from batchlab.records.trial import Status, Trial, TrialRecord
    from batchlab.store.store import Store
    from batchlab.workload.definition import Metric, Workload

__all__ = [
    "Accumulation",
    "Advice",
    "BatchlabError",
    "Configuration",
    "Estimate",
    "Evaluation",
    "Metric",
    "Monitor",
    "Noise",
    "PointsFit",
    "Profile",
    "ProfilePoint",
    "SavedWeights",
    "Status",
    "Store",
    "Study",
    "Target",
    "TrainingCommand",
    "Trial",
    "TrialRecord",
    "WeightDistance",
    "Workload",
    "__version__",
    "advise",
    "check",
    "fit",
    "log",
    "noise",
    "profile",
    "save_weights",
    "sweep",
    "weight_distance",
]

_HOME = {
    "Accumulation": "records.accumulation",
    "Advice": "advice.advice",
    "BatchlabError": "errors",
    "Configuration": "advice.parts",
    "Estimate": "records.estimate",
    "Evaluation": "records.evaluation",
    "Metric": "workload.definition",
    "Monitor": "measurements.monitor",
    "Noise": "measurements.noise",
    "PointsFit": "fitting.fit",
    "Profile": "profiling.profile",
    "ProfilePoint": "profiling.profile_point",
    "SavedWeights": "commands.save_weights",
    "Status": "records.trial",
    "Store": "store.store",
    "Study": "records.study",
    "Target": "records.target",
    "TrainingCommand": "launching.training_command",
    "Trial": "records.trial",
    "TrialRecord": "records.trial",
    "WeightDistance": "measurements.weight_distance",
    "Workload": "workload.definition",
    "advise": "commands.advise",
    "check": "commands.check",
    "fit": "fitting.fit",
    "noise": "commands.noise",
    "profile": "commands.profile",
    "save_weights": "commands.save_weights",
    "sweep": "commands.sweep",
    "weight_distance": "measurements.weight_distance",
}

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:  # PEP 562
        if name not in _HOME:
            raise AttributeError(f"batchlab has no {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"batchlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


show_with(
    notebook="batchlab.report.notebook_view:notebook_view",
    page="batchlab.commands.record_page:write_record_page",
    document="batchlab.report.plain_data:study_dict",
    frame="batchlab.report.plain_data:data_frame",
)
