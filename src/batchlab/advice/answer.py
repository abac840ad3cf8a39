"""Answer: build the `Advice` record from the runs and the final estimates of a study.

The reference is the user's own configuration, or a default; the answer is `Advice.named`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import (
    LIKELY,
    SURE,
    Advice,
    Believed,
    Candidate,
    Configuration,
    EndingVerdict,
    EndQuality,
    Option,
    RateTried,
)
from batchlab.advice.fitted_laws import laws_of
from batchlab.advice.procedure import Procedure
from batchlab.advice.run_log import CellKey, RunKey, RunLog, why_it_failed
from batchlab.advice.study import AdviceStudy
from batchlab.belief.outlook import estimate_of
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.records.trial import Target, TrialRecord

Array = NDArray[np.float64]

# Warn of a learning rate if a run diverged at up to this many times the rate (2 plus rounding).
_UP_TO = 2.1
# The chance to report that a configuration, chosen by an early race, is no worse than the
# reference: `_RACED_FAR` if its learning rate is at least `_FAR_RATE` octaves above the reference
# rate scaled to its batch size, else `_RACED_NEAR`. Recorded races succeeded at least this often.
_FAR_RATE, _RACED_FAR, _RACED_NEAR = 2.0, 0.95, 0.8
_HALF = 0.5  # Show no expected cost if the chance of missing the target is higher.


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """The outcome of a study: the chosen configuration, or why nothing was compared."""

    cell: CellKey  # The configuration to recommend, or to keep if no change is recommended.
    stopped: Reason | None = None  # Why nothing could be compared; None after comparisons.
    procedure: Procedure | None = None  # The procedure with all runs; None if `stopped` is set.
    raced: bool = False  # Whether an early race chose the configuration.


def answered(decided: Decided, log: RunLog) -> Advice:
    """Build the advice from the outcome of a study and the log of its runs."""
    unanswered = _unanswered(decided, log)
    if decided.procedure is None:
        return unanswered
    return _Answer(decided, decided.procedure).advice(unanswered)


def _unanswered(decided: Decided, log: RunLog) -> Advice:
    """Return an advice with the question and the runs, without recommendation and estimates."""
    question, reason = log.question, decided.stopped or Reason.of("nothing_to_compare")
    none = Estimate.cannot_tell(reason)
    study = None if decided.procedure is None else decided.procedure.study
    return Advice(
        verdict="cannot_tell",
        reason=reason,
        objective=question.objective,
        metric=question.metric,
        better=question.better,
        n_train=question.n_train,
        n_validation=question.n_validation,
        target=log.until,
        target_origin="pilot" if question.target is None else "given",
        delta=question.delta,
        recommendation=None,
        flat_set=(),
        gain=none,
        gain_from_batch_size=none,
        reference=question.reference,
        is_usual=question.is_usual,
        reference_tuned=None,
        candidates=tuple(_untrained(option, none) for option in question.options),
        laws=None,
        hardly_learns=log.hardly_learns,
        tried=tuple(_tried(log, key, study) for key in log.records),
        steps=tuple(log.steps),
        n_trials=len(log.records),
        spent_s=log.engine.spent_s(),
        budget_s=question.budget_s,
    )


def _tried(log: RunLog, key: RunKey, study: AdviceStudy | None) -> RateTried:
    """Return the summary of a run; without `study`, its final value is left out."""
    (cell, seed), record = key, log.records[key]
    crossing, end, end_test = log.crossing(record), None, None
    steps_to_target = None if crossing is None else crossing.middle
    if study is not None:
        one = study.cells[i := study.at(cell)]
        # If only whole trainings are compared, the target is reached by the final value.
        if study.whole_only and seed in one.met_on:
            steps_to_target = record.steps
        if seed in one.ended_on:
            end = study.final_value(i, one.records[seed])
            end_test = one.records[seed].last("test", log.question.metric)
    return RateTried(
        batch_size=cell.batch_size,
        learning_rate=cell.learning_rate,
        seed=seed,
        epochs=_other_epochs(log, cell),
        purpose=log.purposes[key],
        status=str(record.status),
        steps=record.steps,
        steps_to_target=steps_to_target,
        best_value=log.question.best_value(record),
        end=end,
        end_test=end_test,
    )


def _other_epochs(log: RunLog, cell: CellKey) -> float | None:
    """Return the epochs of a configuration; None if equal to the reference configuration's."""
    planned = log.question.planned_epochs
    if cell.horizon == 1 or planned is None:
        return None
    plan = log.plan(cell.batch_size)
    return plan.epoch_at(plan.steps_in(cell.horizon * planned))


def _untrained(option: Option, none: Estimate) -> Candidate:
    return Candidate(
        batch_size=option.batch_size,
        micro_batch_size=option.micro_batch_size,
        fits=option.runs,
        learning_rate=None,
        step_s=option.step_s,
        steps_to_target=none,
        time_to_target_s=none,
        samples_to_target=none,
        cost=none,
        in_flat_set=False,
        peak_bytes=option.peak_bytes,
        note=option.note,
    )


_NOTHING_LIKELY = {
    "time": "nothing_likely_faster",
    "samples": "no_larger_likely",
    "quality": "nothing_likely_better",
}


class _Answer:
    def __init__(self, decided: Decided, procedure: Procedure) -> None:
        study = procedure.study
        self._decided, self._study, self._outlook = decided, study, procedure.outlook
        self._log, self._question = study.log, study.question
        self._named = study.at(decided.cell)
        # If the reference is only a default (`is_usual`), another learning rate is no change.
        is_tuned = self._question.is_usual and self._named in study.same_size
        self._stays = self._named == study.own or is_tuned
        self._shown = {size: self._shown_at(size) for size in study.options}
        self._met = [i for i in self._shown.values() if i is not None and self._is_known(i)]
        # The best configuration of the reference batch size with a known result, or None.
        same = [*filter(self._is_known, study.same_size)]
        self._tuned = self._outlook.most_useful(same) if same else None

    def advice(self, unanswered: Advice) -> Advice:
        """Return `unanswered` with the verdict and all estimates, computed after the last run."""
        configuration = self._configuration(self._named)
        candidates = tuple(map(self._candidate, self._question.options))
        advice = replace(
            unanswered,
            chance=self._chance(),
            flat_set=tuple(shown.batch_size for shown in candidates if shown.in_flat_set),
            gain=self._gain(),
            gain_from_batch_size=self._gain_from_batch_size(),
            candidates=candidates,
            believed=tuple(self._all_believed()),
            laws=laws_of(self._study, self._outlook, self._met),
            end_quality=self._end_quality(),
            caveats=tuple(self._caveats()),
        )
        if self._tuned is not None:
            advice = replace(advice, reference_tuned=self._configuration(self._tuned))
        if self._is_easier:
            advice = replace(advice, target_origin="easier")
        if not self._stays:
            reason = Reason.of("best_of_likely_no_worse", size=configuration.batch_size)
            return replace(advice, verdict="recommend", reason=reason, recommendation=configuration)
        if self._log.until is not None and not self._met:
            return replace(advice, reason=self._none_met(self._log.until))
        return replace(advice, reason=self._why_it_stays(), provisional=configuration)

    @property
    def _is_easier(self) -> bool:
        """Whether the target comes from a run that was cut before its end."""
        end = self._study.end
        return self._log.until is not None and end is not None and end.ended_by == "cut"

    def _why_it_stays(self) -> Reason:
        """Return why no change of the reference configuration is recommended."""
        outlook, study = self._outlook, self._study
        if len(study.options) == 1 < len(self._question.options):
            return Reason.of("no_other_size_ran")
        # True for changes that could be recommended: another batch size or, if the user chose the
        # reference, another learning rate with the planned number of epochs.
        is_other = study.sizes != study.sizes[study.own]
        if not self._question.is_usual:
            is_other |= study.places.horizon == 0
        is_other[[self._named, study.own]] = False
        is_likely = is_other & (outlook.chance >= LIKELY)
        likely = [i for i in study.nameable if is_likely[i]]
        if self._question.objective == "time" and likely:
            cell = study.cells[outlook.most_useful(likely)].cell
            return Reason.of("risk_outweighs", size=cell.batch_size, rate=cell.learning_rate)
        return Reason.of(_NOTHING_LIKELY[self._question.objective])

    def _none_met(self, target: Target) -> Reason:
        """Return the reason that no run reached the target, with the best value of all runs."""
        fine: list[TrialRecord] = []
        for one in self._study.cells:
            fine += [record for record in one.records.values() if not record.has_failed]
        nearest = min(fine, key=self._question.distance, default=None)
        if nearest is None or (best := self._question.best_value(nearest)) is None:
            return Reason.of("every_run_failed")
        return Reason.of("none_met", metric=target.metric, value=target.value, best=best)

    # ---- configurations

    def _shown_at(self, size: int) -> int | None:
        """Return the configuration to show for a size: the recommended one or the best that ran."""
        study = self._study
        if size == int(study.sizes[self._named]) and self._named != study.own:
            return self._named
        at = study.of_size(size, failed=False)
        ran = [*filter(self._is_known, at)] or study.where(lambda one: one.records, among=at)
        return self._outlook.most_useful(ran) if ran else None

    def _is_known(self, i: int) -> bool:
        """Return whether a run of i reached the target or, if there is none, its planned end."""
        one, study = self._study.cells[i], self._study
        if one.failed:
            return False
        if self._log.until is None or (study.whole_only and i == self._named):
            return bool(one.ends)
        return bool(one.met_on)

    def _configuration(self, i: int) -> Configuration:
        cell = self._study.cells[i].cell
        if i == self._study.own:
            return self._question.reference
        option = self._study.options[cell.batch_size]
        return Configuration(
            batch_size=cell.batch_size,
            micro_batch_size=option.micro_batch_size,
            learning_rate=cell.learning_rate,
            epochs=_other_epochs(self._log, cell),
            adam=option.adam,
        )

    # ---- estimates

    def _steps(self, i: int) -> Estimate:
        """Return the steps to the target of configuration i; a lower bound if i missed it."""
        study, one = self._study, self._study.cells[i]
        if self._log.until is None or (study.whole_only and self._is_known(i)):
            return _exactly(study.whole_steps(i), n=max(1, len(one.ends)))
        if not one.met_on:
            last = one.most_steps_seen
            reason = Reason.of("missed_the_level", steps=last)
            if one.was_slower and last < study.whole_steps(i):
                reason = Reason.of("stopped_when_slower", steps=last)
            return Estimate.cannot_tell(reason, n=len(one.records), low=float(last))
        return self._expected_steps(i)

    def _expected_steps(self, i: int) -> Estimate:
        one = self._study.cells[i]
        weight = math.log2(self._study.weight[one.cell.batch_size])
        return estimate_of(2.0 ** (self._outlook.cost[:, i] - weight), n=len(one.met_on))

    def _expected_end(self, i: int) -> Estimate:
        """Return the expected final value of a configuration, even if no whole training ran."""
        if self._study.end is None:
            return Estimate.cannot_tell(Reason.of("no_whole_training"))
        return estimate_of(self._ends(i), n=len(self._study.cells[i].ended_on))

    def _ends(self, i: int) -> Array:
        """Return the draws of a configuration's final value."""
        end = self._study.end
        assert end is not None
        ends = end.value - self._question.sign * self._outlook.reported_end[:, i] * end.margin
        if self._question.metric in FRACTION_METRICS:  # estimates may exceed 100 %
            ends = np.clip(ends, 0.0, 1.0 if end.value <= 1 else 100.0)
        return np.asarray(ends)

    def _all_believed(self) -> Iterator[Believed]:
        """Yield estimates for the reference, the answer and a configuration of each batch size.

        A batch size that was not trained is represented by its best expected learning rate.
        """
        places = {self._study.own, self._named}
        for size, i in self._shown.items():
            at = self._study.of_size(size, failed=False)
            if i is not None:
                places.add(i)
            elif at:
                places.add(self._outlook.most_useful(at))
        yield from map(self._believed, sorted(places))

    def _believed(self, i: int) -> Believed:
        study, outlook = self._study, self._outlook
        cell = study.cells[i].cell
        steps = Estimate.cannot_tell(Reason.of("nothing_to_compare"))
        # If no run reached the target, expected steps come only from the prior: show none.
        if self._log.until is not None and self._met and outlook.misses[:, i].mean() < _HALF:
            steps = self._expected_steps(i)
        time_s = _product(steps, study.options[cell.batch_size].step_s)
        samples = steps.times(self._log.plan(cell.batch_size).samples_per_step)
        end = better = self._expected_end(i)
        if study.end is not None:
            apart = self._question.sign * (self._ends(i) - self._ends(self._named))
            better = estimate_of(apart, n=len(study.cells[i].ends))
        return Believed(
            batch_size=cell.batch_size,
            learning_rate=cell.learning_rate,
            epochs=_other_epochs(self._log, cell),
            end=end,
            ends_better_by=better,
            cost=self._cost(time_s, samples, self._far(end)),
        )

    def _candidate(self, profiled: Option) -> Candidate:
        study, size = self._study, profiled.batch_size
        option, i = study.options.get(size, profiled), self._shown.get(size)
        note = option.note or self._log.ruled_out.get(size)
        not_trained = Reason.of("not_trained")
        unknown = Estimate.cannot_tell(note or not_trained)
        steps, distance = unknown, Estimate.cannot_tell(not_trained)
        rate, epochs = None, None
        if i is not None:
            cell = study.cells[i].cell
            rate, epochs = cell.learning_rate, _other_epochs(self._log, cell)
            steps, distance = self._steps(i), Estimate.cannot_tell(Reason.of("no_whole_training"))
            if study.cells[i].ended_on:
                distance = self._far(self._expected_end(i))
        samples = steps.times(self._log.plan(size).samples_per_step)
        time_s = _product(steps, option.step_s)
        return replace(
            _untrained(option, steps),
            learning_rate=rate,
            time_to_target_s=time_s,
            samples_to_target=samples,
            cost=self._cost(time_s, samples, distance),
            in_flat_set=i is not None and self._is_flat(i),
            rule_learning_rates=self._rates_by_rule(size),
            note=note,
            epochs=epochs,
        )

    def _rates_by_rule(self, size: int) -> tuple[tuple[str, float], ...]:
        """Return each scaling rule and the rate that it computes from the reference's best rate."""
        if self._tuned is None:
            return ()
        rate = self._study.cells[self._tuned].cell.learning_rate
        factors = dict(self._question.rules).get(size, ())
        return tuple((rule, factor * rate) for rule, factor in factors)

    def _cost(self, time_s: Estimate, samples: Estimate, distance: Estimate) -> Estimate:
        """Return the estimate that the objective minimizes: time, samples or distance."""
        costs = {"time": time_s, "samples": samples, "quality": distance}
        return costs[self._question.objective]

    def _far(self, end: Estimate) -> Estimate:
        """Return a value's distance from perfect: 1 - value if higher is better, else the value."""
        if self._question.better == "lower" or end.estimate is None:
            return end
        low, high = (None if b is None else 1 - b for b in (end.high, end.low))
        return replace(end, estimate=1 - end.estimate, low=low, high=high)

    def _times_as_far(self, one: int, other: int) -> Estimate:
        """Return the ratio of the distances of two final values from a perfect value.

        The ratio is the distance of configuration `one` / the distance of configuration `other`.
        """
        ends = np.stack([self._ends(one), self._ends(other)], axis=1)
        far = 1 - ends if self._question.better == "higher" else ends
        if np.any(far <= 0):
            return Estimate.cannot_tell(
                Reason.of("no_distance_from_perfect", metric=self._question.metric)
            )
        return estimate_of(far[:, 0] / far[:, 1], n=len(self._study.cells[other].ends))

    def _is_flat(self, i: int) -> bool:
        """Return whether configuration i is surely almost the cheapest and surely ends no worse."""
        if i not in self._met or self._log.until is None:
            return False
        cost = self._outlook.mean_cost
        behind = cost[:, i] - cost[:, self._met].min(axis=1)
        ends_worse = float(np.mean(self._outlook.worse[:, i])) > 1 - SURE
        near = np.mean(behind <= math.log2(1 + self._question.delta)) >= SURE
        return bool(near) and not ends_worse

    def _chance(self) -> float | None:
        """Return the chance that the answer costs no more and ends no worse than the reference."""
        study, named = self._study, self._named
        if self._stays:
            return None
        if not self._decided.raced:
            return float(self._outlook.chance[named])
        off = float(study.off_ridge([study.own])[named, 0])
        return _RACED_FAR if off >= _FAR_RATE else _RACED_NEAR

    def _gain(self) -> Estimate:
        """Return the cost of the reference configuration / the cost of the advised configuration.

        Each cost is the predicted mean of five further trainings.
        """
        study, reference = self._study, self._study.cells[self._study.own]
        if self._stays:
            return _exactly(1.0)
        if self._question.objective == "quality":
            return self._times_as_far(study.own, self._named)
        if reference.met_on or self._question.is_usual:
            return self._gain_draws(over_tuned=False)
        # The reference run missed the target, so its steps give a lower bound of its cost.
        last = max(reference.records.values(), key=lambda record: record.steps)
        steps, reason = last.steps, Reason.of("missed_the_level", steps=last.steps)
        if reference.failed:
            reason = Reason.of("own_fails", why=why_it_failed(last))
            steps = study.whole_steps(study.own)
        cost = self._outlook.mean_cost[:, self._named]
        least = math.log2(steps * study.weight[reference.cell.batch_size]) - cost
        return Estimate.cannot_tell(
            reason, n=len(reference.records), low=2.0 ** float(np.quantile(least, 0.025))
        )

    def _gain_from_batch_size(self) -> Estimate:
        """Return the cost of the reference batch size at its best rate / the answer's cost."""
        if self._named in self._study.same_size:
            return _exactly(1.0)
        if self._question.objective == "quality" and self._tuned is not None:
            return self._times_as_far(self._tuned, self._named)
        if self._log.until is None:
            return Estimate.cannot_tell(Reason.of("nothing_to_compare"))
        return self._gain_draws(over_tuned=True)

    def _gain_draws(self, *, over_tuned: bool) -> Estimate:
        gains = self._outlook.gain_draws(self._named, over_tuned=over_tuned)
        return estimate_of(2.0**gains, n=len(self._study.cells[self._named].records))

    # ---- how trainings end

    def _end_quality(self) -> EndQuality | None:
        """Return how the final values of the advised and the reference configuration compare."""
        study, named = self._study, self._named
        if study.end is None or not study.cells[named].ends:
            return None
        # If the user did not choose the reference learning rate, compare with the best
        # configuration of the reference batch size instead.
        beside = study.own
        if self._question.is_usual and self._tuned is not None:
            beside = self._tuned
        n_ended = {i: len(study.cells[i].ended_on) for i in (beside, named)}
        if not n_ended[beside]:
            beside = named
        margin = study.end.margin
        better = self._question.sign * (self._ends(named) - self._ends(beside))
        verdict: EndingVerdict = "open"
        if beside == named or np.mean(better >= -margin) >= SURE:
            verdict = "no_worse"
        elif np.mean(better < -margin) >= SURE:
            verdict = "worse"
        return EndQuality(
            difference=estimate_of(better, n=min(n_ended[beside], n_ended[named])),
            margin=margin,
            verdict=verdict,
            named_epochs=self._whole_epochs(named),
            own_epochs=self._whole_epochs(study.own),
        )

    def _whole_epochs(self, i: int) -> float:
        plan = self._log.plan(self._study.cells[i].cell.batch_size)
        return plan.epoch_at(self._study.whole_steps(i))

    # ---- caveats

    def _caveats(self) -> Iterator[Reason]:
        study, until = self._study, self._log.until
        if study.end is not None and study.end.ended_by == "overfitting":
            yield Reason.of("reference_overfits")
        if self._is_easier and until is not None:
            yield Reason.of("easier_than_plateau", metric=until.metric, value=until.value)
        if self._named != study.own:
            yield from self._at_the_edge(study.cells[self._named].cell)
        if capped := study.capped_sizes:
            allowed = self._question.at_most_epochs
            yield Reason.of("capped_by_epochs", sizes=", ".join(map(str, capped)), epochs=allowed)

    def _at_the_edge(self, cell: CellKey) -> Iterator[Reason]:
        """Yield a caveat if a run diverged at the rate of `cell`, or at a rate up to twice as high.

        All other settings of that run must equal the settings of `cell`.
        """
        size, rate = cell.batch_size, cell.learning_rate
        above = 0.0
        for (other, _), record in self._log.records.items():
            is_near = rate <= other.learning_rate <= _UP_TO * rate
            if record.has_diverged and is_near and other._replace(learning_rate=rate) == cell:
                above = max(above, other.learning_rate)
        if above:
            yield Reason.of("at_the_edge", size=size, above=above)


def _exactly(value: float, *, n: int = 1) -> Estimate:
    return Estimate.of(value, interval=(value, value), n=n)


def _product(first: Estimate, second: Estimate) -> Estimate:
    """Multiply two independent positive estimates, adding the variances of their logarithms."""
    if first.estimate is None:
        bound = None
        if first.low is not None and second.estimate is not None:
            bound = first.low * second.estimate
        return replace(first, low=bound, high=None)
    if second.estimate is None:
        return replace(second, low=None, high=None)
    one, other = first.log_half_width, second.log_half_width
    half = None if one is None or other is None else math.hypot(one, other)
    return Estimate.of_log(math.log(first.estimate * second.estimate), half, n=first.n)
