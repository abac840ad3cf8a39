"""Study: the results of the runs of each configuration, and the belief computed from them.

The reference is the user's own configuration, or a default.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import Option
from batchlab.advice.level import EndLevel, end_so_far, level_of_ends
from batchlab.advice.run_log import HORIZONS, MOST_STEPS, CellKey, RunLog, is_whole
from batchlab.belief.final_value import end_error_of
from batchlab.belief.metric_scale import MetricScale
from batchlab.belief.outlook import Aim, Outlook
from batchlab.belief.seed_scatter import PRIORS, OwnScatter, ScatterPrior, SeedScatter, own_scatter
from batchlab.belief.surface import Places, Surface, SurfacePrior, scatter_at
from batchlab.laws.mean import known
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Status, TrialRecord

Array = NDArray[np.float64]

# Consider learning rates from `_BELOW` octaves below to `_ABOVE` octaves above the rate that is
# expected to be the best at a batch size.
_BELOW, _ABOVE = 4, 8
# The octaves below and above the expected best rate, for lengths other than the reference
# training's. They are fewer, because every length has its own configurations.
_BELOW_OTHER, _ABOVE_OTHER = 2, 4
# Plan at least this many times the expected steps to the target: some seeds need more.
_ROOM = 1.15
# A failed training counts as this many margins worse than the reference, and no final value counts
# as worse than that. (A final value that is one margin worse counts as no worse.)
FAILED = 20.0
# The prior of the standard deviation over seeds of log2 of the steps to the target.
_STEPS = PRIORS["steps"].over(math.log(2))
# If no similar metric was recorded: the prior of the standard deviation over seeds of final values,
# divided by the margin.
_ENDS = ScatterPrior(log_sd=math.log(0.5), log_sd_sd=0.8, degrees=5)
# The least variance over seeds to assume, for log2 of the steps and for final values in units of
# the margin. Evaluations are too far apart to show a smaller variance.
_LEAST_VARIANCE = 1e-4
# Use this many equally likely guesses of the final values' standard deviation over seeds.
_N_SCATTERS = 4
# Final values far worse than the reference's vary more over seeds. So a configuration helps to
# estimate the variance only if one of its trainings ends less than this many margins worse.
_NEAR = 4.0
_MISSED_BY = 0.5  # A run that missed the target is assumed to need 2**_MISSED_BY times its steps.
# A failed run is assumed to need 2**_FAILED_BY times the steps of a whole training. The standard
# error of log2 of the steps is assumed to be `_FAILED_BY`, too.
_FAILED_BY = 1.0
# The standard error of log(step time) to assume if none is known; the normal quantile of 97.5 %.
_UNKNOWN_STEP_SD, _Z = 0.1, 1.959964
# A rate that is at most an octave below a failed rate may fail too. The chance that a training with
# it succeeds is assumed to be n / (n + 1), with n = its successful trainings so far + `_HELD`.
_HELD = 5
# The final value of a configuration that reached the target but was not trained further is assumed
# to lie this fraction of the way from the reference's final value to the target.
_HELD_AT = 0.5


@dataclass(kw_only=True, eq=False)
class Configured:
    """One configuration and the results of its runs, by seed."""

    cell: CellKey
    records: dict[int, TrialRecord] = field(default_factory=dict)
    # By seed: log2 of the steps to the target, or a guess if the run missed the target; and the
    # standard error of this number. The error does not include the variation over seeds.
    steps: dict[int, tuple[float, float]] = field(default_factory=dict)
    met_on: set[int] = field(default_factory=set)  # Seeds whose trainings reached the target.
    missed_on: set[int] = field(default_factory=set)  # Seeds whose trainings missed the target.
    # For each seed, how much worse than the reference a training ended, divided by the margin.
    ends: dict[int, float] = field(default_factory=dict)
    # By seed, the standard error of the final value in the metric's unit, if known.
    end_errors: dict[int, float | None] = field(default_factory=dict)
    is_over: bool = False  # True if no further run is possible.
    was_slower: bool = False  # True if a run was stopped because it was too slow.
    failed: bool = False  # True if a training failed.

    @property
    def met(self) -> bool:
        """Whether the target was reached, at least as often as it was missed, and no run failed."""
        return bool(self.met_on) and len(self.missed_on) <= len(self.met_on) and not self.failed

    @property
    def ends_near(self) -> bool:
        """Whether no run failed, and one ended at most `_NEAR` margins worse than the reference."""
        return not self.failed and min(self.ends.values(), default=FAILED) < _NEAR

    @property
    def ended_on(self) -> set[int]:
        """The seeds whose whole trainings ended without failure."""
        return {seed for seed in self.ends if not self.records[seed].has_failed}

    @property
    def mean_end(self) -> float:
        """How much worse than the reference the trainings end on average, divided by the margin."""
        return statistics.fmean(self.ends.values())

    @property
    def most_steps_seen(self) -> int:
        """The steps of the longest run, 0 if none ran."""
        return max((record.steps for record in self.records.values()), default=0)

    def log2_steps(self, scatter: float, *, only_met: bool) -> tuple[float, float]:
        """Return the mean over seeds of log2 of the steps to the target, and the mean's variance.

        Args:
            scatter: the standard deviation of log2 of the steps over seeds.
            only_met: leave out seeds that missed the target, unless every seed did.
        """
        seeds = set(self.steps)
        if only_met and self.met_on:
            seeds -= self.missed_on
        steps, errors = np.array([self.steps[seed] for seed in sorted(seeds)]).T
        weights = 1 / (scatter**2 + errors**2)
        return float(weights @ steps / weights.sum()), float(1 / weights.sum())


class AdviceStudy:
    """The configurations of a study and their runs; `outlook` estimates costs and final values."""

    def __init__(self, log: RunLog, prior: SurfacePrior) -> None:
        """Create all configurations, without the results of any run.

        Args:
            log: requests the runs; the configurations of all runs in the log are created too.
            prior: the belief about costs and final values before any run.
        """
        question = log.question
        self.log, self.question, self.prior = log, question, prior
        own_size, own_rate = question.reference.batch_size, question.reference.learning_rate
        self.options: dict[int, Option] = {}
        for option in question.options:
            if option.runs:
                self.options[option.batch_size] = option
        # True if final values are compared, which is the case unless the user gave a target.
        self.compares_ends = question.target is None
        # True if only whole trainings are compared, because a rate schedule spans each training.
        self.whole_only = log.whole_only
        # True if a configuration is first trained until the target, and only later to its end.
        self.follows = log.until is not None and not self.whole_only
        # The fraction of the planned epochs that the pilot ran; 1.0 without planned epochs.
        self.fraction = 1.0
        if question.planned_epochs is not None and log.whole_epochs is not None:
            self.fraction = min(1.0, log.whole_epochs / question.planned_epochs)
        is_time = question.objective == "time"
        # True if schedules shorter and longer than the reference schedule are tried.
        self._stretches = self.whole_only and is_time and question.may_stretch
        at = set()
        for size in self.options:
            for horizon in self._horizons(size):
                for octave in self._octaves(size, horizon):
                    at.add((size, horizon, octave))
        for cell, _ in log.records:
            octave = round(math.log2(cell.learning_rate / own_rate), 3)
            at.add((cell.batch_size, cell.horizon, octave))
        in_order = sorted(at)
        self.sizes, horizons, rates = map(np.array, zip(*in_order, strict=True))
        self.cells = []
        for size, horizon, octave in in_order:
            key = CellKey(size, own_rate * 2.0**octave, horizon)
            self.cells.append(Configured(cell=key))
        self.places = Places(
            size=np.log2(self.sizes / own_size),
            rate=rates,
            horizon=np.log2(horizons),
        )
        self.own = self.at(CellKey(own_size, own_rate))
        as_planned = (horizons == 1) & (self.sizes == own_size)
        self.same_size = [int(i) for i in np.flatnonzero(as_planned)]
        # For each batch size timed alternately with the reference batch size, the standard error of
        # log(step time / step time of the reference batch size).
        self.timed: dict[int, float] = {}
        # The final value of the reference training or, if it failed, of the first whole training;
        # None if the user gave the target.
        self.end: EndLevel | None = None
        # The most that a run to the user's target may cost; None if the user gave no target.
        self.most_cost: float | None = None
        # True if a training is never prolonged beyond its planned epochs to reach the target.
        self.keeps_epochs = log.question.objective != "time" or log.has_schedule
        # The steps of a whole training, for configurations with more epochs than the reference.
        self._longer: dict[int, int] = {}
        self.weigh()

    def _horizons(self, size: int) -> list[float]:
        """Return the training lengths of a batch size, as multiples of the reference training's.

        With a learning-rate schedule, each length is a separate configuration. Lengths that take
        more time than the reference's training are left out.
        """
        question, log = self.question, self.log
        planned, own_size = question.planned_epochs, question.reference.batch_size
        if not self._stretches or planned is None:
            return [1.0]
        most_cost = log.steps_in(own_size, planned) * self._weight(own_size)
        horizons = [1.0]
        for horizon in self._allowed_horizons:
            if log.steps_in(size, horizon * planned) * self._weight(size) <= most_cost:
                horizons.append(horizon)
        return horizons

    @property
    def _allowed_horizons(self) -> list[float]:
        """The lengths in `HORIZONS` that are a whole number of epochs, at most `at_most_epochs`."""
        planned, most = self.question.planned_epochs or 0, self.question.at_most_epochs or math.inf
        epochs = {horizon: horizon * planned for horizon in HORIZONS}
        return [h for h, n in epochs.items() if 1 <= n <= most and float(n).is_integer()]

    def _octaves(self, size: int, horizon: float) -> set[float]:
        """Return a batch size's learning rates to consider, in octaves above the reference rate."""
        reference = self.question.reference
        rates = self.log.engine.learning_rates(size, horizon)
        if rates is not None:
            return {float(round(math.log2(rate / reference.learning_rate))) for rate in rates}
        middle = round(self.prior.ridge * math.log2(size / reference.batch_size))
        below, above = _BELOW, _ABOVE
        if horizon != 1:
            below, above = _BELOW_OTHER, _ABOVE_OTHER
        return set(map(float, range(middle - below, middle + above + 1)))

    def weigh(self) -> None:
        """Compute each size's cost of a step: seconds, or examples for the objective "samples"."""
        self.weight = {size: self._weight(size) for size in self.options}
        self._log_weight = np.log2([self.weight[size] for size in self.sizes])
        self._before = Surface.before_any_run(self.prior, self.places, self._log_weight)

    def _weight(self, size: int) -> float:
        if self.question.objective == "samples":
            return self.log.plan(size).samples_per_step
        seconds = self.options[size].step_s.estimate
        assert seconds is not None
        return seconds

    def time_again(self, step_s: dict[int, Estimate]) -> None:
        """Replace step times by new measurements, and recompute the costs of steps."""
        for size, estimate in step_s.items():
            self.options[size] = replace(self.options[size], step_s=estimate)
        self.weigh()

    # ---- configurations

    def at(self, cell: CellKey) -> int:
        """Return the index of `cell`, or of the configuration with the nearest learning rate."""
        octave = math.log2(cell.learning_rate / self.question.reference.learning_rate)
        return self.nearest(cell.batch_size, octave, horizon=cell.horizon)

    def beside(self, i: int, octaves: float) -> int | None:
        """Return the configuration that differs from i only by a rate `octaves` higher, or None."""
        cell, wanted = self.cells[i].cell, float(self.places.rate[i] + octaves)
        nearest = self.nearest(cell.batch_size, wanted, horizon=cell.horizon)
        return nearest if math.isclose(self.places.rate[nearest], wanted, abs_tol=0.01) else None

    def nearest(self, size: int, octave: float, *, horizon: float = 1.0) -> int:
        """Return a size's configuration whose log2(rate / reference rate) is nearest `octave`."""
        at = self.where(lambda one: (one.cell.batch_size, one.cell.horizon) == (size, horizon))
        return min(at, key=lambda i: (abs(self.places.rate[i] - octave), self.places.rate[i]))

    def where(
        self, holds: Callable[[Configured], object], among: Iterable[int] | None = None
    ) -> list[int]:
        """Return the configurations (of `among`, or of all) for which `holds` is true."""
        if among is None:
            among = range(len(self.cells))
        return [i for i in among if holds(self.cells[i])]

    def off_ridge(self, others: Sequence[int]) -> Array:
        """Return how far each rate is above the rate expected from each of `others`, in octaves.

        The expected rate is the rate of the other configuration, scaled to the batch size.
        """
        size, rate = self.places.size, self.places.rate
        along = self.prior.ridge * (size[:, None] - size[others])
        return np.asarray(rate[:, None] - rate[others] - along)

    def of_size(self, size: int, *, failed: bool = True) -> list[int]:
        """Return the configurations of a batch size; leave out failed ones unless `failed`."""
        return self.where(lambda one: one.cell.batch_size == size and (failed or not one.failed))

    @property
    def ran_sizes(self) -> set[int]:
        """The batch sizes of all runs."""
        return {one.cell.batch_size for one in self.cells if one.records}

    @property
    def nameable(self) -> list[int]:
        """The user's own configuration, and all configurations that the advice may recommend.

        A configuration may be recommended if it never failed, reached the target and, where final
        values are compared, has a final value. If only whole trainings are compared, it need not
        reach the target, because a lucky run of the reference may have set the target too high.
        """
        at = self.where(lambda one: not one.failed)
        if self.follows:
            at = self.where(lambda one: one.met, among=at)
        if self.compares_ends:
            at = self.where(lambda one: one.ends, among=at)
        return list(dict.fromkeys([self.own, *at]))

    # ---- the lengths of trainings

    def whole_steps(self, i: int, *, met_at: float | None = None) -> int:
        """Return the steps of a whole training of a configuration.

        Args:
            i: the configuration.
            met_at: assume that the target is reached after this many steps; None to use the runs.
        """
        cell, epochs = self.cells[i].cell, self.log.whole_epochs
        size = cell.batch_size
        if self.most_cost is not None:
            return max(1, min(int(self.most_cost / self.weight[size]), self._allowed_steps(size)))
        if epochs is None:
            return self.log.planned_steps(size)
        if self.keeps_epochs:
            return self.log.steps_in(size, cell.horizon * epochs)
        if met_at is None:
            return self._longer.get(i) or self.log.steps_in(size, epochs)
        if (planned := self.log.steps_in(size, epochs)) >= met_at:
            return planned
        epochs *= horizon_for(self.log.plan(size).epoch_at(math.ceil(met_at)) / epochs)
        return min(self.log.steps_in(size, epochs), self.most_steps(i))

    def most_steps(self, i: int) -> int:
        """Return the steps after which a training that has not reached the target is stopped.

        For objective time, a training without a learning-rate schedule may have more epochs than
        the reference's, but may not take more time.
        """
        epochs = self.log.whole_epochs
        if epochs is None or self.keeps_epochs:
            return self.whole_steps(i)
        size, own_size = self.cells[i].cell.batch_size, self.question.reference.batch_size
        as_long = int(
            self.log.steps_in(own_size, epochs) * self.weight[own_size] / self.weight[size]
        )
        return max(self.log.steps_in(size, epochs), min(as_long, self._allowed_steps(size)))

    @property
    def capped_sizes(self) -> list[int]:
        """Batch sizes that may beat the reference if more epochs (`at_most_epochs`) are allowed."""
        allowed, own_size = self.question.at_most_epochs, self.question.reference.batch_size
        if allowed is None or (self.keeps_epochs and not self._stretches):
            return []
        whole_cost, capped = self.whole_steps(self.own) * self.weight[own_size], []
        longest, beyond = allowed, allowed
        if self._stretches:  # trainings can have only certain lengths
            planned = self.question.planned_epochs or allowed
            longest = planned * max([1.0, *self._allowed_horizons])
            beyond = min((h * planned for h in HORIZONS if h * planned > allowed), default=math.inf)
        if math.isinf(beyond):
            return []
        for size in self.options:
            at, last_step = self.of_size(size), self.log.steps_in(size, longest)
            is_seen = max(self.cells[i].most_steps_seen for i in at) >= last_step
            has_met = self.where(lambda one: one.met_on, among=at)
            may_go_on = self.where(lambda one: one.records and not one.failed, among=at)
            if is_seen and may_go_on and not has_met:
                if self.log.steps_in(size, beyond) * self.weight[size] < whole_cost:
                    capped.append(size)
        return capped

    def _allowed_steps(self, size: int) -> int:
        """Return the most steps that the user allows for a training with a batch size."""
        if self.keeps_epochs:
            return self.log.planned_steps(size)
        allowed = self.question.at_most_epochs
        return MOST_STEPS if allowed is None else self.log.steps_in(size, allowed)

    def whole_s(self, i: int) -> float:
        """Return the expected seconds of one whole training of a configuration."""
        return self.log.run_s(self.cells[i].cell.batch_size, self.whole_steps(i))

    def new_s(self, i: int, seed: int) -> float:
        """Return the expected seconds of a whole training, except steps copied from another run."""
        cell = self.cells[i].cell
        new_steps = self.whole_steps(i) - self.log.shared_steps((cell, seed))
        return self.log.run_s(cell.batch_size, max(1, new_steps))

    # ---- results of runs

    def take_in(
        self, i: int, seed: int, record: TrialRecord, *, guess: tuple[float, float] | None = None
    ) -> None:
        """Add the results of a run to its configuration.

        Args:
            i: the configuration.
            seed: the seed of the run.
            record: the record of the run, which may be unfinished.
            guess: for a run that missed the target, a guess of log2 of the steps that the run
                would have needed, and the standard error of this guess.
        """
        one = self.cells[i]
        if record.status is Status.OOM:
            self._rule_out(i, record)
            return
        if not record.has_failed and len(record.evaluations) <= 1:
            one.is_over = True  # nothing ran: this seed is not available, or the budget is spent
            return
        one.records[seed] = record
        self._read(i, seed, guess)

    def _read(self, i: int, seed: int, guess: tuple[float, float] | None) -> None:
        one, most = self.cells[i], self.most_steps(i)
        record = one.records[seed]
        one.met_on.discard(seed)
        one.missed_on.discard(seed)
        if record.has_failed:
            one.failed = one.is_over = True
            one.steps[seed] = math.log2(self.whole_steps(i)) + _FAILED_BY, _FAILED_BY
            one.ends[seed] = FAILED
            return
        crossing = self.log.crossing(record)
        has_met = crossing is not None and (crossing.held or is_whole(record, most))
        if crossing is not None and has_met:
            self._set_length(i, self.whole_steps(i, met_at=crossing.step))
        elif self.follows and record.steps > self.whole_steps(i):
            self._set_length(i, most)  # the target was missed, so train longer
        whole = self.whole_steps(i)
        came_to_end = is_whole(record, whole)
        if self.log.until is None and self.end is None and came_to_end:
            self.end = end_so_far(self.question, record)  # the reference failed, so use this run
        if crossing is not None and (has_met or came_to_end):
            width = 0.0
            if crossing.step:
                width = math.log2(crossing.step / crossing.least)
            # A uniform distribution between two evaluations has this standard deviation.
            one.steps[seed] = math.log2(max(crossing.middle, 0.5)), width / math.sqrt(12)
            one.met_on.add(seed)
        elif guess is not None:
            one.steps[seed] = guess
        elif self.follows and came_to_end:
            one.steps[seed] = missed(max(whole, record.steps))
            one.missed_on.add(seed)
        if came_to_end and self.end is not None:
            end = self.final_value(i, record)
            one.ends[seed] = FAILED
            if end is not None:
                one.ends[seed] = min(FAILED, self._margins_worse(end))
            one.end_errors[seed] = end_error_of(record, self.question.metric)
            if not self.whole_only:
                return
            # Only the final value decides whether a whole training reached the target.
            if self.log.until is not None and self.log.until.met_by(end):
                one.met_on.add(seed)
                one.steps[seed] = math.log2(whole), 0.0
            else:
                one.missed_on.add(seed)
                one.steps[seed] = missed(whole)

    def _set_length(self, i: int, steps: int) -> None:
        """Set the steps of a configuration's whole trainings, unless a run reached the target.

        Drop the final values of trainings of the old length, because they are not comparable.
        """
        one = self.cells[i]
        if self.log.whole_epochs is None or one.met_on or steps == self.whole_steps(i):
            return
        self._longer[i] = steps
        for shown in (one.ends, one.end_errors, one.missed_on):
            shown.clear()

    def final_value(self, i: int, record: TrialRecord) -> float | None:
        """Return a whole training's final value; None if a needed evaluation is not finite."""
        overfits = self.end is not None and self.end.ended_by == "overfitting"
        return self.question.final_value(record, overfits, steps=self.whole_steps(i))

    def _margins_worse(self, end: float) -> float:
        assert self.end is not None
        return self.question.sign * (self.end.value - end) / self.end.margin

    def set_level(self) -> None:
        """Set the target again, from the final values of all seeds, and judge all runs by it.

        The seeds are of the configuration whose pilot run set the first target. If the user did not
        choose the reference, they are of its batch size at the best learning rate.
        """
        if self.end is None or self.log.until is None:
            return
        at = self.at(CellKey(self.question.reference.batch_size, self.end.learning_rate))
        if self.question.is_usual:
            ended = self.where(lambda one: one.ends and not one.failed, among=self.same_size)
            at = min(ended, key=lambda i: (self.cells[i].mean_end, i), default=self.own)
        one = self.cells[at]
        ends = known(self.final_value(at, one.records[seed]) for seed in one.ended_on)
        if not ends:
            return
        level = level_of_ends(self.question, self.end, ends)
        if level == self.log.until:
            return
        self.log.until = level
        for i, other in enumerate(self.cells):
            for seed, record in other.records.items():
                if not record.has_failed and seed in {*other.ends, *other.met_on}:
                    guess = None
                    if seed not in other.ends:
                        # A run that stopped at the old target may miss the new one: then guess.
                        guess = missed(record.steps)
                    self._read(i, seed, guess)

    def _rule_out(self, i: int, record: TrialRecord) -> None:
        """Drop a batch size that ran out of memory, with all its results."""
        size = self.cells[i].cell.batch_size
        self.log.ruled_out[size] = record.reason or Reason.of("does_not_fit")
        for at in self.of_size(size):
            one = self.cells[at]
            one.failed = one.is_over = True
            for observations in (one.steps, one.ends, one.met_on, one.missed_on):
                observations.clear()

    # ---- the belief

    def scatter(self) -> tuple[float, Array]:
        """Return the standard deviations over seeds of log2 of the steps and of final values.

        The latter, in units of the margin, is an array of `_N_SCATTERS` guesses per configuration.
        """
        cost, steps, ends = 0.0, [], []
        for one in self.cells:
            met = [one.steps[seed][0] for seed in sorted(one.met_on)]
            steps.append(own_scatter([] if one.failed else met, _variance))
            ends.append(own_scatter([*one.ends.values()] if one.ends_near else [], _variance))
        if not self.whole_only:
            cost = _pooled(steps, _STEPS).usual_sd
        return cost, _pooled(ends, self._end_prior()).sds(ends, _N_SCATTERS)

    def _end_prior(self) -> ScatterPrior:
        """Return the prior of the standard deviation of final values; larger for noisy curves."""
        if self.end is None:
            return _ENDS
        question, end, errors = self.question, self.end.value, []
        for one in self.cells:
            if one.ends_near:
                errors += known(one.end_errors.values())
        scale = MetricScale.of(
            question.metric, [end], better=question.better, n_examples=question.n_validation
        )
        slope, error = scale.slope(end), None
        if errors:
            error = slope * statistics.median(errors)
        prior = ScatterPrior.of(scale, end_error=error)
        return _ENDS if prior is None else prior.over(slope * self.end.margin)

    def outlook(self) -> Outlook:
        """Estimate the costs and final values of all configurations from all runs."""
        n, aim = len(self.cells), self._aim()
        cost_sd, end_sd = self.scatter()
        index, values, variances = [], [], []
        for i, one in enumerate(self.cells):
            if one.steps and not self.whole_only:
                steps, variance = one.log2_steps(cost_sd, only_met=aim.counts_misses)
                index.append(i)
                values.append(steps + self._log_weight[i])
                variances.append(variance)
        ends = {i: (*one.ends.values(),) for i, one in enumerate(self.cells) if one.ends}
        held_on = self.where(lambda one: one.met_on and not one.ends)
        if self.compares_ends:
            # Assume a final value for configurations that reached the target but have none.
            ends |= dict.fromkeys(held_on, (_HELD_AT * aim.level,))
        ended = np.array([*ends], dtype=int)
        means = np.array([*map(statistics.fmean, ends.values())])
        observed = [*index, *(n + ended)], [*values, *np.arcsinh(means)]
        n_seeds = np.array([*map(len, ends.values())])
        # If the pilot was cut, add variance to all final values. Add 1 to the variance of
        # configurations that failed, and of final values that were assumed, not measured.
        failed = self.where(lambda one: one.failed)
        more = (1 - self.fraction) ** 2 + np.isin(ended, [*failed, *held_on])
        surfaces = []
        for sds in end_sd[:, ended]:
            errors = scatter_at(means, sds / np.sqrt(n_seeds)) ** 2 + more
            surfaces.append(self._before.given(*observed, [*variances, *errors]))
        holds = self._holds(failed)
        return Outlook(surfaces, aim, cost_sd=cost_sd, end_sd=end_sd, failed=failed, holds=holds)

    def _aim(self) -> Aim:
        n, has_level = len(self.cells), self.log.until is not None
        most = np.full(n, np.inf)
        if has_level and self.fraction == 1 and self.log.whole_epochs is not None:
            # The largest number of steps of a training: the planned number for configurations that
            # reached the target, and possibly more for others.
            steps = []
            for i, one in enumerate(self.cells):
                steps.append(self.whole_steps(i) if one.met_on else self.most_steps(i))
            most = np.log2(steps) + self._log_weight
        known_cost = None
        if self.whole_only:
            known_cost = np.log2([*map(self.whole_steps, range(n))]) + self._log_weight
        return Aim(
            own=self.own,
            same_size=self.same_size,
            is_tuned=self.question.is_usual,
            ends_count=self.compares_ends,
            costs_count=has_level,
            most_cost=most,
            known_cost=known_cost,
            end_error=1 - self.fraction,
            step_error=self._step_error(),
            level=self.level_worse,
        )

    @property
    def level_worse(self) -> float:
        """How much worse the target is than the reference's final value, divided by the margin."""
        level = self.log.until
        if level is None or self.end is None:
            return 0.0
        return self._margins_worse(level.value)

    def _step_error(self) -> Array:
        """Return each configuration's standard error of log2(step time / reference step time)."""
        if self.question.objective != "time":
            return np.zeros(len(self.cells))
        own_size = self.question.reference.batch_size
        own_sd, log_sd = self._step_sd(own_size), np.zeros(len(self.cells))
        for size in {*self.options} - {own_size}:
            of_ratio = self.timed.get(size, math.hypot(self._step_sd(size), own_sd))
            log_sd[self.sizes == size] = of_ratio
        return log_sd / math.log(2)

    def _step_sd(self, size: int) -> float:
        half = self.options[size].step_s.log_half_width
        return _UNKNOWN_STEP_SD if half is None else half / _Z

    def _holds(self, failed: Sequence[int]) -> Array:
        """Return the chance that a run of each configuration does not fail.

        The chance is below 1 if the same batch size failed at a rate up to an octave higher.
        """
        above = self.places.rate[failed] - self.places.rate[:, None]
        same = self.sizes[failed] == self.sizes[:, None]
        beside = same & (above >= 0) & (above <= 1)
        # Count the trainings that reached the target or ended without failure.
        n_held = np.array([len(one.met_on | one.ended_on) for one in self.cells]) + _HELD
        return np.where(np.any(beside, axis=1), n_held / (n_held + 1), 1.0)


def horizon_for(needed: float) -> float:
    """Return the first of 1, 1.5, 2, 3, 4, 6, 8, ... that is at least 1.15 times `needed`.

    Args:
        needed: the length needed to reach the target, as a multiple of the reference training.
    """
    octave = math.floor(math.log2(max(_ROOM * needed, 1.0)))
    horizons = (2.0**octave, 1.5 * 2.0**octave, 2.0 ** (octave + 1))
    return next(horizon for horizon in horizons if horizon >= _ROOM * needed)


def missed(steps: int) -> tuple[float, float]:
    """Return a guess of log2 of the steps to a target that a run missed, and the guess's error.

    The run is assumed to need sqrt(2) times its `steps`; the standard error of log2 is 0.5.
    """
    return math.log2(steps) + _MISSED_BY, _MISSED_BY


def _variance(values: Sequence[float]) -> float:
    return max(statistics.variance(values), _LEAST_VARIANCE)


def _pooled(own: Sequence[OwnScatter], prior: ScatterPrior) -> SeedScatter:
    scatter = SeedScatter.of(own, prior)
    assert scatter is not None
    return scatter
