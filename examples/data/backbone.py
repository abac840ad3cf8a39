"""Writes backbone.safetensors: two convolutions trained on the digits 0 to 4 of MNIST.

python examples/data/backbone.py
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from batchlab.datasets import load_mnist


def backbone():
    """16 × 5 × 5 features of a digit, shape (n, 400)."""
    layers = [nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten())


def pretrained(steps=400):
    images, labels = (torch.from_numpy(part) for part in load_mnist()["train"])
    x, y = images[labels < 5].float().reshape(-1, 1, 28, 28) / 255, labels[labels < 5].long()
    torch.manual_seed(0)
    model = nn.Sequential(backbone(), nn.Linear(400, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        chosen = slice(64 * step, 64 * (step + 1))
        optimizer.zero_grad()
        F.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return model[0]


if __name__ == "__main__":
    save_file(pretrained().state_dict(), Path(__file__).with_suffix(".safetensors"))
