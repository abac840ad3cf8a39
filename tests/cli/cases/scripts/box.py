"""A box in which the value stands above its counter, as Stable-Baselines3 prints it."""

from __future__ import annotations

import argparse

import numpy as np
from net import Net, data

parser = argparse.ArgumentParser()
parser.add_argument("--n-steps", type=int, default=64)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
x, y = data(2000, 1)
held_out = data(500, 2)
net, random = Net(asked.seed), np.random.default_rng(asked.seed)
for iteration in range(1, 12000 // asked.n_steps):
    batch = random.integers(len(x), size=asked.n_steps)
    net.step(x[batch], y[batch], asked.lr)
    if iteration % 10 == 0:
        reward = 100 * net.measured(*held_out)[1]
        print("-" * 40)
        print("| rollout/                |            |")
        print(f"|    ep_rew_mean          | {reward:<10.3g} |")
        print("| time/                   |            |")
        print(f"|    iterations           | {iteration:<10} |")
        print(f"|    total_timesteps      | {iteration * asked.n_steps:<10} |")
        print("-" * 40, flush=True)
