"""What the parts of an advice are called: its objective, target, reference, and what is named."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from batchlab.advice.advice import Advice, Configuration, Ending, Endings, Objective
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.study import Study, WorkloadSummary
from batchlab.records.trial import Target
from batchlab.words.catalogue import number_text, plural, text

# ---- the objective


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveWords:
    """What an objective calls its figure. Of the figures themselves less is better."""

    quantity: str  # the figure's name in `batchlab.records.quantities`, as it is shown
    figure: str  # in words
    takes: str  # what a configuration with a larger figure does, `{ratio}` times
    within: str  # "within 10 % of {within}"
    metric: str = ""  # for quality: the metric, which is shown itself
    better: Better = "lower"  # its direction

    @property
    def figure_text(self) -> str:
        """The figure in words, "time to target"."""
        return text(self.figure, metric=self.metric)

    @property
    def within_text(self) -> str:
        """What the flat set is near to, "the least time"."""
        return text(self.within, metric=self.metric)

    def takes_text(self, ratio: str) -> str:
        """What a configuration with so many times the figure does, "takes 2 times as long"."""
        return text(self.takes, ratio=ratio, metric=self.metric)

    def shown(self, figure: float) -> float:
        """The figure as it is shown: of a metric between 0 and 1 the metric, not its errors."""
        return 1 - figure if self.better == "higher" else figure

    def shown_estimate(self, estimate: Estimate) -> Estimate:
        """The same of an estimate; what was its upper bound may be the lower one."""
        if self.better == "lower":
            return estimate
        value, low, high = (
            None if bound is None else self.shown(bound)
            for bound in (estimate.estimate, estimate.high, estimate.low)
        )
        return replace(estimate, estimate=value, low=low, high=high)


OBJECTIVE_WORDS: dict[Objective, ObjectiveWords] = {
    "time": ObjectiveWords(
        quantity="time_to_target_s",
        figure="time to target",
        takes="takes {ratio} times as long",
        within="the best time",
    ),
    "samples": ObjectiveWords(
        quantity="samples_to_target",
        figure="samples to target",
        takes="needs {ratio} times as many samples",
        within="the fewest samples",
    ),
    "quality": ObjectiveWords(
        quantity="distance_from_perfect",
        figure="distance from perfect",
        takes="ends {ratio} times as far from perfect",
        within="the best metric",
    ),
}
_QUALITY_WORDS: dict[Better, ObjectiveWords] = {
    "higher": ObjectiveWords(
        quantity="",
        figure="validation {metric}",
        takes="makes {ratio} times as many errors",
        within="the fewest errors",
    ),
    "lower": ObjectiveWords(
        quantity="",
        figure="validation {metric}",
        takes="ends with {ratio} times the {metric}",
        within="the lowest {metric}",
    ),
}


def objective_words(advice: Advice) -> ObjectiveWords:
    """The words of the advice's own objective."""
    if advice.objective != "quality" or not advice.metric:
        return OBJECTIVE_WORDS[advice.objective]
    words = _QUALITY_WORDS[advice.better]
    return replace(words, quantity=advice.metric, metric=advice.metric, better=advice.better)


def ratio_text(ratio: float) -> str:
    """A ratio with as many digits as it can bear: "0.94", "1.8", "21"."""
    return number_text(ratio, "times")


def share_text(fraction: float) -> str:
    """A fraction as a percentage, "10 %"."""
    return number_text(fraction, "percent")


def near_text(advice: Advice) -> str:
    """How near to the best the flat set is, "within 10 % of the least time"."""
    best = objective_words(advice).within_text
    return text("within {share} of {best}", share=share_text(advice.delta), best=best)


def target_text(target: Target) -> str:
    """A target in words, "validation accuracy ≥ 0.97"."""
    return text(
        "validation {metric} {sign} {value:.6g}",
        metric=target.metric,
        sign="≥" if target.better == "higher" else "≤",
        value=target.value,
    )


# ---- budget, ends, configurations


def trainings_words(advice: Advice) -> str:
    """How many of the user's own trainings the budget is worth; empty: a time was asked for."""
    if advice.trainings is None:
        return ""
    # A part of one takes the plural, as half a dozen does.
    return plural(
        "the time of one of your trainings",
        "the time of {trainings:.4g} of your trainings",
        1 if advice.trainings == 1 else 2,
        trainings=advice.trainings,
    )


def end_text(endings: Endings, found: Ending) -> str:
    """The mean end of a configuration that has one, as finely as the margin asks for."""
    decimals = max(0, 1 - math.floor(math.log10(2 * endings.margin)))
    return number_text(found.mean, f".{decimals}f")


def named_text(advice: Advice) -> str:
    """What is named, in a table or at a mark: whether it is certain."""
    return text("recommended") if advice.recommendation else text("best so far")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceWords:
    """How the reference is called: the user's own configuration, or what stands in for it."""

    configuration: str  # batch size and rate as they are
    batch_size: str
    short: str  # the configuration in a table or at a mark
    nothing_to_gain: str  # where it is what is recommended


def reference_words(advice: Advice) -> ReferenceWords:
    """The words for the reference of `advice`."""
    if advice.stand_in_for is None:
        return ReferenceWords(
            configuration=text("your configuration"),
            batch_size=text("your batch size"),
            short=text("yours"),
            nothing_to_gain=text("It is your own configuration, so there is nothing to gain."),
        )
    return ReferenceWords(
        configuration=text("the stand-in for your configuration"),
        batch_size=text("the stand-in's batch size"),
        short=text("stand-in for yours"),
        nothing_to_gain=text(
            "Your batch size {size} cannot be used here. This one stands in for it, so there is "
            "nothing to compare it with.",
            size=advice.stand_in_for,
        ),
    )


def is_same(found: Configuration | Ending, reference: Configuration) -> bool:
    """Whether both have the same batch size and learning rate; how it is split does not count."""
    return (found.batch_size, found.learning_rate, found.cool_down) == (
        reference.batch_size,
        reference.learning_rate,
        reference.cool_down,
    )


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


# ---- the answer

_OPEN = {
    "time": "Still open: which batch size gets to {target} first.",
    "samples": "Still open: the largest batch size that needs few extra samples to {target}.",
    "quality": "Still open: which batch size gives the best validation {metric}.",
}
_RECOMMENDED = {
    "time": "{set_this} for the least time to {target}.",
    "samples": (
        "{set_this}: the largest that gets to {target} with at most {near:percent} more samples "
        "than the fewest."
    ),
    "quality": "{set_this} for the best validation {metric} in a run of fixed length.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the sentences of an advice are told from: it, and what it is about."""

    advice: Advice
    study: Study

    @property
    def workload(self) -> WorkloadSummary:
        """What it is about."""
        return self.study.workload

    @property
    def same_batch_size(self) -> bool:
        """Whether the recommendation keeps the batch size of the reference."""
        found = self.advice.recommendation
        return found is not None and found.batch_size == self.advice.reference.batch_size

    @property
    def target(self) -> str:
        """The target in words."""
        target = self.advice.target
        return text("the target") if target is None else target_text(target)

    @property
    def open_question(self) -> str:
        """That what was asked is open."""
        metric = self.workload.metrics[0].name
        return text(_OPEN[self.advice.objective], target=self.target, metric=metric)

    @property
    def cooled_down(self) -> str:
        """What to set where the rate falls to zero: how long such trainings take, and their end.

        They don't stop at the target, so the time to it is not what is saved.
        """
        found, reference, endings = (
            self.advice.recommendation,
            self.advice.reference,
            self.advice.endings,
        )
        assert found is not None
        assert endings is not None
        epochs, low = endings.recommended.epochs, endings.difference.low
        ends = text("it ends no worse")
        if low is not None and low < 0:  # how much worse it ends at most than the better of both
            worst = number_text(-low, ".2g")
            ends = text("it ends at most {worst} worse (95 %)", worst=worst)
        own_s = self._training_s(found.batch_size, epochs)
        reference_s = self._training_s(reference.batch_size, epochs)
        message = "{set_this}. With that {ends}."
        if own_s is not None and reference_s is not None:
            message = (
                "{set_this}. {epochs:.3g} epochs then take {own:train_s} instead of "
                "{reference:train_s} with your batch size, and {ends}."
            )
        return text(
            message,
            set_this=set_this(found, reference),
            epochs=epochs,
            own=own_s,
            reference=reference_s,
            ends=ends,
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
        at_least = text("at least {ratio}", ratio=ratio_text(gain.low))
        return text(
            "{set_this}: {configuration} {takes}{to}. Another batch size may be better still.",
            set_this=set_this(found, self.advice.reference),
            configuration=reference_words(self.advice).configuration,
            takes=objective_words(self.advice).takes_text(at_least),
            to="" if self.advice.target is None else text(" to {target}", target=self.target),
        )

    @property
    def recommended(self) -> str:
        """What to set, and what for."""
        found = self.advice.recommendation
        assert found is not None
        if found.cool_down:
            return self.cooled_down
        return text(
            _RECOMMENDED[self.advice.objective],
            set_this=set_this(found, self.advice.reference),
            target=self.target,
            near=self.advice.delta,
            metric=self.workload.metrics[0].name,
        )
