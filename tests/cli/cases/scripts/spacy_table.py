"""A table with a rule below its header, as spaCy's `train` prints it; a score between 0 and 1."""

from __future__ import annotations

import argparse

import numpy as np
from net import Net, batches, data

parser = argparse.ArgumentParser()
parser.add_argument("--training.batch_size", dest="batch_size", type=int, default=32)
parser.add_argument("--training.optimizer.learn_rate", dest="rate", type=float, default=0.02)
parser.add_argument("--training.seed", dest="seed", type=int, default=0)
asked = parser.parse_args()
x, y = data(2000, 1)
held_out = data(500, 2)
net, random, step = Net(asked.seed), np.random.default_rng(asked.seed), 0
print("E    #       LOSS TEXTCAT  CATS_SCORE  SCORE ")
print("---  ------  ------------  ----------  ------")
for epoch in range(6):
    losses = []
    for batch in batches(len(x), asked.batch_size, random):
        losses.append(net.step(x[batch], y[batch], asked.rate))
        step += 1
        if step % 20 == 0:
            score = net.measured(*held_out)[1]
            told = f"{np.mean(losses):12.2f}  {100 * score:10.2f}  {score:6.2f}"
            print(f"{epoch:3d}  {step:6d}  {told}", flush=True)
