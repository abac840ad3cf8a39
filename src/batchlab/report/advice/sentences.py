"""Advice sentences: the answer and what it rests on, in words that follow the numbers.

A ratio is called larger or smaller only where its whole 95 % interval is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.advice.parts import Candidate, Configuration, TargetAnswer
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason
from batchlab.records.study import WorkloadSummary
from batchlab.report.advice.objective_words import (
    near_text,
    objective_words,
    ratio_text,
    target_text,
)
from batchlab.report.advice.reference_words import reference_words
from batchlab.report.parts.estimate_text import estimate_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
from batchlab.words.catalogue import listing, plural, text
from batchlab.words.message import N_
from batchlab.words.numbers import english_number
from batchlab.words.reasons import reason_text

_WITHOUT_BOUND = {
    "b_crit_beyond_largest": N_(
        "the estimate of B_crit lies beyond the largest measured batch size, {largest:.6g}"
    ),
    "b_crit_below_smallest": N_(
        "the estimate of B_crit lies below the smallest measured batch size, {smallest:.6g}"
    ),
}
HABIT = (16, 32, 64, 128)  # the batch sizes people take without measuring


def advice_sentences(advice: Advice, workload: WorkloadSummary) -> tuple[Sentence, ...]:
    """Everything that can be said of an advice, the answer first; caveats are not among them.

    Args:
        advice: the advice.
        workload: what it is about.

    Returns:
        The sentences in reading order, each with its topic.
    """
    told = Told(advice=advice, workload=workload)
    said = (tell(told) for tell in TOLD)
    return tuple(sentence for sentence in said if sentence is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What the sentences are told from.

    Attributes:
        advice: the advice.
        workload: what it is about.
    """

    advice: Advice
    workload: WorkloadSummary

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
        """That what was asked can't be told."""
        return {
            "time": text(
                "It can't be told which batch size gives the least time to {target}.",
                target=self.target,
            ),
            "samples": text(
                "It can't be told which batch size is the largest that still needs few samples to "
                "{target}.",
                target=self.target,
            ),
            "quality": text(
                "It can't be told which batch size gives the best validation {metric}.",
                metric=self.workload.metrics[0].name,
            ),
        }[self.advice.objective]

    @property
    def recommended(self) -> str:
        """What to set, and what for."""
        found = self.advice.recommendation
        assert found is not None
        set_this = _set_this(found, self.advice.reference)
        return {
            "time": text(
                "{set_this} for the least time to {target}.", set_this=set_this, target=self.target
            ),
            "samples": text(
                "{set_this}: the largest that needs at most {near:percent} more samples than the "
                "least to {target}.",
                set_this=set_this,
                near=self.advice.delta,
                target=self.target,
            ),
            "quality": text(
                "{set_this} for the best validation {metric} within the fixed run.",
                set_this=set_this,
                metric=self.workload.metrics[0].name,
            ),
        }[self.advice.objective]


def answer(told: Told) -> Sentence:
    """The verdict in one sentence."""
    advice, found = told.advice, told.advice.recommendation
    if advice.verdict == "cannot_tell" or found is None:
        return Sentence(topic=N_("answer"), text=told.open_question, verdict="cannot_tell")
    if advice.verdict != "indifferent":
        return Sentence(topic=N_("answer"), text=_with_a_capital(told.recommended))
    any_of_these = text(
        "The batch size does not matter much here, {between}: {set_this}, which takes the least "
        "memory.",
        between=_between(advice),
        set_this=_set_this(found, advice.reference),
    )
    return Sentence(topic=N_("answer"), text=any_of_these)


def why(told: Told) -> Sentence | None:
    """Why the verdict is what it is."""
    reason = whole_sentence(told.advice.reason)
    return Sentence(topic=N_("why"), text=reason) if reason else None


def flat_interval(told: Told) -> Sentence | None:
    """Which batch sizes do about as well."""
    advice = told.advice
    if advice.flat_interval is None:
        return None
    low, high = advice.flat_interval
    near = near_text(advice)
    if low == high:
        fine = text("Of no other batch size is it certain (95 %) that it is {near}.", near=near)
    else:
        fine = text(
            "Every batch size tried from {low} to {high}: {near} (95 %, all of them at once).",
            low=low,
            high=high,
            near=near,
        )
    return Sentence(topic=N_("also fine"), text=fine)


def gain(told: Told) -> Sentence | None:
    """The recommendation against the configuration as it is: batch size and rate together."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    if _is_same(advice.recommendation, advice.reference):
        return Sentence(topic=N_("gain"), text=reference_words(advice).nothing_to_gain)
    against = text(
        "Against the recommendation {configuration} (batch size {size}, learning rate {rate:rate}) "
        "{compared}{missed}.",
        configuration=reference_words(advice).configuration,
        size=advice.reference.batch_size,
        rate=advice.reference.learning_rate,
        compared=_compared(advice, advice.gain),
        missed=_missed(advice),
    )
    return Sentence(topic=N_("gain"), text=against)


def gain_from_batch_size(told: Told) -> Sentence | None:
    """How much of the gain is the batch size's: the reference batch size is tuned as well."""
    advice = told.advice
    topic = N_("of it from the batch size")
    if advice.recommendation is None or _is_same(advice.recommendation, advice.reference):
        return None
    if told.same_batch_size:
        nothing = text("None: the batch size stays as it is, only other settings change.")
        return Sentence(topic=topic, text=nothing)
    tuned = advice.reference_tuned
    against = text(
        "Batch size {size} at its own tuned learning rate{rate} {compared}{whose}.",
        size=advice.reference.batch_size,
        rate="" if tuned is None else text(" ({rate:rate})", rate=tuned.learning_rate),
        compared=_compared(advice, advice.gain_from_batch_size),
        whose=_whose(advice),
    )
    return Sentence(topic=topic, text=against)


def habit(told: Told) -> Sentence | None:
    """How good the sizes that people take without measuring are here, each tuned."""
    advice = told.advice
    valued = [c for c in advice.candidates if c.batch_size in HABIT]
    limit = 1 + advice.delta
    good = [c for c in valued if c.in_flat_interval]
    worse = [(c, low) for c in valued if (low := c.relative.low) is not None and low > limit]
    if not worse and all(c.relative.estimate is None for c in valued):
        return None
    settled = [*good, *(c for c, _ in worse)]
    open_ones = [c for c in valued if c not in settled]
    parts = []
    if good:
        parts.append(_of_sizes("{sizes} is {near}", "{sizes} are {near}", good, near_text(advice)))
    if worse:
        parts.append(_habit_is_worse(advice, worse))
    if open_ones:
        parts.append(text("for {sizes} that can't be told", sizes=_sizes(open_ones)))
    parts += _untrained(valued, [candidate for candidate, _ in worse])
    verdict: ClaimVerdict = "held" if good else "did_not_hold" if not open_ones else "cannot_tell"
    habitual = text(
        "The usual 16, 32, 64 and 128, each at its own tuned learning rate: {parts}.",
        parts="; ".join(parts),
    )
    return Sentence(topic=N_("habit"), text=habitual, verdict=verdict)


def _habit_is_worse(advice: Advice, worse: list[tuple[Candidate, float]]) -> str:
    at_least = text("at least {ratios}", ratios=listing([ratio_text(low) for _, low in worse]))
    return text(
        "with {sizes} it {takes} as with the best",
        sizes=_sizes([candidate for candidate, _ in worse]),
        takes=text(objective_words(advice).takes, ratio=at_least),
    )


def _untrained(valued: list[Candidate], worse: list[Candidate]) -> Iterator[str]:
    """Where what is known of a habit comes from, if it was not trained itself."""
    untrained = [c for c in valued if c.learning_rate is None]
    off_the_curve = [c for c in untrained if c.relative.estimate is not None]
    if off_the_curve:
        yield _of_sizes(
            "{sizes} was not trained: this is read off the fitted curve",
            "{sizes} were not trained: this is read off the fitted curve",
            off_the_curve,
        )
    bounded = [c for c in worse if c in untrained and c not in off_the_curve]
    if bounded:
        yield _of_sizes(
            "{sizes} has no run that met the target, only this bound",
            "{sizes} have no run that met the target, only this bound",
            bounded,
        )


def critical_batch_size(told: Told) -> Sentence | None:
    """The critical batch size with its interval, or why there is none."""
    laws = told.advice.laws
    if laws is None:
        return None
    b_crit = laws.b_crit
    if b_crit.estimate is None and b_crit.low is None and b_crit.high is None:
        untold = text(
            "The critical batch size can't be told: {why}.",
            why=_clause(b_crit.reason) or text("no fit"),
        )
        if laws.exponent.estimate is not None:
            untold += " " + text(
                "The exponent of the more general law is {exponent}; 1 would be this law.",
                exponent=estimate_text("ratio", laws.exponent),
            )
        return Sentence(topic=N_("critical batch size"), text=untold, verdict="cannot_tell")
    size = estimate_text("critical_batch_size", b_crit)
    if b_crit.estimate is None and b_crit.reason is not None:
        size += f": {_without_bound(b_crit.reason)}"
    known = text("The critical batch size for this target is {size}.", size=size)
    return Sentence(topic=N_("critical batch size"), text=known)


def _without_bound(reason: Reason) -> str:
    """Why B_crit is a bound; the reason itself would give the bound again."""
    shorter = _WITHOUT_BOUND.get(reason.code)
    return _clause(reason) if shorter is None else text(shorter, **reason.named)


def rules(told: Told) -> Sentence | None:
    """Where the scaling rules would have put the learning rate of the recommended batch size."""
    found = told.advice.recommendation
    if found is None or told.same_batch_size:
        return None
    candidate = told.advice.candidate(found.batch_size)
    if candidate is None or not candidate.rule_learning_rates:
        return None
    parts = [
        text(
            "{rule} {rate:learning_rate} ({ratio:times} times the tuned rate)",
            rule=rule,
            rate=float(f"{rate:.2g}"),
            ratio=rate / found.learning_rate,
        )
        for rule, rate in candidate.rule_learning_rates
    ]
    would = text(
        "From the tuned rate at batch size {size} the scaling rules would have set: {rates}.",
        size=told.advice.reference.batch_size,
        rates=", ".join(parts),
    )
    return Sentence(topic=N_("scaling rules"), text=would)


def when_to_stop(told: Told) -> Sentence | None:
    """When a training run with the recommendation is done."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    known = advice.expected
    epochs = None if known is None else known.epochs_to_target
    if advice.target is None:
        if epochs is None or epochs.estimate is None:
            return None
        after = text(
            "After {epochs} epochs, the fixed run.",
            epochs=estimate_text("epochs_to_target", epochs),
        )
        return Sentence(topic=N_("when to stop"), text=after)
    target = target_text(advice.target) + _origin(advice)
    if epochs is None or epochs.estimate is None:
        return Sentence(topic=N_("when to stop"), text=text("At {target}.", target=target))
    at = text(
        "At {target}, expected after {epochs} epochs.",
        target=target,
        epochs=estimate_text("epochs_to_target", epochs),
    )
    return Sentence(topic=N_("when to stop"), text=at)


def _origin(advice: Advice) -> str:
    """Where the target comes from, where the user did not give it."""
    return {
        "given": "",
        "pilot": text(
            " (the plateau of a pilot run of {configuration})",
            configuration=reference_words(advice).configuration,
        ),
        "easier": text(" (an easier target: the budget did not reach for the plateau)"),
    }[advice.target_origin]


def other_targets(told: Told) -> Sentence | None:
    """Whether the answer would be another at an easier or a harder target."""
    parts = [_at_other(told.advice, other) for other in told.advice.other_targets]
    if not parts:
        return None
    return Sentence(topic=N_("other targets"), text=f"{_with_a_capital('; '.join(parts))}.")


def _at_other(advice: Advice, other: TargetAnswer) -> str:
    at = text(
        "at the {which:term} target, {target},",
        which=other.which,
        target=target_text(other.target),
    )
    if other.verdict == "cannot_tell" or other.batch_size is None:
        return text("{at} it can't be told ({why})", at=at, why=_clause(other.reason))
    if other.verdict == "indifferent":
        return text("{at} the batch size does not matter", at=at)
    kept = _keeps(advice, other.batch_size)
    return text("{at} batch size {size}{kept}", at=at, size=other.batch_size, kept=kept)


def pay_back(told: Told) -> Sentence | None:
    """What the study cost against what it saves in each run."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    spent_s = advice.spent_s
    if advice.pay_back_runs is not None and advice.pay_back_runs > 1:
        earned = text(
            "The study took {spent_s:train_s}, which about {runs:two_digits} full training runs "
            "with the recommendation earn back.",
            spent_s=spent_s,
            runs=advice.pay_back_runs,
        )
    elif advice.pay_back_runs is not None:
        earned = text(
            "The study took {spent_s:train_s}, which about one full training run with the "
            "recommendation earns back.",
            spent_s=spent_s,
        )
    elif advice.objective != "time":
        return None
    elif advice.gain.low is not None and advice.gain.low > 1:
        earned = text(
            "The study took {spent_s:train_s}; after how many runs that is earned back is not "
            "known.",
            spent_s=spent_s,
        )
    else:
        earned = text(
            "The study took {spent_s:train_s}; no saving of time per run was found that would earn "
            "it back.",
            spent_s=spent_s,
        )
    return Sentence(topic=N_("pay-back"), text=earned)


def missing(told: Told) -> Sentence | None:
    """What was missing for an answer, and about how much more would settle it."""
    advice = told.advice
    if advice.verdict != "cannot_tell":
        return None
    parts = []
    # The reason is in the answer: what it says is not said again.
    if advice.missing is not None and not advice.reason.quotes(advice.missing):
        parts.append(text("Missing: {missing}.", missing=_clause(advice.missing)))
    if advice.more_budget_s is not None:
        parts.append(
            text(
                "About {more_s:train_s} more would settle it: {option}.",
                more_s=advice.more_budget_s,
                option=f"--budget {_flag(advice.budget_s + advice.more_budget_s)}",
            )
        )
    if advice.proposed_target is not None and advice.proposed_target != advice.target:
        target = advice.proposed_target
        parts.append(
            text(
                "The runs did reach {target}: try {option}.",
                target=target_text(target),
                option=f"--target {target.metric}={target.value:.6g}",
            )
        )
    if not parts:
        return None
    return Sentence(topic=N_("what would settle it"), text=" ".join(parts))


def for_now(told: Told) -> Sentence | None:
    """Where it cannot be told: the best of what was tried, for who must choose now."""
    found = told.advice.provisional
    if found is None:
        return None
    best = text(
        "Who must choose now: batch size {size} with learning rate {rate:rate} was the best of "
        "what was tried. It is no recommendation: others may be better.",
        size=found.batch_size,
        rate=found.learning_rate,
    )
    return Sentence(topic=N_("for now"), text=best)


TOLD: tuple[Callable[[Told], Sentence | None], ...] = (
    answer,
    why,
    missing,
    for_now,
    flat_interval,
    gain,
    gain_from_batch_size,
    habit,
    when_to_stop,
    other_targets,
    critical_batch_size,
    rules,
    pay_back,
)


def _set_this(found: Configuration, reference: Configuration) -> str:
    """What to set, and what of it stays."""
    setting = N_("use batch size {size} with learning rate {rate:rate}")
    if _is_same(found, reference):
        setting = N_("keep batch size {size} and learning rate {rate:rate}")
    elif found.batch_size == reference.batch_size:
        setting = N_("keep batch size {size} and set learning rate {rate:rate}")
    return text(setting, size=found.batch_size, rate=found.learning_rate)


def _is_same(found: Configuration, reference: Configuration) -> bool:
    return (found.batch_size, found.learning_rate) == (
        reference.batch_size,
        reference.learning_rate,
    )


def _between(advice: Advice) -> str:
    near = near_text(advice)
    if advice.flat_interval is None:
        return text("all are {near}", near=near)
    low, high = advice.flat_interval
    return text("from {low} to {high} all are {near}", low=low, high=high, near=near)


def _compared(advice: Advice, ratio: Estimate) -> str:
    """The other configuration's figure over the recommendation's, as far as it is known."""
    takes = objective_words(advice).takes
    if ratio.estimate is None and ratio.low is not None:
        return text(takes, ratio=text("at least {ratio:times}", ratio=ratio.low))
    if ratio.estimate is None:
        return text(
            "can't be told: {why}", why=_clause(ratio.reason) or text("it was not measured")
        )
    value = text(takes, ratio=ratio_text(ratio.estimate))
    if ratio.low is None and ratio.high is None:
        return text("{takes}, without an interval, so it may be chance", takes=value)
    interval = plural(
        "(95 %: {interval}, {n} seed)",
        "(95 %: {interval}, {n} seeds)",
        ratio.n,
        interval=_ratio_interval(ratio),
    )
    if ratio.low is not None and ratio.low > 1:
        return f"{value} {interval}"
    if ratio.high is not None and ratio.high < 1:
        only = text(takes, ratio=text("only {ratio:times}", ratio=ratio.estimate))
        return text("{takes} {interval}: it did better", takes=only, interval=interval)
    return text("{takes} {interval}, which may be no difference", takes=value, interval=interval)


def _ratio_interval(ratio: Estimate) -> str:
    if ratio.low is None and ratio.high is not None:
        return text("at most {ratio:times}", ratio=ratio.high)
    if ratio.high is None and ratio.low is not None:
        return text("at least {ratio:times}", ratio=ratio.low)
    return text("{low:times} to {high:times}", low=ratio.low or 0.0, high=ratio.high or 0.0)


def _missed(advice: Advice) -> str:
    """How often the reference missed the target in the verification."""
    if advice.head_to_head is None:
        return ""
    runs = advice.head_to_head.reference
    missed = sum(value is None for value in runs)
    if not missed:
        return ""
    return text("; it missed the target on {missed} of {n} seeds", missed=missed, n=len(runs))


def _whose(advice: Advice) -> str:
    """Who the whole gain belongs to, as far as both intervals say so."""
    whole, part = advice.gain, advice.gain_from_batch_size
    if whole.low is None or whole.low <= 1 or part.estimate is None:
        return ""
    if part.low is not None and part.low > 1:
        if part.high is None or whole.low <= part.high:
            return text("; this part of the gain is the batch size's")
        return text("; this part of the gain is the batch size's, the rest the learning rate's")
    return text("; what is gained for certain comes from the learning rate")


def _keeps(advice: Advice, batch_size: int) -> str:
    if advice.recommendation is None:
        return ""
    if advice.recommendation.batch_size == batch_size:
        return text(" as well")
    flat = advice.flat_interval
    if flat is not None and flat[0] <= batch_size <= flat[1]:
        return text(", inside the interval given here")
    return text(": the answer depends on the target")


def _sizes(candidates: list[Candidate]) -> str:
    return listing([str(candidate.batch_size) for candidate in candidates])


def _of_sizes(singular: str, several: str, candidates: list[Candidate], near: str = "") -> str:
    return plural(singular, several, len(candidates), sizes=_sizes(candidates), near=near)


def _with_a_capital(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def whole_sentence(reason: Reason) -> str:
    """A reason or caveat as a sentence of its own: a capital, and a full stop at the end."""
    clause = _clause(reason)
    return f"{_with_a_capital(clause)}." if clause else ""


def _clause(reason: Reason | None) -> str:
    """A reason as part of a sentence: without the full stop of its own."""
    return reason_text(reason).strip().rstrip(".")


def _flag(value_s: float) -> str:
    """A time as --budget takes it: whole seconds, minutes or hours."""
    number, unit = english_number(value_s, "train_s").split()
    letter = {"s": "s", "min": "m", "h": "h"}.get(unit)
    return f"{-(-float(number) // 1):.0f}{letter}" if letter else "1s"
