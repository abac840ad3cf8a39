"""Advice tables: what is expected, what was in question, what was run, as rows of raw values."""

from __future__ import annotations

from collections.abc import Mapping

from batchlab.advice.advice import Advice, Candidate, Expected, RateTried
from batchlab.records.study import Study
from batchlab.report.advice.objective_words import objective_words
from batchlab.report.parts.estimate_text import bound_text, estimate_text, interval_only_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.words.catalogue import TERMS, text
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
