"""What an advice says: the answer, why, how sure it is, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from batchlab.advice.advice import MORE_ERRORS, Advice, Candidate, Configuration, Endings
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import USUAL_SIZES, Study
from batchlab.report.advice_commands import follow_up, weights_command
from batchlab.report.advice_rows import is_raced
from batchlab.report.advice_words import (
    SAID,
    end_text,
    is_same,
    near_text,
    objective_words,
    ratio_text,
    reference_text,
    target_text,
)
from batchlab.report.text import (
    Sentence,
    clause,
    estimate_text,
    interval_text,
    whole_sentence,
    with_a_capital,
)
from batchlab.words.catalogue import listing, message_text, text
from batchlab.words.numbers import english_number

_Values = dict[str, object]
# A code of `SAID` with the values that the code needs. Beside those of its text these may be the
# `verdict` on what was tested and the `command` that does what the text says.
_Said = tuple[str, _Values]


def advice_said(advice: Advice, study: Study | None) -> Iterator[tuple[str, str, _Values]]:
    """Everything that can be said of an advice as (topic, code, values), the answer first."""
    about = _About(advice, study)
    for topic, tell in _TOPICS.items():
        yield from ((topic, code, values) for code, values in tell(about))


def advice_sentences(advice: Advice, study: Study | None) -> tuple[Sentence, ...]:
    """Everything that can be said of an advice, the answer first; caveats are not among them.

    Args:
        advice: the advice.
        study: what it is about, and the command that asked; None: not known here.

    Returns:
        A sentence or two a topic, in reading order.
    """
    about = _About(advice, study)
    by_topic: dict[str, list[_Said]] = {}
    for topic, code, values in advice_said(advice, study):
        by_topic.setdefault(topic, []).append((code, values))
    return tuple(
        Sentence(
            topic=topic,
            text=" ".join(with_a_capital(about.say(code, **values)) for code, values in said),
            verdict=_first(said, "verdict", None),
            command=_first(said, "command", ""),
        )
        for topic, said in by_topic.items()
    )


def _first(said: list[_Said], name: str, unknown: Any) -> Any:
    return next((values[name] for _, values in said if name in values), unknown)


class _About:
    """An advice, what it is about, and the values that every text of it may have."""

    def __init__(self, advice: Advice, study: Study | None) -> None:
        self.advice, self.study = advice, study
        named, reference = advice.named, advice.reference
        self._known: _Values = {
            "own_size": reference.batch_size,
            "own_rate": reference.learning_rate,
            "yours": reference_text(advice, "configuration"),
            "target": text("the target") if advice.target is None else target_text(advice.target),
            "metric": advice.metric if study is None else study.workload.metrics[0].name,
            "near": near_text(advice),
            "delta": advice.delta,
            "spent_s": advice.spent_s,
        }
        if named is not None:
            self._known |= {
                "size": named.batch_size,
                "rate": named.learning_rate,
                "part": named.cool_down,
            }
            self._known["set_this"] = self._set_this(named)

    def say(self, code: str, **values: object) -> str:
        """The text of a code with its values."""
        return message_text(SAID[code], **(self._known | values))

    def takes(self, times: str) -> str:
        """What a configuration with so many times the figure of another does."""
        return objective_words(self.advice).takes(times)

    def _set_this(self, named: Configuration) -> str:
        """What to set, and what of it stays."""
        code = "use"
        if is_same(named, self.advice.reference):
            code = "keep_all"
        elif named.batch_size == self.advice.reference.batch_size:
            code = "keep_size"
        setting = self.say(code)
        return self.say("falling", setting=setting) if named.cool_down else setting


# ---- the answer


def _answer(about: _About) -> Iterator[_Said]:
    """The verdict; where it is open, what is best so far."""
    advice, found = about.advice, about.advice.recommendation
    if advice.verdict == "cannot_tell" or found is None:
        codes = [f"open_{advice.objective}"]
        if advice.provisional is not None:
            codes = list(_best_so_far(advice, advice.provisional))
        yield from ((code, {"verdict": "cannot_tell"}) for code in codes)
    elif advice.verdict == "indifferent":
        if advice.flat_set:
            yield "all_between", {"low": advice.flat_set[0], "high": advice.flat_set[-1]}
        else:
            yield "all_near", {}
        yield from (("set_this", {}), ("least_memory", {}))
    elif found.cool_down:
        yield _cooled(about, found)
    elif advice.verdict == "better":
        assert advice.gain.low is not None
        takes = about.takes(about.say("at_least", times=ratio_text(advice.gain.low)))
        yield "better" if advice.target is None else "better_to_target", {"takes": takes}
    else:
        yield f"recommended_{advice.objective}", {}
    if advice.verdict == "better":
        yield "perhaps_better_still", {}


def _best_so_far(advice: Advice, found: Configuration) -> Iterator[str]:
    """What to set for now."""
    endings = advice.endings
    if is_same(found, advice.reference):
        yield "kept_for_now"
    elif is_raced(advice):
        yield "best_of_race"
    else:
        yield "best_so_far"
        if endings is not None and endings.is_likely_worse():
            yield "faster_ends_worse"
        elif endings is not None and not endings.recommended.found:
            yield "faster_not_followed"


def _cooled(about: _About, found: Configuration) -> _Said:
    """What to set where the rate falls to zero: how long such trainings take, and their end.

    They don't stop at the target, so the time to it is not what is saved.
    """
    endings = about.advice.endings
    assert endings is not None
    epochs, low = endings.recommended.epochs, endings.difference.low
    ends = about.say("no_worse")
    if low is not None and low < 0:  # how much worse it ends at most than the better of both
        ends = about.say("at_most_worse", worst=-low)
    own_s, reference_s = (
        _training_s(about, each.batch_size, epochs) for each in (found, about.advice.reference)
    )
    if own_s is None or reference_s is None:
        return "cooled", {"ends": ends}
    return "cooled_in", {"ends": ends, "epochs": epochs, "own": own_s, "reference": reference_s}


def _training_s(about: _About, batch_size: int, epochs: float) -> float | None:
    """Seconds of so many passes at this batch size."""
    candidate, study = about.advice.candidate(batch_size), about.study
    if candidate is None or candidate.step_s.estimate is None or study is None:
        return None
    return epochs * study.workload.n_train / batch_size * candidate.step_s.estimate


def _how_sure(about: _About) -> Iterator[_Said]:
    """Why the verdict is what it is; of an open one first that it is open."""
    advice = about.advice
    if advice.verdict == "cannot_tell" and advice.provisional:
        yield f"open_{advice.objective}", {}
    if reason := whole_sentence(advice.reason):
        yield "reason", {"reason": reason}


def _missing(about: _About) -> Iterator[_Said]:
    """What was missing for an answer, and about how much more would settle it."""
    advice, proposed = about.advice, about.advice.proposed_target
    if advice.verdict not in ("better", "cannot_tell"):
        return
    said: list[_Said] = []
    options: dict[str, str] = {}
    # The reason is in the answer: what it says is not said again.
    if advice.missing is not None and not advice.reason.quotes(advice.missing):
        said.append(("missing", {"missing": clause(advice.missing)}))
    if advice.more_budget_s is not None:
        said.append(("more_time", {"more_s": advice.more_budget_s}))
        options |= _with_more(advice, advice.more_budget_s)
    if proposed is not None and proposed != advice.target:
        said.append(("got_as_far", {"reached": target_text(proposed)}))
        options["--target"] = f"{proposed.metric}={proposed.value:.6g}"
    command = "" if about.study is None else about.study.command
    command = follow_up(command, options) if options else ""
    yield from ((code, values | {"command": command}) for code, values in said)


def _with_more(advice: Advice, more_s: float) -> dict[str, str]:
    """The budget that may settle it, as the one that was given was written."""
    if advice.trainings is None:
        return {"--budget": _flag(advice.budget_s + more_s)}
    times = 1 + more_s / advice.budget_s
    return {"--trainings": str(math.ceil(advice.trainings * times))}


def _flag(value_s: float) -> str:
    """A time as --budget takes it: whole seconds, minutes or hours."""
    number, unit = english_number(value_s, "train_s").split()
    letter = {"s": "s", "min": "m", "h": "h"}.get(unit)
    return f"{-(-float(number) // 1):.0f}{letter}" if letter else "1s"


def _flat_set(about: _About) -> Iterator[_Said]:
    """Which batch sizes do about as well."""
    flat = about.advice.flat_set
    if len(flat) == 1:
        yield "none_near", {}
    elif flat:
        yield "near", {"sizes": listing([str(batch_size) for batch_size in flat])}


# ---- why

# What is nearer to 1 than this is called the same: step times are known to a few per cent.
_SAME = 1.05


def _why(about: _About) -> Iterator[_Said]:
    """Steps and step time beside the configuration as it is; where the time is surely less.

    The time to the target is steps times step time, so the ratio of the steps is that of the times
    times that of the step times.
    """
    advice, found = about.advice, about.advice.recommendation
    own, gain = advice.reference, advice.gain
    is_faster = gain.low is not None and gain.low > 1
    if found is None or found.cool_down or advice.objective != "time" or not is_faster:
        return
    steps_s = [
        None if (candidate := advice.candidate(each.batch_size)) is None else candidate.step_s
        for each in (found, own)
    ]
    found_s, own_s = (None if step_s is None else step_s.estimate for step_s in steps_s)
    if found_s is None or own_s is None or gain.estimate is None:
        return
    larger, fewer, longer = found.batch_size / own.batch_size, gain.estimate, found_s / own_s
    fewer *= longer
    less = "less_too" if fewer > 1 else "less"
    yield (
        "why",
        {
            "batch": _than(about, "batch", larger, near=1.0),
            "rates": _than(about, "rate", found.learning_rate / own.learning_rate),
            "steps": _than(about, "steps", fewer),
            "each": "" if larger == 1 else _than(about, "each", longer, less=less),
        },
    )


def _than(
    about: _About, what: str, times: float, *, near: float = _SAME, less: str = "less"
) -> str:
    """Whether there is as much, so many times more, or so many times less."""
    if times == 1 or 1 / near < times < near:
        return about.say(f"{what}_same")
    which = "more" if times > 1 else less
    return about.say(f"{what}_{which}", times=ratio_text(max(times, 1 / times)))


# ---- when a training is done


def _when_to_stop(about: _About) -> Iterator[_Said]:
    """When a training run with the recommendation is done."""
    advice, epochs = about.advice, _expected_epochs(about)
    if advice.recommendation is None:
        return
    if advice.recommendation.cool_down:
        # The rate of such a training has fallen to zero when it ends, so its length is fixed.
        assert advice.endings is not None
        yield "stop_at_zero", {"length": advice.endings.recommended.epochs}
        if epochs:
            yield "expected_after", {"epochs": epochs}
    elif advice.target is None:
        if epochs:
            yield "stop_after", {"epochs": epochs}
    else:
        yield "stop_expected" if epochs else "stop_at", {"epochs": epochs}
        if advice.target_origin == "pilot":  # where the user did not give it
            yield "from_pilot", {}
        elif advice.target_origin == "easier":
            yield "easier_target", {}


def _expected_epochs(about: _About) -> str:
    """How many epochs the recommendation is expected to take; empty: not known."""
    expected = about.advice.expected
    known = None if expected is None else expected.epochs_to_target
    if known is None or known.estimate is None:
        return ""
    epochs = about.say("epochs", epochs=known.estimate)
    interval = interval_text("epochs_to_target", known)
    return f"{epochs} ({interval})" if interval else epochs


def _other_targets(about: _About) -> Iterator[_Said]:
    """Whether the answer would be another at an easier or a harder target."""
    for other in about.advice.other_targets:
        values: _Values = {"which": other.which, "other": target_text(other.target)}
        if other.verdict == "cannot_tell" or other.batch_size is None:
            yield "other_open", {**values, "why": clause(other.reason)}
        elif other.verdict == "indifferent":
            yield "other_alike", values
        else:
            yield _keeps(about.advice, other.batch_size), {**values, "found": other.batch_size}


def _keeps(advice: Advice, batch_size: int) -> str:
    """How the answer at another target is told beside the recommendation."""
    if advice.recommendation is None:
        return "other_answer"
    if advice.recommendation.batch_size == batch_size:
        return "other_same"
    return "other_good" if batch_size in advice.flat_set else "other_depends"


# ---- the gain


def _gain(about: _About) -> Iterator[_Said]:
    """The recommendation against the configuration as it is: batch size and rate together."""
    advice, gain = about.advice, about.advice.gain
    if advice.recommendation is None:
        # What a race saw, and how far such figures may be off.
        if advice.provisional is not None and gain.estimate is not None:
            takes = about.takes(ratio_text(gain.estimate))
            yield "gain_raced", {"takes": takes, "interval": _interval(about, gain)}
    elif is_same(advice.recommendation, advice.reference):
        yield "nothing_to_gain", {"nothing": reference_text(advice, "nothing_to_gain")}
    else:
        yield "gain", {"compared": _compared(about, gain), "missed": _missed(about)}


def _missed(about: _About) -> str:
    """How often the reference missed the target in the verification."""
    head = about.advice.head_to_head
    missed = 0 if head is None else sum(value is None for value in head.reference)
    if head is None or not missed:
        return ""
    return about.say("gain_missed", missed=missed, n=len(head.reference))


def _gain_from_batch_size(about: _About) -> Iterator[_Said]:
    """How much of the gain is the batch size's: the reference batch size is tuned as well."""
    advice, found = about.advice, about.advice.recommendation
    if found is None or is_same(found, advice.reference):
        return
    if found.batch_size == advice.reference.batch_size:
        yield "size_stays", {}
        return
    compared, tuned = _compared(about, advice.gain_from_batch_size), advice.reference_tuned
    if tuned is None:
        yield "size_gain", {"compared": compared}
    else:
        yield "size_gain_at", {"tuned": tuned.learning_rate, "compared": compared}
    # Who the whole gain belongs to, as far as both intervals say so.
    whole, part = advice.gain, advice.gain_from_batch_size
    if whole.low is None or whole.low <= 1 or part.estimate is None:
        return
    if whole.estimate is not None and part.estimate > whole.estimate:
        yield "own_rate_better", {}
    elif part.low is None or part.low <= 1:
        yield "rate_gains", {}
    elif part.high is None or whole.low <= part.high:
        yield "size_gains", {}
    else:
        yield "size_gains_part", {}


def _compared(about: _About, ratio: Estimate) -> str:
    """The other configuration's figure over the recommendation's, as far as it is known."""
    if ratio.estimate is None and ratio.low is not None:
        return about.takes(about.say("at_least", times=ratio_text(ratio.low)))
    if ratio.estimate is None:
        return about.say("not_compared", why=clause(ratio.reason) or about.say("not_measured"))
    times = ratio_text(ratio.estimate)
    if ratio.low is None and ratio.high is None:
        return about.say("no_interval", takes=about.takes(times))
    is_more = ratio.low is not None and ratio.low > 1
    is_less = not is_more and ratio.high is not None and ratio.high < 1
    takes = about.say(
        "surely_takes",
        takes=about.takes(about.say("only", times=times) if is_less else times),
        interval=_interval(about, ratio),
        n=ratio.n,
    )
    if is_more:
        return takes
    return about.say("did_better" if is_less else "perhaps_alike", takes=takes)


def _interval(about: _About, ratio: Estimate) -> str:
    if ratio.low is None and ratio.high is not None:
        return about.say("at_most", times=ratio_text(ratio.high))
    if ratio.high is None and ratio.low is not None:
        return about.say("at_least", times=ratio_text(ratio.low))
    low, high = ratio_text(ratio.low or 0.0), ratio_text(ratio.high or 0.0)
    return low if low == high else about.say("between", low=low, high=high)


def _break_even(about: _About) -> Iterator[_Said]:
    """What the study cost against what it saves in each run."""
    advice, runs = about.advice, about.advice.pay_back_runs
    if advice.recommendation is None or advice.recommendation.cool_down:
        return  # with a cool-down the answer itself compares whole trainings
    if runs is not None:
        yield "pays_after" if runs > 1 else "pays_at_once", {"runs": runs}
    elif advice.objective == "time":
        is_faster = advice.gain.low is not None and advice.gain.low > 1
        yield "pays_sometime" if is_faster else "pays_never", {}


# ---- where whole trainings end


def _ending(about: _About) -> Iterator[_Said]:
    """Where trainings of each end, and how much worse the recommendation may at most end."""
    endings = about.advice.endings
    if endings is None or not endings.recommended.found:
        return
    mine, constant = endings.recommended, endings.at_constant_rate
    ends, epochs = _ends(about, endings), mine.epochs
    if constant is None:
        trained = about.say("trained", n=len(mine.found), epochs=epochs)
        yield "ends", {"trained": trained, "ends": ends}
    else:
        is_worse = constant.verdict == "worse"
        yield (
            "cooled_ends",
            {
                "worse": about.say("surely_worse" if is_worse else "perhaps_worse"),
                "of": constant.metric,
                "end": end_text(constant, constant.recommended),
                "other": end_text(constant, constant.compared_with),
                "part": mine.cool_down,
                "epochs": epochs,
                "trained": about.say("trained_each", n=len(endings.seeds)),
                "ends": ends,
            },
        )
    yield _judged(endings)


def _ends(about: _About, endings: Endings) -> str:
    """Where each of the configurations ends, the references each once."""
    mine, own = endings.recommended, about.advice.reference
    is_rate = mine.batch_size == own.batch_size and mine.learning_rate != own.learning_rate
    code = "named_rate" if is_rate else "named_size"
    others = []
    for other in endings.references:
        name = about.say("tuned")
        if other is endings.reference:
            name = reference_text(about.advice, "configuration")
        if other.found:
            others.append(about.say("other_ends", named=name, end=end_text(endings, other)))
        else:
            others.append(about.say("other_not_followed", named=name))
    return about.say(
        "named_ends",
        named=about.say(code, size=mine.batch_size, rate=mine.learning_rate),
        of=endings.metric,
        end=end_text(endings, mine),
        others="".join(others),
    )


def _judged(endings: Endings) -> _Said:
    """How much worse it may be, against how much is allowed."""
    if endings.compared_with == endings.recommended:
        is_own = endings.recommended == endings.reference
        return "ends_own" if is_own else "ends_alone", {}
    low, margin = endings.difference.low, endings.margin
    if endings.verdict == "worse":
        return "ends_worse", {"why": clause(endings.reason)}
    if low is None:
        return "ends_too_few", {}
    if low >= 0 and endings.verdict == "no_worse":
        return "ends_as_well", {}
    worst, mean = max(0.0, -low), endings.compared_with.mean
    errors = 1 - mean if endings.better == "higher" else mean
    if not math.isclose(margin, MORE_ERRORS * errors):
        return "ends_up_to", {"worst": worst, "margin": margin}
    return "ends_more_errors", {"worst": worst / errors, "margin": margin / errors}


def _trained_model(about: _About) -> Iterator[_Said]:
    """That a whole training with what is named is kept, and how to get its model."""
    named, endings, study = about.advice.named, about.advice.endings, about.study
    if named is None or endings is None or study is None or study.workload.is_own_command:
        return  # a command keeps its models itself
    followed = (endings.recommended, endings.reference, endings.reference_tuned)
    if any(end is not None and end.found and is_same(end, named) for end in followed):
        yield "model_kept", {"command": weights_command(study)}


# ---- the usual sizes


def _usual_sizes(about: _About) -> Iterator[_Said]:
    """How good the sizes that people take without measuring are here, each tuned."""
    advice = about.advice
    valued = [c for c in advice.candidates if c.batch_size in USUAL_SIZES]
    at_least = {c.batch_size: _at_least(advice, c) for c in valued}
    good = [c for c in valued if c.in_flat_set]
    worse = [c for c in valued if c not in good and at_least[c.batch_size] > 1 + advice.delta]
    open_ones = [c for c in valued if c not in good and c not in worse]
    if not worse and all(c.relative.estimate is None for c in valued):
        return
    if not good and not worse:
        yield "usual_open", {"sizes": _sizes(open_ones), "verdict": "cannot_tell"}
        return
    untrained = [c for c in valued if c.learning_rate is None]
    fitted = [c for c in untrained if c.relative.estimate is not None]
    bounded = [c for c in worse if c in untrained and c not in fitted]
    times = (
        about.say("at_least", times=listing([ratio_text(at_least[c.batch_size]) for c in worse]))
        if worse
        else ""
    )
    found = [
        about.say(code, sizes=_sizes(those), n=len(those), takes=about.takes(times))
        for code, those in (
            ("size_near", good),
            ("size_worse", worse),
            ("size_open", open_ones),
            ("size_fitted", fitted),
            ("size_bounded", bounded),
        )
        if those
    ]
    verdict = "held" if good else "did_not_hold" if not open_ones else "cannot_tell"
    yield "usual", {"found": found[0], "verdict": verdict}
    yield from (("usual_too", {"found": more}) for more in found[1:])


def _at_least(advice: Advice, candidate: Candidate) -> float:
    """How many times the best's figure it is at least; 0.0: that is not known.

    Of the reference batch size fresh seeds say more: what is worse than the recommendation is
    worse than the best by no less.
    """
    low = candidate.relative.low or 0.0
    if candidate.batch_size == advice.reference.batch_size:
        low = max(low, advice.gain_from_batch_size.low or 0.0)
    return low


def _sizes(candidates: list[Candidate]) -> str:
    return listing([str(candidate.batch_size) for candidate in candidates])


# ---- laws, in the words of researchers


def _critical_batch_size(about: _About) -> Iterator[_Said]:
    """The critical batch size with its interval, or why there is none."""
    laws = about.advice.laws
    if laws is None:
        return
    b_crit, exponent = laws.b_crit, estimate_text("ratio", laws.exponent)
    knows_exponent = laws.exponent.estimate is not None
    if b_crit.estimate is None and b_crit.low is None and b_crit.high is None:
        why = clause(b_crit.reason) or about.say("b_crit_no_fit")
        yield "b_crit_untold", {"why": why, "verdict": "cannot_tell"}
        if knows_exponent:
            yield "exponent_untold", {"exponent": exponent}
        return
    found = estimate_text("critical_batch_size", b_crit)
    if b_crit.estimate is None and b_crit.reason is not None:
        found = about.say("b_crit_bound", bound=found, why=_why_bound(about, b_crit.reason))
    yield "b_crit", {"found": found}
    if not laws.law_holds and knows_exponent:
        yield "exponent", {"exponent": exponent}


def _why_bound(about: _About, reason: Reason) -> str:
    """Why B_crit is a bound; the reason itself would give the bound again."""
    if reason.code in ("b_crit_beyond_largest", "b_crit_below_smallest"):
        return about.say(reason.code, **reason.named)
    return clause(reason)


def _law_of_steps(about: _About) -> Iterator[_Said]:
    """The law that the steps were fitted with, or that it was not used; nothing without a fit."""
    laws = about.advice.laws
    if laws is None or not laws.curve:
        return
    if laws.law_holds:
        yield "law_fitted", {}
        yield "s_min", {"s_min": estimate_text("steps_to_target", laws.s_min)}
        yield "e_min", {"e_min": estimate_text("samples_to_target", laws.e_min)}
    else:
        yield "law_not_used", {}
    if laws.lack_of_fit.estimate is not None:
        yield "lack_of_fit", {"p": laws.lack_of_fit.estimate}


def _rules(about: _About) -> Iterator[_Said]:
    """Where the scaling rules would have put the learning rate of the recommended batch size."""
    advice, found = about.advice, about.advice.recommendation
    if found is None or found.batch_size == advice.reference.batch_size:
        return
    candidate = advice.candidate(found.batch_size)
    if candidate is None or not candidate.rule_learning_rates:
        return
    rates = [
        about.say("rule", rule=rule, by_rule=rate, times=rate / found.learning_rate)
        for rule, rate in candidate.rule_learning_rates
    ]
    yield "rules", {"rates": ", ".join(rates)}


# What is told of each topic, in reading order.
_TOPICS: dict[str, Callable[[_About], Iterator[_Said]]] = {
    "answer": _answer,
    "why": _why,
    "how sure": _how_sure,
    "what would settle it": _missing,
    "also fine": _flat_set,
    "where it ends": _ending,
    "gain": _gain,
    "from the batch size alone": _gain_from_batch_size,
    "usual sizes": _usual_sizes,
    "when to stop": _when_to_stop,
    "trained model": _trained_model,
    "other targets": _other_targets,
    "break-even": _break_even,
    "critical batch size": _critical_batch_size,
    "law of the steps": _law_of_steps,
    "scaling rules": _rules,
}

# In the words of researchers: the page folds them away, with what their terms mean.
RESEARCH_TOPICS = frozenset({"critical batch size", "law of the steps", "scaling rules"})
