"""Images from a Dataset, each training batch shifted at random.

    batchlab advise examples/images.py:workload --budget 60s
    batchlab sweep examples/images.py:workload --batch-sizes 16,64,256 \
        --learning-rates 0.03,0.1 --epochs 2

MNIST is inside batchlab, so nothing is downloaded. `augment` changes training batches only.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

import batchlab
from batchlab.datasets import load_mnist


class Digits(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels  # NumPy arrays of bytes, as they lie in the file

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]).float().reshape(1, 28, 28) / 255
        return image, int(self.labels[index])


def shifted(batch, most=2):
    """Every image moved by up to `most` pixels, each by its own way."""
    x, y = batch
    moves = torch.randint(2 * most + 1, (len(x), 2)).tolist()
    padded = F.pad(x, (most, most, most, most))
    parts = [image[:, i : i + 28, j : j + 28] for image, (i, j) in zip(padded, moves, strict=True)]
    return torch.stack(parts), y


def build_model():
    layers = [nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(400, 10))


def workload():
    mnist = load_mnist(n_validation=1000)
    return batchlab.Workload(
        name="digits",
        model=build_model,
        train=Digits(*(part[:2000] for part in mnist["train"])),
        validation=Digits(*mnist["validation"]),
        augment=shifted,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        metrics={"accuracy": lambda m, batch: (m(batch[0]).argmax(1) == batch[1]).float().mean()},
        batch_size=32,
        learning_rate=0.03,  # of SGD with momentum 0.9, where no optimizer is given
        epochs=4,
    )
