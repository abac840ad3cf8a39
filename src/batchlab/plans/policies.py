"""Policies: batch sizes that are chosen during a training, by a rule and measured quantities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sized
from dataclasses import asdict, dataclass
from typing import Any

from torch.utils.data import Sampler

from batchlab.errors import UsageError
from batchlab.workload.data import epoch_order


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Quantities that were measured in a training, each a mean over its last steps.

    Attributes:
        batch_size: examples per step.
        trace: tr Sigma, the trace of the covariance of one example's gradient.
        grad_sq: |G|^2, the squared norm of the gradient of the expected loss.
        loss: the loss of the batches.
        learning_rate: the learning rate of the steps.
    """

    batch_size: int
    trace: float
    grad_sq: float
    loss: float = math.nan
    learning_rate: float = math.nan


Rule = Callable[[Seen], float]
"""A function that returns the wanted batch size, not rounded, or NaN if it is unknown."""

_THETA = 0.5


def noise_scale(seen: Seen) -> float:
    """Return a batch size as large as the gradient's noise: tr Sigma / |G|^2.

    Source: McCandlish et al. 2018, arXiv:1812.06162, section 2.2.
    """
    return seen.trace / seen.grad_sq if seen.grad_sq > 0 else math.nan


def norm_test(seen: Seen) -> float:
    """Return the least batch size whose gradient's noise is at most theta = 0.5 of its norm.

    The test is tr Sigma / B <= theta^2 |g_B|^2, where E |g_B|^2 = |G|^2 + tr Sigma / B.

    Source: Byrd et al. 2012, Mathematical Programming 134; Bollapragada et al. 2018,
    arXiv:1802.05374, section 3.
    """
    batch_sq = seen.grad_sq + seen.trace / seen.batch_size
    return seen.trace / (_THETA**2 * batch_sq) if batch_sq > 0 else math.nan


def cabs(seen: Seen) -> float:
    """Return learning rate × tr Sigma / loss, for plain SGD and a minimal loss of about 0.

    Source: Balles et al. 2017, arXiv:1612.05086, section 3.
    """
    return seen.learning_rate * seen.trace / seen.loss if seen.loss > 0 else math.nan


POLICIES: dict[str, Rule] = {"noise-scale": noise_scale, "norm-test": norm_test, "cabs": cabs}


class Plateau:
    """A rule that grows the batch by a factor when a validation metric stops getting better.

    Source: Devarakonda et al. 2017, arXiv:1712.02029 (AdaBatch), which grows at fixed epochs;
    waiting for a plateau is common for learning rates.
    """

    def __init__(self, *, patience: int, better: str, factor: float = 2.0) -> None:
        """Wait `patience` evaluations; `better` is "higher" or "lower".

        Raises:
            UsageError: another direction, no patience, or a factor that does not grow.
        """
        if better not in ("higher", "lower") or patience < 1 or not factor > 1:
            raise UsageError(
                f"{patience=}, {better=}, {factor=}: expected 1 or more, higher or lower, above 1"
            )
        self._sign = 1.0 if better == "higher" else -1.0
        self._patience, self._factor = patience, factor
        self.best, self.since = -math.inf, 0

    def wanted(self, metric: float, batch_size: int) -> float:
        """Return the batch size that is wanted after an evaluation."""
        if self._sign * metric > self.best:
            self.best, self.since = self._sign * metric, 0
            return float(batch_size)
        self.since += 1
        if self.since < self._patience:
            return float(batch_size)
        self.since = 0
        return batch_size * self._factor


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A change of the batch size.

    Attributes:
        step: the step before which the size changed.
        before: the size until then.
        after: the size from then on.
        wanted: the size that the rule wanted, before bounds and rounding.
    """

    step: int
    before: int
    after: int
    wanted: float


class AdaptiveSize:
    """A batch size that is set by a rule within bounds, but ignores small changes.

        size = AdaptiveSize("noise-scale", first=32, most=2048)
        for batch in DataLoader(train, batch_sampler=AdaptiveSampler(train, size, epochs=10)):
            ...                                  # forward, backward, step
            monitor.step()                       # a batchlab.Monitor
            size.saw(pair=monitor.latest, loss=loss, learning_rate=rate)

    Attributes:
        batch_size: the present size.
        moves: when it changed, and which size was wanted.
    """

    def __init__(
        self,
        rule: str | Rule | Plateau,
        *,
        first: int,
        most: int,
        least: int = 1,
        apart: float = 1.1,
        kept: float = 0.95,
    ) -> None:
        """Begin with `first`.

        Args:
            rule: "noise-scale", "norm-test" or "cabs"; a function of `Seen`; or a `Plateau`.
            first: the first batch size.
            most: the largest batch size.
            least: the smallest batch size.
            apart: the size changes if the wanted size differs by this factor or more.
            kept: the decay of the moving averages at each measured step. Each quantity is averaged
                before quantities are divided, because a mean of ratios would be biased.

        Raises:
            UsageError: an unknown rule, or bounds that do not hold the first size.
        """
        if isinstance(rule, str) and rule not in POLICIES:
            raise UsageError(f"policy {rule!r}: expected one of {', '.join(POLICIES)}")
        if not 1 <= least <= first <= most:
            raise UsageError(f"{least=}, {first=}, {most=}: expected 1 <= least <= first <= most")
        if not (apart >= 1 and 0 <= kept < 1):
            raise UsageError(f"{apart=}, {kept=}: expected 1 or more, and 0 or more below 1")
        self._rule = POLICIES[rule] if isinstance(rule, str) else rule
        self._bounds, self._apart, self._kept = (least, most), apart, kept
        self._means: dict[str, tuple[float, float]] = {}
        self._step = 0
        self.batch_size = first
        self.moves: list[Move] = []

    def saw(
        self,
        *,
        pair: tuple[float, float] | None = None,
        loss: float | None = None,
        learning_rate: float | None = None,
        metric: float | None = None,
    ) -> None:
        """Record what a step showed; call it once per step, even if nothing is known.

        Args:
            pair: (tr Sigma, |G|^2) of one step, each unbiased, as in `Monitor.latest`.
            loss: the loss of its batch.
            learning_rate: the learning rate of the step.
            metric: the metric on validation data, if it was evaluated; for a `Plateau`.
        """
        self._step += 1
        values = {"loss": loss, "learning_rate": learning_rate}
        if pair is not None:
            values |= {"trace": pair[0], "grad_sq": pair[1]}
        for name, value in values.items():
            if value is not None:
                total, weight = self._means.get(name, (0.0, 0.0))
                total = self._kept * total + float(value)
                self._means[name] = total, self._kept * weight + 1.0
        if isinstance(self._rule, Plateau):
            if metric is not None:
                self._move(self._rule.wanted(float(metric), self.batch_size))
        elif pair is not None:
            means = {name: total / weight for name, (total, weight) in self._means.items()}
            self._move(self._rule(Seen(batch_size=self.batch_size, **means)))

    def _move(self, wanted: float) -> None:
        here, (least, most) = self.batch_size, self._bounds
        if not wanted > 0:  # also true for NaN, which a rule returns if noise hides the gradient
            return
        after = max(least, min(most, round(wanted)))
        is_apart = max(after / here, here / after) >= self._apart
        if after != here and is_apart:
            self.moves.append(Move(step=self._step, before=here, after=after, wanted=wanted))
            self.batch_size = after

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers."""
        rule = self._rule
        return {
            "step": self._step,
            "batch_size": self.batch_size,
            "means": {name: list(mean) for name, mean in self._means.items()},
            "moves": [asdict(move) for move in self.moves],
            "plateau": [rule.best, rule.since] if isinstance(rule, Plateau) else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self._step, self.batch_size = state_dict["step"], state_dict["batch_size"]
        self._means = {name: (a, b) for name, (a, b) in state_dict["means"].items()}
        self.moves = [Move(**move) for move in state_dict["moves"]]
        if isinstance(self._rule, Plateau):
            self._rule.best, self._rule.since = state_dict["plateau"]


class AdaptiveSampler(Sampler[list[int]]):
    """A batch sampler whose batches are as large as an `AdaptiveSize` is when they are drawn.

    One pass is the whole run; its number of steps is not known in advance. A loader with workers
    draws ahead, so a change comes `lag` steps late. No batch crosses an epoch's end.
    """

    def __init__(self, data: Sized, size: AdaptiveSize, *, epochs: int, seed: int = 0) -> None:
        """Draw batches from `epochs` passes over the data, in an order set by the seed."""
        self._n_train, self._epochs, self._seed = len(data), epochs, seed
        self._size = size
        self._drawn: list[int] = []  # the sizes of all batches
        self._taken = 0

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch's examples."""
        samples = sum(self._drawn[: self._taken])
        del self._drawn[self._taken :]
        while samples < self._epochs * self._n_train:
            epoch, begin = divmod(samples, self._n_train)
            order = epoch_order(
                self._n_train, seed=self._seed, epoch=epoch, sampling="reshuffle"
            ).tolist()
            while begin < self._n_train:
                batch = order[begin : begin + self._size.batch_size]
                self._drawn.append(len(batch))
                yield batch
                begin += len(batch)
                samples += len(batch)

    @staticmethod
    def lag(loader: Any) -> int:
        """Return the number of batches that a loader fetches ahead: a change takes effect later."""
        return int(loader.num_workers) * int(loader.prefetch_factor or 0)

    def state_dict(self, *, step: int) -> dict[str, Any]:
        """Return the state of the run after `step` optimizer steps."""
        return {"drawn": self._drawn[:step], "seed": self._seed, "n_train": self._n_train}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue in the next pass from a state that `state_dict` returned.

        Raises:
            UsageError: the state belongs to another seed or other data.
        """
        if (state_dict["seed"], state_dict["n_train"]) != (self._seed, self._n_train):
            raise UsageError(
                f"this state is of seed {state_dict['seed']} and {state_dict['n_train']} examples, "
                f"not of {self._seed} and {self._n_train}; make the sampler as it was made then"
            )
        self._drawn = list(state_dict["drawn"])
        self._taken = len(self._drawn)
