"""batchlab: which batch size should I use, answered with measurements.

The names below are the public surface; each is loaded when it is first used, so that
`import batchlab` loads neither torch nor a plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from batchlab.version import __version__

if TYPE_CHECKING:
    from batchlab.advice.advice import Advice, Configuration
    from batchlab.advising import advise
    from batchlab.errors import BatchlabError
    from batchlab.estimate import Estimate
    from batchlab.fitting import PointsFit, fit
    from batchlab.profile_record import Profile, ProfilePoint
    from batchlab.profiling import profile
    from batchlab.store import Store
    from batchlab.study import Study
    from batchlab.sweeping import sweep
    from batchlab.trial import Evaluation, Status, Target, Trial, TrialRecord
    from batchlab.workload import Metric, Workload

__all__ = [
    "Advice",
    "BatchlabError",
    "Configuration",
    "Estimate",
    "Evaluation",
    "Metric",
    "PointsFit",
    "Profile",
    "ProfilePoint",
    "Status",
    "Store",
    "Study",
    "Target",
    "Trial",
    "TrialRecord",
    "Workload",
    "__version__",
    "advise",
    "fit",
    "profile",
    "sweep",
]

_HOME = {
    "Advice": "advice.advice",
    "BatchlabError": "errors",
    "Configuration": "advice.advice",
    "Estimate": "estimate",
    "Evaluation": "trial",
    "Metric": "workload",
    "PointsFit": "fitting",
    "Profile": "profile_record",
    "ProfilePoint": "profile_record",
    "Status": "trial",
    "Store": "store",
    "Study": "study",
    "Target": "trial",
    "Trial": "trial",
    "TrialRecord": "trial",
    "Workload": "workload",
    "advise": "advising",
    "fit": "fitting",
    "profile": "profiling",
    "sweep": "sweeping",
}

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:  # PEP 562
        if name not in _HOME:
            raise AttributeError(f"batchlab has no {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"batchlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
