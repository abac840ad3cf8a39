"""The loop of plain_pytorch.py with the two lines that tell batchlab its progress.

    batchlab advise --metric val_loss --learning-rate 0.05 --target val_loss=0.2 --budget 4m -- \
        python examples/commands/two_lines.py \
        --batch-size {batch_size} --lr {learning_rate} --seed {seed}

The two lines are `import batchlab` and `batchlab.log(...)`. Run by itself, the script trains as if
they were not there. It evaluates every 1000 examples, the same ones for every batch size, so that
the step at which the target was reached is known more finely than by an epoch.
"""

import argparse

import torch
import torch.nn.functional as F
from plain_pytorch import make_data
from torch import nn
from torch.utils.data import DataLoader

import batchlab

EVALUATE_EVERY = 1000  # examples


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    data = make_data(4000, seed=1)
    train = DataLoader(data, batch_size=args.batch_size, shuffle=True)
    x_val, y_val = make_data(1000, seed=2).tensors

    step, seen, mark = 0, 0, EVALUATE_EVERY
    for _ in range(args.epochs):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            step, seen = step + 1, seen + len(x)
            if seen >= mark:
                with torch.no_grad():
                    val_loss = F.cross_entropy(model(x_val), y_val)
                batchlab.log(step=step, samples=seen, epoch=seen / len(data), val_loss=val_loss)
                mark = (seen // EVALUATE_EVERY + 1) * EVALUATE_EVERY


if __name__ == "__main__":
    main()
