"""A user's file with a workload in it, small enough to train in a blink; parts can be replaced."""

from pathlib import Path

_TEXT = """
import torch
import torch.nn.functional as F
from torch import nn

import batchlab
{before}

def examples(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def cross_entropy(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def accuracy(model, batch):
    return (model(batch[0]).argmax(1) == batch[1]).float().mean()


def workload({keywords}):
    fields = dict(
        name="mine",
        model=lambda: nn.Linear(4, 3),
        train=examples(200, seed=0),
        validation=examples(40, seed=1),
        test=examples(40, seed=2),
        loss=cross_entropy,
        metrics={{"accuracy": accuracy}},
        optimizer=lambda parameters, learning_rate, momentum=0.5: torch.optim.SGD(
            parameters, lr=learning_rate, momentum=momentum
        ),
        batch_size=20,
        learning_rate=0.1,
    )
    fields.update({fields})
    return batchlab.Workload(**fields)
"""


def write_user_file(folder: Path, *, name="mine.py", before="", keywords="", fields="") -> str:
    """Write the file and return the reference of its workload.

    `keywords` are those of the function `workload`, `fields` those of its Workload.
    """
    file = folder / name
    file.write_text(_TEXT.format(before=before, keywords=keywords, fields=fields))
    return f"{file}:workload"
