"""Told: what the sentences of an advice are told from."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice, Configuration, Ending, Endings
from batchlab.records.study import Study, WorkloadSummary
from batchlab.report.advice.objective_words import objective_words, ratio_text, target_text
from batchlab.report.advice.reference_words import reference_words
from batchlab.words.catalogue import number_text, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the sentences are told from.

    Attributes:
        advice: the advice.
        study: what it is about, and the command that asked.
    """

    advice: Advice
    study: Study

    @property
    def workload(self) -> WorkloadSummary:
        """What it is about."""
        return self.study.workload

    @property
    def same_batch_size(self) -> bool:
        """Whether the recommendation keeps the batch size of the reference."""
        recommended = self.advice.recommendation
        return (
            recommended is not None and recommended.batch_size == self.advice.reference.batch_size
        )

    @property
    def target(self) -> str:
        """The target in words."""
        target = self.advice.target
        return text("the target") if target is None else target_text(target)

    @property
    def open_question(self) -> str:
        """That what was asked is open."""
        return {
            "time": text(
                "Still open: which batch size gets to {target} first.", target=self.target
            ),
            "samples": text(
                "Still open: the largest batch size that needs few extra samples to {target}.",
                target=self.target,
            ),
            "quality": text(
                "Still open: which batch size gives the best validation {metric}.",
                metric=self.workload.metrics[0].name,
            ),
        }[self.advice.objective]

    @property
    def cooled_down(self) -> str:
        """What to set where the rate falls to zero: how long such trainings take, and their end.

        They don't stop at the target, so the time to it is not what is saved.
        """
        found, endings = self.advice.recommendation, self.advice.endings
        assert found is not None
        assert endings is not None
        epochs = endings.recommended.epochs
        own_s = self._training_s(found.batch_size, epochs)
        reference_s = self._training_s(self.advice.reference.batch_size, epochs)
        set_it = set_this(found, self.advice.reference)
        if own_s is None or reference_s is None:
            return text("{set_this}. With that {ends}.", set_this=set_it, ends=_ends(endings))
        return text(
            "{set_this}. {epochs:.3g} epochs then take {own:train_s} instead of "
            "{reference:train_s} with your batch size, and {ends}.",
            ends=_ends(endings),
            set_this=set_it,
            epochs=epochs,
            own=own_s,
            reference=reference_s,
        )

    def _training_s(self, batch_size: int, epochs: float) -> float | None:
        """Seconds of so many passes at this batch size."""
        candidate = self.advice.candidate(batch_size)
        if candidate is None or candidate.step_s.estimate is None:
            return None
        return epochs * self.workload.n_train / batch_size * candidate.step_s.estimate

    @property
    def better(self) -> str:
        """What to set, by how much it beats the reference, and that others may be better still."""
        found, gain = self.advice.recommendation, self.advice.gain
        assert found is not None
        assert gain.low is not None
        if found.cool_down:
            return " ".join([self.cooled_down, text("Another batch size may be better still.")])
        words = objective_words(self.advice)
        return text(
            "{set_this}: {configuration} {takes}{to}. Another batch size may be better still.",
            set_this=set_this(found, self.advice.reference),
            configuration=reference_words(self.advice).configuration,
            takes=words.takes_text(text("at least {ratio}", ratio=ratio_text(gain.low))),
            to="" if self.advice.target is None else text(" to {target}", target=self.target),
        )

    @property
    def recommended(self) -> str:
        """What to set, and what for."""
        found = self.advice.recommendation
        assert found is not None
        if found.cool_down:
            return self.cooled_down
        setting = set_this(found, self.advice.reference)
        return {
            "time": text(
                "{set_this} for the least time to {target}.", set_this=setting, target=self.target
            ),
            "samples": text(
                "{set_this}: the largest that gets to {target} with at most {near:percent} more "
                "samples than the fewest.",
                set_this=setting,
                near=self.advice.delta,
                target=self.target,
            ),
            "quality": text(
                "{set_this} for the best validation {metric} in a run of fixed length.",
                set_this=setting,
                metric=self.workload.metrics[0].name,
            ),
        }[self.advice.objective]


def _ends(endings: Endings) -> str:
    """How much worse it ends at most than the better of the references."""
    low = endings.difference.low
    if low is None or low >= 0:
        return text("it ends no worse")
    return text("it ends at most {worst} worse (95 %)", worst=number_text(-low, ".2g"))


def set_this(found: Configuration, reference: Configuration) -> str:
    """What to set, and what of it stays."""
    setting = "use batch size {size} with learning rate {rate:rate}"
    if is_same(found, reference):
        setting = "keep batch size {size} and learning rate {rate:rate}"
    elif found.batch_size == reference.batch_size:
        setting = "keep batch size {size} and set learning rate {rate:rate}"
    said = text(setting, size=found.batch_size, rate=found.learning_rate)
    if not found.cool_down:
        return said
    return text(
        "{setting} that falls to zero over the last {part:percent} of the training",
        setting=said,
        part=found.cool_down,
    )


def is_same(found: Configuration | Ending, reference: Configuration) -> bool:
    """Whether both have the same batch size and learning rate; how it is split does not count."""
    return (found.batch_size, found.learning_rate, found.cool_down) == (
        reference.batch_size,
        reference.learning_rate,
        reference.cool_down,
    )
