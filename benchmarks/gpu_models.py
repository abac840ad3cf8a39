"""Workloads to profile on a GPU: a small CNN, a ResNet-18 and a GPT of ten million parameters.

    batchlab profile benchmarks/gpu_models.py:resnet18 --set precision=bf16 --device cuda

The settings of a function make its model small enough for a processor. The ResNet and the GPT get
random data, of which nothing can be learned, so they have no validation data.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab import Workload
from batchlab.workload.builtin import mnist_cnn

CLASSES = 10
VOCABULARY = 256
HEAD_WIDTH = 64


def cnn(*, examples: int = 50_000) -> Workload:
    """The built-in mnist-cnn, with at most `examples` images in each split."""
    digits = mnist_cnn.workload()

    def first(columns: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(column[:examples] for column in columns)

    return replace(
        digits,
        name="cnn",
        train=first(digits.train),
        validation=first(digits.validation),
        test=first(digits.test),
    )


def resnet18(*, examples: int = 65_536, width: int = 64) -> Workload:
    """A ResNet-18 with a first stage of `width` channels, on random 32 x 32 images."""
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (examples, 3, 32, 32), dtype=torch.uint8, generator=stream)
    labels = torch.randint(0, CLASSES, (examples,), generator=stream)
    return Workload(
        name="resnet18",
        model=lambda: ResNet18(width),
        train=(images, labels),
        validation=None,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
    )


def gpt(
    *,
    examples: int = 8_192,
    width: int = 320,
    layers: int = 8,
    context: int = 256,
) -> Workload:
    """A GPT of 10 million parameters, on random bytes in windows of `context`."""
    stream = torch.Generator().manual_seed(0)
    windows = torch.randint(0, VOCABULARY, (examples, context + 1), generator=stream)

    def loss(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
        scores = model(batch[0][:, :-1])
        return F.cross_entropy(scores.flatten(0, 1), batch[0][:, 1:].flatten())

    return Workload(
        name="gpt",
        model=lambda: GPT(width, layers, context),
        train=(windows,),
        validation=None,
        loss=loss,
        optimizer=lambda parameters, learning_rate: torch.optim.AdamW(parameters, learning_rate),
        learning_rate=3e-4,
    )


class ResNet18(nn.Module):
    """A ResNet-18 (He et al., 2016) whose first layer keeps the size of small images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [convolution(3, width, 3, stride=1), nn.ReLU()]
        for n_in, n_out, stride in (
            (width, width, 1),
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
            (4 * width, 8 * width, 2),
        ):
            layers += [ResidualBlock(n_in, n_out, stride), ResidualBlock(n_out, n_out, 1)]
        self.layers = nn.Sequential(*layers)
        self.scores = nn.Linear(8 * width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return a score for each class."""
        return self.scores(self.layers(images.float() / 128 - 1).mean((2, 3)))


class ResidualBlock(nn.Module):
    """Two convolutions, added to what went in."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        first, second = convolution(n_in, n_out, 3, stride), convolution(n_out, n_out, 3, 1)
        self.residual = nn.Sequential(first, nn.ReLU(), second)
        is_same = n_in == n_out and stride == 1
        self.shortcut = nn.Identity() if is_same else convolution(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return `n_out` channels."""
        return F.relu(self.residual(x) + self.shortcut(x))


def convolution(n_in: int, n_out: int, size: int, stride: int) -> nn.Sequential:
    """Return a convolution whose outputs are normalized over the batch."""
    layer = nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(n_out))


class GPT(nn.Module):
    """A decoder of bytes whose output weights are its input's."""

    def __init__(self, width: int, layers: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = nn.Parameter(torch.zeros(context, width))
        block = nn.TransformerEncoderLayer(
            d_model=width,
            nhead=max(1, width // HEAD_WIDTH),
            dim_feedforward=4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(width)
        self.blocks = nn.TransformerEncoder(block, layers, norm, enable_nested_tensor=False)
        mask = nn.Transformer.generate_square_subsequent_mask(context)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return a score for each byte that may come next."""
        x = self.tokens(tokens) + self.positions
        return F.linear(self.blocks(x, mask=self.mask, is_causal=True), self.tokens.weight)
