"""Five folds in one run: the epochs begin again in each."""

import argparse

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--word", default="Fold")
given = parser.parse_args()

x, y = data(1000, 1)
for fold, held_out in enumerate(np.array_split(np.random.default_rng(9).permutation(1000), 5)):
    print(f"===== {given.word} {fold + 1}/5 =====" if given.word else "")
    train = np.setdiff1d(np.arange(1000), held_out)
    net, random = Net(given.seed + fold), np.random.default_rng(given.seed)
    for epoch in range(4):
        for i in batches(len(train), given.batch_size, random):
            net.step(x[train[i]], y[train[i]], given.lr)
        loss, accuracy = net.measured(x[held_out], y[held_out])
        print(f"Epoch {epoch + 1}/4  val_loss: {loss:.4f}  val_acc: {accuracy:.4f}", flush=True)
