"""What an advice rests on, in sentences: the gain, the ends, usual sizes, laws."""

from __future__ import annotations

import math
from collections.abc import Iterator

from batchlab.advice.advice import MORE_ERRORS, Advice, Candidate, Endings
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import USUAL_SIZES
from batchlab.report.advice_commands import weights_command
from batchlab.report.advice_words import (
    Told,
    end_text,
    is_same,
    near_text,
    objective_words,
    ratio_text,
    reference_words,
)
from batchlab.report.text import ClaimVerdict, Sentence, clause, estimate_text, with_a_capital
from batchlab.words.catalogue import listing, number_text, plural, text


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
    earned = "The study took {spent_s:train_s} and found nothing that surely saves time."
    if advice.pay_back_runs is not None and advice.pay_back_runs > 1:
        earned = (
            "Breaks even after about {runs:two_digits} trainings (the study took "
            "{spent_s:train_s})."
        )
    elif advice.pay_back_runs is not None:
        earned = "Breaks even after about one training (the study took {spent_s:train_s})."
    elif advice.objective != "time":
        return None
    elif advice.gain.low is not None and advice.gain.low > 1:
        earned = (
            "The study took {spent_s:train_s}. After how many trainings it breaks even is not "
            "known."
        )
    said = text(earned, spent_s=advice.spent_s, runs=advice.pay_back_runs)
    return Sentence(topic="break-even", text=said)


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


def ending(told: Told) -> Sentence | None:
    """Where trainings of each end, and how much worse the recommendation may at most end."""
    endings = told.advice.endings
    if endings is None or not endings.recommended.found:
        return None
    constant = endings.at_constant_rate
    if constant is None:
        said = text(
            "{trained}, {ends}. {judged}",
            trained=_trained(endings),
            ends=_ends(told.advice, endings),
            judged=_judged(endings),
        )
    else:
        said = text(
            "At a constant rate {worse}: at {metric} {end}, the better of yours at {other}. So a "
            "rate that falls to zero over the last {part:percent} of {epochs:.3g} epochs was tried "
            "({trained}). With it {cooled}. {judged}",
            worse=text("it ends worse")
            if constant.verdict == "worse"
            else text("it may end worse"),
            metric=constant.metric,
            end=end_text(constant, constant.recommended),
            other=end_text(constant, constant.compared_with),
            part=endings.recommended.cool_down,
            epochs=endings.recommended.epochs,
            cooled=_ends(told.advice, endings),
            trained=plural("{n} training each", "{n} trainings each", len(endings.seeds)),
            judged=_judged(endings),
        )
    return Sentence(topic="where it ends", text=said)


def _ends(advice: Advice, endings: Endings) -> str:
    """Where each of the configurations ends."""
    mine, own = endings.recommended, advice.reference
    named = text("batch size {size}", size=mine.batch_size)
    if mine.batch_size == own.batch_size and mine.learning_rate != own.learning_rate:
        named = text(
            "batch size {size} at learning rate {rate:rate}",
            size=mine.batch_size,
            rate=mine.learning_rate,
        )
    return text(
        "{named} ends at {metric} {end}{others}",
        named=named,
        metric=endings.metric,
        end=end_text(endings, mine),
        others="".join(f", {other}" for other in _others(advice, endings)),
    )


def trained_model(told: Told) -> Sentence | None:
    """That a whole training with what is named is kept, and how to get its model."""
    advice = told.advice
    named, endings = advice.named, advice.endings
    if named is None or endings is None or told.study.workload.is_own_command:
        return None  # a command keeps its models itself
    followed = (endings.recommended, endings.reference, endings.reference_tuned)
    if not any(end is not None and end.found and is_same(end, named) for end in followed):
        return None
    return Sentence(
        topic="trained model",
        text=text("A whole training with it was kept. This command writes its model to a file."),
        command=weights_command(told.study),
    )


def _trained(endings: Endings) -> str:
    return plural(
        "Trained once for {epochs} epochs",
        "Trained {n} times for {epochs} epochs",
        len(endings.recommended.found),
        epochs=number_text(endings.recommended.epochs, ".3g"),
    )


def _others(advice: Advice, endings: Endings) -> Iterator[str]:
    """What the references end at, each once."""
    tuned = text("{size} at its tuned rate", size=advice.reference.batch_size)
    for other in endings.references:
        as_it_is = other is endings.reference
        name = reference_words(advice).configuration if as_it_is else tuned
        if other.found:
            end = end_text(endings, other)
            yield text("{configuration} at {end}", configuration=name, end=end)
        else:
            yield text("{configuration} was not trained to its end", configuration=name)


def _judged(endings: Endings) -> str:
    """How much worse it may be, against how much is allowed."""
    if endings.compared_with == endings.recommended:
        if endings.recommended == endings.reference:
            return text("It is your own configuration.")
        return text("No training of your configuration came to its end.")
    worst, margin = endings.difference.low, endings.margin
    if endings.verdict == "worse":
        return text("That is worse: {why}.", why=clause(endings.reason))
    if worst is None:
        return text("These are too few trainings to tell whether it ends as well.")
    if worst >= 0 and endings.verdict == "no_worse":
        return text("It certainly ends at least as well (95 %).")
    mean = endings.compared_with.mean
    errors = 1 - mean if endings.better == "higher" else mean
    if not math.isclose(margin, MORE_ERRORS * errors):
        return text(
            "It may be up to {worst} worse than the better of yours (95 %); {margin} is allowed.",
            worst=number_text(max(0.0, -worst), ".2g"),
            margin=number_text(margin, ".2g"),
        )
    return text(
        "It may make up to {worst} more errors than the better of yours (95 %); {margin} is "
        "allowed.",
        worst=number_text(max(0.0, -worst) / errors, "percent"),
        margin=number_text(margin / errors, "percent"),
    )


def usual_sizes(told: Told) -> Sentence | None:
    """How good the sizes that people take without measuring are here, each tuned."""
    advice = told.advice
    valued = [c for c in advice.candidates if c.batch_size in USUAL_SIZES]
    limit = 1 + advice.delta
    good = [c for c in valued if c.in_flat_set]
    others = [c for c in valued if c not in good]
    worse = [(c, low) for c in others if (low := _at_least(advice, c)) > limit]
    if not worse and all(c.relative.estimate is None for c in valued):
        return None
    settled = [*good, *(c for c, _ in worse)]
    open_ones = [c for c in valued if c not in settled]
    if not settled:
        said = text(
            "It is open whether any of the usual {sizes} is near the best.",
            sizes=_sizes(open_ones),
        )
        return Sentence(topic="usual sizes", text=said, verdict="cannot_tell")
    parts = []
    if good:
        parts.append(_of_sizes("{sizes} is {near}", "{sizes} are {near}", good, near_text(advice)))
    if worse:
        parts.append(_of_worse(advice, worse))
    if open_ones:
        parts.append(_of_sizes("{sizes} is still open", "{sizes} are still open", open_ones))
    parts += _untrained(valued, [candidate for candidate, _ in worse])
    verdict: ClaimVerdict = "held" if good else "did_not_hold" if not open_ones else "cannot_tell"
    start, *rest = parts
    each = text(
        "Each usual size at its tuned rate: {parts}.",
        parts=". ".join([start, *map(with_a_capital, rest)]),
    )
    return Sentence(topic="usual sizes", text=each, verdict=verdict)


def _at_least(advice: Advice, candidate: Candidate) -> float:
    """How many times the best's figure it is at least; 0.0: that is not known.

    Of the reference batch size fresh seeds say more: what is worse than the recommendation is
    worse than the best by no less.
    """
    low = candidate.relative.low or 0.0
    if candidate.batch_size == advice.reference.batch_size:
        low = max(low, advice.gain_from_batch_size.low or 0.0)
    return low


def _of_worse(advice: Advice, worse: list[tuple[Candidate, float]]) -> str:
    at_least = text("at least {ratios}", ratios=listing([ratio_text(low) for _, low in worse]))
    return text(
        "with {sizes} it {takes} as with the best",
        sizes=_sizes([candidate for candidate, _ in worse]),
        takes=objective_words(advice).takes_text(at_least),
    )


def _untrained(valued: list[Candidate], worse: list[Candidate]) -> Iterator[str]:
    """Where what is known of a usual size comes from, if it was not trained itself."""
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
            "no run of {sizes} met the target, so only this bound is known",
            "no run of {sizes} met the target, so only these bounds are known",
            bounded,
        )


def _sizes(candidates: list[Candidate]) -> str:
    return listing([str(candidate.batch_size) for candidate in candidates])


def _of_sizes(singular: str, several: str, candidates: list[Candidate], near: str = "") -> str:
    return plural(singular, several, len(candidates), sizes=_sizes(candidates), near=near)


_WITHOUT_BOUND = {
    "b_crit_beyond_largest": (
        "the estimate of B_crit lies beyond the largest measured batch size, {largest:.6g}"
    ),
    "b_crit_below_smallest": (
        "the estimate of B_crit lies below the smallest measured batch size, {smallest:.6g}"
    ),
}


def critical_batch_size(told: Told) -> Sentence | None:
    """The critical batch size with its interval, or why there is none."""
    laws = told.advice.laws
    if laws is None:
        return None
    b_crit = laws.b_crit
    exponent = laws.exponent
    if b_crit.estimate is None and b_crit.low is None and b_crit.high is None:
        untold = text(
            "The critical batch size can't be told: {why}.",
            why=clause(b_crit.reason) or text("no fit"),
        )
        if exponent.estimate is not None:
            untold += " " + text(
                "In the more general law the exponent is {exponent}; in this law it is 1.",
                exponent=estimate_text("ratio", exponent),
            )
        return Sentence(topic="critical batch size", text=untold, verdict="cannot_tell")
    size = estimate_text("critical_batch_size", b_crit)
    if b_crit.estimate is None and b_crit.reason is not None:
        size += f": {_without_bound(b_crit.reason)}"
    known = text("The critical batch size for this target is {size}.", size=size)
    if not laws.law_holds and exponent.estimate is not None:
        known += " " + text(
            "The steps follow the more general law, with an exponent of {exponent} instead of 1.",
            exponent=estimate_text("ratio", exponent),
        )
    return Sentence(topic="critical batch size", text=known)


def law_of_steps(told: Told) -> Sentence | None:
    """The law that the steps were fitted with, or that it was not used; None: there was no fit."""
    laws = told.advice.laws
    if laws is None or not laws.curve:
        return None
    if laws.law_holds:
        parts = [
            text("The steps were fitted with S = S_min (1 + B_crit / B), on log steps."),
            text("S_min: {s_min}.", s_min=estimate_text("steps_to_target", laws.s_min)),
            text(
                "E_min in examples: {e_min}.", e_min=estimate_text("samples_to_target", laws.e_min)
            ),
        ]
    else:
        parts = [text("The law S = S_min (1 + B_crit / B) was not used.")]
    p = laws.lack_of_fit.estimate
    if p is not None:
        parts.append(text("Its test against the scatter of the seeds gives p = {p:.2g}.", p=p))
    return Sentence(topic="law of the steps", text=" ".join(parts))


def _without_bound(reason: Reason) -> str:
    """Why B_crit is a bound; the reason itself would give the bound again."""
    shorter = _WITHOUT_BOUND.get(reason.code)
    return clause(reason) if shorter is None else text(shorter, **reason.named)


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
            "{rule} {rate:learning_rate} ({ratio:times} times it)",
            rule=rule,
            rate=rate,
            ratio=rate / found.learning_rate,
        )
        for rule, rate in candidate.rule_learning_rates
    ]
    would = text(
        "Scaling rules beside the tuned rate: {rates}. They start from the tuned rate of batch "
        "size {size}.",
        size=told.advice.reference.batch_size,
        rates=", ".join(parts),
    )
    return Sentence(topic="scaling rules", text=would)
