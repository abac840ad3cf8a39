"""Every listed operation: values and gradients are PyTorch's, each by parameters of its own."""

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import accuracy, cross_entropy, momentum_sgd, small_trial
from torch import Tensor, nn
from torch.nn import functional

from batchlab.training.native import build, emit, program
from batchlab.training.native.program import native_build
from batchlab.training.native.trainer import NativeStepper, self_check
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

pytestmark = pytest.mark.usefixtures("quickly")

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu in place": lambda x: functional.relu(x, inplace=True),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "elu": functional.elu,
    "softplus": functional.softplus,
    "without a row, in place": lambda x: functional.mish(x, inplace=True),
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "softmax": lambda x: x.softmax(-1),
    "square": lambda x: x**2 + x**3,
    "power": lambda x: (x * x + 1) ** 1.7,
    "sqrt": lambda x: (x * x + 0.1).sqrt(),
    "rsqrt": lambda x: (x * x + 0.1).rsqrt(),
    "log": lambda x: (x * x + 0.1).log() + (x * x).log1p(),
    "exp": lambda x: (-x).exp(),
    "abs": lambda x: x.abs() + 1 / (2 + x.abs()),
    "sin": lambda x: x.sin() * x.cos(),
    "erf": torch.erf,
    "masks": lambda x: x * ((x > 0) + (x > 0.5)) + ((x < 0.2) & ~(x > -1)).float().sum(-1, True),
    "where": lambda x: torch.where(x > 0.1, x, -2 * x),
    "maximum": lambda x: torch.maximum(x, -0.5 * x) + torch.minimum(x, x * x),
    "mean": lambda x: x - x.mean(-1, keepdim=True),
    "total": lambda x: x / (1 + x.square().sum(-1, keepdim=True)),
    "parts": lambda x: torch.cat([x[:, 1:3], x[:, :1] * x, x[:, -1:].expand(-1, 2)], 1)[:, 2:7],
    "in place": lambda x: (x * 2).add_(1).mul_(x),
    "of the batch": lambda x: x + x.sum(0) / len(x) + x * len(x) * 0.01,
}


def heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (2, -1)).transpose(1, 2)


def attention(x: Tensor, **settings: Any) -> Tensor:
    return functional.scaled_dot_product_attention(x, 2 * x, x + 1, **settings)


PAST = torch.ones(3, 3, dtype=torch.bool).tril(-1)  # the first place sees nothing

SEQUENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "attention": attention,
    "of heads": lambda x: attention(heads(x), is_causal=True).transpose(1, 2).flatten(2),
    "to nothing": lambda x: attention(x, attn_mask=PAST),
    "of one": lambda x: functional.scaled_dot_product_attention(x[:, :1], x, x),
    "by hand": lambda x: (
        (heads(x) @ heads(x).transpose(-1, -2) / 2)
        .masked_fill(torch.ones(3, 3, device=x.device).triu(1) > 0, -1e9)
        .softmax(-1)
    ),
    "einsum": lambda x: torch.einsum("nqd,nkd->nqk", x, x.tanh()) @ x,
    "einsum of heads": lambda x: torch.einsum(
        "nqhd,nkhd->nhqk", x.unflatten(-1, (2, -1)), x.unflatten(-1, (2, -1)).exp()
    ),
    "products with constants": lambda x: torch.linspace(0, 1, 9).view(3, 3).t() @ x,
    "stack before": lambda x: torch.stack([x, x * x, x.exp()]).sum(0),
    "stack of parts": lambda x: torch.stack([x, x * x, x.exp()]).permute(1, 2, 0, 3).flatten(2),
    "stack between": lambda x: torch.stack([x, x * x], 1).flatten(1, 2),
    "stack behind": lambda x: torch.stack([x, x * x], -1),
    "unbind": lambda x: sum(k * part for k, part in enumerate(heads(x).permute(2, 0, 1, 3), 1)),
    "in another order": lambda x: (x.transpose(1, 2) * 2).clamp(-1, 1).flatten(1) * 3,
    "over places": lambda x: x.transpose(1, 2).softmax(-1).transpose(1, 2).contiguous(),
    "outer": lambda x: x[:, :, :, None] * x[:, :, None, :2],
}


def weights(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, math.prod(shape)).sin().view(shape)


IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "convolution": lambda x: functional.conv2d(x, weights(3, 2, 3, 2)),
    "framed": lambda x: functional.conv2d(x, weights(3, 2, 3, 3), weights(3), padding=(1, 2)),
    "in steps": lambda x: functional.conv2d(x, weights(40, 2, 2, 3), stride=(2, 3), padding=1),
    "to itself": lambda x: functional.conv2d(x, weights(3, 2, 1, 1), weights(3)).relu(),
    "of another order": lambda x: functional.conv2d(x.transpose(2, 3), weights(3, 2, 2, 2)),
    "of lines": lambda x: functional.conv1d(x[:, 0], weights(3, 7, 2), weights(3), padding=1),
    "largest": lambda x: functional.max_pool2d(x, 2),
    "largest of overlapping": lambda x: functional.max_pool2d(x, (3, 2), stride=(2, 1), padding=1),
    "largest of equals": lambda x: functional.max_pool2d(x.relu(), 3),
    "mean": lambda x: functional.avg_pool2d(x[:, :, 1:], 2) + functional.adaptive_avg_pool2d(x, 1),
    "mean of parts": lambda x: functional.adaptive_avg_pool2d(x[:, :, 1:], (2, 3)),
}
KINDS: dict[str, tuple[dict[str, Callable[[Tensor], Tensor]], tuple[int, ...]]] = {
    "elements": (FUNCTIONS, (5,)),
    "sequences": (SEQUENCES, (3, 8)),
    "images": (IMAGES, (2, 7, 6)),
}


class Functions(nn.Module):
    """A small layer before and after each function: its gradients tell on nobody else."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        functions, self.shape = KINDS[kind]
        self.functions = list(functions.values())
        self.before = nn.ModuleList(nn.Linear(4, math.prod(self.shape)) for _ in functions)
        widths = [each(torch.zeros(2, *self.shape)).flatten(1).shape[1] for each in self.functions]
        self.after = nn.ModuleList(nn.Linear(width, 1) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        found = torch.zeros(len(x), 1, device=x.device)
        for before, function, after in zip(self.before, self.functions, self.after, strict=True):
            made = before(x)
            made = made if len(self.shape) == 1 else made.unflatten(1, self.shape)
            found = found + after(function(made).flatten(1))
        return found / len(self.functions)


class Layers(nn.Module):
    """Embedding, LayerNorm, a residual connection, a tied weight, a buffer, sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6, padding_idx=2)
        self.places = nn.Parameter(torch.randn(3, 6))
        self.norm = nn.LayerNorm(6)
        self.bare = nn.LayerNorm(6, elementwise_affine=False)
        self.inner = nn.Linear(6, 6)
        self.outer = nn.Linear(6, 11, bias=False)
        self.outer.weight = self.table.weight
        self.scale: Tensor
        self.register_buffer("scale", torch.linspace(0.5, 2, 6))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens) + self.places
        x = x + torch.relu(self.inner(self.norm(x))) * self.scale
        return self.outer(self.bare(x).mean(1))


class Pictures(nn.Module):
    """Convolutions whose weights are trained, on images and lines."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Sequential(
            nn.Conv2d(1, 5, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 36, (2, 3), stride=(1, 2), bias=False),
            nn.Tanh(),
            nn.Conv2d(36, 4, 1),
            nn.Flatten(),
        )
        self.lines = nn.Conv1d(9, 2, 3, stride=2, padding=1)
        self.head = nn.Linear(12 + 10, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.images(x[:, None]), self.lines(x).flatten(1)]
        return self.head(torch.cat(found, 1))


class Widths(nn.Module):
    """Layers of every width; one has norm, residual and dropout, one is frozen, one unused."""

    def __init__(self) -> None:
        super().__init__()
        widths = (4, 1, 7, 33, 2, 16, 19, 40, 3, 8, 64, 5)
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        self.norm, self.residual = nn.LayerNorm(33), nn.Linear(33, 33, bias=False)
        self.dropout = nn.Dropout(0.2)
        self.layers[4].weight.requires_grad_(False)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
            if x.shape[1] == 33:
                x = x + functional.gelu(self.dropout(self.residual(self.norm(x))))
        return x


def losses(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """One head of the model each."""
    x, labels, values = batch
    found = model(x)
    weight = torch.tensor([0.5, 2.0, 1.0])
    last = found[:, 12:13]
    return (
        functional.cross_entropy(found[:, :3], labels, weight=weight)
        + functional.cross_entropy(found[:, 3:6], labels, label_smoothing=0.1)
        + functional.cross_entropy(found[:, 6:9], labels, ignore_index=1)
        + functional.cross_entropy(found[:, 6:9], labels, reduction="none").square().mean()
        + functional.mse_loss(found[:, 9], values)
        + functional.huber_loss(found[:, 11], values, delta=0.4)
        + functional.l1_loss(last, values[:, None])
        + functional.binary_cross_entropy_with_logits(found[:, 13], (labels > 0).float())
        + 1e-3 * sum(part.square().sum() for part in model.parameters())
    )


def workload_of(model, train, loss=cross_entropy) -> Workload:
    return Workload(
        name="operations",
        model=model,
        train=train,
        validation=None,
        loss=loss,
        optimizer=momentum_sgd,
        learning_rate=0.05,
    )


def draws(n: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.randn(n, 4), torch.randint(3, (n,)), torch.randn(n)


def assert_gradients_agree(workload: Workload, sizes: Sequence[int]) -> None:
    """Momentum after two steps is PyTorch's to a part of its size, in one call or in two."""
    build = native_build(workload)
    for batch_size in sizes:
        trial = small_trial(workload, batch_size=batch_size)
        plain = Stepper(workload, trial, torch.device("cpu"))
        native, cut = (NativeStepper(workload, trial, build) for _ in range(2))

        expected = plain.steps(plain.stream(0), 2, first_step=0)
        losses = native.steps(native.stream(0), 2, first_step=0)
        of_calls = [cut.steps(cut.stream(step), 1, first_step=step)[0] for step in range(2)]

        assert losses == pytest.approx(expected, rel=1e-5)
        assert of_calls == losses
        assert all(map(torch.equal, cut.model.parameters(), native.model.parameters()))
        named, found = plain.model.named_parameters(), native.model.parameters()
        for (name, one), other in zip(named, found, strict=True):
            right = plain.optimizer.state[one]["momentum_buffer"]
            momentum = native.optimizer.state[other]["momentum_buffer"]
            assert (momentum - right).norm() / (right.norm() + 1e-6) < 1e-4, name


def functions_of(kind: str, n: int = 40) -> Workload:
    x, _, values = draws(n)
    return workload_of(
        lambda: Functions(kind),
        (x, values[:, None]),
        lambda m, b: functional.mse_loss(m(b[0]), b[1]),
    )


TOKENS = (torch.arange(120).view(40, 3) * 7 % 11, torch.arange(40) * 3 % 11)
LINES = (torch.arange(3240).sin().view(40, 9, 9), torch.arange(40) % 3)
WORKLOADS = [
    *(pytest.param(functions_of(kind), id=kind, marks=pytest.mark.slow) for kind in KINDS),
    pytest.param(workload_of(lambda: nn.Linear(4, 14), draws(), losses), id="losses"),
    pytest.param(workload_of(Layers, TOKENS), id="layers"),
    pytest.param(workload_of(Pictures, LINES), id="pictures"),
]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_all_that_is_listed_has_pytorchs_values_and_gradients(workload):
    least = 5 if workload.loss is losses else 1  # of one label nothing may be left
    assert_gradients_agree(workload, (least, 13, 40))


@pytest.mark.parametrize(
    ("optimizer", "sizes"),
    [
        (torch.optim.SGD, (1, 2, 5, 6, 7, 31, 33, 80)),
        (momentum_sgd, (7,)),
        (torch.optim.Adam, (7,)),
    ],
)
def test_products_of_every_size_are_right(optimizer, sizes):
    """Which loop computes a matrix product, and an update, follows from its size."""
    workload = workload_of(Widths, draws(80)[:2])
    workload = replace(workload, optimizer=optimizer, learning_rate=0.01)
    trials = [small_trial(workload, batch_size=size) for size in sizes]

    self_check(native_build(workload), workload, trials)


@pytest.mark.nightly
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of that family")
@pytest.mark.parametrize("processor", ["native", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_every_processor_are_the_textbooks(kind, processor, monkeypatch):
    other = {"-march=native": f"-march={processor}", "-O0": "-O2"}
    monkeypatch.setattr(build, "FLAGS", tuple(other.get(flag, flag) for flag in build.FLAGS))

    assert_gradients_agree(functions_of(kind, 700), (13, 700))


@pytest.mark.slow
def test_each_dropout_of_a_step_draws_for_itself():
    class Dropouts(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            x = super().forward(x)
            return functional.dropout(x) - 2 * functional.dropout(x)

    workload = workload_of(lambda: Dropouts(4, 3), draws()[:2])

    self_check(native_build(workload), workload, [small_trial(workload, batch_size=7)])


@pytest.mark.slow
def test_a_gradient_that_is_only_rounding_is_not_compared():
    """Softmax ignores the shift, as attention does its keys' biases; Adam moves it at random."""

    class Shifted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.shift = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.shift

    workload = replace(
        workload_of(Shifted, draws()[:2]), optimizer=torch.optim.Adam, learning_rate=0.01
    )

    self_check(native_build(workload), workload, [small_trial(workload, batch_size=7)])


@pytest.mark.slow
def test_where_examples_are_large_tiles_are_small(monkeypatch):
    monkeypatch.setattr(emit, "_NEAR", 1)
    workload = functions_of("sequences")
    model, columns = workload.model().train(), program.columns_of(workload)

    tiled = emit._CWriter("", program._step_graph(workload, model, columns), None, ())

    assert tiled._tile < 20
    assert_gradients_agree(workload, (37,))


def test_a_wrong_label_is_an_error_and_nothing_outside_is_read():
    workload = workload_of(lambda: nn.Linear(4, 3), (torch.randn(40, 4), torch.full((40,), 3)))
    trial = small_trial(workload, batch_size=4)
    native = NativeStepper(workload, trial, native_build(workload))

    with pytest.raises(IndexError, match="outside"):
        native.steps(native.stream(0), 1, first_step=0)


def test_metrics_are_those_of_the_plain_evaluation():
    def error(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return (model(batch[0]).max(dim=1).indices != batch[1]).double().mean()

    workload = workload_of(lambda: nn.Linear(4, 3), draws()[:2])
    workload = replace(workload, metrics={"accuracy": accuracy, "error": error})

    native = native_build(workload)
    graph, _ = program._scores_graph(workload, workload.model(), program.columns_of(workload))

    assert native.metrics == ("accuracy", "error", "loss")
    # What they ask of the model alike is computed once.
    assert [node.kind for node in graph.nodes].count("product") == 1
    self_check(native, workload, [small_trial(workload, batch_size=7)])
