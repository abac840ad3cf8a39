"""The tables of an advice: what changes, what is expected, what was in question, what was run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from batchlab.advice.advice import Advice, Candidate, Configuration, Ending, Expected, RateTried
from batchlab.records.study import Study
from batchlab.report.advice_rows import named_cost, own_cost
from batchlab.report.advice_words import (
    end_text,
    is_same,
    named_text,
    objective_words,
    reference_text,
    target_text,
)
from batchlab.report.table import Column, Table, Value, table_of
from batchlab.report.text import bound_text, interval_only_text, quantity_text
from batchlab.words.catalogue import number_text, term_text, text
from batchlab.words.numbers import UNKNOWN
from batchlab.words.reasons import reason_text

# ---- what the user has beside what is named


def side_by_side(advice: Advice) -> Table | None:
    """What changes, and what of it comes out; None: nothing else than the user's own is named."""
    named = advice.named
    if named is None or is_same(named, advice.reference):
        return None
    columns = (
        Column("quantity", label=" "),
        Column("yours", label=reference_text(advice, "short")),
        Column("named", label=named_text(advice)),
    )
    return Table(caption=text("What changes"), columns=columns, rows=tuple(_changes(advice, named)))


def _changes(advice: Advice, named: Configuration) -> Iterator[tuple[str, str, str]]:
    own = advice.reference
    size = str(named.batch_size)
    if named.accumulation_steps > 1:
        n, micro = named.accumulation_steps, named.micro_batch_size
        size = text("{size} ({n} × {micro})", size=size, n=n, micro=micro)
    yield text("batch size"), str(own.batch_size), size
    yield text("learning rate"), _rate(own), _rate(named)
    words, named_figure, own_figure = objective_words(advice), named_cost(advice), own_cost(advice)
    if named_figure is not None:
        label = words.figure
        if advice.target is not None:
            label = text("{figure}, {target}", figure=label, target=target_text(advice.target))
        yours = (
            UNKNOWN if own_figure is None else own_figure.text(words.quantity, with_interval=True)
        )
        yield label, yours, named_figure.text(words.quantity, with_interval=True)
    yield from _end(advice, named)
    found = [advice.candidate(each.batch_size) for each in (own, named)]
    peaks = [None if each is None else each.peak_bytes for each in found]
    if peaks[1] is not None:
        yours, other = (quantity_text("peak_bytes", peak) for peak in peaks)
        yield text("peak memory"), yours, other


def _rate(found: Configuration) -> str:
    rate = number_text(found.learning_rate, "rate")
    if not found.cool_down:
        return rate
    return text("{rate}, to 0 over the last {part:percent}", rate=rate, part=found.cool_down)


def _end(advice: Advice, named: Configuration) -> Iterator[tuple[str, str, str]]:
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


# ---- what is expected and what was in question

_EXPECTED = {
    "time_to_target_s": "time to target",
    "steps_to_target": "steps",
    "epochs_to_target": "epochs",
    "samples_to_target": "samples",
    "peak_bytes": "peak memory",
}


def expected_table(expected: Expected) -> Table:
    """What the recommendation is expected to take; what can't be told is left out."""
    rows: list[tuple[Value, ...]] = []
    for name, label in _EXPECTED.items():
        known = getattr(expected, name)
        value = bound_text(name, known)
        if known.estimate is not None:
            value = quantity_text(name, known.estimate)
        if value:
            rows.append((text(label), value, interval_only_text(name, known) or None, known.n))
    return Table(
        caption=text("What the recommendation is expected to take"),
        columns=(
            Column("quantity", label=text("expected")),
            Column("estimate", label=text("value")),
            Column("interval", label=text("95 % interval")),
            Column("n", label=text("n")),
        ),
        rows=tuple(rows),
    )


def candidates_table(advice: Advice) -> Table:
    """Every batch size in question with its own figures at its tuned rate."""
    words = objective_words(advice)

    def metric(candidate: Candidate) -> float | None:
        is_shown = advice.objective == "quality"
        return words.shown_estimate(candidate.cost).estimate if is_shown else None

    def figure(name: str, label: str) -> Column:
        return Column(name, label=label, of=lambda candidate: getattr(candidate, name).estimate)

    return table_of(
        text("Batch sizes in question, each at its tuned rate ({figure})", figure=words.figure),
        advice.candidates,
        Column("batch_size"),
        Column("learning_rate"),
        Column("runs", "n", text("seeds"), of=lambda candidate: candidate.n_runs),
        figure("steps_to_target", text("steps")),
        figure("step_s", text("step")),
        figure("time_to_target_s", text("time")),
        figure("samples_to_target", text("samples")),
        Column("metric", words.quantity, words.figure, of=metric),
        Column("peak_bytes", label=text("memory")),
        Column("relative", "ratio", text("× best"), of=lambda c: c.relative.estimate),
        Column("relative_high", "ratio", text("at most"), of=lambda c: c.relative.high),
        Column("flat", label=text("good"), of=lambda c: text("yes") if c.in_flat_set else ""),
    ).without_empty_columns()


# ---- what was run

_PURPOSES: dict[str, str] = {
    "pilot": "set the target",
    "tune": "choose a learning rate",
    "value": "measure the chosen rate on fresh seeds",
    "verify": "verify against the reference",
    "cool_down": "try a rate that falls to zero at the end",
}
# Batch size, learning rate, seed, and whether it had a cool-down.
_Key = tuple[int, float, int, bool]


def cost_table(advice: Advice, study: Study) -> Table:
    """What was run for which purpose, and what it cost.

    A run asked for twice (a trial that went on) counts under its first purpose.
    """
    seconds = {
        (t.batch_size, t.learning_rate, t.seed, t.cool_down > 0): r.train_s + r.eval_s
        for r in study.records
        for t in (r.trial,)
    }
    first: dict[_Key, str] = {}
    runs: dict[str, dict[_Key, RateTried]] = {}
    for tried in advice.tried:
        is_cooled = tried.purpose == "cool_down"
        key = (tried.batch_size, tried.learning_rate, tried.seed, is_cooled)
        if first.setdefault(key, tried.purpose) == tried.purpose:
            runs.setdefault(tried.purpose, {})[key] = tried

    def total_s(purpose: str) -> float | None:
        known = [seconds[key] for key in runs[purpose] if key in seconds]
        return sum(known) if len(known) == len(runs[purpose]) else None

    def of_runs(key: str, quantity: str, label: str, of: Callable[[RateTried], int]) -> Column:
        return Column(key, quantity, label, of=lambda p: sum(map(of, runs[p].values())))

    def n_sizes(purpose: str) -> int:
        return len({tried.batch_size for tried in runs[purpose].values()})

    return table_of(
        text("What was run. Runs side by side each count their own seconds."),
        runs,
        Column("purpose", label=text("to"), of=_purpose_text),
        of_runs("runs", "n", text("training runs"), lambda tried: 1),
        Column("batch_sizes", "n", text("batch sizes"), of=n_sizes),
        of_runs("steps", "steps_to_target", text("steps"), lambda tried: tried.steps),
        of_runs("samples", "samples_to_target", text("samples"), lambda t: t.steps * t.batch_size),
        Column("train_s", label=text("training and evaluation"), of=total_s),
    ).without_empty_columns()


def tried_table(advice: Advice) -> Table:
    """Every training run, in the order they were asked."""
    return table_of(
        text("Every training run, in order"),
        advice.tried,
        Column("batch_size"),
        Column("learning_rate"),
        Column("seed", label=text("seed")),
        Column("purpose", label=text("to"), of=lambda tried: _purpose_text(tried.purpose)),
        Column("status", label=text("status"), of=_status_text),
        Column("steps", label=text("steps")),
        Column("steps_to_target"),
    )


def _purpose_text(purpose: str) -> str:
    return text(_PURPOSES.get(purpose, purpose))


def _status_text(tried: RateTried) -> str:
    return term_text(tried.status).replace("_", " ")


def steps_table(advice: Advice) -> Table:
    """What was done and why, in order."""
    return table_of(
        text("What was done and why, with the time spent until then"),
        advice.steps,
        Column("spent_s", "train_s", text("after")),
        Column("did", label=text("did"), of=lambda step: reason_text(step.did)),
        Column("why", label=text("why"), of=lambda step: reason_text(step.why)),
    )
