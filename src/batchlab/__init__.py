"""batchlab: which batch size should I use, answered with measurements.

The names below are the public surface; each is loaded when it is first used, so that
`import batchlab` loads neither torch nor a plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from batchlab.version import __version__

if TYPE_CHECKING:
    from batchlab.errors import BatchlabError
    from batchlab.estimate import Estimate
    from batchlab.store import Store
    from batchlab.study import Study
    from batchlab.sweeping import sweep
    from batchlab.trial import Evaluation, Status, Target, Trial, TrialRecord
    from batchlab.workload import Metric, Workload

__all__ = [
    "BatchlabError",
    "Estimate",
    "Evaluation",
    "Metric",
    "Status",
    "Store",
    "Study",
    "Target",
    "Trial",
    "TrialRecord",
    "Workload",
    "__version__",
    "sweep",
]

_HOME = {
    "BatchlabError": "errors",
    "Estimate": "estimate",
    "Evaluation": "trial",
    "Metric": "workload",
    "Status": "trial",
    "Store": "store",
    "Study": "study",
    "Target": "trial",
    "Trial": "trial",
    "TrialRecord": "trial",
    "Workload": "workload",
    "sweep": "sweeping",
}

if not TYPE_CHECKING:  # a type checker would take any misspelt name for one of these

    def __getattr__(name: str) -> object:  # PEP 562
        if name not in _HOME:
            raise AttributeError(f"batchlab has no {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"batchlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
