"""A header once and bare rows below it, as fastai prints them."""

import argparse
import time

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--bs", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
given = parser.parse_args()

x, y = data(2000, 1)
held_out = data(500, 2)
net, random = Net(given.seed), np.random.default_rng(given.seed)
print("epoch\ttrain_loss\tvalid_loss\taccuracy\ttime")
for epoch in range(8):
    losses = [net.step(x[i], y[i], given.lr) for i in batches(len(x), given.bs, random)]
    time.sleep(0.05)
    loss, accuracy = net.measured(*held_out)
    print(f"{epoch}\t{np.mean(losses):.6f}\t{loss:.6f}\t{accuracy:.6f}\t00:01", flush=True)
