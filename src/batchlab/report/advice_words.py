"""The words of an advice: what its parts are called, and what is said of it, by codes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from batchlab.advice.advice import Advice, Configuration, Ending, Endings, Objective
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.trial import Target
from batchlab.words.catalogue import Message, PluralMessage, number_text, text

# ---- the objective


# What an objective calls its figure, what a configuration with a larger one does, and what the
# flat set is near to: "within 10 % of ...". A metric's words are by its direction.
_OBJECTIVES = {
    "time": ("time to target", "takes {ratio} times as long", "the best time"),
    "samples": ("samples to target", "needs {ratio} times as many samples", "the fewest samples"),
    "quality": (
        "distance from perfect",
        "ends {ratio} times as far from perfect",
        "the best metric",
    ),
    "higher": (
        "validation {metric}",
        "makes {ratio} times as many errors",
        "the fewest errors",
    ),
    "lower": ("validation {metric}", "ends with {ratio} times the {metric}", "the lowest {metric}"),
}
_QUANTITIES: dict[Objective, str] = {
    "time": "time_to_target_s",
    "samples": "samples_to_target",
    "quality": "distance_from_perfect",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveWords:
    """The words of an advice's own objective. Of the figures themselves less is better."""

    metric: str  # for quality: the metric, which is shown itself; empty: the figure is
    quantity: str  # the figure's name in `batchlab.records.quantities`, as it is shown
    better: Better  # its direction, as it is shown
    words: tuple[str, str, str]

    @property
    def figure(self) -> str:
        """The figure in words, "time to target"."""
        return text(self.words[0], metric=self.metric)

    def takes(self, ratio: str) -> str:
        """What a configuration with so many times the figure does, "takes 2 times as long"."""
        return text(self.words[1], ratio=ratio, metric=self.metric)

    @property
    def within(self) -> str:
        """What the flat set is near to, "the least time"."""
        return text(self.words[2], metric=self.metric)

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


def objective_words(advice: Advice) -> ObjectiveWords:
    """The words of the advice's own objective."""
    is_metric = advice.objective == "quality" and bool(advice.metric)
    return ObjectiveWords(
        metric=advice.metric if is_metric else "",
        quantity=advice.metric if is_metric else _QUANTITIES[advice.objective],
        better=advice.better if is_metric else "lower",
        words=_OBJECTIVES[advice.better if is_metric else advice.objective],
    )


def ratio_text(ratio: float) -> str:
    """A ratio with as many digits as it can bear: "0.94", "1.8", "21"."""
    return number_text(ratio, "times")


def share_text(fraction: float) -> str:
    """A fraction as a percentage, "10 %"."""
    return number_text(fraction, "percent")


def near_text(advice: Advice) -> str:
    """How near to the best the flat set is, "within 10 % of the least time"."""
    best = objective_words(advice).within
    return text("within {share} of {best}", share=share_text(advice.delta), best=best)


def target_text(target: Target) -> str:
    """A target in words, "validation accuracy ≥ 0.97"."""
    return text(
        "validation {metric} {sign} {value:.6g}",
        metric=target.metric,
        sign="≥" if target.better == "higher" else "≤",
        value=target.value,
    )


# ---- ends and configurations


def end_text(endings: Endings, found: Ending) -> str:
    """The mean end of a configuration that has one, as finely as the margin asks for."""
    decimals = max(0, 1 - math.floor(math.log10(2 * endings.margin)))
    return number_text(found.mean, f".{decimals}f")


def named_text(advice: Advice) -> str:
    """What is named, in a table or at a mark: whether it is certain."""
    return text("recommended") if advice.recommendation else text("best so far")


# How the reference is called: the user's own configuration, and what stands in for it.
_REFERENCE = {
    # Batch size and rate as they are.
    "configuration": ("your configuration", "the stand-in for your configuration"),
    "batch_size": ("your batch size", "the stand-in's batch size"),
    # The configuration in a table or at a mark.
    "short": ("yours", "stand-in for yours"),
    # Where it is what is recommended.
    "nothing_to_gain": (
        "It is your own configuration, so there is nothing to gain.",
        "Your batch size {size} cannot be used here. This one stands in for it, so there is "
        "nothing to compare it with.",
    ),
}


def reference_text(advice: Advice, what: str) -> str:
    """A text on the reference of `advice`."""
    own, stand_in = _REFERENCE[what]
    return text(own if advice.stand_in_for is None else stand_in, size=advice.stand_in_for)


def is_same(found: Configuration | Ending, reference: Configuration) -> bool:
    """Whether both have the same batch size and learning rate; how it is split does not count."""
    return (found.batch_size, found.learning_rate, found.cool_down) == (
        reference.batch_size,
        reference.learning_rate,
        reference.cool_down,
    )


# ---- what is said of it

# What an advice says, by its code. Values that are there without being given: those that
# `advice_claims` knows of every advice.
SAID: dict[str, Message] = {
    # ---- What to set, and what it is for.
    "keep_all": "keep batch size {size} and learning rate {rate:rate}",
    "keep_size": "keep batch size {size} and set learning rate {rate:rate}",
    "use": "use batch size {size} with learning rate {rate:rate}",
    "falling": "{setting} that falls to zero over the last {part:percent} of the training",
    "recommended_time": "{set_this} for the least time to {target}.",
    "recommended_samples": (
        "{set_this}: the largest that gets to {target} with at most {delta:percent} more samples "
        "than the fewest."
    ),
    "recommended_quality": "{set_this} for the best validation {metric} in a run of fixed length.",
    "better": "{set_this}: {yours} {takes}.",
    "better_to_target": "{set_this}: {yours} {takes} to {target}.",
    "perhaps_better_still": "Another batch size may be better still.",
    "cooled": "{set_this}. With that {ends}.",
    "cooled_in": (
        "{set_this}. {epochs:.3g} epochs then take {own:train_s} instead of {reference:train_s} "
        "with your batch size, and {ends}."
    ),
    "no_worse": "it ends no worse",
    "at_most_worse": "it ends at most {worst:.2g} worse (95 %)",
    "all_near": "The batch size hardly matters here: all are {near}.",
    "all_between": "The batch size hardly matters here: {low} to {high} are all {near}.",
    "set_this": "{set_this}.",
    "least_memory": "It takes the least memory.",
    # ---- Where it is open.
    "open_time": "Still open: which batch size gets to {target} first.",
    "open_samples": (
        "Still open: the largest batch size that needs few extra samples to {target}."
    ),
    "open_quality": "Still open: which batch size gives the best validation {metric}.",
    "kept_for_now": (
        "For now keep batch size {size} and learning rate {rate:rate}: nothing else that was "
        "tried is known to be better."
    ),
    "best_so_far": (
        "Best so far: batch size {size} with learning rate {rate:rate} (not yet certain)."
    ),
    "best_of_race": (
        "Best so far: batch size {size} with learning rate {rate:rate} (not yet certain, from "
        "a few single runs)."
    ),
    "faster_ends_worse": "What is faster seems to end worse.",
    "faster_not_followed": "Others may be faster, but were not trained to the end.",
    "reason": "{reason}",
    "missing": "Missing: {missing}.",
    "more_time": "About {more_s:about_seconds} more may settle it.",
    "got_as_far": "The runs did get as far as {reached}.",
    # ---- Which batch sizes do as well.
    "none_near": "No other batch size is proven to be {near} (95 %).",
    "near": "Batch sizes {sizes} are {near} (95 %, for all of them together).",
    # ---- Why: batch, rate, steps and step time beside the configuration as it is.
    "why": "{batch}{rates} needs {steps}{each}.",
    "batch_same": "The same batch size",
    "batch_more": "A batch {times} times as large",
    "batch_less": "A batch {times} times smaller",
    "rate_same": " at the same learning rate",
    "rate_more": " with {times} times the learning rate",
    "rate_less": " with a learning rate {times} times smaller",
    "steps_same": "as many steps",
    "steps_more": "{times} times fewer steps",
    "steps_less": "{times} times as many steps",
    "each_same": ", and each step takes as long",
    "each_more": ", and each step takes only {times} times as long",
    "each_less": ", but each step is {times} times faster",
    "each_less_too": ", and each step is {times} times faster",
    # ---- Where whole trainings end.
    "ends": "{trained}, {ends}.",
    "cooled_ends": (
        "At a constant rate {worse}: at {of} {end}, the better of yours at {other}. So a "
        "rate that falls to zero over the last {part:percent} of {epochs:.3g} epochs was tried "
        "({trained}). With it {ends}."
    ),
    "surely_worse": "it ends worse",
    "perhaps_worse": "it may end worse",
    "trained": PluralMessage(
        "Trained once for {epochs:.3g} epochs", "Trained {n} times for {epochs:.3g} epochs", "n"
    ),
    "trained_each": PluralMessage("{n} training each", "{n} trainings each", "n"),
    "named_size": "batch size {size}",
    "named_rate": "batch size {size} at learning rate {rate:rate}",
    "named_ends": "{named} ends at {of} {end}{others}",
    "tuned": "{own_size} at its tuned rate",
    "other_ends": ", {named} at {end}",
    "other_not_followed": ", {named} was not trained to its end",
    "ends_own": "It is your own configuration.",
    "ends_alone": "No training of your configuration came to its end.",
    "ends_worse": "That is worse: {why}.",
    "ends_too_few": "These are too few trainings to tell whether it ends as well.",
    "ends_as_well": "It certainly ends at least as well (95 %).",
    "ends_up_to": (
        "It may be up to {worst:.2g} worse than the better of yours (95 %); {margin:.2g} is "
        "allowed."
    ),
    "ends_more_errors": (
        "It may make up to {worst:percent} more errors than the better of yours (95 %); "
        "{margin:percent} is allowed."
    ),
    "model_kept": "A whole training with it was kept. This command writes its model to a file.",
    # ---- The gain.
    "nothing_to_gain": "{nothing}",
    "gain": "{yours} (batch size {own_size}, learning rate {own_rate:rate}) {compared}{missed}.",
    "gain_missed": "; it missed the target on {missed} of {n} seeds",
    "gain_raced": (
        "In single runs {yours} {takes} (95 %: {interval}). The interval comes from how "
        "far such runs were off on recorded trainings."
    ),
    "size_stays": "None: the batch size stays, only other settings change.",
    "size_gain": "Batch size {own_size} at its tuned rate {compared}.",
    "size_gain_at": "Batch size {own_size} at its tuned rate ({tuned:rate}) {compared}.",
    "own_rate_better": "On these seeds your own rate was the better of the two at that batch size.",
    "size_gains": "The batch size alone gains this much.",
    "size_gains_part": "The batch size alone gains this much, the learning rate the rest.",
    "rate_gains": "The part of the gain that is certain comes from the learning rate.",
    "at_least": "at least {times}",
    "at_most": "at most {times}",
    "only": "only {times}",
    "between": "{low} to {high}",
    "not_compared": "can't be compared: {why}",
    "not_measured": "it was not measured",
    "no_interval": "{takes} (no interval, so it may be chance)",
    "surely_takes": PluralMessage(
        "{takes} (95 %: {interval}, {n} seed)", "{takes} (95 %: {interval}, {n} seeds)", "n"
    ),
    "did_better": "{takes}: it did better",
    "perhaps_alike": "{takes}; there may be no difference",
    # ---- The usual sizes.
    "usual_open": "It is open whether any of the usual {sizes} is near the best.",
    "usual": "Each usual size at its tuned rate: {found}.",
    "usual_too": "{found}.",
    "size_near": PluralMessage("{sizes} is {near}", "{sizes} are {near}", "n"),
    "size_worse": "with {sizes} it {takes} as with the best",
    "size_open": PluralMessage("{sizes} is still open", "{sizes} are still open", "n"),
    "size_fitted": PluralMessage(
        "{sizes} was not trained: this is read off the fitted curve",
        "{sizes} were not trained: this is read off the fitted curve",
        "n",
    ),
    "size_bounded": PluralMessage(
        "no run of {sizes} met the target, so only this bound is known",
        "no run of {sizes} met the target, so only these bounds are known",
        "n",
    ),
    # ---- When to stop, and other targets.
    "stop_at_zero": "After {length:.3g} epochs, when the rate has fallen to zero.",
    "expected_after": "{target} is expected after {epochs}.",
    "stop_after": "After {epochs}: the length of the run is fixed.",
    "stop_expected": "At {target}, expected after {epochs}.",
    "stop_at": "At {target}.",
    "from_pilot": "That is slightly easier than what {yours} ends with.",
    "easier_target": "The target is an easier one: the budget did not reach for the plateau.",
    "epochs": "{epochs:epochs_to_target} epochs",
    "other_open": "At the {which:term} target ({other}) the answer is open: {why}.",
    "other_alike": "At the {which:term} target ({other}) the batch size does not matter.",
    "other_answer": "At the {which:term} target ({other}) the answer is batch size {found}.",
    "other_same": "At the {which:term} target ({other}) the answer is batch size {found} as well.",
    "other_good": (
        "At the {which:term} target ({other}) the answer is batch size {found}, which is as good "
        "here."
    ),
    "other_depends": (
        "At the {which:term} target ({other}) the answer is batch size {found}: it depends on the "
        "target."
    ),
    # ---- What the study cost.
    "pays_after": (
        "Breaks even after about {runs:two_digits} trainings (the study took {spent_s:train_s})."
    ),
    "pays_at_once": "Breaks even after about one training (the study took {spent_s:train_s}).",
    "pays_sometime": (
        "The study took {spent_s:train_s}. After how many trainings it breaks even is not known."
    ),
    "pays_never": "The study took {spent_s:train_s} and found nothing that surely saves time.",
    # ---- In the words of researchers.
    "b_crit": "The critical batch size for this target is {found}.",
    "b_crit_untold": "The critical batch size can't be told: {why}.",
    "b_crit_no_fit": "no fit",
    "b_crit_bound": "{bound}: {why}",
    "b_crit_beyond_largest": (
        "the estimate of B_crit lies beyond the largest measured batch size, {largest:.6g}"
    ),
    "b_crit_below_smallest": (
        "the estimate of B_crit lies below the smallest measured batch size, {smallest:.6g}"
    ),
    "exponent_untold": ("In the more general law the exponent is {exponent}; in this law it is 1."),
    "exponent": (
        "The steps follow the more general law, with an exponent of {exponent} instead of 1."
    ),
    "law_fitted": "The steps were fitted with S = S_min (1 + B_crit / B), on log steps.",
    "law_not_used": "The law S = S_min (1 + B_crit / B) was not used.",
    "s_min": "S_min: {s_min}.",
    "e_min": "E_min in examples: {e_min}.",
    "lack_of_fit": "Its test against the scatter of the seeds gives p = {p:.2g}.",
    "rules": (
        "Scaling rules beside the tuned rate: {rates}. They start from the tuned rate of batch "
        "size {own_size}."
    ),
    "rule": "{rule} {by_rule:learning_rate} ({times:times} times it)",
}
