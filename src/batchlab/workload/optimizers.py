"""NamedOptimizer: an optimizer of PyTorch chosen by a word, as `--set optimizer=adam` does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.workload.settings import check_real, check_switch, chosen

_CLASSES = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedOptimizer:
    """A workload's `optimizer`: called with parameters and a rate, it makes a torch optimizer.

    Attributes:
        name: "sgd", "adam" or "adamw".
        workload: the workload's name, for messages.
        momentum: SGD's momentum; for adam and adamw the decay of the first moment (beta 1).
        nesterov: Nesterov's momentum; sgd with a momentum above 0 only.
        weight_decay: added to the gradient (sgd, adam) or taken from the weights (adamw).

    Raises:
        WorkloadError: an unknown name, a momentum outside [0, 1), a negative weight decay, or
            `nesterov` where there is none.
    """

    name: str
    workload: str
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse now what PyTorch would refuse once training starts, and what it would drop."""
        chosen(self.name, _CLASSES, setting="optimizer", workload=self.workload)
        check_real(self.momentum, setting="momentum", workload=self.workload, low=0, below=1)
        check_real(self.weight_decay, setting="weight_decay", workload=self.workload, low=0)
        check_switch(self.nesterov, setting="nesterov", workload=self.workload)
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise WorkloadError(
                f"{self.workload}: nesterov=True with optimizer={self.name!r} and "
                f"momentum={self.momentum}; it needs optimizer='sgd' and a momentum above 0"
            )

    def __call__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """A new optimizer of `parameters` at `learning_rate`."""
        parameters = list(parameters)
        fused = _fused_is_safe(parameters)
        if self.name == "sgd":
            return torch.optim.SGD(
                parameters,
                lr=learning_rate,
                momentum=self.momentum,
                nesterov=self.nesterov,
                weight_decay=self.weight_decay,
                fused=fused,
            )
        make = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return make(
            parameters,
            lr=learning_rate,
            betas=(self.momentum, 0.999),
            weight_decay=self.weight_decay,
            fused=fused,
        )


def _fused_is_safe(parameters: list[nn.Parameter]) -> bool:
    """Whether PyTorch's fused kernels are right for all of these.

    They take half to a sixth of the plain step's time on a CPU. In half precision fused SGD
    leaves out updates on a CPU (pytorch issue 191763, open in 2.13), so only these two types.
    """
    return all(
        parameter.device.type in ("cpu", "cuda")
        and parameter.dtype in (torch.float32, torch.float64)
        for parameter in parameters
    )
