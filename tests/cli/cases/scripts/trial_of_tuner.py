"""A trial that its tuner ran again with the same values (microsoft/nni#4619); notes where."""

import argparse
from pathlib import Path

from net import begun

parser = argparse.ArgumentParser()
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output_dir", default="out")
asked = parser.parse_args()
x, y, held_out, net, random = begun(asked.seed)
for epoch in range(1, 4):
    order = random.permutation(len(x))
    for first in range(0, len(x), asked.batch_size):
        batch = order[first : first + asked.batch_size]
        loss = net.step(x[batch], y[batch], asked.lr)
        if first // asked.batch_size % 30 == 0:
            seen = f"[{first}/{len(x)} ({100 * first / len(x):.0f}%)]"
            print(f"Train Epoch: {epoch} {seen}\tLoss: {loss:.6f}")
    loss, accuracy = net.measured(*held_out)
    right = f"{round(500 * accuracy)}/500 ({accuracy:.0%})"
    print(f"\nTest set: Average loss: {loss:.4f}, Accuracy: {right}\n", flush=True)
with Path("ended.txt").open("a") as file:
    print(asked.output_dir, file=file)
