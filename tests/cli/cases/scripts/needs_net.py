"""Refuses to run without `-net`; its help shows no defaults (the docs' Bag of Tricks)."""

import argparse

from net import begun

parser = argparse.ArgumentParser()
parser.add_argument("-net", type=str, required=True, help="net type")
parser.add_argument("-b", type=int, default=64, help="batch size for dataloader")
parser.add_argument("-lr", type=float, default=0.02, help="initial learning rate")
asked = parser.parse_args()
x, y, held_out, net, random = begun(0)
for epoch in range(1, 5):
    order = random.permutation(len(x))
    for first in range(0, len(x), asked.b):
        batch = order[first : first + asked.b]
        loss = net.step(x[batch], y[batch], asked.lr)
        print(f"Training Epoch: {epoch} [{first + len(batch)}/{len(x)}]\tLoss: {loss:0.4f}")
    loss, accuracy = net.measured(*held_out)
    print(f"Test set: Average loss: {loss:.4f}, Accuracy: {accuracy:.4f}", flush=True)
