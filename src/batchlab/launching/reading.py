"""Reading: how far a training said it was, and what it said it measured, at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One line of progress. `ProgressPoints` turns its counters into samples.

    Attributes:
        at_s: when it was printed, by the system's monotonic clock (`time.monotonic`), in seconds.
        shape: the row of `batchlab.launching.shapes` that recognized it, or `pattern`.
        step: steps since the training began, updates or batches as `Shape.counts` says.
        epoch: passes over the training data done so far; it may be a fraction.
        epoch_step: steps since those passes, where the training counts from nothing in each epoch
            and says not how many steps an epoch has.
        samples: training examples seen so far.
        epoch_length: what the counter within an epoch runs to, in batches or examples; of a bar
            that did not begin again yet, what it runs to.
        values: what was measured, as (name, value) with the names as printed; not always finite.
        unsure: names of values that were printed as 2,531, which may be 2531 (the value) or 2.531.
        complaint: why this shape's progress can't be followed from here on, for its user.
        not_understood: what was given to `batchlab.log` and is no number, as `name=value`.

    Each counter is None where it was not printed.
    """

    at_s: float
    shape: str
    step: int | None = None
    epoch: float | None = None
    epoch_step: int | None = None
    samples: int | None = None
    epoch_length: int | None = None
    values: tuple[tuple[str, float], ...] = ()
    unsure: tuple[str, ...] = ()
    complaint: str | None = None
    not_understood: tuple[str, ...] = ()

    @property
    def has_position(self) -> bool:
        """Whether it says how far the training is."""
        return self.step is not None or self.epoch is not None or self.samples is not None
