"""Says once which batch size it takes, and halves it by itself (huggingface/transformers#21950)."""

import argparse
import sys

from net import batches, begun

parser = argparse.ArgumentParser()
parser.add_argument("--per_device_train_batch_size", type=int, default=32)
parser.add_argument("--learning_rate", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
size = min(asked.per_device_train_batch_size, 64)
x, y, held_out, net, random = begun(asked.seed)
step = 0
n_steps = 5 * -(-len(x) // size)
for epoch in range(1, 6):
    for batch in batches(len(x), size, random):
        net.step(x[batch], y[batch], asked.learning_rate)
        step += 1
        bar = f"\r {100 * step // n_steps}%|███       | {step}/{n_steps} [00:01<00:09, 95.1it/s]"
        print(bar, end="", file=sys.stderr, flush=True)
    told = {"eval_loss": net.measured(*held_out)[0], "eval_runtime": 0.01, "epoch": float(epoch)}
    print(f"\n{told}", flush=True)
    print(bar, end="", file=sys.stderr, flush=True)
