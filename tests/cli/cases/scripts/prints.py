"""Trains one network, and prints or behaves as `--kind` says: habits of public training scripts."""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from net import Array, Net, data

N = 1025  # one more than a multiple of every power of two
parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--kind", default="steps", help="what is printed")
parser.add_argument(
    "--batch-size",
    "--max-tokens",
    "--trainer.batch_size",
    type=int,
    default=24,
    help="of a step",
)
parser.add_argument("--sizes", type=int, nargs=2, help="batch sizes of training and validation")
parser.add_argument("--lr", "--trainer.learning_rate", type=float, default=0.02, help="its rate")
parser.add_argument("--seed", "--random_seed", type=int, default=0, help="of weights and order")
parser.add_argument("--epochs", type=int, default=6, help="passes")
parser.add_argument("--rampup-samples", type=int, default=1, help="until the batch is whole")
given = parser.parse_args()
size, kind = (given.sizes or [given.batch_size])[0], given.kind
if kind == "halved":  # until it fits, as Accelerate's find_executable_batch_size does
    size = min(size, 128)
x, y = data(N, 1)
held_out = data(300, 2)
net, random = Net(given.seed), np.random.default_rng(given.seed)
n_steps = N // size if kind == "dropped" else -(-N // size)  # the smaller last batch too


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


def ends(line: Callable[[int, int, float, float], str]) -> None:
    """Print one line after each epoch, with the loss and the accuracy of the validation."""
    step = 0
    for epoch in range(1, given.epochs + 1):
        step += sum(1 for _ in batches())
        say(line(epoch, step, *validated()))


def dropped(epoch: int, _: int, loss: float, accuracy: float) -> str:
    """Leave out the smaller last batch: one that is larger than the data trains nothing."""
    shown = f"val_0_accuracy: {accuracy:<8.5f}| val_0_logloss: {loss:<8.5f}"
    return f"epoch {epoch - 1:<3}| {shown}|  0:00:00s"


def halved(epoch: int, step: int, loss: float, _: float) -> str:
    return str({"eval_loss": loss, "epoch": float(epoch), "step": step})


def at_once(epoch: int, step: int, loss: float, _: float) -> str:
    """Train in less time than a clock can tell of a step (ludwig-ai/ludwig#3475)."""
    return f"step: {step}, epoch: {epoch}, combined loss: {loss:.4f}"


def at_end() -> None:
    """Print the training loss on the way, and evaluate once, at the end."""
    for epoch in range(given.epochs):
        for k, loss in batches():
            if k % 5 == 0:
                say(f"epoch {epoch} step {epoch * n_steps + k} loss {loss:.4f}")
    loss, accuracy = validated()
    say(f"***** eval results *****\n  eval_accuracy = {accuracy:.4f}\n  eval_loss = {loss:.4f}")


def inside() -> None:
    """Validate every 20 batches, and refuse shorter epochs (mmcdermott/MEDS_EIC_AR#62)."""
    if n_steps < 20:
        raise ValueError(
            "`val_check_interval` (20) must be less than or equal to the number of the training "
            f"batches ({n_steps}). To disable validation set `limit_val_batches` to 0.0"
        )
    for epoch in range(given.epochs):
        for k, _ in batches():
            val = "" if k % 20 else ", val_loss={:.3f}, val_acc={:.3f}".format(*validated())
            bar = f"{100 * k // n_steps}%|###| {k}/{n_steps} [00:01<00:00, 95.1it/s"
            say(f"Epoch {epoch}: {bar}{val}]")


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


def normalized() -> None:
    """Fail at a last batch of one, as batch normalization does (pytorch/pytorch#4534)."""
    if N % size == 1:
        raise ValueError("Expected more than 1 value per channel when training")
    lines(numbered)


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
    **{f.__name__: partial(ends, f) for f in (dropped, halved, at_once)},
    "at_end": at_end,
    "inside": inside,
    "folds": folds,
    "filled": filled,
    "normalized": normalized,
    "timed": timed,
    "growing": growing,
}
KINDS[kind]()
