"""Leaves out the smaller last batch, so that a batch larger than the data trains nothing."""

import argparse

import numpy as np
from net import begun

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=256)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
x, y, held_out, net, random = begun(asked.seed, 900)
for epoch in range(8):
    order = random.permutation(len(x))
    losses = [0.0]
    for start in range(0, len(x) - asked.batch_size + 1, asked.batch_size):
        batch = order[start : start + asked.batch_size]
        losses.append(net.step(x[batch], y[batch], asked.lr))
    loss, accuracy = net.measured(*held_out)
    print(
        f"epoch {epoch:<3}| loss: {np.mean(losses):<8.5f}| val_0_accuracy: {accuracy:<8.5f}| "
        f"val_0_logloss: {loss:<8.5f}|  0:00:00s",
        flush=True,
    )
