"""Which losses are means over their examples, and which are sums, or couple the examples."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from batchlab.errors import WorkloadError
from batchlab.measure.accumulation import look_at_loss
from batchlab.measure.examples import CheckResult
from batchlab.workload.definition import Workload

Loss = Callable[[nn.Module, Any], Tensor]
Fields = Callable[[int], dict[str, Any]]


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(24, 6, generator=generator), torch.randint(3, (24,), generator=generator)


def classes(seed: int, n_classes: int, *, is_sorted: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 6, generator=generator)
    labels = torch.randint(n_classes, (400,), generator=generator)
    return x, labels.sort().values if is_sorted else labels


def seen(*, seed: int = 0, **fields: Any) -> CheckResult:
    torch.manual_seed(seed)
    usual = {"loss": cross_entropy, "model": lambda: nn.Linear(6, 3), "train": data(seed)}
    workload = Workload(name="looked at", validation=None, learning_rate=0.1, **(usual | fields))
    return look_at_loss(workload, workload.model(), torch.device("cpu"))


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).float(), batch[1])


def mlp(dtype: torch.dtype = torch.float32) -> nn.Module:
    layers = [nn.Linear(6, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3)]
    return nn.Sequential(*layers).to(dtype)


def coarse(dtype: torch.dtype, reduction: str = "mean") -> dict[str, Any]:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        scores = model(batch[0].to(dtype))[:, 0]
        return F.mse_loss(scores, batch[1].to(dtype), reduction=reduction)

    return {"loss": loss, "model": lambda: mlp(dtype)}


def autocast(model: nn.Module, batch: Any) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.mse_loss(model(batch[0])[:, 0], batch[1].bfloat16()).float()


def with_a_penalty(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model, batch) + sum(part.square().sum() for part in model.parameters())


def differentiating(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return (slope.sum(1) - 1).square().mean()


def noisy(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model, (batch[0] + 0.5 * torch.randn(len(batch[0]), 6), batch[1]))


class Drawing(Dataset[Any]):
    """Draws its examples at random."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.randn(6), place % 3


class Vae(nn.Module):
    """Gives the evidence lower bound of each example."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x: Tensor) -> Tensor:
        mean, log_var = self.encode(x).chunk(2, dim=1)
        decoded = self.decode(mean + torch.randn_like(mean) * (log_var / 2).exp())
        far = (decoded - x).square().sum(1)
        return far + (mean.square() + log_var.exp() - 1 - log_var).sum(1) / 2


# How often each is looked at, with the data and the weights of how many seeds.
SINGLE: dict[str, tuple[int, Fields]] = {
    "bfloat16": (20, lambda seed: coarse(torch.bfloat16)),
    "float16": (20, lambda seed: coarse(torch.float16)),
    "autocast": (20, lambda seed: {"loss": autocast, "model": mlp}),
    "sorted": (40, lambda seed: {"train": classes(seed, 3, is_sorted=True)}),
    "shuffled": (40, lambda seed: {"train": classes(seed, 3, is_sorted=False)}),
    "a data set that draws": (1, lambda seed: {"train": Drawing()}),
    "a mean with a penalty": (1, lambda seed: {"loss": with_a_penalty}),
    "one that differentiates": (1, lambda seed: {"loss": differentiating, "model": mlp}),
    "noise": (5, lambda seed: {"loss": noisy}),
    "random bound": (5, lambda seed: {"loss": lambda model, b: model(b[0]).mean(), "model": Vae}),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SINGLE)
def test_a_loss_of_single_examples_is_never_called_coupled(name: str) -> None:
    n_seeds, fields = SINGLE[name]

    assert {seen(seed=seed, **fields(seed)) for seed in range(n_seeds)} == {CheckResult()}


def pairwise(model: nn.Module, batch: Any) -> Tensor:
    """A smooth area under the curve: each positive example against each negative one."""
    scores = model(batch[0])[:, 0]
    above, below = scores[batch[1] == 1], scores[batch[1] != 1]
    apart = F.relu(1 - (above[:, None] - below[None, :])).sum()
    return apart / max(1, len(above) * len(below)) + 0 * scores.sum()


def of_both_classes(model: nn.Module, batch: Any) -> Tensor:
    scores = model(batch[0])[:, 0]
    return F.relu(1 - scores[batch[1] == 1].min() + scores[batch[1] == 0].max())


def coarse_contrast(model: nn.Module, batch: Any) -> Tensor:
    scores = F.normalize(model(batch[0].bfloat16()), dim=1)
    return F.cross_entropy(scores @ scores.T * 5, torch.arange(len(scores)))


def random_contrast(model: nn.Module, batch: Any) -> Tensor:
    one, other = (model(batch[0] + 0.1 * torch.randn(len(batch[0]), 6)) for _ in range(2))
    return F.cross_entropy(one @ other.T, torch.arange(len(one)))


def drawn_pairs(rows: Any) -> Any:
    x = torch.stack([x for x, _ in rows])
    one, other = (x + 0.1 * torch.randn_like(x) for _ in range(2))
    return one, other, torch.arange(len(x))  # no piece of a batch has such numbers


DRAWN_PAIRS = {
    "loss": lambda model, batch: F.cross_entropy(model(batch[0]) @ model(batch[1]).T, batch[2]),
    "collate": drawn_pairs,
    "train": [*zip(*data(0), strict=True)],
    "model": mlp,
}
COUPLED: dict[str, tuple[int, Fields]] = {
    "classes, sorted": (
        20, lambda seed: {"loss": pairwise, "train": classes(seed, 2, is_sorted=True)}
    ),
    "classes, shuffled": (
        20, lambda seed: {"loss": pairwise, "train": classes(seed, 2, is_sorted=False)}
    ),
    "needs both classes": (
        1, lambda seed: {"loss": of_both_classes, "train": classes(0, 2, is_sorted=True)}
    ),
    "coarse": (1, lambda seed: {"loss": coarse_contrast, "model": lambda: mlp(torch.bfloat16)}),
    "random": (5, lambda seed: {"loss": random_contrast, "model": mlp}),
    "variance": (1, lambda seed: {"loss": lambda model, batch: model(batch[0]).var()}),
    "pairs that collate draws": (3, lambda seed: DRAWN_PAIRS),
}  # fmt: skip


@pytest.mark.parametrize("name", COUPLED)
def test_a_contrastive_loss_is_called_coupled(name: str) -> None:
    n_seeds, fields = COUPLED[name]

    n_coupled = sum(seen(seed=seed, **fields(seed)).loss_couples for seed in range(n_seeds))

    assert n_coupled >= 0.95 * n_seeds


def penalized_sum(penalty: float) -> Loss:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        summed = F.cross_entropy(model(batch[0]), batch[1], reduction="sum")
        return summed + penalty * sum(part.square().sum() for part in model.parameters())

    return loss


SUMS: dict[str, dict[str, Any]] = {
    "of a data set": {"loss": penalized_sum(0.0), "train": TensorDataset(*data())},
    "divided": {"loss": lambda model, batch: model(batch[0]).square().sum() / 1000},
    "coarse": coarse(torch.bfloat16, "sum"),
    "random": {"loss": lambda model, batch: len(batch[0]) * noisy(model, batch)},
    **{f"penalty {scale}": {"loss": penalized_sum(scale)} for scale in (1e-3, 0.1, 10.0)},
}


@pytest.mark.parametrize("name", SUMS)
def test_a_sum_is_refused_as_a_sum_whatever_hides_it(name: str) -> None:
    with pytest.raises(WorkloadError, match="The loss is a sum over the batch"):
        seen(**SUMS[name])


def column_and_row(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    return model(batch[0])[:, :1], batch[1].float()


SLIPS: dict[str, Loss] = {
    "one that PyTorch warns of": lambda *given: F.mse_loss(*column_and_row(*given)),
    "by hand": lambda *given: torch.sub(*column_and_row(*given)).square().mean(),
    "the other way": lambda model, batch: F.mse_loss(
        model(batch[0])[:, 0], batch[1][:, None].float()
    ),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_of_shapes_is_not_called_a_contrastive_loss(name: str) -> None:
    with pytest.raises(WorkloadError, match="compares each prediction with every target"):
        seen(loss=SLIPS[name])
