"""Trains in less time than a clock can tell of a step (ludwig-ai/ludwig#3475)."""

import argparse

from net import batches, begun

parser = argparse.ArgumentParser()
parser.add_argument("--trainer.batch_size", dest="size", type=int, default=128)
parser.add_argument("--trainer.learning_rate", dest="rate", type=float, default=0.02)
parser.add_argument("--random_seed", dest="seed", type=int, default=0)
asked = parser.parse_args()
x, y, held_out, net, random = begun(asked.seed)
step = 0
for epoch in range(1, 4):
    for batch in batches(len(x), asked.size, random):
        net.step(x[batch], y[batch], asked.rate)
        step += 1
    loss = net.measured(*held_out)[0]
    print(f"step: {step}, epoch: {epoch}, combined loss: {loss:.4f}", flush=True)
