"""Tells its accuracy once an epoch, as most scripts do."""

import argparse
import time

from net import batches, begun

ask = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
ask.add_argument("--batch-size", type=int, default=104, help="examples a step")
ask.add_argument("--lr", type=float, default=0.02, help="the rate")
ask.add_argument("--seed", type=int, default=0, help="of weights and order")
ask.add_argument("--epochs", type=int, default=6, help="passes")
asked = ask.parse_args()

x, y, held_out, net, random = begun(asked.seed, 6000, 1500)
for epoch in range(1, asked.epochs + 1):
    for batch in batches(6000, asked.batch_size, random):
        net.step(x[batch], y[batch], asked.lr)
        time.sleep(0.001)  # as a larger model would take
    loss, accuracy = net.measured(*held_out)
    print(f"Epoch {epoch:02d} - val/loss: {loss:.4f} - val/acc: {100 * accuracy:.2f}%", flush=True)
