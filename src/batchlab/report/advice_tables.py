"""The tables of an advice: what changes, what is expected, what was in question, what was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from batchlab.advice.advice import Advice, Candidate, Configuration, Ending, Expected, RateTried
from batchlab.records.study import Study
from batchlab.report.advice_rows import named_cost, own_cost
from batchlab.report.advice_words import (
    end_text,
    is_same,
    named_text,
    objective_words,
    reference_words,
    target_text,
)
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import bound_text, estimate_text, interval_only_text, quantity_text
from batchlab.words.catalogue import TERMS, number_text, text
from batchlab.words.numbers import UNKNOWN
from batchlab.words.reasons import reason_text

PURPOSES: dict[str, str] = {
    "pilot": "set the target",
    "tune": "choose a learning rate",
    "value": "measure the chosen rate on fresh seeds",
    "verify": "verify against the reference",
    "cool_down": "try a rate that falls to zero at the end",
}
# Batch size, learning rate, seed, and whether it had a cool-down.
_Key = tuple[int, float, int, bool]


def expected_table(expected: Expected) -> Table:
    """What the recommendation is expected to take; what can't be told is left out."""
    named = (
        ("time_to_target_s", text("time to target"), expected.time_to_target_s),
        ("steps_to_target", text("steps"), expected.steps_to_target),
        ("epochs_to_target", text("epochs"), expected.epochs_to_target),
        ("samples_to_target", text("samples"), expected.samples_to_target),
        ("peak_bytes", text("peak memory"), expected.peak_bytes),
    )
    rows = tuple(
        (
            label,
            estimate_text(name, estimate)
            if estimate.estimate is None
            else quantity_text(name, estimate.estimate),
            interval_only_text(name, estimate) or None,
            estimate.n,
        )
        for name, label, estimate in named
        if estimate.estimate is not None or bound_text(name, estimate)
    )
    return Table(
        caption=text("What the recommendation is expected to take"),
        columns=(
            Column(key="quantity", quantity="", label=text("expected")),
            Column(key="estimate", quantity="", label=text("value")),
            Column(key="interval", quantity="", label=text("95 % interval")),
            Column(key="n", quantity="n", label=text("n")),
        ),
        rows=rows,
    )


def candidates_table(advice: Advice) -> Table:
    """Every batch size in question with its own figures at its tuned rate."""
    words = objective_words(advice)
    rows = tuple(_candidate_row(advice, candidate) for candidate in advice.candidates)
    return Table(
        caption=text(
            "Batch sizes in question, each at its tuned rate ({figure})",
            figure=words.figure_text,
        ),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="runs", quantity="n", label=text("seeds")),
            Column(key="steps_to_target", quantity="steps_to_target", label=text("steps")),
            Column(key="step_s", quantity="step_s", label=text("step")),
            Column(key="time_to_target_s", quantity="time_to_target_s", label=text("time")),
            Column(key="samples_to_target", quantity="samples_to_target", label=text("samples")),
            Column(key="metric", quantity=words.quantity, label=words.figure_text),
            Column(key="peak_bytes", quantity="peak_bytes", label=text("memory")),
            Column(key="relative", quantity="ratio", label=text("× best")),
            Column(key="relative_high", quantity="ratio", label=text("at most")),
            Column(key="flat", quantity="", label=text("good")),
        ),
        rows=rows,
    ).without_empty_columns()


def _candidate_row(advice: Advice, candidate: Candidate) -> tuple[Value, ...]:
    metric = None
    if advice.objective == "quality":
        metric = objective_words(advice).shown_estimate(candidate.cost).estimate
    return (
        candidate.batch_size,
        candidate.learning_rate,
        candidate.n_runs,
        candidate.steps_to_target.estimate,
        candidate.step_s.estimate,
        candidate.time_to_target_s.estimate,
        candidate.samples_to_target.estimate,
        metric,
        candidate.peak_bytes,
        candidate.relative.estimate,
        candidate.relative.high,
        text("yes") if candidate.in_flat_set else "",
    )


def cost_table(advice: Advice, study: Study) -> Table:
    """What was run for which purpose, and what it cost.

    A run asked for twice (a trial that went on) counts under its first purpose.
    """
    seconds = _trial_seconds(study)
    runs: dict[str, dict[_Key, RateTried]] = {}
    seen: set[_Key] = set()
    for tried in advice.tried:
        key = _key(tried)
        if key not in seen or key in runs.get(tried.purpose, {}):
            runs.setdefault(tried.purpose, {})[key] = tried
        seen.add(key)
    return Table(
        caption=text("What was run. Runs side by side each count their own seconds."),
        columns=(
            Column(key="purpose", quantity="", label=text("to")),
            Column(key="runs", quantity="n", label=text("training runs")),
            Column(key="batch_sizes", quantity="n", label=text("batch sizes")),
            Column(key="steps", quantity="steps_to_target", label=text("steps")),
            Column(key="samples", quantity="samples_to_target", label=text("samples")),
            Column(key="train_s", quantity="train_s", label=text("training and evaluation")),
        ),
        rows=tuple(
            (
                text(PURPOSES.get(purpose, purpose)),
                len(found),
                len({tried.batch_size for tried in found.values()}),
                sum(tried.steps for tried in found.values()),
                sum(tried.steps * tried.batch_size for tried in found.values()),
                _sum_known(seconds, found),
            )
            for purpose, found in runs.items()
        ),
    ).without_empty_columns()


def tried_table(advice: Advice) -> Table:
    """Every training run, in the order they were asked."""
    return Table(
        caption=text("Every training run, in order"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="seed", quantity="seed", label=text("seed")),
            Column(key="purpose", quantity="", label=text("to")),
            Column(key="status", quantity="status", label=text("status")),
            Column(key="steps", quantity="steps", label=text("steps")),
            Column(key="steps_to_target", quantity="steps_to_target"),
        ),
        rows=tuple(
            (
                tried.batch_size,
                tried.learning_rate,
                tried.seed,
                text(PURPOSES.get(tried.purpose, tried.purpose)),
                text(TERMS[tried.status]).replace("_", " "),
                tried.steps,
                tried.steps_to_target,
            )
            for tried in advice.tried
        ),
    )


def _key(tried: RateTried) -> _Key:
    return tried.batch_size, tried.learning_rate, tried.seed, tried.purpose == "cool_down"


def _trial_seconds(study: Study) -> dict[_Key, float]:
    return {
        (t.batch_size, t.learning_rate, t.seed, t.cool_down > 0): r.train_s + r.eval_s
        for r in study.records
        for t in (r.trial,)
    }


def _sum_known(seconds: Mapping[_Key, float], found: Mapping[_Key, object]) -> float | None:
    """The sum over all of `found`; None where one of them is not known."""
    known = [seconds[key] for key in found if key in seconds]
    return sum(known) if len(known) == len(found) else None


def steps_table(advice: Advice) -> Table:
    """What was done and why, in order."""
    return Table(
        caption=text("What was done and why, with the time spent until then"),
        columns=(
            Column(key="spent_s", quantity="train_s", label=text("after")),
            Column(key="did", quantity="", label=text("did")),
            Column(key="why", quantity="", label=text("why")),
        ),
        rows=tuple(
            (step.spent_s, reason_text(step.did), reason_text(step.why)) for step in advice.steps
        ),
    )


_Row = tuple[str, str, str]


def side_by_side(advice: Advice) -> Table | None:
    """What changes, and what of it comes out; None: nothing else than the user's own is named."""
    named = advice.named
    if named is None or is_same(named, advice.reference):
        return None
    yours = reference_words(advice).short
    certain = named_text(advice)
    return Table(
        caption=text("What changes"),
        columns=(
            Column(key="quantity", quantity="", label=" "),
            Column(key="yours", quantity="", label=yours),
            Column(key="named", quantity="", label=certain),
        ),
        rows=tuple(_rows(advice, named)),
    )


def _rows(advice: Advice, named: Configuration) -> Iterator[_Row]:
    own = advice.reference
    yield text("batch size"), str(own.batch_size), _batch_size(named)
    yield text("learning rate"), _rate(own), _rate(named)
    yield from _cost(advice)
    yield from _end(advice, named)
    yield from _memory(advice, named)


def _batch_size(found: Configuration) -> str:
    if found.accumulation_steps == 1:
        return str(found.batch_size)
    return text(
        "{size} ({n} × {micro})",
        size=found.batch_size,
        n=found.accumulation_steps,
        micro=found.micro_batch_size,
    )


def _rate(found: Configuration) -> str:
    rate = number_text(found.learning_rate, "rate")
    if not found.cool_down:
        return rate
    return text("{rate}, to 0 over the last {part:percent}", rate=rate, part=found.cool_down)


def _cost(advice: Advice) -> Iterator[_Row]:
    """The figure that was asked to be least, or for quality the metric itself."""
    named = named_cost(advice)
    if named is None:
        return
    words, own = objective_words(advice), own_cost(advice)
    label = words.figure_text
    if advice.target is not None:
        label = text("{figure}, {target}", figure=label, target=target_text(advice.target))
    yours = UNKNOWN if own is None else own.text(words.quantity)
    yield label, yours, named.text(words.quantity, with_interval=True)


def _end(advice: Advice, named: Configuration) -> Iterator[_Row]:
    """Where whole trainings end, of what is named if it was followed to its end."""
    endings = advice.endings
    if endings is None:
        return
    followed = (endings.recommended, endings.reference, endings.reference_tuned)
    own = next((each for each in followed if each is not None and is_same(each, named)), None)
    if own is None or not own.found:
        return

    def shown(ending: Ending) -> str:
        return end_text(endings, ending) if ending.found else UNKNOWN

    label = text("{metric} after {epochs:.3g} epochs", metric=endings.metric, epochs=own.epochs)
    yield label, shown(endings.reference), shown(own)


def _memory(advice: Advice, named: Configuration) -> Iterator[_Row]:
    found = [advice.candidate(each.batch_size) for each in (advice.reference, named)]
    peaks = [None if each is None else each.peak_bytes for each in found]
    if peaks[1] is not None:
        yours, other = (quantity_text("peak_bytes", peak) for peak in peaks)
        yield text("peak memory"), yours, other
