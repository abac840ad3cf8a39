"""Models and optimizers drawn from what is listed are trained natively, as PyTorch does."""

from __future__ import annotations

import platform
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tests.reference.by_day import by_day
from tests.reference.small_workloads import cosine, small_trial
from torch import Tensor, nn
from torch.nn import functional

from batchlab.training.native import build
from batchlab.training.native.program import native_build
from batchlab.training.native.trainer import self_check
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.usefixtures("quickly")

N = 61
ACTIVATIONS: Sequence[Callable[[Tensor], Tensor]] = (
    torch.relu, torch.tanh, torch.sigmoid, functional.gelu, functional.silu, functional.elu,
    functional.leaky_relu, functional.softplus, lambda x: x.softmax(-1), lambda x: x,
)  # fmt: skip


class Block(nn.Module):
    """A linear layer with what may come before and after it."""

    def __init__(self, draw: random.Random, n_in: int) -> None:
        super().__init__()
        self.n_out = n_in if draw.random() < 0.3 else draw.choice((1, 2, 3, 7, 8, 16, 19, 33, 40))
        self.is_residual = self.n_out == n_in and draw.random() < 0.7
        self.norm = nn.LayerNorm(n_in) if draw.random() < 0.3 and n_in > 1 else None
        self.linear = nn.Linear(n_in, self.n_out, bias=draw.random() < 0.8)
        self.activation = draw.choice(ACTIVATIONS)
        self.dropout = nn.Dropout(0.2) if draw.random() < 0.2 else None

    def forward(self, x: Tensor) -> Tensor:
        found = self.activation(self.linear(x if self.norm is None else self.norm(x)))
        found = found if self.dropout is None else self.dropout(found)
        return x + found if self.is_residual else found


class Attention(nn.Module):
    """Heads that look at all places, or at those before."""

    def __init__(self, draw: random.Random, width: int) -> None:
        super().__init__()
        self.n_heads, size = draw.choice((1, 2, 3)), draw.choice((2, 4, 17))
        self.is_causal = draw.random() < 0.5
        self.joined = nn.Linear(width, 3 * self.n_heads * size)
        self.out = nn.Linear(self.n_heads * size, width)

    def forward(self, x: Tensor) -> Tensor:
        apart = self.joined(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*apart, is_causal=self.is_causal)
        return x + self.out(seen.transpose(1, 2).flatten(2))


def pictures(draw: random.Random, width: int) -> nn.Module:
    """Convolutions and pools, made to `width` numbers."""
    layers: list[nn.Module] = []
    n_in = 2
    for _ in range(draw.randint(1, 2)):
        n_out = draw.choice((1, 3, 8, 33))
        size, step, edge = draw.choice((1, 2, 3)), draw.choice((1, 2)), draw.choice((0, 1))
        layers += [nn.Conv2d(n_in, n_out, size, step, edge, bias=draw.random() < 0.7), nn.ReLU()]
        n_in = n_out
    pool = draw.choice((nn.Identity(), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(1)))
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.LazyLinear(width))


class Drawn(nn.Module):
    """Some blocks, on numbers, bytes, tokens or images."""

    def __init__(self, draw: random.Random, kind: str, n_out: int) -> None:
        super().__init__()
        self.kind = kind
        width = 5
        self.table = nn.Embedding(9, width) if kind == "tokens" else None
        self.attention = Attention(draw, width) if draw.random() < 0.7 else nn.Identity()
        self.pictures = pictures(draw, width) if kind == "images" else None
        if self.pictures is not None:
            self.pictures(torch.zeros(1, 2, 9, 8))
        blocks = []
        for _ in range(draw.randint(0, 4)):
            blocks.append(Block(draw, width))
            width = blocks[-1].n_out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, n_out)

    def forward(self, x: Tensor) -> Tensor:
        if self.table is not None:
            x = self.attention(self.table(x))
        elif self.pictures is not None:
            x = self.pictures(x)
        elif self.kind == "bytes":
            x = x.float() / 255
        x = self.blocks(x)
        return self.head(x.mean(1) if self.table is not None else x)


def examples(draw: random.Random, kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(draw.randrange(1000))
    if kind == "bytes":
        return torch.randint(256, (N, 5), generator=generator, dtype=torch.uint8)
    if kind == "tokens":
        return torch.randint(9, (N, draw.randint(1, 4)), generator=generator)
    return torch.randn(N, *((5,) if kind == "numbers" else (2, 9, 8)), generator=generator)


def targets(draw: random.Random) -> tuple[int, Tensor, Callable[[Tensor, Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(draw.randrange(1000))
    classes = draw.choice((2, 3, 7, 17))
    labels = torch.randint(classes, (N,), generator=generator)
    values = torch.randn(N, 2, generator=generator)
    smoothing = draw.choice((0.0, 0.1))
    return draw.choice((
        (classes, labels, lambda x, y: functional.cross_entropy(x, y, label_smoothing=smoothing)),
        (classes, labels, lambda x, y: functional.nll_loss(x.log_softmax(-1), y)),
        (2, values, functional.mse_loss),
        (2, values, functional.huber_loss),
        (1, values[:, :1].sigmoid(), functional.binary_cross_entropy_with_logits),
    ))  # fmt: skip


def optimizers(draw: random.Random) -> Callable[..., torch.optim.Optimizer]:
    decay = draw.choice((0.0, 0.0, 0.01))
    momentum = draw.choice((0.0, 0.9))
    kind, settings = draw.choice((
        (torch.optim.SGD, {"momentum": momentum}),
        (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
        (torch.optim.Adam, {"betas": (0.9, 0.99), "eps": 1e-4}),
        (torch.optim.AdamW, {"betas": (0.8, 0.999), "eps": 1e-4}),
    ))  # fmt: skip
    several = draw.random() < 0.3

    def make(parameters: Sequence[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        parts = (parameters[:1], parameters[1:]) if several else (parameters,)
        rates = (2 * rate, rate)[-len(parts) :]
        groups = [{"params": part, "lr": lr} for part, lr in zip(parts, rates, strict=True)]
        return kind(groups, lr=rate, weight_decay=decay, **settings)

    return make


def drawn(seed: int) -> tuple[Workload, list[dict[str, Any]]]:
    """A workload, and a few ways to cut its epochs."""
    draw = random.Random(seed)
    kind = draw.choice(("numbers", "bytes", "tokens", "images"))
    n_out, target, loss = targets(draw)
    shape = draw.randrange(10**9)
    has_schedule = draw.random() < 0.3
    workload = Workload(
        name=f"drawn {seed}",
        model=lambda: Drawn(random.Random(shape), kind, n_out),
        train=(examples(draw, kind), target),
        validation=None,
        loss=lambda model, batch: loss(model(batch[0]), batch[1]),
        optimizer=optimizers(draw),
        clip_norm=draw.choice((None, None, 0.5)),
        learning_rate=0.01,
        schedule=cosine if has_schedule else None,
    )
    sizes = [1, draw.randint(2, N - 1), N]
    given = {"horizon_steps": 50 if has_schedule else None, "learning_rate": 0.01}
    return workload, [{"batch_size": size, **given} for size in sizes]


def check(workload: Workload, cuts: list[dict[str, Any]]) -> None:
    made = native_build(workload)
    self_check(made, workload, [small_trial(workload, **cut) for cut in cuts])


@pytest.mark.slow
@pytest.mark.parametrize("seed", by_day([*range(40), *range(1000, 1300)], range(6)))
def test_what_is_drawn_is_trained_as_by_pytorch(seed: int) -> None:
    check(*drawn(seed))


@pytest.mark.nightly
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that family")
@pytest.mark.parametrize("processor", ["native", "x86-64-v3", "x86-64"])
def test_vectors_of_every_width_compute_the_same(
    processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"-march=native": f"-march={processor}", "-O0": "-O2"}
    monkeypatch.setattr(build, "FLAGS", tuple(other.get(flag, flag) for flag in build.FLAGS))

    for seed in range(2000, 2006):
        check(*drawn(seed))
