"""Halves its batch until it fits, as Accelerate's find_executable_batch_size does."""

import argparse

from net import batches, begun

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()


def train(size: int) -> None:
    if size > 128:
        raise MemoryError
    x, y, held_out, net, random = begun(asked.seed)
    step = 0
    for epoch in range(6):
        for batch in batches(len(x), size, random):
            net.step(x[batch], y[batch], asked.lr)
            step += 1
        told = {"eval_loss": net.measured(*held_out)[0], "epoch": float(epoch + 1), "step": step}
        print(told, flush=True)


size = asked.batch_size
while True:
    try:
        train(size)
        break
    except MemoryError:
        size //= 2
