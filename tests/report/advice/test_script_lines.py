from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from batchlab.advice.advice import Configuration
from batchlab.report.advice_commands import script_lines

N_EXAMPLES = 23


def run(lines, *, optimizer_class=torch.optim.SGD) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    """Run the lines in a script that has what they ask for; the weights and the optimizer."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    data = TensorDataset(torch.randn(N_EXAMPLES, 3), torch.randint(0, 2, (N_EXAMPLES,)))
    optimizer = optimizer_class(model.parameters(), lr=1.0)
    names = {
        "DataLoader": DataLoader,
        "train_set": data,
        "model": model,
        "loss_fn": F.cross_entropy,
        "optimizer": optimizer,
        "epochs": 5,
        "torch": torch,
    }
    torch.manual_seed(1)
    exec("\n".join(lines), names)
    assert names["loader"].batch_size is not None
    return model.weight.detach(), optimizer


def textbook(batch_size: int, learning_rate: float) -> list[str]:
    return [
        f"loader = DataLoader(train_set, batch_size={batch_size}, shuffle=True)",
        f"optimizer.param_groups[0]['lr'] = {learning_rate}",
        "for x, y in loader:",
        "    optimizer.zero_grad()",
        "    loss_fn(model(x), y).backward()",
        "    optimizer.step()",
    ]


@pytest.mark.parametrize("micro_batch_size", [5, 4, 1], ids=["divides", "ragged", "single"])
def test_accumulated_lines_train_like_whole_batches(micro_batch_size):
    found = Configuration(batch_size=10, micro_batch_size=micro_batch_size, learning_rate=0.3)

    weight, _ = run(script_lines(found))

    expected, _ = run(textbook(10, 0.3))
    torch.testing.assert_close(weight, expected)


def test_a_batch_that_fits_whole_needs_no_loop():
    found = Configuration(batch_size=8, micro_batch_size=8, learning_rate=0.3)

    _, optimizer = run(script_lines(found))

    assert optimizer.param_groups[0]["lr"] == 0.3
    assert "split" not in "".join(script_lines(found))


@pytest.mark.parametrize("micro_batch_size", [4, 2])
def test_a_cool_down_ends_near_zero_as_batchlab_trained_it(micro_batch_size):
    found = Configuration(
        batch_size=4, micro_batch_size=micro_batch_size, learning_rate=0.3, cool_down=0.2
    )
    lines = list(script_lines(found))
    if micro_batch_size == 4:
        lines += ["for x, y in loader:", "    optimizer.step()", "    scheduler.step()"]
    loop = lines.index(next(line for line in lines if line.startswith("for") and "loader" in line))
    every_epoch = ["rates = []", "for epoch in range(epochs):"]
    body = [f"    {line}" for line in lines[loop:]]
    body.insert(1, "        rates.append(optimizer.param_groups[0]['lr'])")

    _, optimizer = run([*lines[:loop], *every_epoch, *body, "optimizer.rates = rates"])

    n_steps = 5 * 6
    expected = [0.3 * min(1, (1 - step / n_steps) / 0.2) for step in range(n_steps)]
    assert optimizer.rates == pytest.approx(expected)
