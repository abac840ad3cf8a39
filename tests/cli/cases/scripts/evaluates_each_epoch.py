"""A line for each epoch, with training and validation; how many steps one has is not told."""

import argparse

import numpy as np
from net import batches, begun

parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--bs", type=int, default=48, help="examples a step")
parser.add_argument("--lr", type=float, help="learning rate")
parser.add_argument("--epochs", type=int, default=3, help="passes")
given = parser.parse_args()
x, y, held_out, net, random = begun(0, 1000)
for epoch in range(given.epochs):
    losses = [net.step(x[b], y[b], given.lr) for b in batches(len(x), given.bs, random)]
    loss, accuracy = net.measured(*held_out)
    print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} test_grade {accuracy:.4f}", flush=True)
