"""An LSTM over sequences of unequal length, in batches of sequences of about the same length.

    batchlab advise examples/buckets.py:workload --budget 60s
    batchlab sweep examples/buckets.py:workload --batch-sizes 16,64,256 --epochs 3

The padding of each batch is short then. Batches keep their size; the smaller one comes last.
"""

import torch
from torch import nn, stack
from torch.nn.utils.rnn import pad_sequence

from batchlab import Workload

torch.manual_seed(0)
bits = [torch.randint(2, (4 + k % 37,)) for k in range(2000)]
data = [(x, (x.float().mean() > 0.5).long()) for x in bits]  # mostly ones?


def in_buckets(batch_size, seed):
    """The batches of an epoch: neighbors by length, in an order that is new each time."""
    torch.manual_seed(seed)
    nearly = torch.tensor([len(x) for x in bits[:1800]]) + torch.rand(1800)
    batches = nearly.argsort().split(batch_size)
    order = torch.randperm(1800 // batch_size).tolist()
    return [batches[k] for k in [*order, *range(len(order), len(batches))]]


class Counter(nn.Sequential):
    def forward(self, x):  # ones, zeros, and 2 after the end of a sequence
        return self[2](self[1](self[0](x))[0][torch.arange(len(x)), (x != 2).sum(1) - 1])


workload = Workload(
    name="majority", train=data[:1800], validation=data[1800:], make_sampler=in_buckets,
    model=lambda: Counter(nn.Embedding(3, 8), nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 2)),
    loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
    learning_rate=0.1,
    collate=lambda part: (pad_sequence([x for x, _ in part], True, 2), stack([y for _, y in part])),
)  # fmt: skip
