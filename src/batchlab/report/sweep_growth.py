"""Growth: does growing the batch pay? Plans of one training held against each other, seed by seed.

Of one batch size throughout, small or large, of one that grows, and of a rate that is cut in its
place; each at the best of its learning rates, at equal examples and in equal time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from statistics import fmean
from typing import Literal

import msgspec

from batchlab.laws.plateau import FRACTION_METRICS, default_delta
from batchlab.laws.scatter import mean_interval
from batchlab.records.batch_plan import Stage
from batchlab.records.estimate import Estimate
from batchlab.records.run import PlanName
from batchlab.records.study import Study
from batchlab.records.trial import Split, Trial, TrialRecord
from batchlab.report.cells import Cell, deciding_split, mean_curve, measured_curve
from batchlab.report.figure import Figure, Panel, Row, thinned
from batchlab.report.sweep_evidence import (
    Comparison,
    EqualBudget,
    Outcome,
    budget_split,
    metric_text,
)
from batchlab.report.table import Column, Table, table_of
from batchlab.report.text import ClaimVerdict, Sentence, label_text, quantity_text
from batchlab.words.catalogue import capitalized, listing, number_text, term_text, text

Equal = Literal["epochs", "time"]

_NAMES: dict[PlanName, str] = {
    "small": "batch size {first} throughout",
    "large": "batch size {first} throughout",
    "grow": "growing from {first} to {last}",
    "decay": "batch size {first}, its rate cut",
}
_CONSTANT: tuple[PlanName, ...] = ("small", "large")
_EARLY = 0.05  # of a run: its quick start
# A run that is much shorter than the time of the others was ended by the budget.
_AS_LONG = 0.97
_MOST_POINTS = 120


# ---- what is compared


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRuns:
    """The trials of one plan under one budget, at the best of its rates."""

    name: PlanName
    cell: Cell
    budget: EqualBudget

    @property
    def trial(self) -> Trial:
        """One of them."""
        return self.cell.records[0].trial

    @property
    def words(self) -> str:
        """What the plan does: "growing from 32 to 512"."""
        return plan_words(self.trial)

    @property
    def milestones(self) -> str:
        """Where it changes: "128 at 40 %, 512 at 70 %, rate × 0.25 at 90 %"; empty: nowhere."""
        plan, before, said = self.trial.plan, self.trial.plan.stage_at(0), []
        whole = max(record.samples for record in self.cell.records)
        for stage in plan.stages:
            changed = []
            if stage.batch_size != before.batch_size:
                changed.append(number_text(stage.batch_size, ""))
            if stage.rate_factor != before.rate_factor:
                changed.append(text("rate × {factor:.3g}", factor=stage.rate_factor))
            part = number_text(stage.from_samples / whole, "whole_percent")
            said.append(text("{what} at {part}", what=listing(changed), part=part))
            before = stage
        return ", ".join(said)

    def values(self, *, part: float = 1.0, split: Split | None = None) -> dict[int, float]:
        """The metric that counts after so much of the budget, by seed.

        A seed is left out that was not evaluated between the untrained model and there.
        """
        study, found = self.budget.study, {}
        metric, split = study.workload.metrics[0].name, split or budget_split(study)
        for record in self.cell.records:
            # Whole steps leave the ends of plans a little apart.
            whole = min(self.budget.amount, self.budget.spent_at(record, record.evaluations[-1]))
            at = replace(self.budget, amount=part * whole)
            if any(0 < at.spent_at(record, each) <= at.amount for each in record.evaluations):
                found[record.trial.seed] = at.value(record, split, metric)
        return {seed: value for seed, value in found.items() if value is not None}

    @property
    def epochs(self) -> float:
        """Passes over the training data under the budget."""
        if self.budget.name == "epochs":
            return self.budget.amount
        first = self.cell.records[0]
        whole_s = self.budget.spent_at(first, first.evaluations[-1])
        return first.epochs * min(1.0, self.budget.amount / whole_s)

    @property
    def train_s(self) -> float | None:
        """Seconds of its steps under the budget, by the step times measured alone."""
        if self.budget.name == "time":
            return self.budget.amount
        step = self.trial.plan.steps_in(self.budget.amount)
        return self.budget.study.train_s(self.trial, step)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The plans of a study, under each budget that they share."""

    study: Study
    plans: Mapping[Equal, Mapping[PlanName, PlanRuns]]

    @property
    def decisive(self) -> Equal:
        """The budget under which it pays or not: time, where that could be made equal."""
        return "time" if "time" in self.plans else "epochs"

    @property
    def metric(self) -> str:
        """The metric that counts."""
        return self.study.workload.metrics[0].name

    @cached_property
    def tolerance(self) -> float:
        """The difference that does not matter."""
        ends = (_mean(runs.values()) for runs in self.plans[self.decisive].values())
        return default_delta(self.metric, [end for end in ends if end is not None])

    def _resolution(self, split: Split | None) -> float:
        """What differences of a share of examples are rounded to; 0.0: of another metric."""
        n_examples = self.study.workload.n_evaluated(split or budget_split(self.study))
        is_share = self.metric in FRACTION_METRICS and n_examples > 0
        return math.sqrt(2) / n_examples if is_share else 0.0

    @property
    def small_size(self) -> int:
        """The batch size that plans begin with."""
        return next(r.trial.batch_size for r in self.study.records if r.trial.stages)

    @property
    def plan_words(self) -> list[str]:
        """What each plan does, in the order in which they are drawn."""
        return [runs.words for runs in self.plans[self.decisive].values()]

    @property
    def held(self) -> dict[PlanName, Comparison]:
        """Growing held against each constant size.

        That it beats all of them is wrong at most as often as that it beats one; that one of them
        beats it, or is no worse, is wrong for each: those intervals hold together (Bonferroni).

        Source: Berger 1982, "Multiparameter hypothesis testing and acceptance sampling",
            Technometrics 24(4), for the first.
        """
        plans = self.plans[self.decisive]
        if "grow" not in plans:
            return {}
        others = [name for name in _CONSTANT if name in plans]
        found = {}
        for name in others:
            alone = self.difference(self.decisive, "grow", name)
            together = self.difference(self.decisive, "grow", name, n_comparisons=len(others))
            found[name] = alone if alone.outcome == "better" else together
        return found

    def less_small(self, runs: PlanRuns) -> Estimate | None:
        """How much better a plan ends than the small batch size; None: not held against it."""
        equal: Equal = "time" if runs.budget.name == "time" else "epochs"
        if runs.name == "small" or "small" not in self.plans[equal]:
            return None
        return self.difference(equal, runs.name, "small").difference

    def difference(
        self,
        equal: Equal,
        one: PlanName,
        other: PlanName,
        *,
        n_comparisons: int = 1,
        part: float = 1.0,
        split: Split | None = None,
    ) -> Comparison:
        """How much better one plan is than another, of the same seeds: Student's interval.

        Both begin with the same weights and the same first batches, so what a seed is lucky with
        is in both.
        """
        first, second = (
            self.plans[equal][name].values(part=part, split=split) for name in (one, other)
        )
        sign = _sign(self.study)
        apart = [sign * (first[seed] - second[seed]) for seed in first if seed in second]
        found = mean_interval(
            apart, confidence=1 - 0.05 / n_comparisons, resolution=self._resolution(split)
        )
        return Comparison(difference=found, tolerance=self.tolerance)


def _sign(study: Study) -> float:
    """1.0 where more of the metric that counts is better, else -1.0."""
    return 1.0 if study.workload.metrics[0].better == "higher" else -1.0


@lru_cache(maxsize=1)
def growth_of(study: Study) -> Growth | None:
    """The comparison of a study's plans; None: none whose batch or rate changes came to its end."""
    staged = [record for record in study.records if record.trial.stages and record.ended_well]
    if not staged:
        return None
    small = staged[0].trial.batch_size
    # What another question trained of a constant size may be longer; a plan's cuts lie in its run.
    shortest = min(record.epochs for record in staged)
    by_name: dict[PlanName, list[TrialRecord]] = {}
    for record in study.records:
        if record.ended_well or _is_long_enough(record, shortest):
            by_name.setdefault(_name_of(record.trial, small), []).append(record)
    plans: dict[Equal, Mapping[PlanName, PlanRuns]] = {}
    amounts: dict[Equal, float | None] = {
        "epochs": shortest, "time": _time_of_small(study, staged[0].trial, shortest)
    }  # fmt: skip
    for equal, amount in amounts.items():
        if amount is None:
            continue
        budget = EqualBudget(study=study, name=equal, amount=amount)
        found = {
            name: best
            for name in _NAMES
            if (best := _best(study, name, by_name.get(name, ()), budget)) is not None
        }
        if equal == "epochs" or {"small", "grow"} <= found.keys():
            plans[equal] = found
    return Growth(study=study, plans=plans) if plans["epochs"] else None


def _is_long_enough(record: TrialRecord, epochs: float) -> bool:
    """Whether a training of one size that was cut while it went on has what is compared."""
    may_go_on = record.status is None or record.status.may_go_on
    return not record.trial.stages and may_go_on and record.epochs >= epochs


def _time_of_small(study: Study, of_plan: Trial, epochs: float) -> float | None:
    """Seconds of so many epochs of the small batch size; None: its steps were not timed."""
    small = of_plan.throughout(of_plan.batch_size)
    return study.train_s(small, small.plan.steps_in(epochs))


def _name_of(trial: Trial, small: int) -> PlanName:
    if trial.stages:
        return "grow" if trial.largest_batch_size > trial.batch_size else "decay"
    return "small" if trial.batch_size == small else "large"


def plan_words(trial: Trial) -> str:
    """What a trial's batch size and rate do along its run: "growing from 32 to 512"."""
    sizes = trial.batch_sizes
    return text(_NAMES[_name_of(trial, sizes[0])], first=sizes[0], last=sizes[-1])


def _reads(record: TrialRecord, budget: EqualBudget) -> bool:
    """Whether a trial can be read where the budget is spent.

    A plan's cuts lie in its own run, as a schedule does: such a trial is read at its end only.
    """
    spent = budget.spent_at(record, record.evaluations[-1]) if record.evaluations else 0.0
    whole, has_shape = spent / budget.amount, record.trial.horizon_steps is not None
    return whole > _AS_LONG and (whole < 1 / _AS_LONG or not (record.trial.stages or has_shape))


def _best(
    study: Study, name: PlanName, records: Sequence[TrialRecord], budget: EqualBudget
) -> PlanRuns | None:
    """At the rate with the best mean, of those that the most seeds ended well at."""
    by_rate: dict[float, dict[int, TrialRecord]] = {}
    # The shortest of each seed that has what is compared: under a schedule others are longer.
    for record in sorted(records, key=lambda record: record.epochs):
        trial = record.trial
        is_placed = budget.name != "time" or study.train_s(trial, 1) is not None
        if is_placed and _reads(record, budget):
            by_rate.setdefault(trial.learning_rate, {}).setdefault(trial.seed, record)
    sign = _sign(study)

    def worth(runs: PlanRuns) -> tuple[int, float]:
        values = runs.values(split=deciding_split(study)).values()
        return len(values), sign * fmean(values) if values else -math.inf

    found = [
        PlanRuns(name=name, cell=Cell(records=tuple(of.values())), budget=budget)
        for of in by_rate.values()
    ]
    best = max(found, key=worth, default=None)
    return best if best is not None and best.values() else None


# ---- in words


def growth_conclusion(found: Growth) -> tuple[str, str]:
    """Whether growing pays, and what else was seen, in two texts."""
    plans = found.plans[found.decisive]
    sign = _sign(found.study)
    ranked = sorted(plans.values(), key=lambda runs: -sign * fmean(runs.values().values()))
    ends = listing([_end_text(found, runs) for runs in ranked])
    lead = text("In {budget}: {ends}.", budget=ranked[0].budget.words, ends=ends)
    if not found.held:
        return capitalized(text("{plan} did best.", plan=ranked[0].words)), lead
    return _verdict_text(found), " ".join((lead, *_beside_decay(found), *_rates_said(found)))


def _end_text(found: Growth, runs: PlanRuns) -> str:
    value = quantity_text(found.metric, fmean(runs.values().values()))
    return text("{value} {plan}", value=value, plan=runs.words)


def verdict_of(held: Mapping[PlanName, Comparison]) -> ClaimVerdict:
    """Whether growing is better than every constant size; both have to be there."""
    verdict = _verdict({each.outcome for each in held.values()})
    return "cannot_tell" if verdict == "held" and len(held) < len(_CONSTANT) else verdict


def _verdict(outcomes: set[Outcome]) -> ClaimVerdict:
    """That all are better: one that is worse, or the same, is enough against it."""
    if outcomes & {"worse", "same"}:
        return "did_not_hold"
    return "held" if outcomes == {"better"} else "cannot_tell"


def _verdict_text(found: Growth) -> str:
    held, plans = found.held, found.plans[found.decisive]
    missing = [name for name in _CONSTANT if name not in held]
    if missing and verdict_of(held) == "cannot_tell":
        return text(
            "Whether growing the batch pays can't be told: no training of the {size} batch size "
            "can be held against it.",
            size=text(missing[0]),
        )
    # What decides: of those that it is not better than the one that is nearest, or ahead of it.
    undecided = {name: each for name, each in held.items() if each.outcome != "better"} or held
    name, least = min(
        undecided.items(),
        key=lambda each: (each[1].outcome != "worse", each[1].difference.estimate or 0.0),
    )
    message = {
        "better": "Growing the batch pays here: it ends better than {other}, by {difference}.",
        "worse": "Growing the batch does not pay here: it ends worse than {other}, by "
        "{difference}.",
        "same": "Growing the batch does not pay here: it ends no better than {other}.",
        "close": "Growing the batch makes no difference here that these seeds show: it ends "
        "{difference} {side} {other}.",
        "ahead of": "Growing the batch may pay here, which these seeds do not show yet: it ends "
        "{difference} {side} {other}.",
        "behind": "Growing the batch may not pay here, which these seeds do not show yet: it ends "
        "{difference} {side} {other}.",
    }
    side = "ahead of" if (least.difference.estimate or 0.0) >= 0 else "behind"
    key: str = least.outcome
    if key == "cannot_tell":
        is_close = least.missing is None and abs(least.difference.estimate or 0.0) < least.tolerance
        key = "close" if is_close else side
    return text(
        message[key],
        other=plans[name].words,
        difference=least.size_text(found.metric),
        side=text(side),
    )


def _beside_decay(found: Growth) -> Iterator[str]:
    """What the same cuts of the rate do without growing, and how long each takes."""
    plans = found.plans["epochs"]
    if "grow" not in plans or "decay" not in plans:
        return
    apart = found.difference("epochs", "grow", "decay")
    how = {
        "better": "growing ends better than with its rate cut at the same places, by {difference}",
        "worse": "growing ends worse than with its rate cut at the same places, by {difference}",
        "same": "growing and cutting the rate at the same places end alike",
        "cannot_tell": "growing ends {difference} {side} cutting the rate at the same places",
    }[apart.outcome]
    side = text("ahead of" if (apart.difference.estimate or 0.0) >= 0 else "behind")
    said = text(how, difference=apart.size_text(found.metric), side=side)
    grow_s, decay_s = (plans[name].train_s for name in ("grow", "decay"))
    took = ""
    if grow_s and decay_s:
        share = number_text(grow_s / decay_s, "whole_percent")
        took = text(", and growing takes {share} of the time", share=share)
    yield text("At equal examples {said}{took}.", said=said, took=took)


def _rates_said(found: Growth) -> Iterator[str]:
    """That the rates were chosen, and where the best one is an end of those that were tried."""
    tried: dict[PlanName, set[float]] = {}
    small = found.small_size
    for record in found.study.records:
        if record.ended_well:
            name = _name_of(record.trial, small)
            tried.setdefault(name, set()).add(record.trial.learning_rate)
    several = {name: rates for name, rates in tried.items() if len(rates) > 1}
    if not several:
        yield text("Each was trained at one learning rate, tuned for none of them.")
        return
    yield text(
        "Each is at the best of its rates on {split} data, where that looks a little better than "
        "it is.",
        split=term_text(deciding_split(found.study)),
    )
    plans = found.plans[found.decisive]
    for edge, other, of in (("highest", "higher", max), ("lowest", "lower", min)):
        at_it = [
            runs.words
            for name, runs in plans.items()
            if len(several.get(name, ())) > 2 and runs.trial.learning_rate == of(several[name])
        ]
        if at_it:
            yield text(
                "The best rate is the {edge} that was tried of {plans}: a {other} one may be "
                "better.",
                edge=text(edge),
                other=text(other),
                plans=listing(at_it),
            )


def growth_claims(found: Growth) -> tuple[Sentence, ...]:
    """Two claims of textbooks about the size during training, each with its verdict."""
    if not all(set(_CONSTANT) <= plans.keys() for plans in found.plans.values()):
        return ()
    return (
        _claim(found, "Small batches start quicker", "small", "large", part=_EARLY),
        _claim(found, "Large batches fit training data better", "large", "small", split="train"),
    )


def _claim(
    found: Growth,
    topic: str,
    one: PlanName,
    other: PlanName,
    *,
    part: float = 1.0,
    split: Split | None = None,
) -> Sentence:
    """That one is better than the other, after a part of every budget that they share."""
    metric, said = found.metric, []
    outcomes: set[Outcome] = set()
    for equal, plans in found.plans.items():
        mine, its = (plans[name].values(part=part, split=split) for name in (one, other))
        apart = found.difference(equal, one, other, part=part, split=split)
        outcomes.add(apart.outcome)
        said.append(
            text(
                "{when} {budget}, {metric} is {mine} at {one} and {its} at {other}: {difference}.",
                when=text("At the end of")
                if part == 1
                else text("After {part:whole_percent} of", part=part),
                budget=plans[one].budget.words,
                metric=metric_text(split or budget_split(found.study), metric),
                mine=quantity_text(metric, _mean(mine)),
                one=plans[one].words,
                its=quantity_text(metric, _mean(its)),
                other=plans[other].words,
                difference=(apart.missing or apart.size_text(metric))
                if mine and its
                else text("one of them was not evaluated by then"),
            )
        )
    return Sentence(topic=topic, text=" ".join(said), verdict=_verdict(outcomes))


def growth_table(found: Growth) -> Table:
    """One row a budget and plan: where it changes, what it takes, how it starts and ends."""
    metric = found.metric
    rows = [runs for plans in found.plans.values() for runs in plans.values()]
    return table_of(
        text(
            "{metric} by plan; better than `small` of the same seeds, with 95 % intervals",
            metric=capitalized(metric_text(budget_split(found.study), metric)),
        ),
        rows,
        Column("equal", label=text("equal"), of=lambda runs: text(runs.budget.name)),
        Column("plan", label=text("plan"), of=lambda runs: runs.words),
        Column("milestones", label=text("changes"), of=lambda runs: runs.milestones),
        Column("learning_rate", label=text("rate"), of=lambda runs: runs.trial.learning_rate),
        Column("n", label=text("seeds"), of=lambda runs: len(runs.values())),
        Column("epochs", "epoch", text("epochs"), of=lambda runs: round(runs.epochs, 2)),
        Column("train_s", "equal_time_s", text("time"), of=lambda runs: runs.train_s),
        Column("early", metric, text("early"), of=lambda runs: _mean(runs.values(part=_EARLY))),
        Column("end", metric, text("end"), of=lambda runs: _mean(runs.values())),
        Column("better", "ratio", text("better than small by"), of=found.less_small),
    ).without_empty_columns()


def first_growth_table(found: Growth) -> Table:
    """What a page shows first of it: the plans in equal time, where that could be had."""
    decisive = replace(found, plans={found.decisive: found.plans[found.decisive]})
    whole = growth_table(decisive)
    shown = ("plan", "learning_rate", "end", "better")
    return whole.only(column.key for column in whole.columns if column.key in shown)


def _mean(values: Mapping[int, float]) -> float | None:
    return fmean(values.values()) if values else None


class PlanDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One plan under one budget, as `--json` prints it."""

    plan: PlanName
    equal: Equal
    batch_sizes: tuple[int, ...]
    stages: tuple[Stage, ...]
    learning_rate: float
    epochs: float
    train_s: float | None
    early: float | None
    end: float | None
    better_than_small: Estimate | None


class GrowthDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Whether growing the batch pays: the verdict, what it rests on, and every plan."""

    verdict: ClaimVerdict
    said: str
    decided_by: Equal
    better_than: dict[PlanName, Estimate]
    plans: tuple[PlanDocument, ...]


def growth_document(found: Growth) -> GrowthDocument:
    """The comparison as `--json` prints it; a difference above 0 is better."""
    held = found.held
    return GrowthDocument(
        verdict=verdict_of(held),
        said=growth_conclusion(found)[0],
        decided_by=found.decisive,
        better_than={name: each.difference for name, each in held.items()},
        plans=tuple(
            PlanDocument(
                plan=name,
                equal=equal,
                batch_sizes=runs.trial.batch_sizes,
                stages=runs.trial.stages,
                learning_rate=runs.trial.learning_rate,
                epochs=runs.epochs,
                train_s=runs.train_s,
                early=_mean(runs.values(part=_EARLY)),
                end=_mean(runs.values()),
                better_than_small=found.less_small(runs),
            )
            for equal, plans in found.plans.items()
            for name, runs in plans.items()
        ),
    )


# ---- drawn


def growth_figures(found: Growth, *, key: str, along_key: str) -> tuple[Figure, Figure]:
    """The metric by the training time of each plan; batch size, rate and noise scale on its way.

    The color of a line is the batch size there, its dashes are those of its plan.
    """
    plans = tuple(found.plans[found.decisive].values())
    metric, split = found.metric, budget_split(found.study)
    axis = "equal_time_s" if found.decisive == "time" else "epoch"
    ends = Panel(
        f"{key}-metric",
        metric_text(split, metric),
        metric,
        [row for runs in plans for row in _metric_rows(runs, split, metric)],
        axis=axis,
        is_metric=True,
    )
    on_the_way = [
        Panel(
            f"{along_key}-{quantity}",
            label_text(quantity),
            quantity,
            [row for runs in plans for row in _rows_of(runs, quantity)],
            axis="epoch",
        )
        for quantity in ("batch_size", "learning_rate", "noise_scale")
        # Under a schedule the rate of a step is more than its plan's.
        if quantity != "learning_rate" or plans[0].trial.horizon_steps is None
    ]
    note = text(
        "The color of a line is the batch size there. Its dashes tell the plan, in this order: "
        "{plans}.",
        plans="; ".join(found.plan_words),
    )
    nothing = text("No trial of a plan was evaluated on its way.")
    return (
        Figure(
            key,
            "plans",
            text("What each plan gives along its run"),
            (ends,),
            notes=(note,),
            nothing=nothing,
        ),
        Figure(
            along_key,
            "milestones",
            text("Batch size, learning rate and noise scale along the run"),
            on_the_way,
            notes=(note,),
            nothing=nothing,
        ),
    )


def _metric_rows(runs: PlanRuns, split: Split, metric: str) -> Iterator[Row]:
    """From where a start counts as quick on: before, all of the axis would be its rise."""
    begins = _EARLY * max(record.steps for record in runs.cell.records)
    curve = mean_curve(runs.cell, split, metric, None)
    shown = [place for place in curve if float(place["step"] or 0.0) >= begins]
    rows = [_in_place(runs, int(p["step"] or 0)) | p for p in thinned(shown, _MOST_POINTS)]
    yield from _joined(rows)


def _rows_of(runs: PlanRuns, quantity: str) -> Iterator[Row]:
    """What was measured; of size and rate two points for each part, where it begins and ends."""
    if quantity == "noise_scale":
        seen = [place for place in measured_curve(runs.cell, quantity) if place["step"]]
        yield from _joined([_in_place(runs, int(place["step"] or 0)) | place for place in seen])
        return
    plan, rows = runs.trial.plan, []
    last = max(record.steps for record in runs.cell.records)
    begins = [1, *(plan.step_at(stage.from_samples) for stage in plan.stages), last]
    for begin, end in pairwise(begins):
        stage = plan.stage_at(begin)
        value = runs.trial.learning_rate * stage.rate_factor
        for step in (begin, end):
            row = _in_place(runs, step) | {"batch_size": stage.batch_size}
            rows.append(row | {"mean": stage.batch_size if quantity == "batch_size" else value})
    yield from _joined(rows)


def _joined(rows: Sequence[Row]) -> Iterator[Row]:
    """A line whose color changes: each part of it begins where the one before ends."""
    for before, row in zip([None, *rows], rows, strict=False):
        if before is not None and before["batch_size"] != row["batch_size"]:
            yield before | {"batch_size": row["batch_size"]}
        yield row


def _in_place(runs: PlanRuns, step: int) -> Row:
    """After a step of one of a plan's trials."""
    plan, study = runs.trial.plan, runs.budget.study
    place: Row = {"epoch": plan.epoch_at(step), "step": step}
    place |= {"equal_time_s": study.train_s(runs.trial, step)}
    size = plan.stage_at(step - 1).batch_size
    return {"batch_size": size, "kind": "curve", "run": "mean", "series": runs.name, **place}
