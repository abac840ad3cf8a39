"""Prints nothing: Lightning's CSVLogger writes metrics.csv into the folder that it is given."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, required=True)
asked = parser.parse_args()
x, y = data(2000, 1)
held_out = data(500, 2)
net, random, step = Net(asked.seed), np.random.default_rng(asked.seed), 0
folder = asked.out / "lightning_logs" / "version_0"
folder.mkdir(parents=True, exist_ok=True)
with (folder / "metrics.csv").open("w", newline="") as file:
    rows = csv.DictWriter(file, ["epoch", "step", "train_loss", "val_acc", "val_loss"])
    rows.writeheader()
    for epoch in range(6):
        for batch in batches(len(x), asked.batch_size, random):
            train_loss = net.step(x[batch], y[batch], asked.lr)
            step += 1
            if step % 10 == 0:
                rows.writerow({"epoch": epoch, "step": step - 1, "train_loss": train_loss})
        loss, accuracy = net.measured(*held_out)
        told = {"val_acc": accuracy, "val_loss": loss}
        rows.writerow({"epoch": epoch, "step": step - 1, **told})
        file.flush()
