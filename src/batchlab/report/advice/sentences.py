"""Advice sentences: the answer and what it rests on, in words that follow the numbers.

A ratio is called larger or smaller only where its whole 95 % interval is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batchlab.advice.advice import Advice, Candidate, Configuration
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason
from batchlab.records.study import WorkloadSummary
from batchlab.report.advice.objective_words import (
    objective_words,
    ratio_text,
    share_text,
    target_text,
)
from batchlab.report.advice.reference_words import reference_words
from batchlab.report.parts.estimate_text import NOT_TOLD, estimate_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.sentence import ClaimVerdict, Sentence
from batchlab.words import catalogue
from batchlab.words.message import N_
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
        return "the target" if self.advice.target is None else target_text(self.advice.target)

    @property
    def question(self) -> str:
        """What was asked, "which batch size ..."."""
        return {
            "time": f"gives the least time to {self.target}",
            "samples": f"is the largest that still needs few samples to {self.target}",
            "quality": f"gives the best validation {self.workload.metrics[0].name}",
        }[self.advice.objective]

    @property
    def purpose(self) -> str:
        """What a recommendation is for."""
        near = share_text(self.advice.delta)
        return {
            "time": f" for the least time to {self.target}",
            "samples": f": the largest that needs at most {near} more samples than the least to "
            f"{self.target}",
            "quality": f" for the best validation {self.workload.metrics[0].name} within the fixed "
            f"run",
        }[self.advice.objective]


def answer(told: Told) -> Sentence:
    """The verdict in one sentence."""
    advice, found = told.advice, told.advice.recommendation
    if advice.verdict == "cannot_tell" or found is None:
        text = f"It can't be told which batch size {told.question}."
        return Sentence(topic="answer", text=text, verdict="cannot_tell")
    set_this = _set_this(found, advice.reference)
    if advice.verdict == "indifferent":
        text = (
            f"The batch size does not matter much here, {_between(advice)}: {set_this}, "
            f"which takes the least memory."
        )
    else:
        text = f"{set_this[0].upper()}{set_this[1:]}{told.purpose}."
    return Sentence(topic="answer", text=text)


def why(told: Told) -> Sentence | None:
    """Why the verdict is what it is."""
    text = whole_sentence(told.advice.reason)
    return Sentence(topic="why", text=text) if text else None


def flat_interval(told: Told) -> Sentence | None:
    """Which batch sizes do about as well."""
    advice = told.advice
    if advice.flat_interval is None:
        return None
    low, high = advice.flat_interval
    near = f"within {share_text(advice.delta)} of {objective_words(advice).within}"
    if low == high:
        text = f"Of no other batch size is it certain (95 %) that it is {near}."
    else:
        text = f"Every batch size tried from {low} to {high}: {near} (95 %, all of them at once)."
    return Sentence(topic="also fine", text=text)


def gain(told: Told) -> Sentence | None:
    """The recommendation against the configuration as it is: batch size and rate together."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    if _is_same(advice.recommendation, advice.reference):
        return Sentence(topic="gain", text=reference_words(advice).nothing_to_gain)
    own = (
        f"{reference_words(advice).configuration} (batch size {advice.reference.batch_size}, "
        f"learning rate {_rate(advice.reference)})"
    )
    text = f"Against the recommendation {own} {_compared(advice, advice.gain)}{_missed(advice)}."
    return Sentence(topic="gain", text=text)


def gain_from_batch_size(told: Told) -> Sentence | None:
    """How much of the gain is the batch size's: the reference batch size is tuned as well."""
    advice = told.advice
    topic = "of it from the batch size"
    if advice.recommendation is None or _is_same(advice.recommendation, advice.reference):
        return None
    if told.same_batch_size:
        text = "None: the batch size stays as it is, only other settings change."
        return Sentence(topic=topic, text=text)
    found = advice.gain_from_batch_size
    tuned = advice.reference_tuned
    rate = "" if tuned is None else f" ({_rate(tuned)})"
    own = f"batch size {advice.reference.batch_size} at its own tuned learning rate{rate}"
    text = f"{own[0].upper()}{own[1:]} {_compared(advice, found)}{_whose(advice)}."
    return Sentence(topic=topic, text=text)


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
    words = objective_words(advice)
    near = f"within {share_text(advice.delta)} of {words.within}"
    parts = []
    if good:
        parts.append(f"{_sizes(good)} {_are(good)} {near}")
    if worse:
        ratios = _list([ratio_text(low) for _, low in worse])
        takes = words.takes.format(f"at least {ratios}")
        parts.append(f"with {_sizes([c for c, _ in worse])} it {takes} as with the best")
    if open_ones:
        parts.append(f"for {_sizes(open_ones)} that can't be told")
    untrained = [c for c in valued if c.learning_rate is None]
    off_the_curve = [c for c in untrained if c.relative.estimate is not None]
    if off_the_curve:
        were = "was" if len(off_the_curve) == 1 else "were"
        parts.append(
            f"{_sizes(off_the_curve)} {were} not trained: this is read off the fitted curve"
        )
    bounded = [c for c, _ in worse if c in untrained and c not in off_the_curve]
    if bounded:
        have = "has" if len(bounded) == 1 else "have"
        parts.append(f"{_sizes(bounded)} {have} no run that met the target, only this bound")
    start = "The usual 16, 32, 64 and 128, each at its own tuned learning rate"
    verdict: ClaimVerdict = "held" if good else "did_not_hold" if not open_ones else "cannot_tell"
    return Sentence(topic="habit", text=f"{start}: {'; '.join(parts)}.", verdict=verdict)


def critical_batch_size(told: Told) -> Sentence | None:
    """The critical batch size with its interval, or why there is none."""
    laws = told.advice.laws
    if laws is None:
        return None
    b_crit = laws.b_crit
    if b_crit.estimate is None and b_crit.low is None and b_crit.high is None:
        exponent = (
            ""
            if laws.exponent.estimate is None
            else f" The exponent of the more general law is "
            f"{estimate_text('ratio', laws.exponent)}; 1 would be this law."
        )
        reason = _clause(b_crit.reason) or "no fit"
        text = f"The critical batch size {NOT_TOLD}: {reason}.{exponent}"
        return Sentence(topic="critical batch size", text=text, verdict="cannot_tell")
    size = estimate_text("critical_batch_size", b_crit)
    outside = ""
    if b_crit.estimate is None and b_crit.reason is not None:
        # The reason would give the bound again, which the sentence has.
        shorter = _WITHOUT_BOUND.get(b_crit.reason.code)
        outside = ": " + (
            _clause(b_crit.reason)
            if shorter is None
            else catalogue.text(shorter, **b_crit.reason.named)
        )
    text = f"The critical batch size for this target is {size}{outside}."
    return Sentence(topic="critical batch size", text=text)


def rules(told: Told) -> Sentence | None:
    """Where the scaling rules would have put the learning rate of the recommended batch size."""
    found = told.advice.recommendation
    if found is None or told.same_batch_size:
        return None
    candidate = told.advice.candidate(found.batch_size)
    if candidate is None or not candidate.rule_learning_rates:
        return None
    parts = [
        f"{rule} {quantity_text('learning_rate', float(f'{rate:.2g}'))} "
        f"({ratio_text(rate / found.learning_rate)} times the tuned rate)"
        for rule, rate in candidate.rule_learning_rates
    ]
    text = (
        f"From the tuned rate at batch size {told.advice.reference.batch_size} the scaling rules "
        f"would have set: {', '.join(parts)}."
    )
    return Sentence(topic="scaling rules", text=text)


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
        text = f"After {estimate_text('epochs_to_target', epochs)} epochs, the fixed run."
        return Sentence(topic="when to stop", text=text)
    origin = {
        "given": "",
        "pilot": f" (the plateau of a pilot run of {reference_words(advice).configuration})",
        "easier": " (an easier target: the budget did not reach for the plateau)",
    }[advice.target_origin]
    text = f"At {target_text(advice.target)}{origin}"
    if epochs is not None and epochs.estimate is not None:
        text += f", expected after {estimate_text('epochs_to_target', epochs)} epochs"
    return Sentence(topic="when to stop", text=f"{text}.")


def other_targets(told: Told) -> Sentence | None:
    """Whether the answer would be another at an easier or a harder target."""
    parts = []
    for other in told.advice.other_targets:
        at = f"at the {other.which} target, {target_text(other.target)},"
        if other.verdict == "cannot_tell" or other.batch_size is None:
            parts.append(f"{at} it can't be told ({_clause(other.reason)})")
        elif other.verdict == "indifferent":
            parts.append(f"{at} the batch size does not matter")
        else:
            kept = _keeps(told.advice, other.batch_size)
            parts.append(f"{at} batch size {other.batch_size}{kept}")
    if not parts:
        return None
    text = "; ".join(parts)
    return Sentence(topic="other targets", text=f"{text[0].upper()}{text[1:]}.")


def pay_back(told: Told) -> Sentence | None:
    """What the study cost against what it saves in each run."""
    advice = told.advice
    if advice.recommendation is None:
        return None
    cost = f"The study took {quantity_text('train_s', advice.spent_s)}"
    if advice.pay_back_runs is not None:
        runs = max(1.0, advice.pay_back_runs)
        many = f"{_two_digits(runs)} full training runs" if runs > 1 else "one full training run"
        text = f"{cost}, which about {many} with the recommendation earn{_s_of(runs)} back."
    elif advice.gain.low is not None and advice.gain.low > 1 and advice.objective == "time":
        text = f"{cost}; after how many runs that is earned back is not known."
    elif advice.objective == "time":
        text = f"{cost}; no saving of time per run was found that would earn it back."
    else:
        return None
    return Sentence(topic="pay-back", text=text)


def _two_digits(value: float) -> str:
    """Two digits that count: 1.7, 17, 170."""
    return f"{float(f'{value:.2g}'):,.{1 if value < 9.95 else 0}f}"


def missing(told: Told) -> Sentence | None:
    """What was missing for an answer, and about how much more would settle it."""
    advice = told.advice
    if advice.verdict != "cannot_tell":
        return None
    parts = []
    # The reason is in the answer: what it says is not said again.
    if advice.missing is not None and not advice.reason.quotes(advice.missing):
        parts.append(f"Missing: {_clause(advice.missing)}.")
    if advice.more_budget_s is not None:
        more = quantity_text("train_s", advice.more_budget_s)
        whole = quantity_text("train_s", advice.budget_s + advice.more_budget_s)
        parts.append(f"About {more} more would settle it: --budget {_flag(whole)}.")
    if advice.proposed_target is not None and advice.proposed_target != advice.target:
        target = advice.proposed_target
        flag = f"--target {target.metric}={target.value:.6g}"
        parts.append(f"The runs did reach {target_text(target)}: try {flag}.")
    if not parts:
        return None
    return Sentence(topic="what would settle it", text=" ".join(parts))


def for_now(told: Told) -> Sentence | None:
    """Where it cannot be told: the best of what was tried, for who must choose now."""
    found = told.advice.provisional
    if found is None:
        return None
    text = (
        f"Who must choose now: batch size {found.batch_size} with learning rate {_rate(found)} was "
        f"the best of what was tried. It is no recommendation: others may be better."
    )
    return Sentence(topic="for now", text=text)


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
    if _is_same(found, reference):
        return f"keep batch size {found.batch_size} and learning rate {_rate(found)}"
    if found.batch_size == reference.batch_size:
        return f"keep batch size {found.batch_size} and set learning rate {_rate(found)}"
    return f"use batch size {found.batch_size} with learning rate {_rate(found)}"


def _is_same(found: Configuration, reference: Configuration) -> bool:
    return (found.batch_size, found.learning_rate) == (
        reference.batch_size,
        reference.learning_rate,
    )


def _between(advice: Advice) -> str:
    near = f"within {share_text(advice.delta)} of {objective_words(advice).within}"
    if advice.flat_interval is None:
        return f"all are {near}"
    low, high = advice.flat_interval
    return f"from {low} to {high} all are {near}"


def _compared(advice: Advice, ratio: Estimate) -> str:
    """The other configuration's figure over the recommendation's, as far as it is known."""
    takes = objective_words(advice).takes
    if ratio.estimate is None and ratio.low is not None:
        return takes.format(f"at least {ratio_text(ratio.low)}")
    if ratio.estimate is None:
        return f"{NOT_TOLD}: {_clause(ratio.reason) or 'it was not measured'}"
    value = ratio_text(ratio.estimate)
    if ratio.low is None and ratio.high is None:
        return f"{takes.format(value)}, without an interval, so it may be chance"
    seeds = f"{ratio.n} seed{'' if ratio.n == 1 else 's'}"
    interval = f"(95 %: {_ratio_interval(ratio)}, {seeds})"
    if ratio.low is not None and ratio.low > 1:
        return f"{takes.format(value)} {interval}"
    if ratio.high is not None and ratio.high < 1:
        return f"{takes.format(f'only {value}')} {interval}: it did better"
    return f"{takes.format(value)} {interval}, which may be no difference"


def _ratio_interval(ratio: Estimate) -> str:
    if ratio.low is None and ratio.high is not None:
        return f"at most {ratio_text(ratio.high)}"
    if ratio.high is None and ratio.low is not None:
        return f"at least {ratio_text(ratio.low)}"
    low, high = ratio.low or 0.0, ratio.high or 0.0
    return f"{ratio_text(low)} to {ratio_text(high)}"


def _missed(advice: Advice) -> str:
    """How often the reference missed the target in the verification."""
    if advice.head_to_head is None:
        return ""
    runs = advice.head_to_head.reference
    missed = sum(value is None for value in runs)
    return f"; it missed the target on {missed} of {len(runs)} seeds" if missed else ""


def _whose(advice: Advice) -> str:
    """Who the whole gain belongs to, as far as both intervals say so."""
    whole, part = advice.gain, advice.gain_from_batch_size
    if whole.low is None or whole.low <= 1 or part.estimate is None:
        return ""
    if part.low is not None and part.low > 1:
        if part.high is None or whole.low <= part.high:
            return "; this part of the gain is the batch size's"
        return "; this part of the gain is the batch size's, the rest the learning rate's"
    return "; what is gained for certain comes from the learning rate"


def _keeps(advice: Advice, batch_size: int) -> str:
    if advice.recommendation is None:
        return ""
    if advice.recommendation.batch_size == batch_size:
        return " as well"
    flat = advice.flat_interval
    if flat is not None and flat[0] <= batch_size <= flat[1]:
        return ", inside the interval given here"
    return ": the answer depends on the target"


def _sizes(candidates: list[Candidate]) -> str:
    return _list([str(candidate.batch_size) for candidate in candidates])


def _list(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _are(candidates: list[Candidate]) -> str:
    return "is" if len(candidates) == 1 else "are"


def _s_of(runs: float) -> str:
    return "s" if runs <= 1 else ""


def _rate(configuration: Configuration) -> str:
    # Three digits are what is read; the lines for the script have all of them.
    return quantity_text("learning_rate", float(f"{configuration.learning_rate:.3g}"))


def whole_sentence(reason: Reason) -> str:
    """A reason or caveat as a sentence of its own: a capital, and a full stop at the end."""
    clause = _clause(reason)
    return f"{clause[:1].upper()}{clause[1:]}." if clause else ""


def _clause(reason: Reason | None) -> str:
    """A reason as part of a sentence: without the full stop of its own."""
    return reason_text(reason).strip().rstrip(".")


def _flag(text: str) -> str:
    """A time as --budget takes it: whole seconds, minutes or hours."""
    number, unit = text.split()
    letter = {"s": "s", "min": "m", "h": "h"}.get(unit)
    return f"{-(-float(number) // 1):.0f}{letter}" if letter else "1s"
