"""A ResNet-18 on images of the size of CIFAR-10.

    batchlab advise examples/real/resnet18.py:workload --set precision=bf16 --device cuda \
        --budget 30m
    batchlab advise examples/real/resnet18.py:workload --set width=8 --set side=16 --set n=2000 \
        --set epochs=4 --budget 2m

The images are made here: the pattern of a class and, fainter, of another one, moved, in noise.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def images(n, side, seed):
    """Return n images of 3 x side x side bytes, and their classes, 0 to 9."""
    patterns = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    patterns = F.interpolate(patterns, (side, side), mode="bicubic")
    random = torch.Generator().manual_seed(seed)
    classes, others = torch.randint(10, (2, n), generator=random)
    moves = torch.randint(side // 2, (n, 2, 2), generator=random).tolist()
    made = torch.empty(n, 3, side, side, dtype=torch.uint8)
    for i, (move, other_move) in enumerate(moves):
        image = patterns[classes[i]].roll(move, (1, 2))
        image = image + 0.7 * patterns[others[i]].roll(other_move, (1, 2))
        image = image + torch.randn(image.shape, generator=random)
        made[i] = (128 + 40 * image).clamp(0, 255).byte()
    return made, classes


def convolution(n_in, n_out, size, stride=1):
    layer = nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out))


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        first, second = convolution(n_in, n_out, 3, stride), convolution(n_out, n_out, 3)
        self.residual, self.shortcut = nn.Sequential(first, nn.ReLU(), second), nn.Identity()
        if stride > 1:
            self.shortcut = convolution(n_in, n_out, 1, stride)

    def forward(self, x):
        return F.relu(self.residual(x) + self.shortcut(x))


class ResNet18(nn.Module):  # He et al. 2016, but the first layer keeps the size of small images
    def __init__(self, width):
        super().__init__()
        layers = [convolution(3, width, 3), nn.ReLU()]
        layers += [Block(width, width, 1), Block(width, width, 1)]
        for n in (width, 2 * width, 4 * width):
            layers += [Block(n, 2 * n, 2), Block(2 * n, 2 * n, 1)]
        self.layers, self.scores = nn.Sequential(*layers), nn.Linear(8 * width, 10)

    def forward(self, x):
        return self.scores(self.layers(x.float() / 128 - 1).mean((2, 3)))


def workload(*, width=64, side=32, n=50_000, epochs=15):
    return batchlab.Workload(
        name="resnet18",
        model=lambda: ResNet18(width),
        train=images(n, side, seed=1),
        validation=images(n // 5, side, seed=2),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        metrics={"accuracy": lambda m, batch: (m(batch[0]).argmax(1) == batch[1]).float().mean()},
        optimizer=lambda p, rate: torch.optim.SGD(p, lr=rate, momentum=0.9, weight_decay=5e-4),
        schedule=lambda fraction: 0.5 + 0.5 * math.cos(math.pi * fraction),
        batch_size=128,
        learning_rate=0.05,
        epochs=epochs,
    )
