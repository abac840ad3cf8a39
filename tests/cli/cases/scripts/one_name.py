"""A bar drawn by hand, with the same words for training and test; a test every third epoch."""

import argparse

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
given = parser.parse_args()

sets = {"train": data(2000, 1), "test": data(500, 2)}
net, random = Net(given.seed), np.random.default_rng(given.seed)
for epoch in range(9):
    print(f"\nEpoch: {epoch}")
    for name in ("train",) if epoch % 3 < 2 else ("train", "test"):
        x, y = sets[name]
        parts = list(batches(len(x), given.bs if name == "train" else 100, random))
        for number, part in enumerate(parts, 1):
            loss, accuracy = net.measured(x[part], y[part])
            if name == "train":
                net.step(x[part], y[part], given.lr)
            text = f" [==>.]  Step: 1ms | Loss: {loss:.3f} | Acc: {100 * accuracy:.3f}% (5/9)"
            end = "\r" if number < len(parts) else "\n"
            print(f"{text:80}\b\b\b {number}/{len(parts)} ", end=end, flush=True)
