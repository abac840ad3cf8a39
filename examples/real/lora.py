"""LoRA: a GPT stays as it is, and thin matrices added to its layers are trained.

    batchlab advise examples/real/lora.py:workload --set precision=bf16 --device cuda --budget 30m
    batchlab advise examples/real/lora.py:workload --set width=32 --set layers=2 --set context=32 \
        --set epochs=1 --budget 2m

Nothing is downloaded, so the weights that stay are random ones, and the adapters learn to predict
the characters of Moby-Dick from scratch.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import batchlab

sys.path.append(str(Path(__file__).parent))
from gpt import GPT, loss, windows


class Adapted(nn.Module):
    """A layer that stays as it is, plus the product of two thin matrices (Hu et al. 2022)."""

    def __init__(self, layer, rank):
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)  # at first the adapter changes nothing

    def forward(self, x):
        return self.layer(x) + 2 * self.up(self.down(x))


def adapted(model, rank):
    """Freeze a model and give an adapter to each linear layer in its blocks."""
    model.requires_grad_(False)
    for parent in list(model.blocks.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(parent, name, Adapted(layer, rank))
    model.scores.requires_grad_(True)
    return model


def workload(*, width=384, layers=6, context=256, rank=8, epochs=10):
    train, validation = windows(context)
    return batchlab.Workload(
        name="lora",
        model=lambda: adapted(GPT(width, layers, context, dropout=0.0), rank),
        train=train,
        validation=validation,
        loss=loss,
        optimizer=lambda parameters, learning_rate: torch.optim.AdamW(parameters, lr=learning_rate),
        batch_size=32,
        learning_rate=0.003,
        epochs=epochs,
    )
