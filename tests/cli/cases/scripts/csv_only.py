"""Nothing printed: a CSV in the output folder, written anew as it grows, as Lightning does."""

import argparse
import csv
import random
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path)
given = parser.parse_args()

chance, rows, step = random.Random(f"{given.bs} {given.lr} {given.seed}"), [], 0
folder = given.out / "logs" / "version_0"
folder.mkdir(parents=True)
for epoch in range(8):
    for _ in range(-(-2000 // given.bs)):
        step += 1
        rows.append({"epoch": epoch, "step": step, "train_loss": chance.random()})
    time.sleep(0.02)
    rows.append({"epoch": epoch, "step": step, "val_acc": chance.random()})
    with (folder / "metrics.csv").open("w") as file:
        writer = csv.DictWriter(file, ["epoch", "step", "train_loss", "val_acc"])
        writer.writeheader()
        writer.writerows(rows)
