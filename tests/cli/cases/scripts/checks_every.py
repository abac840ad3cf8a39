"""Validates every 20 batches, and refuses epochs that have fewer (mmcdermott/MEDS_EIC_AR#62)."""

import argparse

from net import batches, begun

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=32)
parser.add_argument("--lr", type=float, default=0.02)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
x, y, held_out, net, random = begun(asked.seed)
n_batches = -(-len(x) // asked.batch_size)
if n_batches < 20:
    raise ValueError(
        f"`val_check_interval` (20) must be less than or equal to the number of the training "
        f"batches ({n_batches}). If you want to disable validation set `limit_val_batches` to 0.0"
    )
for epoch in range(5):
    for step, batch in enumerate(batches(len(x), asked.batch_size, random), 1):
        net.step(x[batch], y[batch], asked.lr)
        told = ""
        if step % 20 == 0:
            loss, accuracy = net.measured(*held_out)
            told = f", val_loss={loss:.3f}, val_acc={accuracy:.3f}"
        bar = f"{100 * step // n_batches}%|███| {step}/{n_batches} [00:01<00:00, 95.1it/s"
        print(f"Epoch {epoch}: {bar}{told}]", flush=True)
