"""The answer of a sweep: conclusion, other findings, and tables by batch size and by trial."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import filterfalse
from operator import attrgetter, itemgetter
from statistics import fmean
from typing import Any

import msgspec

from batchlab.belief.cells import (
    Cell,
    budget_split,
    cells,
    chosen_cells,
    deciding_split,
    final_gap,
    has_plans,
    held_out_split,
    kind_of,
    plateau_in,
    plateaus,
)
from batchlab.belief.evidence import Evidence, Measured
from batchlab.belief.final_value import final_of
from batchlab.laws.mean import known
from batchlab.laws.plateau import MetricPlateau
from batchlab.records.batch_plan import Stage
from batchlab.records.estimate import Reason
from batchlab.records.run import Kind
from batchlab.records.study import Study
from batchlab.records.trial import Crossing, Split, Target, TrialRecord
from batchlab.report.cells import (
    budget_text,
    cell_label,
    gap_quantity,
    level_text,
    measured_quantity,
    measured_text,
    shown_rate,
    status_text,
    trial_words,
)
from batchlab.report.figure import SPLITS
from batchlab.report.table import NAMED, Column, Table, table_of
from batchlab.report.text import (
    Sentence,
    batch_sizes_text,
    batch_text,
    clause,
    label_text,
    quantity_text,
    split_label,
    whole_sentence,
)
from batchlab.words.catalogue import capitalized, sentence, term_text, text

# ---- the conclusion


def conclusion(study: Study) -> tuple[str, str]:
    """Return which batch size did best after equal epochs, and what was compared.

    For an advice without a stored answer, say so and compare nothing: its runs stop when they reach
    the target, so they do not have equal epochs.
    """
    if study.awaits_answer:
        return sentence("no_answer_yet"), ""
    evidence = Evidence.of(study)
    if not evidence.budgets:
        return sentence("no_trial_to_compare", what="has ended well and was evaluated"), ""
    return _headline(evidence), _basis_text(evidence)


def _headline(evidence: Evidence) -> str:
    measured = evidence.by_budget.get("epochs")
    if measured is not None:
        return _leader_text(measured)
    ends = evidence.ends(budget_split(evidence.study))
    if not ends.ranked:
        return sentence("no_trial_to_compare", what=f"has a {measured_text(ends)}")
    what, best = capitalized(measured_text(ends)), level_text(ends, ends.ranked[0])
    if len(ends.ranked) > 1:
        return sentence("ended_best_apart", what=what, best=best)
    return sentence("ended_at", what=what, best=best)


def _leader_text(measured: Measured) -> str:
    best, rivals = measured.ranked[0], measured.rivals
    leader = sentence(
        "did_best",
        best=capitalized(batch_text(measured.study, best.kind)),
        budget=budget_text(measured.budget),
        what=measured_text(measured),
        value=quantity_text(measured_quantity(measured), measured.level(best)),
    )
    if rivals is None:
        return f"{leader} {sentence('one_seed_each')}"
    if rivals:
        others = capitalized(batch_sizes_text(measured.study, rivals))
        return f"{leader} {sentence('may_be_as_good', others=others)}"
    return leader


def _basis_text(evidence: Evidence) -> str:
    n_seeds = set(map(len, map(attrgetter("ended_well"), evidence.cells)))
    seeds = text("{n:1 seed|# seeds}", n=max(n_seeds))
    if len(n_seeds) > 1:
        seeds = f"{min(n_seeds)} to {seeds}"
    rates = _rates_text(evidence.study)
    n_devices = evidence.study.records[0].trial.world_size
    if n_devices > 1:
        rates = f"on {n_devices} devices together {rates}"
    if len(evidence.cells) == 1:
        return f"Trained {rates}, {seeds}."
    kinds = "batch sizes and plans" if has_plans(evidence.cells) else "batch sizes"
    return f"Compared: {len(evidence.cells)} {kinds} {rates}, {seeds} each."


def _rates_text(study: Study) -> str:
    if not study.workload.takes_rate:
        return "at the learning rate of the command"
    trained = set(map(attrgetter("kind", "learning_rate"), cells(study)))
    if len(trained) > len(set(map(itemgetter(0), trained))):
        return f"at the best learning rate of each on {term_text(deciding_split(study))} data"
    rates = set(map(itemgetter(1), trained))
    if len(rates) == 1:
        return f"at learning rate {quantity_text('learning_rate', min(rates))}, not tuned"
    rule, *others = set(map(attrgetter("trial.scaling_rule"), study.records))
    if others or rule == "none":
        return "at one learning rate each, not tuned"
    return f"at one learning rate each, set by the rule {rule}, not tuned"


# ---- other findings


def sentences(study: Study) -> tuple[Sentence, ...]:
    """Return the findings of a study other than its conclusion, the most important first."""
    evidence = Evidence.of(study)
    notes = (*_failed(study), *_edges(study), *_other_budgets(evidence))
    if has_plans(evidence.cells):
        return notes
    return (*notes, *_epochs(evidence))


def _failed(study: Study) -> Iterator[Sentence]:
    failed = list(filterfalse(attrgetter("ended_well"), study.records))
    if not failed:
        return
    first = failed[0]
    size = batch_text(study, kind_of(first.trial))
    if study.workload.takes_rate:
        size += f" at learning rate {quantity_text('learning_rate', first.trial.learning_rate)}"
    words = f"{size}, {trial_words(first)}"
    if len(failed) > 1:
        words = f"{len(failed):,} trials, first {words}"
    if first.reason is not None:
        words += f": {clause(first.reason)}"
    yield Sentence(topic="left out", text=f"Left out of every mean: {words}.")


def _edges(study: Study) -> Iterator[Sentence]:
    """Yield the batch sizes whose best learning rate is the lowest or highest that was tried."""
    rates: dict[Kind, list[float]] = {}
    for cell in cells(study):
        rates.setdefault(cell.kind, []).append(cell.learning_rate)
    chosen = [cell for cell in chosen_cells(study) if cell.ended_well and len(rates[cell.kind]) > 1]
    for edge, other, of in (("highest", "higher", max), ("lowest", "lower", min)):
        at_edge = [cell.kind for cell in chosen if cell.learning_rate == of(rates[cell.kind])]
        if at_edge:
            sizes = batch_sizes_text(study, at_edge)
            words = sentence("rate_at_edge", edge=edge, other=other, sizes=sizes)
            yield Sentence(topic="learning rate", text=words)


def _other_budgets(evidence: Evidence) -> Iterator[Sentence]:
    """Yield which batch sizes did best in equal time and steps, or that time was not compared."""
    by_budget = evidence.by_budget
    if len(evidence.cells) > 1 and "time" not in by_budget:
        yield Sentence(topic="equal time", text=sentence("time_not_compared"))
    if "time" in by_budget:
        yield Sentence(topic="equal time", text=_leader_text(by_budget["time"]))
    if "steps" in by_budget:
        more = sentence("larger_see_more")
        yield Sentence(topic="equal steps", text=f"{_leader_text(by_budget['steps'])} {more}")


_PLATEAUS = {"not_yet": "still_improving", "cannot_tell": "epochs_unknown"}


def _epochs(evidence: Evidence) -> Iterator[Sentence]:
    """Yield how many epochs are enough, or which batch sizes still improve or can't be judged."""
    judged: list[tuple[int, MetricPlateau]] = []
    for cell in evidence.cells:
        for record in cell.ended_well:
            judged.append((cell.batch_size, plateau_in(evidence.study, record)))
    for verdict, code in _PLATEAUS.items():
        of_size = {size: plateau for size, plateau in judged if plateau.verdict == verdict}
        if of_size:
            named = batch_sizes_text(evidence.study, list(of_size))
            why = whole_sentence(next(iter(of_size.values())).reason)
            yield Sentence(topic="epochs", text=sentence(code, sizes=named, why=why))
    if judged and all(plateau.verdict == "reached" for _, plateau in judged):
        enough = max(math.ceil(plateau.epoch or 0) for _, plateau in judged)
        yield Sentence(topic="epochs", text=sentence("epochs_enough", n=enough))


# ---- by batch size


def sweep_table(study: Study) -> Table:
    """Return the table of results: each batch size or plan at its best rate, with 95 % intervals.

    Batch sizes without a trial that ended well have a row without a final value.
    """
    evidence, held_out, split = Evidence.of(study), held_out_split(study), budget_split(study)
    by_budget, metric, minor = evidence.by_budget, evidence.metric, partial(Column, is_minor=True)
    best = by_budget["epochs"].ranked[0].kind if "epochs" in by_budget else None

    def peak_bytes(cell: Cell) -> int | None:
        return study.peak_bytes(cell.kind) if isinstance(cell.kind, int) else None

    final = f"final {label_text(metric)}"
    columns = [Column(split, metric, final, of=evidence.ends(split).mean)]
    lengths = {record.epochs for cell in evidence.cells for record in cell.ended_well}
    for name in ("epochs", "steps", "time"):
        # The column for equal epochs is omitted if all trials have the same number of epochs: every
        # trial is then compared at its end, and the column of final values shows the same numbers.
        if name in by_budget and (name != "epochs" or len(lengths) > 1):
            mean = by_budget[name].mean
            columns.append(minor(f"equal_{name}", metric, f"in equal {name}", of=mean))
    if split == "validation":
        test = partial(Cell.mean_final, study=study, split="test")
        columns.append(minor("test", metric, split_label("test", metric), of=test))
    if held_out is not None:
        gaps = evidence.gaps(held_out)
        columns.append(minor("generalization_gap", gap_quantity(study), "gap", of=gaps.mean))
    return table_of(
        f"What each batch size gives; final: on {term_text(split)} data, with 95 % intervals",
        chosen_cells(study),
        Column("named", label=" ", of=lambda cell: NAMED if cell.kind == best else ""),
        Column("batch", label="batch", of=partial(cell_label, study)),
        Column("learning_rate", label="rate", of=attrgetter("shown_rate")),
        *columns,
        Column("equal_time_s", label="time", of=partial(mean_train_s, study)),
        minor("step_s", label="step", of=lambda cell: _step_s(study, cell.kind)),
        minor("peak_bytes", label="memory", of=peak_bytes),
        minor("n", label="seeds", of=lambda cell: len(cell.ended_well)),
    ).without_empty_columns()


def _step_s(study: Study, kind: Kind) -> float | None:
    timing = study.timing(kind) if isinstance(kind, int) else None
    return None if timing is None else timing.step_s


def mean_train_s(study: Study, cell: Cell) -> float | None:
    """Return the mean seconds of a configuration's trainings, None if step times are unknown."""
    known_s = known(study.train_s(record.trial, record.steps) for record in cell.ended_well)
    return fmean(known_s) if known_s else None


# ---- by trial


class TrialDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One trial as `--json` prints it: its settings, how it ended, and its results."""

    trial_id: str
    status: str
    reason: Reason | None
    engine: str
    threads: int
    device: str
    world_size: int
    place: str | None
    batch_mode: str
    batch_size: int
    micro_batch_size: int
    sampling: str
    drop_last: bool
    learning_rate: float
    scaling_rule: str
    stages: tuple[Stage, ...]
    seed: int
    epochs: float
    steps: int
    samples: int
    train_s: float
    eval_s: float
    peak_bytes: int | None
    step_s: float | None
    target: Target | None
    steps_to_target: int | None
    samples_to_target: int | None
    crossing: Crossing | None
    resumed_from_step: tuple[int, ...]
    plateau: str
    plateau_epoch: int | None
    final: dict[str, dict[str, float | None]]
    generalization_gap: float | None
    notes: tuple[Reason, ...]


def trial_documents(study: Study) -> tuple[TrialDocument, ...]:
    """Return every trial as `--json` prints it."""
    return tuple(map(partial(_document, study), study.records))


def _document(study: Study, record: TrialRecord) -> TrialDocument:
    plateau = plateaus(study)[record.trial.trial_id]
    metrics, held_out = study.workload.metrics, held_out_split(study)
    final: dict[str, dict[str, float | None]] = {}
    for split in SPLITS:
        if any(score.split == split for e in record.evaluations for score in e.scores):
            final[split] = {m.name: final_of(record, split, m.name, m.better) for m in metrics}
    crossing = study.target and record.crossing(study.target)
    values: dict[str, Any] = {
        "status": status_text(record),
        "step_s": _step_s(study, kind_of(record.trial)),
        "target": study.target,
        "crossing": crossing,
        "steps_to_target": crossing and crossing.step,
        "samples_to_target": crossing and crossing.samples,
        "resumed_from_step": record.resumed_from_steps,
        "plateau": plateau.verdict,
        "plateau_epoch": plateau.epoch,
        "final": final,
        "generalization_gap": held_out and final_gap(record, held_out, metrics[0].name),
    }
    # Copy every other field from the attribute of the record or trial with the same name.
    for name in TrialDocument.__struct_fields__:
        if name not in values:
            source = record if hasattr(record, name) else record.trial
            values[name] = getattr(source, name)
    return TrialDocument(**values)


def trials_table(study: Study) -> Table:
    """Return the table of all trials with status, final metrics, gap, time, memory and plateau."""
    records = {record.trial.trial_id: record for record in study.records}
    by_id = plateaus(study)

    def final(split: Split, name: str) -> Column:
        label, key = split_label(split, name), f"{split}_{name}"
        return Column(key, name, label, of=lambda trial: trial.final.get(split, {}).get(name))

    def why(trial: TrialDocument) -> str:
        record = records[trial.trial_id]
        reasons = filter(None, (record.reason, by_id[trial.trial_id].reason, *record.notes))
        return " ".join(map(whole_sentence, reasons))

    def plan(trial: TrialDocument) -> str | None:
        kind = kind_of(records[trial.trial_id].trial)
        return kind if isinstance(kind, str) else None

    return table_of(
        "All trials",
        trial_documents(study),
        Column("trial_id", label="trial"),
        Column("status"),
        Column("batch_mode", label="mode"),
        Column("batch_size"),
        Column("micro_batch_size", label="micro-batch size"),
        Column("learning_rate", of=partial(shown_rate, study)),
        Column("plan", of=plan),
        Column("seed"),
        Column("epochs", "epoch", "epochs", of=lambda trial: round(trial.epochs, 4)),
        Column("steps", "step", "steps"),
        *(final(split, row.name) for row in study.workload.metrics for split in SPLITS),
        Column("generalization_gap", gap_quantity(study), "gap"),
        Column("steps_to_target"),
        Column("train_s"),
        Column("eval_s"),
        Column("peak_bytes"),
        Column("engine"),
        Column("place"),
        Column("threads"),
        Column("plateau"),
        Column("plateau_epoch", label="plateau epoch"),
        Column("why", of=why),
    )
