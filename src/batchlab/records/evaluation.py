"""Evaluation, Score: what was seen of a model when its training paused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from batchlab.records.right_examples import RightExamples

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One metric of one split at one evaluation.

    Attributes:
        split: of the data.
        metric: its name.
        value: None: it was not a finite number.
        right: which examples the model was right about, of a share of them where a trial of a
            sweep ends; None: not kept.
    """

    split: Split
    metric: str
    value: float | None
    right: RightExamples | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was seen when training paused after `step` optimizer steps.

    Attributes:
        step: optimizer steps done; 0 is the untrained model.
        samples: examples processed so far.
        train_s: seconds of training so far (fetching, copying and steps; not evaluation).
        eval_s: seconds of evaluation so far.
        batch_loss: mean loss of the training batches since the evaluation before, None at step 0.
        scores: the metrics; validation at every evaluation, train and test as asked for
            (`RunLength.all_splits`).
        measured: what was measured of the model there, as (name, value) by the measurement's
            name; a value that was not a finite number is None.
    """

    step: int
    samples: int
    train_s: float
    eval_s: float
    batch_loss: float | None
    scores: tuple[Score, ...]
    measured: tuple[tuple[str, float | None], ...] = ()

    @property
    def without_right(self) -> Evaluation:
        """The same without which examples were right."""
        if all(score.right is None for score in self.scores):
            return self
        return replace(self, scores=tuple(replace(score, right=None) for score in self.scores))

    @property
    def has_all_splits(self) -> bool:
        """Whether train data, and test data where there are any, were evaluated too."""
        return any(score.split == "train" for score in self.scores)

    def score(self, split: Split, metric: str) -> float | None:
        """The value of `metric` on `split`, None where it was not evaluated or not finite."""
        for score in self.scores:
            if score.split == split and score.metric == metric:
                return score.value
        return None

    def measurement(self, name: str) -> float | None:
        """What was measured of the model under this name; None: it was not, or not finite."""
        return dict(self.measured).get(name)

    def is_not_finite(self, split: Split, metric: str) -> bool:
        """Whether `metric` was evaluated on `split`, and was not a finite number."""
        return any(
            score.split == split and score.metric == metric and score.value is None
            for score in self.scores
        )
