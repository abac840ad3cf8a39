"""An LSTM over sequences of unequal length, in batches of sequences of about the same length.

    batchlab advise examples/buckets.py:workload --budget 60s
    batchlab sweep examples/buckets.py:workload --batch-sizes 16,64,256 --epochs 3

The padding of each batch is short then. Batches keep their size; the smaller one comes last.
"""

import torch
from torch import nn, stack
from torch.nn.utils.rnn import pad_sequence

from batchlab import Workload

draw = torch.Generator().manual_seed(0)
bits = [torch.randint(2, (4 + k % 37,), generator=draw) for k in range(2000)]
data = [(x, (x.float().mean() > 0.5).long()) for x in bits]  # mostly ones?


def in_buckets(batch_size, seed):
    """The batches of an epoch: neighbours by length, in an order that is new each time."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([len(x) for x in bits[:1800]])
    batches = (lengths + torch.rand(1800, generator=draw)).argsort().split(batch_size)
    full = [part for part in batches if len(part) == batch_size]
    return [full[k] for k in torch.randperm(len(full), generator=draw)] + [*batches[len(full) :]]


class Counter(nn.Sequential):
    def forward(self, x):  # ones, zeros, and 2 after the end of a sequence
        states, ends = self[1](self[0](x))[0], (x != 2).sum(1) - 1
        return self[2](states[torch.arange(len(x)), ends])


workload = Workload(
    name="majority", learning_rate=0.1, train=data[:1800], validation=data[1800:], make_sampler=in_buckets,
    model=lambda: Counter(nn.Embedding(3, 8), nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 2)),
    loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
    collate=lambda part: (pad_sequence([x for x, _ in part], True, 2), stack([y for _, y in part])),
)  # fmt: skip
