"""mnist-softmax: softmax regression on handwritten digits, a convex problem."""

from __future__ import annotations

from torch import nn

from batchlab.workload.definition import Workload
from batchlab.workload.pieces import NamedOptimizer, Pixels, digits_workload

_NAME = "mnist-softmax"


def workload(
    *,
    train: str = "split",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Workload:
    """Softmax regression on handwritten digits (MNIST): a convex loss, from zero weights."""
    sgd = NamedOptimizer(name="sgd", workload=_NAME, momentum=momentum, weight_decay=weight_decay)

    def model() -> nn.Sequential:
        """Make one linear layer of zeros, so that every seed starts at the same point."""
        scores = nn.Linear(784, 10)
        nn.init.zeros_(scores.weight)
        nn.init.zeros_(scores.bias)
        return nn.Sequential(Pixels(), scores)

    return digits_workload(model, train=train, optimizer=sgd, learning_rate=0.01)
