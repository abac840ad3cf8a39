"""two-points: the smallest training set that there is."""

import torch
from torch import Tensor, nn

from batchlab.workload.definition import Workload


def workload(*, scale: float = 1.0) -> Workload:
    """A line through two points."""
    x = torch.tensor([[0.0], [1.0]])

    def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return ((model(batch[0]) - batch[1]) ** 2).mean()

    return Workload(
        name="two-points",
        model=lambda: nn.Linear(1, 1),
        train=(x, scale * x),
        validation=(x.clone(), scale * x),
        loss=loss,
        batch_size=1,
        learning_rate=0.1,
    )
