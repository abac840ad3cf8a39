"""The sentences of an advice: answer, reasons, other findings, and commands to copy."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from operator import attrgetter

from batchlab.advice.advice import LIKELY, SURE, Advice, Configuration, tenths_of
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.report.advice_rows import (
    BEST_COST,
    SIGN,
    AnswerRow,
    answer_rows,
    believed_at,
    cost_quantity,
    runs_of,
)
from batchlab.report.text import Sentence, clause, estimate_text, quantity_text, whole_sentence
from batchlab.words.catalogue import listing, number_text, sentence, text


def advice_sentences(advice: Advice) -> tuple[Sentence, ...]:
    """Return the sentences of an advice, the answer first, without its caveats."""
    sentences = []
    for topic, say in _TOPICS.items():
        words = " ".join(say(advice))
        if words:
            sentences.append(Sentence(topic=topic, text=words))
    return tuple(sentences)


# ---- the answer


def _answer(advice: Advice) -> Iterator[str]:
    named, reference = advice.named, advice.reference
    if named is None:
        yield sentence("no_answer_yet")
        return
    learns = advice.hardly_learns
    if learns is not None and learns.code == "another_rate_learns" and named.is_same(reference):
        rate = learns.named["rate"]
        assert isinstance(rate, int | float)
        yield sentence("try_rate", size=named.batch_size, rate=rate)
        return
    code = "use_size"
    if named.is_same(reference):
        code = "stay_with_size"
    elif named.batch_size == reference.batch_size and named.epochs is None:
        code = "keep_size"
    yield sentence(
        code, size=named.batch_size, rate=named.learning_rate, pieces="".join(_pieces(named))
    )


def _pieces(named: Configuration) -> Iterator[str]:
    """Yield clauses with a configuration's micro-batch size, epochs, weight decay and beta 2."""
    adam = named.adam
    if named.accumulation_steps > 1:
        yield f", in micro-batches of {named.micro_batch_size}"
    if named.epochs is not None:
        message = ", with its schedule over {epochs:.3g} {epochs:epoch|epochs}"
        yield text(message, epochs=named.epochs)
    if adam is not None and adam.weight_decay:
        yield f", weight decay {adam.weight_decay:.3g}"
    if adam is not None:
        yield f", beta 2 {adam.betas[1]:.4g}"


# The code of the sentence that gives the reason for a recommendation, by objective.
_WHY = {"time": "why_time", "samples": "why_samples", "quality": "why_quality"}


def _why(advice: Advice) -> Iterator[str]:
    if advice.hardly_learns is not None:
        yield whole_sentence(advice.hardly_learns)
    if advice.recommendation is None:
        yield whole_sentence(advice.reason)
        return
    yield sentence(
        _WHY[advice.objective],
        faster=_faster(advice),
        level=_level_text(advice),
        delta=advice.delta,
        own=_compared_with(advice),
        ends=_ends(advice),
        how_sure=how_sure_text(advice.chance or 0.0),
    )
    if advice.end_quality is None and advice.target_origin != "given":
        yield sentence("end_not_seen")


def _level_text(advice: Advice) -> str:
    """Return the target value with its metric: "97.00 % validation accuracy"."""
    if advice.target is None:
        return ""
    value = quantity_text(advice.target.metric, advice.target.value)
    return text("{value} {metric:of_validation}", metric=advice.target.metric, value=value)


def _ends(advice: Advice) -> str:
    """Return how the answer ends: as well as what it is compared with, or surely better."""
    ends = advice.end_quality
    if ends is None:
        return ""
    other = advice.reference_tuned if advice.is_usual else advice.reference
    shown = {row.at: row.end.estimate for row in answer_rows(advice)}
    values = shown.get(advice.named), shown.get(other)
    if ends.difference.low is None or ends.difference.low <= ends.margin or None in values:
        return sentence("ends_as_well")
    named, own = (quantity_text(advice.metric, value) for value in values)
    return sentence("ends_better", named=named, own=own)


_LEAST_GAIN = 1.01  # a lower bound of the speedup is reported only if it is at least this


def _faster(advice: Advice) -> str:
    gain, other = advice.gain, _compared_with(advice)
    if gain.estimate is None and gain.low is not None and gain.low >= _LEAST_GAIN:
        # Round the bound down to two digits, or to two decimals if it is below 1.2.
        digits = 2 if gain.low < 1.2 else 1 - math.floor(math.log10(gain.low))
        least = math.floor(gain.low * 10.0**digits + 1e-9) / 10.0**digits
        return f"At least {number_text(least, 'times')}× as fast as {other}"
    if gain.estimate is None:
        return f"No slower than {other}"
    if gain.low == gain.high == 1:  # trainings of the same batch size and length
        return f"As fast as {other}"
    message = "{value:times}× as fast as {other}"
    if number_text(gain.low, "times") != number_text(gain.high, "times"):
        message += " (95 %: {low:times} to {high:times})"
    return text(message, value=gain.estimate, other=other, low=gain.low, high=gain.high)


def _compared_with(advice: Advice) -> str:
    """Name the configuration that the answer is compared with: the user's, or a default size."""
    if advice.is_usual:
        return f"{advice.reference.batch_size} at its best rate"
    return _name(advice.reference)


def _name(at: Configuration) -> str:
    over = "" if at.epochs is None else f" over {at.epochs:.3g} epochs"
    return text("{size} at {rate:rate}{over}", size=at.batch_size, rate=at.learning_rate, over=over)


def how_sure_text(chance: float) -> str:
    """Return a probability as a word with odds: "likely (9 in 10)"."""
    if chance >= SURE:
        return "sure (more than 9 in 10)"
    word = "likely" if chance >= LIKELY else "not sure"
    return f"{word} ({tenths_of(chance)} in 10)"


# ---- other findings


_LONGER = 1.2  # a smaller factor on the epochs is not reported, because rounding can cause it


def _epochs(advice: Advice) -> Iterator[str]:
    """Yield a sentence on epochs if the answer sets them or needs > 1.2 times the user's epochs."""
    ends = advice.end_quality
    if advice.recommendation is None or advice.objective != "time" or ends is None:
        return
    if advice.recommendation.epochs is not None:
        how = "with its schedule over"
    elif ends.named_epochs > _LONGER * ends.own_epochs:
        how = "until it reaches the target, for up to"
    else:
        return
    yield sentence("trains_longer", how=how, epochs=ends.named_epochs, own=ends.own_epochs)


# A better learning rate is reported only if it differs from the user's by at least this factor.
_FAR = 2.0
# A better learning rate is reported only if it makes training faster by at least this factor.
_GAINS = 1.2


def _learning_rate(advice: Advice) -> Iterator[str]:
    """Yield the speed gained by the best learning rate, if the user's rate is far from the best."""
    reference, tuned, named = advice.reference, advice.reference_tuned, advice.named
    whole, of_size = advice.gain, advice.gain_from_batch_size
    if advice.is_usual or advice.objective != "time" or tuned is None or named is None:
        return
    far, way = tuned.learning_rate / reference.learning_rate, "low"
    if far <= 1:
        far, way = 1 / far, "high"
    # If the advice also changes the number of epochs, what the learning rate gains is unknown.
    if far < _FAR or named.epochs is not None:
        return
    if whole.estimate is None or of_size.estimate is None or (whole.low or 0.0) <= 1:
        return
    rate_gains = whole.estimate / of_size.estimate
    if rate_gains < _GAINS:
        return
    more = ""
    if (of_size.low or 0.0) > 1:
        more = sentence("size_adds", size=named.batch_size, times=of_size.estimate)
    elif named.batch_size != reference.batch_size:
        more = sentence("size_may_add")
    yield sentence(
        "rate_far_off",
        far=float(f"{far:.1g}"),
        way=way,
        size=reference.batch_size,
        rate=tuned.learning_rate,
        gains=rate_gains,
        more=more,
    )


def _best_end(advice: Advice) -> Iterator[str]:
    """Yield a sentence if another configuration surely or perhaps ends better than the answer."""
    named, sign = advice.named, SIGN[advice.better]
    if named is None or advice.objective == "quality" or advice.target_origin == "given":
        return
    ended: dict[Configuration, AnswerRow] = {}
    for row in answer_rows(advice):
        if row.at is not None and row.end.estimate is not None:
            ended[row.at] = row
    if named not in ended:
        return
    best = max(ended, key=lambda at: sign * (ended[at].end.estimate or 0.0))
    believed = believed_at(advice, best)
    if best == named or believed is None or believed.ends_better_by.low is None:
        return
    ahead, of_best, of_named = believed.ends_better_by, ended[best], ended[named]
    names = {
        "best": _name(best),
        "best_end": quantity_text(advice.metric, of_best.end.estimate),
        "named": _name(named),
        "named_end": quantity_text(advice.metric, of_named.end.estimate),
    }
    if not ahead.holds(0.0):
        yield sentence("ends_best", **names)
    elif best.batch_size != advice.reference.batch_size or (advice.chance or 0.0) < SURE:
        # This excludes the user's batch size if the answer is sure to end no worse than it.
        yield from _open(advice, ahead, (of_best, of_named), names)


# If two final values need more seeds than this to be distinguished, no budget is proposed.
_MOST_SEEDS = 12


def _open(
    advice: Advice, ahead: Estimate, rows: tuple[AnswerRow, AnswerRow], names: dict[str, str]
) -> Iterator[str]:
    """Yield that a configuration may end noticeably better, and how much time would tell."""
    assert ahead.estimate is not None
    assert ahead.low is not None
    assert ahead.high is not None
    margin = 0.0 if advice.end_quality is None else advice.end_quality.margin
    if max(abs(ahead.low), abs(ahead.high)) <= margin:
        return  # even the largest possible difference is within the margin
    half, apart = (ahead.high - ahead.low) / 2, max(abs(ahead.estimate), 1e-12)
    needed = math.ceil(min(row.end.n for row in rows) * (half / apart) ** 2)
    if needed > _MOST_SEEDS and abs(ahead.estimate) <= margin:
        return  # the difference is small, and too many seeds would be needed to be sure
    yield sentence("may_end_better", **names)
    if needed <= _MOST_SEEDS:
        more_s = math.fsum(_seconds_for(row, needed) for row in rows)
        minutes = math.ceil((advice.spent_s + more_s) / 60)
        if 60 * minutes > advice.budget_s:  # with the same budget, the study would stop again
            yield sentence("more_time_tells", more=more_s, minutes=minutes)


def _seconds_for(row: AnswerRow, n: int) -> float:
    """Return the seconds of further training until a configuration has `n` complete runs."""
    steps = max(map(attrgetter("steps"), row.runs), default=0)
    return max(0, n - row.end.n) * steps * (row.candidate.step_s.estimate or 0.0)


def _flat_set(advice: Advice) -> Iterator[str]:
    """Yield a sentence on other batch sizes that cost at most 1 + `delta` times the least cost."""
    named = advice.named
    others = [str(size) for size in advice.flat_set if named is None or size != named.batch_size]
    if others and cost_quantity(advice) is not None:
        best = text(BEST_COST[advice.objective])
        yield sentence("as_good", share=advice.delta, best=best, sizes=listing(others))


# ---- laws, for researchers


def _laws(advice: Advice) -> Iterator[str]:
    laws = advice.laws
    if laws is None:
        return
    critical = estimate_text("critical_batch_size", laws.b_crit)
    if laws.b_crit.estimate is None and laws.b_crit.reason is not None:
        critical += f" ({clause(laws.b_crit.reason)})"
    yield sentence("critical_size", value=critical)
    if laws.law_holds:
        yield sentence(
            "law_of_steps",
            s_min=estimate_text("steps_to_target", laws.s_min),
            e_min=estimate_text("samples_to_target", laws.e_min),
        )


# The function that yields the sentences of each topic, in reading order.
_TOPICS: dict[str, Callable[[Advice], Iterator[str]]] = {
    "answer": _answer,
    "why": _why,
    "epochs": _epochs,
    "learning rate": _learning_rate,
    "best end": _best_end,
    "also fine": _flat_set,
    "law of the steps": _laws,
}
RESEARCH_TOPIC = "law of the steps"
"""The topic of the sentences for researchers, which the page shows only after a click."""


def cost_text(advice: Advice) -> str:
    """Write how many runs and how much of the time budget were used: "9 runs in 40 s of 60 s".

    If more than a tenth of the budget was not used, add why no further run was begun.
    """
    message = "{n:1 run|# runs} in {spent_s:train_s} of {budget_s:train_s}"
    cost = text(message, n=advice.n_trials, spent_s=advice.spent_s, budget_s=advice.budget_s)
    ends = [step.why for step in advice.steps if step.did.code == "no_further_run"]
    if ends and advice.spent_s < 0.9 * advice.budget_s:
        return f"{cost}; {clause(ends[-1])}"
    return cost


# ---- commands and lines to copy, which show or apply an advice

_ID_CHARACTERS = 8  # length of a shortened study id; enough for a million studies


def trained_model(advice: Advice, study: Study) -> list[Sentence]:
    """Return the command that writes the recommended configuration's model to a file, if any."""
    named = advice.named
    # The user's own command saves its models itself.
    if named is None or study.workload.is_own_command:
        return []
    if all(run.end is None for run in runs_of(advice, named)):
        return []
    words = sentence("writes_model", named=_name(named))
    return [Sentence(topic="trained model", text=words, command=weights_command(study))]


def weights_command(study: Study) -> str:
    """Return the shell command that writes the model trained during an advice to a file."""
    study_id = study.study_id[:_ID_CHARACTERS]
    return shlex.join(["batchlab", "weights", *_store_option(study), "--study", study_id])


def report_command(study: Study) -> str:
    """Return the command that shows a study again as text, with the reason for each run."""
    return shlex.join(["batchlab", "report", *_store_option(study), "--format", "text"])


def _store_option(study: Study) -> list[str]:
    """Return the option `--store` of the command that started a study, if the command has it."""
    if not study.command.startswith("batchlab "):
        return []  # a call in Python
    words = shlex.split(study.command.partition(" -- ")[0])
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word == "--store":
            return [word, value]
        if word.startswith("--store="):
            return ["--store", word.removeprefix("--store=")]
    return []


def lines_to_paste(chosen: Configuration, study: Study) -> tuple[str, ...]:
    """Return script lines that set a configuration, or the user's command with all values set."""
    if not study.workload.is_own_command:
        return script_lines(chosen)
    _, dashes, command = study.command.partition(" -- ")
    if not dashes:
        return ()
    values = {
        "batch_size": f"{chosen.batch_size}",
        "micro_batch_size": f"{chosen.micro_batch_size}",
        "accumulation_steps": f"{chosen.accumulation_steps}",
        "learning_rate": f"{chosen.learning_rate:.6g}",
    }
    if chosen.epochs is not None:
        steps = math.ceil(study.workload.n_train / chosen.batch_size) * chosen.epochs
        values |= {"epochs": f"{chosen.epochs:g}", "steps": f"{steps:.0f}"}
    for name, value in values.items():
        command = command.replace(f"{{{name}}}", value)
    return (command,)


def script_lines(chosen: Configuration) -> tuple[str, ...]:
    """Return the Python lines that make a training script use a configuration.

    The script must define `train_set`, `model`, `loss_fn` and `optimizer`. Each batch is split into
    micro-batches such that all examples have the same weight, even in a smaller last micro-batch.
    """
    adam = chosen.adam
    settings = f"lr={chosen.learning_rate:.6g}"
    if adam is not None:
        first, second = adam.betas
        settings += f", betas=({first:g}, {second:.6g})"
    if adam is not None and adam.weight_decay is not None:
        settings += f', weight_decay={adam.weight_decay:.4g} if group["weight_decay"] else 0'
    lines = (
        f"loader = DataLoader(train_set, batch_size={chosen.batch_size}, shuffle=True)",
        "for group in optimizer.param_groups:  # once, before training",
        f"    group.update({settings})",
    )
    if chosen.accumulation_steps == 1:
        return lines
    micro = chosen.micro_batch_size
    return (
        *lines,
        "for inputs, targets in loader:  # one optimizer step a batch, in micro-batches",
        "    optimizer.zero_grad()",
        f"    for x, y in zip(inputs.split({micro}), targets.split({micro})):",
        "        (loss_fn(model(x), y) * len(x) / len(inputs)).backward()",
        "    optimizer.step()",
    )
