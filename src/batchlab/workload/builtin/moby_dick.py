"""moby-dick: a small transformer that predicts the next character of a novel."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from batchlab.datasets.embedded import load_moby_dick
from batchlab.workload.definition import Workload
from batchlab.workload.pieces import NamedOptimizer, check_at_least

_NAME = "moby-dick"

Windows = tuple[Tensor]


def workload(
    *,
    context: int = 64,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    optimizer: str = "adamw",
    momentum: float = 0.9,
    weight_decay: float = 0.01,
) -> Workload:
    """A small transformer predicts the next character of Moby-Dick, on a CPU if need be.

    An example is a window of text; each character is predicted from all characters before it.
    The first 80 % of the novel are for training, the next 10 % for the test, the last 10 % for
    validation. The loss is in nats per character.
    """
    check_at_least(1, _NAME, context=context, width=width, layers=layers, heads=heads)
    named_optimizer = NamedOptimizer(
        name=optimizer, workload=_NAME, momentum=momentum, weight_decay=weight_decay
    )
    ids, vocabulary = load_moby_dick()
    n = len(ids)
    train, test, validation = np.split(ids, [round(0.8 * n), round(0.9 * n)])
    return Workload(
        name=_NAME,
        model=partial(
            _Transformer,
            n_characters=len(vocabulary),
            context=context,
            width=width,
            layers=layers,
            heads=heads,
        ),
        train=_windows(train, context),
        validation=_windows(validation, context),
        test=_windows(test, context),
        loss=_loss,
        metrics={"loss": _loss, "accuracy": _accuracy},
        optimizer=named_optimizer,
        weight=_n_predictions,
        batch_size=32,
        learning_rate=0.003,
    )


def _windows(ids: NDArray[np.uint8], context: int) -> Windows:
    """Return windows of the text, shape (n, context + 1); all but the first column are predicted.

    Consecutive windows share one character, so that each character is predicted just once.
    """
    windows = np.lib.stride_tricks.sliding_window_view(ids, context + 1)[::context]
    return (torch.from_numpy(windows.copy()),)


def _scores_and_targets(model: nn.Module, batch: Windows) -> tuple[Tensor, Tensor]:
    """Return a row of scores for each predicted character of a batch, and the true characters."""
    (windows,) = batch
    # Pass the batch's own tensor to the model, not a slice: evaluating loss and accuracy then
    # recognizes the tensor and computes the scores only once.
    scores: Tensor = model(windows)
    return scores.flatten(0, 1), windows[:, 1:].long().flatten()


def _loss(model: nn.Module, batch: Windows) -> Tensor:
    """Return the mean cross entropy in nats per character, a scalar."""
    return F.cross_entropy(*_scores_and_targets(model, batch))


def _accuracy(model: nn.Module, batch: Windows) -> Tensor:
    """Return the fraction of characters that were guessed right, a scalar in [0, 1]."""
    scores, targets = _scores_and_targets(model, batch)
    return (scores.argmax(1) == targets).float().mean()


def _n_predictions(batch: Windows) -> float:
    """Return the number of predicted characters in a batch, the weight of the batch's loss."""
    return float(batch[0][:, 1:].numel())


class _Transformer(nn.Module):
    """A causal transformer with GPT-2's layer normalization before attention and MLP.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", 2.3.
    """

    def __init__(
        self, *, n_characters: int, context: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        self.characters = nn.Embedding(n_characters, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.Sequential(
            *[_TransformerBlock(width=width, heads=heads) for _ in range(layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, n_characters)
        nn.init.normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """Return scores for every character of each window except the first character."""
        ids = windows[:, :-1].long()
        x = self.characters(ids) + self.positions[: ids.shape[1]]
        scores: Tensor = self.scores(self.norm(self.blocks(x)))
        return scores


class _TransformerBlock(nn.Module):
    """Causal self-attention, then an MLP at each position, both with residual connections."""

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for `x`, of the same shape (n, length, width)."""
        n, length, width = x.shape
        joined = self.query_key_value(self.attention_norm(x))
        query, key, value = joined.view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(attended.transpose(1, 2).reshape(n, length, width))
        changed: Tensor = x + self.network(x)
        return changed
