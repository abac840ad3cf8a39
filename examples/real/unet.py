"""A U-Net that finds the disks among squares in noisy pictures, scored by overlap (Dice).

    batchlab advise examples/real/unet.py:workload --set precision=bf16 --device cuda --budget 30m
    batchlab advise examples/real/unet.py:workload --set width=4 --set side=32 --set n=600 \
        --set epochs=4 --budget 2m

The pictures are made here.
"""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def pictures(n, side, seed):
    """Return n pictures of three disks and three squares, and the masks of the disks."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    picture, mask = torch.zeros(n, 1, side, side), torch.zeros(n, 1, side, side)
    for number in range(6):
        row, column = side * torch.rand(2, n, 1, 1, 1, generator=random)
        radius = side * (0.08 + 0.1 * torch.rand(n, 1, 1, 1, generator=random))
        dy, dx = (y - row).abs(), (x - column).abs()
        is_disk = number % 2 == 0
        inside = dy**2 + dx**2 < radius**2 if is_disk else torch.maximum(dy, dx) < 0.9 * radius
        picture = torch.where(inside, 0.5 + torch.rand(n, 1, 1, 1, generator=random), picture)
        mask = torch.where(inside, float(is_disk), mask)
    return picture + 0.3 * torch.randn(picture.shape, generator=random), mask


def twice(n_in, n_out):
    layers = []
    for n in (n_in, n_out):
        layers += [nn.Conv2d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):  # Ronneberger et al. 2015, with three levels instead of five
    def __init__(self, width):
        super().__init__()
        self.down = nn.ModuleList([twice(1, width), twice(width, 2 * width)])
        self.middle, self.mask = twice(2 * width, 4 * width), nn.Conv2d(width, 1, 1)
        self.up = nn.ModuleList([twice(6 * width, 2 * width), twice(3 * width, width)])

    def forward(self, x):
        passed = []
        for layers in self.down:
            passed.append(layers(x))
            x = F.max_pool2d(passed[-1], 2)
        x = self.middle(x)
        for layers in self.up:
            x = layers(torch.cat([F.interpolate(x, scale_factor=2), passed.pop()], dim=1))
        return self.mask(x)


def overlap(mask, true):
    """Return the Dice coefficient of two masks, averaged over the pictures."""
    return (2 * ((mask * true).sum((1, 2, 3)) + 1) / ((mask + true).sum((1, 2, 3)) + 2)).mean()


def loss(model, batch):
    scores, true = model(batch[0]), batch[1]
    return 1 + F.binary_cross_entropy_with_logits(scores, true) - overlap(scores.sigmoid(), true)


def workload(*, width=32, side=96, n=4000, epochs=10):
    return batchlab.Workload(
        name="unet",
        model=lambda: UNet(width),
        train=pictures(n, side, seed=1),
        validation=pictures(n // 4, side, seed=2),
        loss=loss,
        metrics={"dice": lambda model, batch: overlap((model(batch[0]) > 0).float(), batch[1])},
        optimizer=lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate),
        batch_size=16,
        learning_rate=0.003,
        epochs=epochs,
    )
