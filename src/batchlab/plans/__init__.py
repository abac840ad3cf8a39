"""Plans: the batch size and learning rate of each step of a training, and when to evaluate it.

from batchlab import plans

plan = plans.steps(64, {0.3: 256, 0.6: 1024}, epochs=10)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlab.plans.plan import Milestone as Milestone
    from batchlab.plans.plan import Plan as Plan
    from batchlab.plans.plan import constant as constant
    from batchlab.plans.plan import instead_of_decay as instead_of_decay
    from batchlab.plans.plan import steps as steps
    from batchlab.plans.scheduler import scale as scale

__all__ = ["Milestone", "Plan", "constant", "instead_of_decay", "scale", "steps"]

# Import each name on first use, so that the command line starts without loading PyTorch.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:  # Python calls this for names that the module lacks
        if name not in __all__:
            raise AttributeError(f"batchlab.plans has no {name!r}; it has {', '.join(__all__)}")
        home = "scheduler" if name == "scale" else "plan"
        return getattr(import_module(f"batchlab.plans.{home}"), name)
