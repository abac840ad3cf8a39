"""batchlab: which batch size should I use, answered with measurements.

The names below are the public interface; each name is imported when first used, so that
`import batchlab` imports neither torch nor a plotting library. Only `log`, which a training calls
at each step and which has no dependencies, is imported at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from batchlab.progress_log import log as log
from batchlab.version import __version__ as __version__

if TYPE_CHECKING:
    from batchlab import datasets as datasets
    from batchlab import plans as plans
    from batchlab.advice.advice import Advice as Advice
    from batchlab.advice.advice import Configuration as Configuration
    from batchlab.app.advise import advise as advise
    from batchlab.app.check import check as check
    from batchlab.app.compare import compare as compare
    from batchlab.app.fit import fit as fit
    from batchlab.app.noise import noise as noise
    from batchlab.app.profile import profile as profile
    from batchlab.app.save_weights import save_weights as save_weights
    from batchlab.app.sweep import sweep as sweep
    from batchlab.errors import BatchlabError as BatchlabError
    from batchlab.measure.monitor import Monitor as Monitor
    from batchlab.measure.noise import Noise as Noise
    from batchlab.measure.profile import Profile as Profile
    from batchlab.plans.sampler import BatchSizeSampler as BatchSizeSampler
    from batchlab.records.estimate import Estimate as Estimate
    from batchlab.records.study import Study as Study
    from batchlab.records.trial import Evaluation as Evaluation
    from batchlab.records.trial import Status as Status
    from batchlab.records.trial import Target as Target
    from batchlab.records.trial import Trial as Trial
    from batchlab.records.trial import TrialRecord as TrialRecord
    from batchlab.report.short_reports import Comparison as Comparison
    from batchlab.runs.cluster import Cluster as Cluster
    from batchlab.script.command import TrainingCommand as TrainingCommand
    from batchlab.store.store import Store as Store
    from batchlab.training.accumulator import Accumulator as Accumulator
    from batchlab.workload.definition import Metric as Metric
    from batchlab.workload.definition import Workload as Workload

_HOME = {
    "Accumulator": "training.accumulator",
    "Advice": "advice.advice",
    "BatchSizeSampler": "plans.sampler",
    "BatchlabError": "errors",
    "Cluster": "runs.cluster",
    "Comparison": "report.short_reports",
    "Configuration": "advice.advice",
    "Estimate": "records.estimate",
    "Evaluation": "records.trial",
    "Metric": "workload.definition",
    "Monitor": "measure.monitor",
    "Noise": "measure.noise",
    "Profile": "measure.profile",
    "Status": "records.trial",
    "Store": "store.store",
    "Study": "records.study",
    "Target": "records.trial",
    "TrainingCommand": "script.command",
    "Trial": "records.trial",
    "TrialRecord": "records.trial",
    "Workload": "workload.definition",
    "advise": "app.advise",
    "check": "app.check",
    "compare": "app.compare",
    "fit": "app.fit",
    "noise": "app.noise",
    "profile": "app.profile",
    "save_weights": "app.save_weights",
    "sweep": "app.sweep",
}

_ROOMS = ("datasets", "plans")  # the public submodules

__all__ = sorted([*_HOME, "__version__", "log"])

if not TYPE_CHECKING:  # type checkers would take `__getattr__` as a sign that any name exists

    def __getattr__(name: str) -> object:  # called by Python for a missing name (PEP 562)
        if name in _ROOMS:
            return import_module(f"batchlab.{name}")
        if name not in _HOME:
            raise AttributeError(f"batchlab has no {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"batchlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
