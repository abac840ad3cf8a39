"""mnist-softmax: softmax regression on handwritten digits, a convex problem."""

from __future__ import annotations

from functools import partial

from torch import nn

from batchlab.datasets.embedded import load_mnist
from batchlab.workload.definition import Workload
from batchlab.workload.pieces import (
    INPUTS,
    NamedOptimizer,
    Pixels,
    accuracy,
    cross_entropy,
    labelled_tensors,
)
from batchlab.workload.settings import chosen

_NAME = "mnist-softmax"
_N_VALIDATION = {"split": 10_000, "all": 0}


def workload(
    *,
    input: str = "unit",
    train: str = "split",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Workload:
    """Softmax regression on handwritten digits (MNIST): a convex loss, from zero weights.

    Raises:
        WorkloadError: a value that is not possible; the message says which are.
    """
    chosen(input, INPUTS, setting="input", workload=_NAME)
    n_validation = chosen(train, _N_VALIDATION, setting="train", workload=_NAME)
    sgd = NamedOptimizer(name="sgd", workload=_NAME, momentum=momentum, weight_decay=weight_decay)
    mnist = load_mnist(n_validation=n_validation)
    return Workload(
        name=_NAME,
        model=partial(_model, input=input),
        train=labelled_tensors(*mnist.train),
        validation=labelled_tensors(*mnist.validation) if mnist.validation else None,
        test=labelled_tensors(*mnist.test),
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=sgd,
        batch_size=64,
        learning_rate=0.01,
    )


def _model(*, input: str) -> nn.Sequential:
    """Pixels, then one linear layer of zeros: every seed starts at the same point."""
    scores = nn.Linear(784, 10)
    nn.init.zeros_(scores.weight)
    nn.init.zeros_(scores.bias)
    return nn.Sequential(Pixels(input, workload=_NAME), scores)
