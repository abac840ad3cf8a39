"""LossLine: the metrics along a straight line in the space of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.sharpness import in_passes, looked_at
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.trial import Score, Split
from batchlab.training.batching import derived_seed, examples_at, on_device
from batchlab.training.evaluator import Evaluator
from batchlab.workload.definition import Workload

# Training examples that stand for all of them.
_LOOKED_AT = 2000
_PASS_EXAMPLES = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class LinePoint:
    """The metrics at one place of a line.

    Attributes:
        at: 0 at the first model's weights, 1 at the second's, or a whole direction away.
        scores: every metric of every split.
    """

    at: float
    scores: tuple[Score, ...]

    def score(self, split: str, metric: str) -> float | None:
        """One of them; None: it is no number there, or there is no such split."""
        found = (s.value for s in self.scores if (s.split, s.metric) == (split, metric))
        return next(found, None)


def line_between(
    workload: Workload,
    first: nn.Module,
    second: nn.Module,
    at: Sequence[float],
    *,
    device: torch.device,
) -> tuple[LinePoint, ...]:
    """The metrics on the line through two solutions of one workload.

    At the weights (1 - t) x + t y of `first` x and `second` y. The statistics of batch
    normalization belong to neither: at each place they are taken anew from 2,000 training examples.
    Other buffers stay as `first` has them.

    Args:
        workload: whose metrics; train data are up to 2,000 examples.
        first: left as it is.
        second: of the same shape, left as it is.
        at: places t.
        device: where the models are.

    Raises:
        UsageError: the two models have unlike parameters.

    Source: Goodfellow et al. 2015, arXiv:1412.6544; of small-batch and large-batch solutions Keskar
    et al. 2017, arXiv:1609.04836, figure 3.
    """
    own, other = (dict(model.named_parameters()) for model in (first, second))
    if [(name, part.shape) for name, part in own.items()] != [
        (name, part.shape) for name, part in other.items()
    ]:
        raise UsageError(
            "the two models have unlike parameters, so no line joins them; give two solutions of "
            "one workload"
        )
    direction = [other[name].detach() - part.detach() for name, part in own.items()]
    return tuple(_points(workload, first, direction, at, device))


def line_along(
    workload: Workload,
    model: nn.Module,
    at: Sequence[float],
    *,
    device: torch.device,
    seed: int = 0,
) -> tuple[LinePoint, ...]:
    """The metrics along a random direction whose filters are as long as the model's.

    So two solutions can be compared whose weights are of unlike size. What has one dimension
    (biases, what batch normalization multiplies with) does not move. The statistics of batch
    normalization are taken anew at each place.

    Args:
        workload: whose metrics; train data are up to 2,000 examples.
        model: left as it is; at 0.
        at: how far, in lengths of the filters.
        device: where the model is.
        seed: of the direction.

    Source: Li et al. 2018, "Visualizing the loss landscape of neural nets", arXiv:1712.09913,
    section 4.
    """
    return tuple(_points(workload, model, filter_normalized(model, seed=seed), at, device))


def filter_normalized(model: nn.Module, *, seed: int) -> list[Tensor]:
    """A random direction, by parameter; each row of it as long as the model's row.

    A row is what makes one output: a filter of a convolution, a row of a matrix.
    """
    generator = torch.Generator().manual_seed(derived_seed("direction", seed))
    direction = []
    for part in model.parameters():
        drawn = torch.randn(part.shape, generator=generator).to(part)
        if part.ndim < 2:
            direction.append(torch.zeros_like(drawn))
            continue
        inner = tuple(range(1, part.ndim))
        length = torch.linalg.vector_norm(drawn, dim=inner, keepdim=True)
        wanted = torch.linalg.vector_norm(part.detach(), dim=inner, keepdim=True)
        direction.append(drawn * (wanted / length))
    return direction


def _points(
    workload: Workload,
    model: nn.Module,
    direction: Sequence[Tensor],
    at: Sequence[float],
    device: torch.device,
) -> Iterator[LinePoint]:
    moved = copy.deepcopy(model)
    begin = [part.detach().clone() for part in moved.parameters()]
    evaluator = Evaluator(
        workload, device, batch_size=_PASS_EXAMPLES, most_train_examples=_LOOKED_AT
    )
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for place in at:
        with torch.no_grad():
            for part, start, step in zip(moved.parameters(), begin, direction, strict=True):
                part.copy_(start + place * step)
        _take_statistics_anew(workload, moved, device)
        yield LinePoint(at=place, scores=evaluator.scores(moved, splits))


def _take_statistics_anew(workload: Workload, model: nn.Module, device: torch.device) -> None:
    """The running statistics of batch normalization, as the mean over training examples' passes."""
    normalizing = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    if not normalizing:
        return
    momenta = [module.momentum for module in normalizing]
    model.eval()
    for module in normalizing:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over the passes
        module.train()
    with torch.no_grad(), untouched_randomness():
        seed_everything(derived_seed("statistics"))
        for some in in_passes(looked_at(workload), _PASS_EXAMPLES):
            workload.loss(model, on_device(examples_at(workload, some), device))
    for module, momentum in zip(normalizing, momenta, strict=True):
        module.momentum = momentum
