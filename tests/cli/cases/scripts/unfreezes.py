"""Trains its head for 3 epochs, then all of it for 4: the epochs begin again (Keras, two fits)."""

from __future__ import annotations

import argparse

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
x, y = data(2000, 1)
held_out = data(500, 2)
n_batches = -(-len(x) // asked.batch_size)
net, random = Net(asked.seed), np.random.default_rng(asked.seed)
for n_epochs, rate in ((3, asked.lr / 4), (4, asked.lr)):
    for epoch in range(n_epochs):
        print(f"Epoch {epoch + 1}/{n_epochs}", flush=True)
        losses = [net.step(x[i], y[i], rate) for i in batches(len(x), asked.batch_size, random)]
        loss, accuracy = net.measured(*held_out)
        print(
            f"{n_batches}/{n_batches} ━━━━━━━━━━ 1s 8ms/step - loss: {np.mean(losses):.4f} "
            f"- val_accuracy: {accuracy:.4f} - val_loss: {loss:.4f}",
            flush=True,
        )
