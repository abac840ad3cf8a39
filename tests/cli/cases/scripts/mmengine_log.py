"""A log with counters in brackets, `Epoch(train) [1][50/188]`, and options `key=value`."""

import argparse
import logging

import numpy as np
from net import Net, batches, data

form = "%(asctime)s - mmengine - %(levelname)s - %(message)s"
logging.basicConfig(level=logging.INFO, format=form, datefmt="%m/%d %H:%M:%S")
parser = argparse.ArgumentParser()
parser.add_argument("--cfg-options", nargs="+", default=[])
chosen = dict(each.split("=") for each in parser.parse_args().cfg_options)
size, rate = int(chosen["loader.batch_size"]), float(chosen["optimizer.lr"])
seed = int(chosen["randomness.seed"])

x, y = data(2000, 1)
held_out = data(500, 2)
net, random = Net(seed), np.random.default_rng(seed)
for epoch in range(1, 7):
    n = -(-len(x) // size)
    for k, i in enumerate(batches(len(x), size, random), 1):
        loss = net.step(x[i], y[i], rate)
        if k % 5 == 0 or k == n:
            said = f"[{epoch}][{k:3d}/{n}]  lr: {rate:.4e}  eta: 0:01:05  memory: 1024"
            logging.info(f"Epoch(train)  {said}  loss: {loss:.4f}")
    accuracy = 100 * net.measured(*held_out)[1]
    logging.info(f"Epoch(val) [{epoch}][10/15]    eta: 0:00:01  time: 0.0021")
    logging.info(f"Epoch(val) [{epoch}][15/15]    accuracy/top1: {accuracy:.4f}  time: 0.0021")
