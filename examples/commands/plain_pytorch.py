"""A training loop of your own that prints a line an epoch. It never hears of batchlab.

    batchlab profile --metric val_loss --learning-rate 0.05 -- \
        python examples/commands/plain_pytorch.py --batch-size {batch_size} --lr {learning_rate}
    batchlab sweep --metric val_loss --learning-rate 0.05 --batch-sizes 16,64,256 --epochs 10 -- \
        python examples/commands/plain_pytorch.py \
        --batch-size {batch_size} --lr {learning_rate} --seed {seed}
    batchlab advise --metric val_loss --learning-rate 0.05 --target val_loss=0.2 --budget 4m -- \
        python examples/commands/plain_pytorch.py \
        --batch-size {batch_size} --lr {learning_rate} --seed {seed}

The data are made up: points in 10 dimensions, and whether they lie in a sphere.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_data(n_examples, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_examples, 10, generator=generator)
    return TensorDataset(x, (x.square().sum(dim=1) < 9.34).long())  # half of the points


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
    train = DataLoader(make_data(4000, seed=1), batch_size=args.batch_size, shuffle=True)
    x_val, y_val = make_data(1000, seed=2).tensors

    step = 0
    for epoch in range(1, args.epochs + 1):
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            step += 1
        with torch.no_grad():
            logits = model(x_val)
        val_loss = F.cross_entropy(logits, y_val).item()
        accuracy = (logits.argmax(dim=1) == y_val).float().mean().item()
        print(f"epoch {epoch} step {step} val_loss {val_loss:.4f} accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
