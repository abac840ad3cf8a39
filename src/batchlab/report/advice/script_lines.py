"""Script lines: a configuration as lines to paste into a PyTorch training script."""

from __future__ import annotations

from batchlab.advice.advice import Configuration


def script_lines(found: Configuration) -> tuple[str, ...]:
    """The lines that set `found`, for a script with `train_set`, `model`, `loss_fn`, `optimizer`.

    With a cool-down also `epochs`: the training has a planned end.

    Whole batches are loaded and split, so that the last batch of an epoch and one that the
    micro-batch does not divide are weighted right.
    """
    loader = f"loader = DataLoader(train_set, batch_size={found.batch_size}, shuffle=True)"
    group = f"    group.update(lr={found.learning_rate:.6g})"
    lines = [loader, "for group in optimizer.param_groups:  # once, before training", group]
    if found.cool_down:
        factor = f"min(1, (1 - step / epochs / len(loader)) / {found.cool_down:g})"
        lines += [
            "scheduler = torch.optim.lr_scheduler.LambdaLR(  # step it after the optimizer",
            f"    optimizer, lambda step: {factor})",
        ]
    if found.accumulation_steps == 1:
        return tuple(lines)
    micro = found.micro_batch_size
    return (
        *lines,
        "for inputs, targets in loader:  # one optimizer step a batch, in micro-batches",
        "    optimizer.zero_grad()",
        f"    for x, y in zip(inputs.split({micro}), targets.split({micro})):",
        "        (loss_fn(model(x), y) * len(x) / len(inputs)).backward()",
        "    optimizer.step()",
        *(["    scheduler.step()"] if found.cool_down else []),
    )
