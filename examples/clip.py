"""Pairs that find each other (CLIP): the loss depends on the batch, retrieval does not.

    batchlab advise examples/clip.py:workload --budget 60s
    batchlab sweep examples/clip.py:workload --batch-sizes 32,128 --epochs 2

By its loss no batch sizes can be compared; by this metric over a fixed pool they can.
"""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab

HIDDEN, IMAGE, CAPTION = (torch.randn(n, 8, generator=torch.manual_seed(n)) for n in (1500, 16, 12))
IMAGES, CAPTIONS = HIDDEN @ IMAGE.T, HIDDEN @ CAPTION.T


def loss(model, batch):  # each image against all captions of its batch, and each caption likewise
    scores = model[0](batch[0]) @ model[1](batch[1]).T
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def retrieval(model, batch):  # captions nearer to their own image than to a fixed pool of others
    captions, pool = model[1](batch[1]), model[0](IMAGES[1000:1100].to(batch[0].device))
    return ((captions * model[0](batch[0])).sum(1) > (captions @ pool.T).amax(1)).sum()


def workload():
    return batchlab.Workload(
        name="clip",
        model=lambda: nn.ModuleList(nn.Sequential(nn.Linear(n, 8), nn.Tanh()) for n in (16, 12)),
        train=(IMAGES[:1000], CAPTIONS[:1000]),
        validation=(IMAGES[1300:].clone(), CAPTIONS[1300:].clone()),
        loss=loss,
        metrics={"retrieval": batchlab.Metric(sum=retrieval, better="higher")},
        batch_size=64,
        learning_rate=0.03,
    )
