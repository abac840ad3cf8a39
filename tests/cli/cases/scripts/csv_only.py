"""Nothing printed: a CSV in the output folder, written anew as it grows, as Lightning does."""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path)
given = parser.parse_args()

x, y = data(2000, 1)
held_out = data(500, 2)
net, random = Net(given.seed), np.random.default_rng(given.seed)
folder, rows, step = given.out / "logs" / "version_0", [], 0
folder.mkdir(parents=True)
for epoch in range(8):
    for i in batches(len(x), given.bs, random):
        step += 1
        rows.append({"epoch": epoch, "step": step, "train_loss": net.step(x[i], y[i], given.lr)})
    time.sleep(0.05)
    loss, accuracy = net.measured(*held_out)
    rows.append({"epoch": epoch, "step": step, "val_loss": loss, "val_acc": accuracy})
    with (folder / "metrics.csv").open("w") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
