"""Trains one network, and prints or behaves as `--kind` says: habits of public training scripts."""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from net import Array, Net, data

N = 1025  # one more than a multiple of every power of two
parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--kind", default="steps", help="what is printed")
parser.add_argument("--batch-size", "--max-tokens", type=int, default=24, help="of a step")
parser.add_argument("--sizes", type=int, nargs=2, help="batch sizes of training and validation")
parser.add_argument("--lr", type=float, default=0.02, help="learning rate")
parser.add_argument("--seed", type=int, default=0, help="of weights and order")
parser.add_argument("--epochs", type=int, default=6, help="passes")
parser.add_argument("--rampup-samples", type=int, default=1, help="until the batch is whole")
given = parser.parse_args()
size, kind = (given.sizes or [given.batch_size])[0], given.kind
x, y = data(N, 1)
held_out = data(300, 2)
net, random = Net(given.seed), np.random.default_rng(given.seed)
n_steps = -(-N // size)


def say(text: str) -> None:
    print(text, flush=True)


def batches() -> Iterator[tuple[int, Array]]:
    """Train on one epoch; yield each step's number in it, counted from 1, and its loss."""
    order = random.permutation(N)
    for k in range(n_steps):
        batch = order[k * size : (k + 1) * size]
        yield k + 1, net.step(x[batch], y[batch], given.lr)


def validated() -> tuple[float, float]:
    return net.measured(*held_out)


def numbered(epoch: int, step: int, loss: float, val: str) -> str:
    return f"epoch {epoch} step {step} train_loss {loss:.4f}{val}"


def lines(line: Callable[[int, int, float, str], str]) -> None:
    """Print a line every ten steps, and one with the validation loss after each epoch."""
    step = 0
    for epoch in range(1, given.epochs + 1):
        for k, loss in batches():
            step += 1
            if k % 10 == 0 and k < n_steps:
                say(line(epoch, step, loss, ""))
        say(line(epoch, step, loss, f" val_loss {validated()[0]:.4f}"))


def one_name(epoch: int, step: int, loss: float, val: str) -> str:
    """Give training and validation one name, as many logs do."""
    return f"epoch {epoch} step {step} {f'val: loss {val.split()[-1]}' if val else f'loss {loss}'}"


def scaled(epoch: int, step: int, loss: float, val: str) -> str:
    return f"{numbered(epoch, step, loss, val)} lr {given.lr * size / 256:.6f}"


def folds() -> None:
    """Train several models in one run, for cross-validation."""
    for fold in (1, 2, 3):
        say(f"===== Fold {fold}/3 =====")
        lines(numbered)


def filled() -> None:
    """Fill batches up to a number of tokens, so that most are smaller (fairseq#808)."""
    step = 0
    for epoch in range(1, given.epochs + 1):
        order, start, k = random.permutation(N), 0, 0
        while start < N:
            batch = order[start : start + size - int(random.integers(size // 6))]
            loss = net.step(x[batch], y[batch], given.lr)
            start, step, k = start + len(batch), step + 1, k + 1
            if k % 10 == 0:
                say(f"epoch {epoch} loss {loss:.4f} num_updates {step}")
        say(f"epoch {epoch} | valid subset | val_loss {validated()[0]:.4f} | num_updates {step}")


def summed() -> None:
    """Print a validation loss that is the sum over its batches (davidnabergoj/torchflows#7)."""
    for epoch in range(1, given.epochs + 1):
        steps = sum(1 for _ in batches())
        of_batches = (net.measured(x[i : i + size], y[i : i + size])[0] for i in range(0, N, size))
        say(f"epoch {epoch} step {epoch * steps} val_loss {sum(of_batches):.4f}")


def normalized() -> None:
    """Fail at a last batch of one, as batch normalization does (pytorch/pytorch#4534)."""
    if N % size == 1:
        raise ValueError("Expected more than 1 value per channel when training")
    lines(numbered)


def fixed() -> None:
    """Draw 20 batches in each epoch, whatever their size (MIC-DKFZ/nnUNet#1778)."""
    for epoch in range(25):
        say(f"\nEpoch {epoch}")
        for _ in range(20):
            batch = random.integers(N, size=size)
            net.step(x[batch], y[batch], given.lr)
            time.sleep(2e-5 * size)
        say(f"val_loss {validated()[0]:.4f}\nEpoch time: 0.1 s")


def bars() -> None:
    """Draw bars of preprocessing before the training's own, as TRL does."""
    for words in ("Tokenizing train dataset", "Packing train dataset"):
        for n in (0, 500, N):
            say(f"{words}: {100 * n // N}%|###  | {n}/{N} [00:00<00:01, 900 examples/s]")
    step, total = 0, given.epochs * n_steps
    for _ in range(given.epochs):
        for _ in batches():
            step += 1
            say(f" {100 * step // total}%|###  | {step}/{total} [00:01<00:09, 95.1it/s]")
        say(str({"eval_loss": validated()[0], "eval_runtime": 0.1, "epoch": step / n_steps}))
        say(f" {100 * step // total}%|###  | {step}/{total} [00:01<00:09, 95.1it/s]")


def timed() -> None:
    """Train for a fixed time, and evaluate once, at its end."""
    step, ends_s = 0, time.monotonic() + 0.3
    while time.monotonic() < ends_s:
        for _ in batches():
            step += 1
        say(f"step {step}")
    say(f"final val_loss {validated()[0]:.4f}")


def growing() -> None:
    """Let the batch grow to its size (NVIDIA/Megatron-LM#3779)."""
    seen = step = 0
    while seen < given.epochs * N:
        now = max(4, min(size, size * seen // given.rampup_samples))
        batch = random.integers(N, size=now)
        loss = net.step(x[batch], y[batch], given.lr)
        step, seen = step + 1, seen + now
        if step % 20 == 0:
            say(f" iteration {step:8d} | consumed samples: {seen:8d} | lm loss: {loss:.6E} |")
            say(f" validation loss at iteration {step} | lm loss value: {validated()[0]:.6E} |")


KINDS: dict[str, Callable[[], None]] = {
    "steps": lambda: lines(numbered),
    "one_name": lambda: lines(one_name),
    "scaled": lambda: lines(scaled),
    "folds": folds,
    "filled": filled,
    "summed": summed,
    "normalized": normalized,
    "fixed": fixed,
    "bars": bars,
    "timed": timed,
    "growing": growing,
}
KINDS[kind]()
