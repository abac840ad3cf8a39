"""SweepCommand: the sweep that shows of some batch sizes what the runs of an advice do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice.effects import Effects
from batchlab.report.parts.stored_command import StoredCommand
from batchlab.words.numbers import english_number

# A training as long shows the noise of its metric, if it has stopped improving by its half.
FEWEST_EPOCHS = 12
# Of one batch size alone another is this many times as large.
_FURTHER = 4
# What a sweep takes as an advice does.
_KEPT = frozenset(
    {
        *("--set", "--sampling", "--drop-last", "--device", "--store"),
        *("--metric", "--better", "--examples", "--batch-size", "--learning-rate"),
        *("--pattern", "--config"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepCommand:
    """A sweep of a few batch sizes to their end.

    Attributes:
        batch_sizes: ascending.
        learning_rates: the best known of each, ascending; every batch size is trained at all.
        epochs: of every training.
        asked: the command that asked for the advice.
    """

    batch_sizes: tuple[int, ...]
    learning_rates: tuple[str, ...]
    epochs: int
    asked: str

    @property
    def n_trainings(self) -> int:
        """How often it trains."""
        return len(self.batch_sizes) * len(self.learning_rates)

    def __str__(self) -> str:
        sizes = [str(size) for size in self.batch_sizes]
        stored = StoredCommand.of(self.asked)
        if stored is None:
            return (
                f"batchlab.sweep(workload, batch_sizes=[{', '.join(sizes)}], "
                f"learning_rates=[{', '.join(self.learning_rates)}], epochs={self.epochs})"
            )
        options = {
            "--batch-sizes": ",".join(sizes),
            "--learning-rates": ",".join(self.learning_rates),
            "--epochs": str(self.epochs),
            "--report": "batch-sizes.html",
        }
        return stored.varied(name="sweep", keep=_KEPT, options=options)


def sweep_command(advice: Advice, study: Study, effects: Effects) -> SweepCommand:
    """The sweep of the batch sizes that count, at the rates that are best known for them.

    They are the smallest and the largest that were trained, yours and what is named; of one alone
    also a larger one, or else the largest of the smaller ones.

    Args:
        advice: the answer.
        study: its trials.
        effects: what these show, and at which rates.
    """
    trained = sorted({record.trial.batch_size for record in study.records})
    own = advice.reference.batch_size if advice.named is None else advice.named.batch_size
    sizes = {advice.reference.batch_size, own, *trained[:1], *trained[-1:]}
    if len(sizes) == 1:
        sizes |= _another(advice, *sizes)
    rates = {_rate(advice, _rates(effects), size) for size in sizes}
    return SweepCommand(
        batch_sizes=tuple(sorted(sizes)),
        learning_rates=tuple(
            dict.fromkeys(english_number(rate, "learning_rate") for rate in sorted(rates))
        ),
        epochs=_epochs(effects),
        asked=study.command,
    )


def _epochs(effects: Effects) -> int:
    """A whole training; long enough to show noise, where the rate's shape has no length."""
    whole = [record.epochs for effect in effects.ends for record in effect.records]
    fewest = 1 if effects.has_schedule and whole else FEWEST_EPOCHS
    return max([fewest, *map(math.ceil, whole)])


def _rates(effects: Effects) -> dict[int, float]:
    rates = {effect.batch_size: effect.learning_rate for effect in effects.flat}
    return rates | {each.batch_size: each.learning_rate for each in effects.to_target}


def _rate(advice: Advice, known: dict[int, float], size: int) -> float:
    """The best known of a batch size; of one that was not trained yours, by the square root."""
    own = advice.reference.batch_size
    yours = known.get(own, advice.reference.learning_rate)
    return known.get(size, yours * math.sqrt(size / own))


def _another(advice: Advice, size: int) -> set[int]:
    fit = [c.batch_size for c in advice.candidates if c.fits and c.batch_size != size]
    nearest = sorted(fit, key=lambda other: abs(math.log(other / (_FURTHER * size))))
    return set(nearest[:1])
