"""The gain: the reference against the recommendation, and what the study costs against it."""

from __future__ import annotations

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Estimate
from batchlab.report.advice_words import Told, is_same, objective_words, ratio_text, reference_words
from batchlab.report.text import Sentence, clause, with_a_capital
from batchlab.words.catalogue import plural, text


def gain(told: Told) -> Sentence | None:
    """The recommendation against the configuration as it is: batch size and rate together."""
    advice = told.advice
    if advice.recommendation is None:
        return _by_single_runs(told)
    if is_same(advice.recommendation, advice.reference):
        return Sentence(topic="gain", text=reference_words(advice).nothing_to_gain)
    against = text(
        "{configuration} (batch size {size}, learning rate {rate:rate}) {compared}{missed}.",
        configuration=with_a_capital(reference_words(advice).configuration),
        size=advice.reference.batch_size,
        rate=advice.reference.learning_rate,
        compared=_compared(advice, advice.gain),
        missed=_missed(advice),
    )
    return Sentence(topic="gain", text=against)


def _by_single_runs(told: Told) -> Sentence | None:
    """What a race saw, and how far such figures may be off."""
    advice = told.advice
    seen = advice.gain
    if advice.provisional is None or seen.estimate is None:
        return None
    said = text(
        "In single runs {configuration} {takes} (95 %: {interval}). The interval comes from how "
        "far such runs were off on recorded trainings.",
        configuration=reference_words(advice).configuration,
        takes=objective_words(advice).takes_text(ratio_text(seen.estimate)),
        interval=_ratio_interval(seen),
    )
    return Sentence(topic="gain", text=said)


def gain_from_batch_size(told: Told) -> Sentence | None:
    """How much of the gain is the batch size's: the reference batch size is tuned as well."""
    advice = told.advice
    topic = "from the batch size alone"
    if advice.recommendation is None or is_same(advice.recommendation, advice.reference):
        return None
    if told.same_batch_size:
        nothing = text("None: the batch size stays, only other settings change.")
        return Sentence(topic=topic, text=nothing)
    tuned = advice.reference_tuned
    against = text(
        "Batch size {size} at its tuned rate{rate} {compared}.{whose}",
        size=advice.reference.batch_size,
        rate="" if tuned is None else text(" ({rate:rate})", rate=tuned.learning_rate),
        compared=_compared(advice, advice.gain_from_batch_size),
        whose=_whose(advice),
    )
    return Sentence(topic=topic, text=against)


def break_even(told: Told) -> Sentence | None:
    """What the study cost against what it saves in each run."""
    advice = told.advice
    if advice.recommendation is None or advice.recommendation.cool_down:
        return None  # with a cool-down the answer itself compares whole trainings
    spent_s = advice.spent_s
    if advice.pay_back_runs is not None and advice.pay_back_runs > 1:
        earned = text(
            "Breaks even after about {runs:two_digits} trainings (the study took "
            "{spent_s:train_s}).",
            spent_s=spent_s,
            runs=advice.pay_back_runs,
        )
    elif advice.pay_back_runs is not None:
        earned = text(
            "Breaks even after about one training (the study took {spent_s:train_s}).",
            spent_s=spent_s,
        )
    elif advice.objective != "time":
        return None
    elif advice.gain.low is not None and advice.gain.low > 1:
        earned = text(
            "The study took {spent_s:train_s}. After how many trainings it breaks even is not "
            "known.",
            spent_s=spent_s,
        )
    else:
        earned = text(
            "The study took {spent_s:train_s} and found nothing that surely saves time.",
            spent_s=spent_s,
        )
    return Sentence(topic="break-even", text=earned)


def _compared(advice: Advice, ratio: Estimate) -> str:
    """The other configuration's figure over the recommendation's, as far as it is known."""
    words = objective_words(advice)
    if ratio.estimate is None and ratio.low is not None:
        return words.takes_text(text("at least {ratio:times}", ratio=ratio.low))
    if ratio.estimate is None:
        return text(
            "can't be compared: {why}", why=clause(ratio.reason) or text("it was not measured")
        )
    value = words.takes_text(ratio_text(ratio.estimate))
    if ratio.low is None and ratio.high is None:
        return text("{takes} (no interval, so it may be chance)", takes=value)
    interval = plural(
        "(95 %: {interval}, {n} seed)",
        "(95 %: {interval}, {n} seeds)",
        ratio.n,
        interval=_ratio_interval(ratio),
    )
    if ratio.low is not None and ratio.low > 1:
        return f"{value} {interval}"
    if ratio.high is not None and ratio.high < 1:
        only = words.takes_text(text("only {ratio:times}", ratio=ratio.estimate))
        return text("{takes} {interval}: it did better", takes=only, interval=interval)
    return text("{takes} {interval}; there may be no difference", takes=value, interval=interval)


def _ratio_interval(ratio: Estimate) -> str:
    if ratio.low is None and ratio.high is not None:
        return text("at most {ratio:times}", ratio=ratio.high)
    if ratio.high is None and ratio.low is not None:
        return text("at least {ratio:times}", ratio=ratio.low)
    low, high = ratio_text(ratio.low or 0.0), ratio_text(ratio.high or 0.0)
    return low if low == high else text("{low} to {high}", low=low, high=high)


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
    if whole.estimate is not None and part.estimate > whole.estimate:
        return text(" On these seeds your own rate was the better of the two at that batch size.")
    if part.low is not None and part.low > 1:
        if part.high is None or whole.low <= part.high:
            return text(" The batch size alone gains this much.")
        return text(" The batch size alone gains this much, the learning rate the rest.")
    return text(" The part of the gain that is certain comes from the learning rate.")
