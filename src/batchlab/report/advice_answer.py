"""Sentences of an advice: the answer, its reason, and what else a reader should know."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batchlab.advice.advice import LIKELY, SURE, Advice, Configuration
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.report.advice_commands import follow_up, weights_command
from batchlab.report.advice_rows import AnswerRow, answer_rows, believed_at, runs_of
from batchlab.report.advice_words import (
    least_text,
    level_text,
    ratio_text,
)
from batchlab.report.text import Sentence, clause, estimate_text, quantity_text, whole_sentence
from batchlab.words.catalogue import capitalized, listing, text

_Said = Iterator[Sentence]  # sentences of one topic


def advice_sentences(advice: Advice, study: Study | None) -> tuple[Sentence, ...]:
    """Return all sentences of an advice except its caveats, the answer first.

    Args:
        advice: the advice.
        study: the study behind it, with the command that started it; None if it is not known.
    """
    found = []
    for topic, say in _TOPICS.items():
        said = list(say(advice, study))
        if said:
            words = " ".join(capitalized(each.text) for each in said)
            command = next((each.command for each in said if each.command), "")
            found.append(Sentence(topic=topic, text=words, command=command))
    return tuple(found)


def _sentence(message: str, /, command: str = "", **values: str | float | None) -> Sentence:
    return Sentence(topic="", text=text(message, **values), command=command)


# ---- the answer


def _answer(advice: Advice, study: Study | None) -> _Said:
    """Say in one line which batch size and learning rate to use."""
    named, own = advice.named, advice.reference
    if named is None:
        yield _sentence("There is no answer yet.")
        return
    message = "Use batch size {size} at learning rate {rate:rate}{pieces}."
    if named.is_same(own):
        message = "Stay with batch size {size} at learning rate {rate:rate}{pieces}."
    elif named.batch_size == own.batch_size:
        message = "Keep batch size {size}, and set the learning rate to {rate:rate}{pieces}."
    pieces = ""
    if named.accumulation_steps > 1:
        pieces = text(", in micro-batches of {micro}", micro=named.micro_batch_size)
    yield _sentence(message, size=named.batch_size, rate=named.learning_rate, pieces=pieces)


# Reasons for a recommendation, and for keeping the user's own configuration.
_WHY = {
    "time": "{faster} to {level}{ends}: {how} ({odds}).",
    "samples": (
        "It is the largest that needs at most {delta:percent} more examples to {level} than the "
        "fewest{ends}: {how} ({odds})."
    ),
    "quality": "It ends best of all that was trained, and no worse than {own}: {how} ({odds}).",
}
_WHY_IT_STAYS = {
    "time": "Nothing else that was trained is likely to be faster and to end as well.",
    "samples": (
        "No larger batch that was trained is likely to need few more examples and to end as well."
    ),
    "quality": "Nothing else that was trained is likely to end better.",
}


# Reasons to keep the user's own configuration that already name the nearest alternative.
_NAMES_ANOTHER = ("risk_outweighs", "nearest_not_likely")


def _why(advice: Advice, study: Study | None) -> _Said:
    """Say what that gains and how sure it is, or why nothing else is named."""
    if advice.hardly_learns is not None:
        yield Sentence(topic="", text=whole_sentence(advice.hardly_learns))
    if advice.recommendation is not None:
        chance = advice.chance or 0.0
        yield _sentence(
            _WHY[advice.objective],
            faster=_faster(advice),
            level="" if advice.target is None else level_text(advice.target),
            delta=advice.delta,
            own=_compared_with(advice),
            ends=_end_clause(advice),
            how=how_sure(chance),
            odds=odds_text(chance),
        )
    elif advice.provisional is not None and advice.reason.code not in _NAMES_ANOTHER:
        yield _sentence(_WHY_IT_STAYS[advice.objective])
    else:
        yield Sentence(topic="", text=whole_sentence(advice.reason))


def _end_clause(advice: Advice) -> str:
    """Say how the named configuration ends; return "" if the user gave the level."""
    if advice.target_origin == "given":
        return ""
    if advice.endings is None:
        return text(", though how it ends was not seen")
    return text(", and it ends as well")


def _faster(advice: Advice) -> str:
    gain, own = advice.gain, _compared_with(advice)
    if gain.estimate is None and gain.low is not None:
        return text("At least {times}× as fast as {own}", times=least_text(gain.low), own=own)
    if gain.estimate is None:
        return text("No slower than {own}", own=own)
    return text(
        "{times}× as fast as {own} (95 %: {low} to {high})",
        times=ratio_text(gain.estimate),
        own=own,
        low=ratio_text(gain.low or 0.0),
        high=ratio_text(gain.high or 0.0),
    )


def _compared_with(advice: Advice) -> str:
    """Name the user's configuration, or its batch size at the best rate if nobody chose it."""
    if advice.is_usual:
        return text("{size} at its best rate", size=advice.reference.batch_size)
    return _at_rate(advice.reference)


def _at_rate(at: Configuration) -> str:
    return text("{size} at {rate:rate}", size=at.batch_size, rate=at.learning_rate)


def how_sure(chance: float) -> str:
    """Return the word for a chance: "sure", "likely" or "not sure"."""
    if chance >= LIKELY:
        return text("sure") if chance >= SURE else text("likely")
    return text("not sure")


def odds_text(chance: float) -> str:
    """Return a chance with one digit, such as "9 in 10"."""
    if chance >= SURE:
        return text("more than 9 in 10")
    return text("{n} in 10", n=min(9, round(10 * chance)))


# ---- what else counts

_FAR = 2.0  # a learning rate that is off by this factor or more is reported
_GAINS = 1.2  # provided that correcting only the rate makes training this much faster


def _learning_rate(advice: Advice, study: Study | None) -> _Said:
    """Say that the user's learning rate is far from its best, and what batch size adds to that."""
    own, tuned, whole = advice.reference, advice.reference_tuned, advice.gain
    of_size = advice.gain_from_batch_size
    if advice.is_usual or advice.objective != "time" or tuned is None or advice.named is None:
        return
    times = tuned.learning_rate / own.learning_rate
    far = max(times, 1 / times)
    if far < _FAR or whole.estimate is None or of_size.estimate is None:
        return
    rate_gains = whole.estimate / of_size.estimate
    if rate_gains < _GAINS or whole.low is None or whole.low <= 1:
        return
    message = (
        "Your learning rate is about {far:.1g} times too {way}. {size} at {rate:rate} is {gains}× "
        "as fast as now{more}."
    )
    more = ""
    if advice.named.batch_size != own.batch_size:
        more = text("; whether another batch size adds to that is not certain")
        if of_size.low is not None and of_size.low > 1:
            times_more = ratio_text(of_size.estimate)
            more = text("; batch size {n} adds {t}×", n=advice.named.batch_size, t=times_more)
    yield _sentence(
        message,
        far=far,
        way=text("low") if times > 1 else text("high"),
        size=own.batch_size,
        rate=tuned.learning_rate,
        gains=ratio_text(rate_gains),
        more=more,
    )


def _ends_best(advice: Advice, study: Study | None) -> _Said:
    """Say that time and final quality conflict, if something else surely ends better."""
    rival = _Rival.of(advice)
    if rival is not None and rival.is_sure:
        yield _sentence(
            "{best} ends best, at {end}. {named} ends at {mine}{takes}.",
            takes=_takes(advice, rival.named, rival.best),
            **rival.values(advice),
        )


def _takes(advice: Advice, one: AnswerRow, other: AnswerRow) -> str:
    """Return the ratio of both costs in words, ", with 0.5× the time", or "" if it is unknown."""
    if one.cost is None or other.cost is None or one.cost.is_bound or other.cost.is_bound:
        return ""
    share = ratio_text(one.cost.value / other.cost.value)
    figure = text("time") if advice.objective == "time" else text("examples")
    return text(", with {share}× the {figure}", share=share, figure=figure)


_AS_GOOD = {
    "time": "As fast within {share:percent}: {sizes}.",
    "samples": "As few examples within {share:percent}: {sizes}.",
    "quality": "End as well within {share:percent}: {sizes}.",
}


def _flat_set(advice: Advice, study: Study | None) -> _Said:
    """Name the other batch sizes that do as well."""
    named = advice.named
    others = [n for n in advice.flat_set if named is None or n != named.batch_size]
    if others:
        yield _sentence(
            _AS_GOOD[advice.objective],
            share=advice.delta,
            sizes=listing([str(n) for n in others]),
        )


# Hardly anybody runs more seeds than this to distinguish two final values.
_MOST_SEEDS = 12


def _open(advice: Advice, study: Study | None) -> _Said:
    """Say that another configuration may end better, and which further runs would settle it."""
    rival = _Rival.of(advice)
    if rival is None or rival.is_sure:
        return
    best, named, apart = rival.best, rival.named, rival.apart
    is_own_size = best.candidate.batch_size == advice.reference.batch_size
    if is_own_size and (advice.chance or 0.0) >= SURE:
        return  # the named one surely ends no worse
    if apart.estimate is None or apart.low is None or apart.high is None:
        return
    margin = 0.0 if advice.endings is None else advice.endings.margin
    if max(abs(apart.low), abs(apart.high)) <= margin:
        return  # the difference is within the margin
    half = (apart.high - apart.low) / 2
    n = min(best.end.n, named.end.n)
    needed = math.ceil(n * (half / max(abs(apart.estimate), 1e-12)) ** 2)
    if needed > _MOST_SEEDS and abs(apart.estimate) <= margin:
        return  # they are too close for it to matter
    yield _sentence(
        "Open: whether {best} ends better than {named} ({end} against {mine}).",
        **rival.values(advice),
    )
    if needed > _MOST_SEEDS:
        yield _sentence("A few more runs would not tell.")
        return
    more_s = _seconds_for(advice, best, needed) + _seconds_for(advice, named, needed)
    minutes = math.ceil((advice.spent_s + more_s) / 60)
    command = "" if study is None else follow_up(study.command, {"--budget": f"{minutes}m"})
    yield _sentence("About {more:about_seconds} more would tell.", command=command, more=more_s)


def _seconds_for(advice: Advice, row: AnswerRow, n: int) -> float:
    """Return the seconds that it takes to bring a configuration to n whole trainings."""
    assert row.at is not None
    steps = [run.steps for run in runs_of(advice, row.at.batch_size, row.at.learning_rate)]
    step_s = row.candidate.step_s.estimate or 0.0
    return max(0, n - row.end.n) * max(steps, default=0) * step_s


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rival:
    """The configuration that ends best, next to the named one."""

    best: AnswerRow
    named: AnswerRow
    apart: Estimate  # by how much the best ends better

    @classmethod
    def of(cls, advice: Advice) -> _Rival | None:
        """Return it; None if the named one ends best or final values don't count or are unknown."""
        if advice.objective == "quality" or advice.target_origin == "given":
            return None
        ended = {
            row.at: row for row in answer_rows(advice) if row.at and row.end.estimate is not None
        }
        named, sign = advice.named, 1 if advice.better == "higher" else -1
        if named is None or named not in ended:
            return None
        at = max(ended, key=lambda at: sign * (ended[at].end.estimate or 0.0))
        if at == named:
            return None
        known = believed_at(advice, at)
        assert known is not None
        return cls(best=ended[at], named=ended[named], apart=known.ends_better_by)

    @property
    def is_sure(self) -> bool:
        """Whether it surely ends better."""
        low, high = self.apart.low, self.apart.high
        return low is not None and high is not None and not low <= 0 <= high

    def values(self, advice: Advice) -> dict[str, str]:
        """Return the names and final values of both to fill in a sentence."""
        (best, end), (named, mine) = (
            (_at_rate(row.at), quantity_text(advice.metric, row.end.estimate))
            for row in (self.best, self.named)
            if row.at is not None
        )
        return {"best": best, "end": end, "named": named, "mine": mine}


def _trained_model(advice: Advice, study: Study | None) -> _Said:
    """Say how to get the model of a whole training of what is named, if one is kept."""
    named, endings = advice.named, advice.endings
    if named is None or endings is None or study is None or study.workload.is_own_command:
        return  # the user's own command saves its models itself
    followed = (endings.named, endings.own, endings.tuned)
    if any(end is not None and end.found and named.is_same(end) for end in followed):
        yield _sentence(
            "This command writes the model of a whole training with it to a file.",
            command=weights_command(study),
        )


# ---- laws, for researchers


def _critical_batch_size(advice: Advice, study: Study | None) -> _Said:
    """State the critical batch size with its interval, or why there is none."""
    if advice.laws is None:
        return
    b_crit = advice.laws.b_crit
    if (b_crit.estimate, b_crit.low, b_crit.high) == (None, None, None):
        yield _sentence(
            "The critical batch size can't be told: {why}.",
            why=clause(b_crit.reason) or text("no fit"),
        )
        return
    found = estimate_text("critical_batch_size", b_crit)
    if b_crit.estimate is None and b_crit.reason is not None:
        found = text("{bound}: {why}", bound=found, why=clause(b_crit.reason))
    yield _sentence("The critical batch size for this target is {found}.", found=found)


def _law_of_steps(advice: Advice, study: Study | None) -> _Said:
    """State the law that was fitted to the steps, if it holds."""
    laws = advice.laws
    if laws is not None and laws.law_holds:
        yield _sentence(
            "S = S_min (1 + B_crit / B). S_min: {s_min}. E_min in examples: {e_min}.",
            s_min=estimate_text("steps_to_target", laws.s_min),
            e_min=estimate_text("samples_to_target", laws.e_min),
        )


def _rules(advice: Advice, study: Study | None) -> _Said:
    """Say which learning rates the scaling rules give for the recommended batch size."""
    found = advice.recommendation
    candidate = None if found is None else advice.candidate(found.batch_size)
    if found is None or candidate is None or not candidate.rule_learning_rates:
        return
    if found.batch_size == advice.reference.batch_size:
        return
    rates = [
        text(
            "{rule} {by_rule:learning_rate} ({times:times} times it)",
            rule=rule,
            by_rule=rate,
            times=rate / found.learning_rate,
        )
        for rule, rate in candidate.rule_learning_rates
    ]
    yield _sentence(
        "Scaling rules beside the tuned rate: {rates}. They start from the tuned rate of batch "
        "size {own_size}.",
        rates=", ".join(rates),
        own_size=advice.reference.batch_size,
    )


# The topics in reading order.
_TOPICS: dict[str, Callable[[Advice, Study | None], _Said]] = {
    "answer": _answer,
    "why": _why,
    "learning rate": _learning_rate,
    "ends best": _ends_best,
    "still open": _open,
    "also fine": _flat_set,
    "trained model": _trained_model,
    "critical batch size": _critical_batch_size,
    "law of the steps": _law_of_steps,
    "scaling rules": _rules,
}

# Topics for researchers. The page folds them away, together with a glossary of their terms.
RESEARCH_TOPICS = frozenset({"critical batch size", "law of the steps", "scaling rules"})
