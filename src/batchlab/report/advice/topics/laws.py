"""The laws: the critical batch size, the law of the steps, and what scaling rules would set."""

from __future__ import annotations

from batchlab.records.estimate import Reason
from batchlab.report.advice_words import Told
from batchlab.report.text import Sentence, clause, estimate_text
from batchlab.words.catalogue import text

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
