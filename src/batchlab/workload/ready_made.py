"""ReadyMade: a model, loss or optimizer handed over made, where the function that makes it belongs.

Each refusal shows the line to write instead. PyTorch is known by name here, so that a definition
loads nothing of it.
"""

from __future__ import annotations

import inspect
from typing import Any

from batchlab.errors import WorkloadError

# What the first argument of a loss is called that takes outputs and not the model.
_OUTPUTS = ("input", "inputs", "output", "outputs", "logits", "pred", "preds", "prediction",
            "predictions", "x", "y_hat", "y_pred")  # fmt: skip


def check_model(name: str, model: Any) -> None:
    """Refuse a model that is made already, and what cannot be called.

    Raises:
        WorkloadError: naming the workload, with the line to write.
    """
    made = type(model).__name__
    if _is_a(type(model), "torch.nn.modules.module", "Module"):
        raise WorkloadError(
            f"workload {name!r}: model is {_article(made)} that is made already; every training "
            f"begins with a new one: model=lambda: {made}(...)"
        )
    if not callable(model):
        raise WorkloadError(
            f"workload {name!r}: model is {_short(model)}; expected a function that makes a new "
            f"one: model=lambda: Net()"
        )


def loader_batch_size(data: Any) -> int | None:
    """The batch size of a DataLoader; None: it is none, or does not say.

    Args:
        data: a split as it was given.
    """
    if not _is_a(type(data), "torch.utils.data.dataloader", "DataLoader"):
        return None
    size = data.batch_size
    if size is None:  # it has a batch sampler, or a data set that makes batches itself
        size = getattr(data.batch_sampler, "batch_size", None)
    return size if isinstance(size, int) else None


def check_loss(name: str, loss: Any) -> None:
    """Refuse a loss of PyTorch itself, which takes outputs and labels, and what is no function.

    Raises:
        WorkloadError: naming the workload, with the line to write.
    """
    kind = loss if isinstance(loss, type) else type(loss)
    given = called = ""
    if _takes_outputs(kind):
        given = f"the class {kind.__name__}" if loss is kind else _article(kind.__name__)
        called = f"{_prefix(kind)}{kind.__name__}()"
    elif getattr(loss, "__module__", None) == "torch.nn.functional":
        given = loss.__name__
        called = f"torch.nn.functional.{loss.__name__}"
    if called:
        raise WorkloadError(
            f"workload {name!r}: loss is {given}, which takes outputs and labels; "
            f"expected a function of the model and a batch: "
            f"loss=lambda model, batch: {called}(model(batch[0]), batch[1])"
        )
    if not callable(loss):
        raise WorkloadError(
            f"workload {name!r}: loss is {_short(loss)}; expected a function of the model and a "
            f"batch: loss=lambda model, batch: cross_entropy(model(batch[0]), batch[1])"
        )


def _takes_outputs(kind: type) -> bool:
    """Whether a module computes a loss of outputs; one of the user's own may take the model."""
    if not _is_a(kind, "torch.nn.modules.module", "Module"):
        return False
    forward: Any = getattr(kind, "forward", None)
    names = list(inspect.signature(forward).parameters)[1:] if callable(forward) else []
    return kind.__module__.startswith("torch.nn.") or bool(names and names[0] in _OUTPUTS)


def check_optimizer(name: str, optimizer: Any) -> None:
    """Refuse an optimizer that is made already, its name, and what cannot be called.

    Raises:
        WorkloadError: naming the workload, with the line to write.
    """
    if optimizer is None or callable(optimizer):
        return
    kind, given = "Adam", _short(optimizer)
    if _is_a(type(optimizer), "torch.optim.optimizer", "Optimizer"):
        kind = type(optimizer).__name__
        given = f"{_article(kind)} that is made already"
    raise WorkloadError(
        f"workload {name!r}: optimizer is {given}; expected a function that makes a new one: "
        f"optimizer=lambda parameters, learning_rate: "
        f"torch.optim.{kind}(parameters, lr=learning_rate)"
    )


def _is_a(kind: type, module: str, name: str) -> bool:
    return any((base.__module__, base.__name__) == (module, name) for base in kind.__mro__)


def _prefix(kind: type) -> str:
    return "torch.nn." if kind.__module__.startswith("torch.nn.") else ""


def _article(name: str) -> str:
    return f"an {name}" if name[:1] in "AEIOU" else f"a {name}"


def _short(given: Any) -> str:
    told = repr(given)
    return told if len(told) <= 40 else f"a {type(given).__name__}"
