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
    from batchlab.advice.advice import Advice, Configuration
    from batchlab.app.advise import advise
    from batchlab.app.check import check
    from batchlab.app.noise import noise
    from batchlab.app.profile import profile
    from batchlab.app.save_weights import SavedWeights, save_weights
    from batchlab.app.sweep import sweep
    from batchlab.errors import BatchlabError
    from batchlab.fitting.fit import PointsFit, fit
    from batchlab.measure.distance import WeightDistance, weight_distance
    from batchlab.measure.monitor import Monitor
    from batchlab.measure.noise import Noise
    from batchlab.measure.profile import Profile, ProfilePoint
    from batchlab.records.estimate import Estimate
    from batchlab.records.study import Accumulation, Study
    from batchlab.records.trial import Evaluation, Status, Target, Trial, TrialRecord
    from batchlab.script.command import TrainingCommand
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
    "Accumulation": "records.study",
    "Advice": "advice.advice",
    "BatchlabError": "errors",
    "Configuration": "advice.advice",
    "Estimate": "records.estimate",
    "Evaluation": "records.trial",
    "Metric": "workload.definition",
    "Monitor": "measure.monitor",
    "Noise": "measure.noise",
    "PointsFit": "fitting.fit",
    "Profile": "measure.profile",
    "ProfilePoint": "measure.profile",
    "SavedWeights": "app.save_weights",
    "Status": "records.trial",
    "Store": "store.store",
    "Study": "records.study",
    "Target": "records.trial",
    "TrainingCommand": "script.command",
    "Trial": "records.trial",
    "TrialRecord": "records.trial",
    "WeightDistance": "measure.distance",
    "Workload": "workload.definition",
    "advise": "app.advise",
    "check": "app.check",
    "fit": "fitting.fit",
    "noise": "app.noise",
    "profile": "app.profile",
    "save_weights": "app.save_weights",
    "sweep": "app.sweep",
    "weight_distance": "measure.distance",
}

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:  # PEP 562
        if name not in _HOME:
            raise AttributeError(f"batchlab has no {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"batchlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


show_with(
    notebook="batchlab.report.notebook:notebook_view",
    page="batchlab.app.report:write_record_page",
    document="batchlab.report.notebook:study_dict",
    frame="batchlab.report.notebook:data_frame",
)
