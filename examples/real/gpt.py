"""A GPT of 11 million parameters that predicts the characters of Moby-Dick.

    batchlab advise examples/real/gpt.py:workload --set precision=bf16 --device cuda --budget 30m
    batchlab advise examples/real/gpt.py:workload --set width=16 --set layers=2 --set context=32 \
        --set epochs=2 --budget 2m

The sizes and the training are those of nanoGPT with characters (Andrej Karpathy, 2023).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

import batchlab
from batchlab.datasets import load_moby_dick


class Block(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        wide, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(wide, nn.GELU(), narrow, nn.Dropout(dropout))

    def forward(self, x):
        n, length, width = x.shape
        heads = self.query_key_value(self.norm(x)).view(n, length, 3, -1, min(64, width // 2))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.joined(attended.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.mlp_norm(x))


class GPT(nn.Module):
    def __init__(self, width, layers, context, dropout=0.2):
        super().__init__()
        self.characters = nn.Embedding(81, width)
        self.positions = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.Sequential(*[Block(width, dropout) for _ in range(layers)])
        self.norm, self.scores = nn.LayerNorm(width), nn.Linear(width, 81)

    def forward(self, ids):
        return self.scores(self.norm(self.blocks(self.characters(ids) + self.positions)))


def windows(context):
    """Cut the novel into windows; the last tenth is for validation."""
    rows = torch.from_numpy(load_moby_dick()[0]).unfold(0, context + 1, context).long()
    return [(part,) for part in rows.tensor_split([int(0.9 * len(rows))])]


def loss(model, batch):
    return F.cross_entropy(model(batch[0][:, :-1]).flatten(0, 1), batch[0][:, 1:].flatten())


def schedule(fraction):
    """Warm up for 2 % of the training, then follow a cosine down to a tenth of the rate."""
    return min(1, fraction / 0.02) * (0.55 + 0.45 * math.cos(math.pi * fraction))


def workload(*, width=384, layers=6, context=256, epochs=40):
    train, validation = windows(context)
    return batchlab.Workload(
        name="gpt",
        model=lambda: GPT(width, layers, context),
        train=train,
        validation=validation,
        loss=loss,
        optimizer=lambda parameters, learning_rate: torch.optim.AdamW(
            parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.1
        ),
        schedule=schedule,
        clip_norm=1.0,
        batch_size=64,
        learning_rate=0.001,
        epochs=epochs,
    )
