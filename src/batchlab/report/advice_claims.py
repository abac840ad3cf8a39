"""What an advice says: the answer, why, how sure it is, and what it rests on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence

from batchlab.advice.advice import LIKELY, SURE, Advice, Candidate, Configuration, Ending, Endings
from batchlab.belief.margin import MARGIN_SHARE
from batchlab.records.estimate import Estimate
from batchlab.records.study import USUAL_SIZES, Study
from batchlab.report.advice_commands import weights_command
from batchlab.report.advice_rows import answer_rows, ends_of
from batchlab.report.advice_words import (
    end_text,
    least_text,
    near_text,
    objective_words,
    overfits,
    ratio_text,
    reference_text,
    target_text,
)
from batchlab.report.text import (
    ClaimVerdict,
    Sentence,
    clause,
    estimate_text,
    interval_text,
    spread_text,
    whole_sentence,
)
from batchlab.words.catalogue import Shown, capitalized, listing, plural, text
from batchlab.words.reasons import reason_text

_Told = Iterator[Sentence]  # what is told of a topic, still without its name


def advice_sentences(advice: Advice, study: Study | None) -> tuple[Sentence, ...]:
    """All that an advice says but its caveats: a sentence or two a topic, the answer first.

    The study is what it is about, with the command that asked; None: not known here.
    """
    about, found = _About(advice, study), []
    for topic, tell in _TOPICS.items():
        told = list(tell(about))
        if told:
            words = " ".join(capitalized(each.text) for each in told if each.text)
            verdict = next((each.verdict for each in told if each.verdict), None)
            command = next((each.command for each in told if each.command), "")
            found.append(Sentence(topic=topic, text=words, verdict=verdict, command=command))
    return tuple(found)


class _About:
    """An advice, what it is about, and the values that every text of it may have."""

    def __init__(self, advice: Advice, study: Study | None) -> None:
        self.advice, self.study = advice, study
        named, own = advice.named, advice.reference
        self._known: dict[str, Shown] = {
            "own_size": own.batch_size,
            "own_rate": own.learning_rate,
            "yours": reference_text(advice, "configuration"),
            "own": reference_text(advice, "configuration"),  # where it is spoken of first
            "target": text("the target") if advice.target is None else target_text(advice.target),
            "metric": advice.metric if study is None else study.workload.metrics[0].name,
            "near": near_text(advice),
            "delta": advice.delta,
            "chance": advice.chance,
            "how": how_sure(advice.chance or 0.0),
            "spent_s": advice.spent_s,
        }
        if advice.is_usual:
            self._known["own"] = self.say("batch size {own_size} at its best rate")
        if named is not None:
            self._known |= {
                "size": named.batch_size,
                "rate": named.learning_rate,
            }
            self._known["set_this"] = self._set_this(named)

    def say(self, message: str, /, **values: Shown) -> str:
        """A text with its values and those that every text may have."""
        return text(message, **(self._known | values))

    def tell(
        self,
        message: str,
        /,
        verdict: ClaimVerdict | None = None,
        command: str = "",
        **values: Shown,
    ) -> Sentence:
        """The same as something that is told, its topic still unnamed."""
        said = self.say(message, **values)
        return Sentence(topic="", text=said, verdict=verdict, command=command)

    def takes(self, times: str) -> str:
        """What a configuration with so many times the figure of another does."""
        return objective_words(self.advice).takes(times)

    def open(self) -> Sentence:
        """That there is no answer, and to what."""
        return self.tell(_OPEN[self.advice.objective], verdict="cannot_tell")

    def _set_this(self, named: Configuration) -> str:
        """What to set, and what of it stays."""
        setting = "use batch size {size} with learning rate {rate:rate}"
        if named.is_same(self.advice.reference):
            setting = "stay with batch size {size} and learning rate {rate:rate}"
        elif named.batch_size == self.advice.reference.batch_size:
            setting = "keep batch size {size} and set learning rate {rate:rate}"
        return self.say(setting)


# ---- the answer

_OPEN = {
    "time": "Still open: which batch size gets to {target} first.",
    "samples": "Still open: the largest batch size that needs few extra samples to {target}.",
    "quality": "Still open: which batch size gives the best validation {metric}.",
}
_RECOMMENDED = {
    "time": "{set_this}: {faster} to {target}{ends}: {how:term} ({odds}).",
    "samples": (
        "{set_this}: the largest that gets to {target} with at most {delta:percent} more samples "
        "than the fewest{ends}: {how:term} ({odds})."
    ),
    "quality": (
        "{set_this} for the best validation {metric} in a run of fixed length: {how:term} ({odds}) "
        "to end no worse than {own}."
    ),
}


def _answer(about: _About) -> _Told:
    """What to set, how much is gained, and how sure that is; or that yours stays."""
    advice, found = about.advice, about.advice.recommendation
    if advice.hardly_learns is not None:
        yield Sentence(topic="", text=whole_sentence(advice.hardly_learns))
    if found is not None:
        yield about.tell(
            _RECOMMENDED[advice.objective],
            faster=_faster(about),
            ends=about.say(_END_OF_NAMED[_what_of_its_end(advice)]),
            odds=odds_text(advice.chance or 0.0),
        )
    elif advice.provisional is None:
        yield about.open()
    else:
        stays = _STAY[advice.objective]
        if advice.reason is not None and advice.reason.code == "risk_outweighs":
            stays = "{set_this}: {why}."
        yield about.tell(stays, verdict="cannot_tell", why=reason_text(advice.reason))


_END_OF_NAMED = {
    "no worse": ", and it ends no worse",
    "unknown": ", though how it ends was not seen",
    "not asked": "",
}


def _what_of_its_end(advice: Advice) -> str:
    """Return what is said of the end of what is named; a level that was given asks for none."""
    if advice.target_origin == "given":
        return "not asked"
    return "unknown" if advice.endings is None else "no worse"


_STAY = {
    "time": (
        "{set_this}: nothing else that was trained is likely to be faster and to end no worse."
    ),
    "samples": (
        "{set_this}: no larger batch that was "
        "trained is likely to need few extra samples and to end no worse."
    ),
    "quality": ("{set_this}: nothing else that was trained is likely to end better."),
}


def how_sure(chance: float) -> str:
    """Return what a chance is called."""
    if chance >= LIKELY:
        return "sure" if chance >= SURE else "likely"
    return "not sure"


def odds_text(chance: float) -> str:
    """A chance with one digit, "about 9 in 10"."""
    if chance >= SURE:
        return text("more than 9 in 10")
    return text("about {n} in 10", n=min(9, round(10 * chance)))


def _faster(about: _About) -> str:
    """How much sooner than yours it is at the target."""
    gain = about.advice.gain
    if gain.estimate is None and gain.low is not None:
        return about.say("at least {times} times as fast as {own}", times=least_text(gain.low))
    if gain.estimate is None:
        return about.say("no slower than {own}")
    return about.say(
        "{times} times as fast as {own} (95 %: {interval})",
        times=ratio_text(gain.estimate),
        interval=_interval(about, gain),
    )


def _step_s(advice: Advice, batch_size: int) -> float | None:
    candidate = advice.candidate(batch_size)
    return None if candidate is None else candidate.step_s.estimate


def _how_sure(about: _About) -> _Told:
    """Why this is named; what stays has its reason in the answer already."""
    if about.advice.provisional is not None and about.advice.recommendation is None:
        return
    if reason := whole_sentence(about.advice.reason):
        yield Sentence(topic="", text=reason)


def _flat_set(about: _About) -> _Told:
    """Which batch sizes do about as well."""
    flat, named = about.advice.flat_set, about.advice.named
    if named is not None and flat == (named.batch_size,):
        yield about.tell("No other batch size is proven to be {near} (95 %).")
    elif flat:
        said = plural(
            "Batch size {sizes} is {near} (95 %).",
            "Batch sizes {sizes} are {near} (95 % each).",
            len(flat),
            sizes=listing([str(batch_size) for batch_size in flat]),
            near=near_text(about.advice),
        )
        yield Sentence(topic="", text=said)


# ---- why

# What is nearer to 1 than this is called the same: step times are known to a few per cent.
_SAME = 1.05
# What is said of as much, of so many times more, and of so many times less.
_BATCH = ("The same batch size", "A batch {times} times as large", "A batch {times} times smaller")
_RATE = (
    " at the same learning rate",
    " with {times} times the learning rate",
    " with a learning rate {times} times smaller",
)
_STEPS = ("as many steps", "{times} times fewer steps", "{times} times as many steps")
_EACH = (
    ", and each step takes as long",
    ", and each step takes {times} times as long",
    ", {but} each step is {times} times faster",
)


def _why(about: _About) -> _Told:
    """Steps and step time beside the configuration as it is; where the time is surely less.

    The time to the target is steps times step time, so the ratio of the steps is that of the times
    times that of the step times. Beside the usual configuration no rate is told: what is named is
    compared with the best rate of its batch size, whichever that is.
    """
    advice, found = about.advice, about.advice.recommendation
    own, gain = advice.reference, advice.gain
    is_faster = gain.low is not None and gain.low > 1
    if found is None or advice.objective != "time" or not is_faster:
        return
    found_s, own_s = (_step_s(advice, each.batch_size) for each in (found, own))
    if found_s is None or own_s is None or gain.estimate is None:
        return
    larger, longer = found.batch_size / own.batch_size, found_s / own_s
    fewer = gain.estimate * longer
    but = text("and" if fewer > 1 else "but")
    yield about.tell(
        "{batch}{rates} needs {steps}{each}.",
        batch=_than(_BATCH, larger, near=1.0),
        rates="" if advice.is_usual else _than(_RATE, found.learning_rate / own.learning_rate),
        steps=_than(_STEPS, fewer),
        each="" if larger == 1 else _than(_EACH, longer, but=but),
    )


def _than(
    messages: tuple[str, str, str], times: float, *, near: float = _SAME, but: str = ""
) -> str:
    """Whether there is as much, so many times more, or so many times less."""
    same, more, less = messages
    if times == 1 or 1 / near < times < near:
        return text(same)
    return text(more if times > 1 else less, times=ratio_text(max(times, 1 / times)), but=but)


# ---- when a training is done


def _when_to_stop(about: _About) -> _Told:
    """When a training run with the recommendation is done."""
    advice, epochs = about.advice, _expected_epochs(about)
    if advice.recommendation is None:
        return
    if advice.target is None:
        if epochs:
            yield about.tell("After {epochs}: the length of the run is fixed.", epochs=epochs)
    else:
        expected = about.say(", expected after {epochs}", epochs=epochs) if epochs else ""
        yield about.tell("At {target}{expected}.", expected=expected)
        endings = advice.endings
        own = () if endings is None else endings.own.found
        meets = not own or advice.target.met_by(statistics.fmean(own))
        if advice.hardly_learns is None and advice.target_origin == "pilot" and meets:
            yield about.tell("That is slightly easier than what {yours} ends with.")
        elif advice.target_origin == "easier":
            yield about.tell(
                "The target is an easier one: the budget did not reach for the plateau."
            )


def _expected_epochs(about: _About) -> str:
    """How many epochs the recommendation is expected to take; empty: not known."""
    expected = about.advice.expected
    known = None if expected is None else expected.epochs_to_target
    if known is None or known.estimate is None:
        return ""
    epochs = about.say("{epochs:epochs_to_target} epochs", epochs=known.estimate)
    is_fixed = known.low == known.high  # the length was given, not measured
    interval = interval_text("epochs_to_target", known)
    if is_fixed or known.is_too_wide:
        interval = ""
    return f"{epochs} ({interval})" if interval else epochs


# ---- the gain


def _gain(about: _About) -> _Told:
    """The recommendation against the configuration as it is: batch size and rate together."""
    if about.advice.recommendation is not None and not about.advice.is_usual:
        yield about.tell(
            "{yours} (batch size {own_size}, learning rate {own_rate:rate}) {compared}.",
            compared=_compared(about, about.advice.gain),
        )


def _gain_from_batch_size(about: _About) -> _Told:
    """How much of the gain is the batch size's: the reference batch size is tuned as well."""
    advice, found = about.advice, about.advice.recommendation
    if found is None:
        return
    if found.batch_size == advice.reference.batch_size:
        yield about.tell("None: the batch size stays, only other settings change.")
        return
    message, tuned = "Batch size {own_size} at the best rate expected {compared}.", None
    if advice.objective == "quality" and advice.reference_tuned is not None:
        tuned = advice.reference_tuned.learning_rate
        message = "Batch size {own_size} at its tuned rate ({tuned:rate}) {compared}."
    compared = _compared(about, advice.gain_from_batch_size)
    yield about.tell(message, tuned=tuned, compared=compared)
    # Who the whole gain belongs to, as far as both intervals say so.
    whole, part = advice.gain, advice.gain_from_batch_size
    if whole.low is None or whole.low <= 1 or part.estimate is None:
        return
    if whole.estimate is not None and part.estimate > whole.estimate:
        yield about.tell(
            "At that batch size the rate of {yours} is expected to be the better of the two."
        )
    elif part.low is None or part.low <= 1:
        yield about.tell("It is not certain that the batch size alone gains any of it.")
    elif part.high is None or whole.low <= part.high:
        yield about.tell("The batch size alone gains this much.")
    else:
        yield about.tell("The batch size alone gains this much, the learning rate the rest.")


def _compared(about: _About, ratio: Estimate) -> str:
    """Return the other configuration's figure over the recommendation's, as far as it is known."""
    if ratio.estimate is None and ratio.low is not None:
        return about.takes(about.say("at least {times}", times=least_text(ratio.low)))
    if ratio.estimate is None:
        why = clause(ratio.reason) or about.say("it was not measured")
        return about.say("can't be compared: {why}", why=why)
    times = ratio_text(ratio.estimate)
    is_more = ratio.low is not None and ratio.low > 1
    is_less = not is_more and ratio.high is not None and ratio.high < 1
    takes = plural(
        "{takes} (95 %: {interval}, {n} seed)",
        "{takes} (95 %: {interval}, {n} seeds)",
        ratio.n,
        takes=about.takes(about.say("only {times}", times=times) if is_less else times),
        interval=_interval(about, ratio),
    )
    if is_more:
        return takes
    end = "{takes}: it did better" if is_less else "{takes}; there may be no difference"
    return about.say(end, takes=takes)


def _interval(about: _About, ratio: Estimate) -> str:
    low, high = ratio_text(ratio.low or 0.0), ratio_text(ratio.high or 0.0)
    return low if low == high else about.say("{low} to {high}", low=low, high=high)


def _break_even(about: _About) -> _Told:
    """What the study cost against what it saves in each run."""
    advice, runs = about.advice, about.advice.pay_back_runs
    if advice.recommendation is None:
        return
    if runs is not None:
        trainings = about.say("{runs:two_digits} trainings", runs=runs)
        if runs <= 1:
            trainings = about.say("one training")
        message = "Breaks even after about {trainings} (the study took {spent_s:train_s})."
        yield about.tell(message, trainings=trainings)
    elif advice.objective == "time" and advice.gain.low is not None and advice.gain.low > 1:
        yield about.tell(
            "The study took {spent_s:train_s}. After how many trainings it breaks even is not "
            "known."
        )
    elif advice.objective == "time":
        yield about.tell(
            "The study took {spent_s:train_s} and found nothing that surely saves time."
        )


# ---- where whole trainings end


def _ends_best(about: _About) -> _Told:
    """What ends best, where that is something else than what is named."""
    advice, named = about.advice, about.advice.named
    known = {row.at: row.end for row in answer_rows(advice) if row.at and row.end.n}
    if named not in known or advice.objective == "quality":
        return
    sign = 1 if advice.better == "higher" else -1
    at = max(known, key=lambda each: sign * (known[each].estimate or 0.0))
    if at == named:
        return
    message = "Batch size {best} with learning rate {best_rate:rate}: {end}, what is named {mine}."
    apart = ends_of(advice).difference(at, named)
    if apart.low is None or apart.high is None or apart.low <= 0 <= apart.high:
        message += " These runs do not tell the two apart."
    end, of_named = (spread_text(advice.metric, each) for each in (known[at], known[named]))
    size, rate = at.batch_size, at.learning_rate
    yield about.tell(message, best=size, best_rate=rate, end=end, mine=of_named)


def _ending(about: _About) -> _Told:
    """Where trainings of each end, and how much worse the recommendation may at most end."""
    endings = about.advice.endings
    if endings is None or not endings.named.found:
        return
    message = "After {epochs:.3g} epochs {ends}."
    if overfits(about.advice):
        message = "By the best evaluations of {epochs:.3g} epochs {ends}."
    ends = _ends(about, endings)
    yield about.tell(message, epochs=endings.named.epochs, ends=ends)
    if endings.compared_with != endings.named:
        yield _judged(about, endings)
    elif endings.named == endings.own:
        yield about.tell("It is {yours} itself.")


def _ends(about: _About, endings: Endings) -> str:
    """Where each of the configurations ends, the references each once."""
    mine, own = endings.named, about.advice.reference
    named = "batch size {size}"
    if mine.batch_size == own.batch_size and mine.learning_rate != own.learning_rate:
        named = "batch size {size} at learning rate {rate:rate}"
    others = ""
    for other in endings.references:
        message = ", {named} was not trained to its end"
        if other.found:
            message = ", {named} with {end}"
        end = _mean_end(endings, other) if other.found else ""
        others += about.say(message, named=_name(about, endings, other), end=end)
    return about.say(
        "{named} ends with {of} {end}{others}",
        named=about.say(named, size=mine.batch_size, rate=mine.learning_rate),
        of=endings.metric,
        end=_mean_end(endings, mine),
        others=others,
    )


def _name(about: _About, endings: Endings, reference: Ending) -> str:
    is_own = reference == endings.own
    return about.say("{yours}" if is_own else "batch size {own_size} at its tuned rate")


def _mean_end(endings: Endings, found: Ending) -> str:
    """The mean end, and of how many trainings it is."""
    return plural(
        "{end} ({n} training)",
        "{end} (mean of {n})",
        len(found.found),
        end=end_text(endings, found),
    )


def _judged(about: _About, endings: Endings) -> Sentence:
    """How much worse it may be, against how much is allowed."""
    low, margin = endings.difference.low, endings.margin
    if endings.verdict == "worse" and endings.compared_with != endings.own:
        return about.tell("Batch size {own_size} at its tuned rate ends better.")
    if endings.verdict == "worse":
        return about.tell("That is worse: {why}.", why=clause(endings.reason))
    assert low is not None
    if low >= 0 and endings.verdict == "no_worse":
        return about.tell("It certainly ends at least as well (95 %).")
    worst, mean = max(0.0, -low), endings.compared_with.mean
    errors = 1 - mean if endings.better == "higher" else mean
    if not math.isclose(margin, MARGIN_SHARE * errors):
        message = (
            "It may be up to {worst:.2g} worse than {own} (95 %); up to "
            "{margin:.2g} still counts as no worse."
        )
        return about.tell(message, worst=worst, margin=margin)
    message = (
        "It may make up to {worst:percent} more errors than {own} (95 %); up "
        "to {margin:percent} more still counts as no worse."
    )
    return about.tell(message, worst=worst / errors, margin=margin / errors)


def _trained_model(about: _About) -> _Told:
    """That a whole training with what is named is kept, and how to get its model."""
    named, endings, study = about.advice.named, about.advice.endings, about.study
    if named is None or endings is None or study is None or study.workload.is_own_command:
        return  # a command keeps its models itself
    followed = (endings.named, endings.own, endings.tuned)
    if any(end is not None and end.found and named.is_same(end) for end in followed):
        yield about.tell(
            "A whole training with it was kept. This command writes its model to a file.",
            command=weights_command(study),
        )


# ---- the usual sizes

# What is said of one and of several that are near the best, worse, open, failed, not trained.
_OF_USUAL_SIZES = (
    ("{sizes} is {near}", "{sizes} are {near}"),
    ("beside the best one, {takes}", "beside the best one, {takes}"),
    ("{sizes} had too few runs to tell", "{sizes} had too few runs to tell"),
    ("{sizes} failed at every rate that was tried", "{sizes} failed at every rate that was tried"),
    ("{sizes} was not trained", "{sizes} were not trained"),
)


def _usual_sizes(about: _About) -> _Told:
    """How good the sizes that people take without measuring are here, each tuned."""
    advice = about.advice
    valued = [c for c in advice.candidates if c.batch_size in USUAL_SIZES and c.fits]
    at_least = {c.batch_size: c.relative.low or 0.0 for c in valued}
    good = [c for c in valued if c.in_flat_set]
    worse = [c for c in valued if c not in good and at_least[c.batch_size] > 1 + advice.delta]
    open_ones = [c for c in valued if c not in good and c not in worse]
    if not worse and all(c.relative.estimate is None for c in valued):
        return
    if not good and not worse:
        message = "It is not yet known whether any of the usual {sizes} is near the best."
        yield about.tell(message, sizes=_sizes(open_ones), verdict="cannot_tell")
        return
    each = [
        about.say(
            "{usual} {takes}",
            usual=candidate.batch_size,
            takes=about.takes(
                about.say("at least {n}", n=ratio_text(at_least[candidate.batch_size]))
            ),
        )
        for candidate in worse
    ]
    takes = listing(each) if each else ""
    trained = {run.batch_size for run in advice.tried}
    untrained = [c for c in open_ones if c.batch_size not in trained]
    failed = [c for c in open_ones if c.learning_rate is None and c not in untrained]
    too_few = [c for c in open_ones if c not in untrained and c not in failed]
    kinds = (good, worse, too_few, failed, untrained)
    found = [
        plural(one, several, len(those), sizes=_sizes(those), takes=takes, near=near_text(advice))
        for those, (one, several) in zip(kinds, _OF_USUAL_SIZES, strict=True)
        if those
    ]
    verdict: ClaimVerdict = "held" if good else "cannot_tell" if open_ones else "did_not_hold"
    message = "Each usual size at its tuned rate: {found}."
    yield about.tell(message, found=found[0], verdict=verdict)
    yield from (about.tell("{found}.", found=more) for more in found[1:])


def _sizes(candidates: Sequence[Candidate]) -> str:
    return listing([str(candidate.batch_size) for candidate in candidates])


# ---- laws, in the words of researchers


def _critical_batch_size(about: _About) -> _Told:
    """The critical batch size with its interval, or why there is none."""
    laws = about.advice.laws
    if laws is None:
        return
    b_crit = laws.b_crit
    if b_crit.estimate is None and b_crit.low is None and b_crit.high is None:
        why = clause(b_crit.reason) or about.say("no fit")
        message = "The critical batch size can't be told: {why}."
        yield about.tell(message, why=why, verdict="cannot_tell")
        return
    found = estimate_text("critical_batch_size", b_crit)
    if b_crit.estimate is None and b_crit.reason is not None:
        found = about.say("{bound}: {why}", bound=found, why=clause(b_crit.reason))
    yield about.tell("The critical batch size for this target is {found}.", found=found)


def _law_of_steps(about: _About) -> _Told:
    """The law that the steps were fitted with; nothing where it does not hold."""
    laws = about.advice.laws
    if laws is None or not laws.law_holds:
        return
    s_min = estimate_text("steps_to_target", laws.s_min)
    e_min = estimate_text("samples_to_target", laws.e_min)
    yield about.tell(
        "The steps were fitted with S = S_min (1 + B_crit / B), by least squares of relative steps."
    )
    yield about.tell("S_min: {s_min}. E_min in examples: {e_min}.", s_min=s_min, e_min=e_min)


def _rules(about: _About) -> _Told:
    """Where the scaling rules would have put the learning rate of the recommended batch size."""
    advice, found = about.advice, about.advice.recommendation
    if found is None or found.batch_size == advice.reference.batch_size:
        return
    candidate = advice.candidate(found.batch_size)
    if candidate is None or not candidate.rule_learning_rates:
        return
    rule = "{rule} {by_rule:learning_rate} ({times:times} times it)"
    rates = [
        about.say(rule, rule=name, by_rule=rate, times=rate / found.learning_rate)
        for name, rate in candidate.rule_learning_rates
    ]
    yield about.tell(
        "Scaling rules beside the tuned rate: {rates}. They start from the tuned rate of batch "
        "size {own_size}.",
        rates=", ".join(rates),
    )


# What is told of each topic, in reading order.
_TOPICS: dict[str, Callable[[_About], _Told]] = {
    "answer": _answer,
    "why": _why,
    "how sure": _how_sure,
    "also fine": _flat_set,
    "ends best": _ends_best,
    "where it ends": _ending,
    "gain": _gain,
    "from the batch size alone": _gain_from_batch_size,
    "usual sizes": _usual_sizes,
    "when to stop": _when_to_stop,
    "trained model": _trained_model,
    "break-even": _break_even,
    "critical batch size": _critical_batch_size,
    "law of the steps": _law_of_steps,
    "scaling rules": _rules,
}

# In the words of researchers: the page folds them away, with what their terms mean.
RESEARCH_TOPICS = frozenset({"critical batch size", "law of the steps", "scaling rules"})
