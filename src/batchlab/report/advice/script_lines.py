"""Script lines: a configuration as lines to paste into a PyTorch training script."""

from __future__ import annotations

from batchlab.advice.advice import Configuration
from batchlab.records.trial import Setting

_BETAS = ("beta1", "beta2")  # the workloads' names for what PyTorch takes as one pair


def script_lines(found: Configuration) -> tuple[str, ...]:
    """The lines that set `found`, for a script with `train_set`, `model`, `loss_fn`, `optimizer`.

    Whole batches are loaded and split, so that the last batch of an epoch and one that the
    micro-batch does not divide are weighted right.
    """
    loader = f"loader = DataLoader(train_set, batch_size={found.batch_size}, shuffle=True)"
    group = f"    group.update({', '.join(_arguments(found))})"
    lines = (loader, "for group in optimizer.param_groups:  # once, before training", group)
    if found.accumulation_steps == 1:
        return lines
    micro = found.micro_batch_size
    return (
        *lines,
        "for inputs, targets in loader:  # one optimizer step a batch, in micro-batches",
        "    optimizer.zero_grad()",
        f"    for x, y in zip(inputs.split({micro}), targets.split({micro})):",
        "        (loss_fn(model(x), y) * len(x) / len(inputs)).backward()",
        "    optimizer.step()",
    )


def _arguments(found: Configuration) -> list[str]:
    """Keywords of `group.update`, the learning rate first."""
    settings = dict(found.settings)
    arguments = [f"lr={found.learning_rate:.6g}"]
    if any(name in settings for name in _BETAS):
        pair = [_beta(settings, number) for number in range(2)]
        arguments.append(f"betas=({pair[0]}, {pair[1]})")
    arguments += [f"{name}={value!r}" for name, value in found.settings if name not in _BETAS]
    return arguments


def _beta(settings: dict[str, Setting], number: int) -> str:
    name = _BETAS[number]
    return repr(settings[name]) if name in settings else f"group['betas'][{number}]"
