"""The advisor on engines whose truth is known: verdicts, budget, honesty about its seeds."""

import math
from dataclasses import replace

import pytest
from tests.reference.reason_codes import codes
from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import BATCH_SIZES, knee, question

from batchlab.advice.advisor import advise
from batchlab.errors import UsageError
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Status

TRUTH = Truth()


def reference_s(step_s, truth=TRUTH):
    """Seconds of one tuned training at the reference batch size."""
    return truth.best_steps(64) * step_s(64)


def advised(*, step_s=None, truth=TRUTH, trainings=60.0, engine=None, **changes):
    step_s = step_s or knee(1024)
    engine = engine or SimulatedEngine(truth=truth, step_s=step_s)
    budget_s = trainings * reference_s(step_s, truth)
    return advise(question(step_s, budget_s=budget_s, **changes), engine), engine


def seeds_that_chose(advice, batch_size):
    runs = [run for run in advice.tried if run.batch_size == batch_size and run.purpose == "tune"]
    return {run.seed for run in runs}


@pytest.mark.parametrize("at", [16, 256, 1024, 8192])
def test_the_recommendation_is_in_the_true_flat_set(at):
    step_s = knee(at)

    advice, _ = advised(step_s=step_s)

    times = {size: TRUTH.best_steps(size) * step_s(size) for size in BATCH_SIZES}
    flat = [size for size in BATCH_SIZES if times[size] <= 1.1 * min(times.values())]
    assert advice.verdict == "recommend"
    assert advice.recommendation.batch_size in flat
    assert advice.recommendation.batch_size in advice.flat_set


@pytest.mark.parametrize("slow", [(64,), (16, 32, 64)])
def test_a_load_while_the_reference_was_profiled_makes_nothing_else_faster(slow):
    """All take as long to the target; but steps took twice as long while these were timed."""

    def step_s(size):
        return 1e-3 * size / 64

    truth = Truth(override=lambda size: 64_000 / size, noise=0.02, best_rate=0.01)
    asked = question(step_s, budget_s=60 * reference_s(step_s, truth), sizes=BATCH_SIZES[1:6])
    options = [
        replace(option, step_s=option.step_s.times(2.0 if option.batch_size in slow else 1.0))
        for option in asked.options
    ]
    asked = replace(asked, options=tuple(options))

    def in_turn(own, size):
        return Estimate.of_log(math.log(step_s(size) / step_s(own)), 0.05, n=3)

    def advised_with(**timing):
        return advise(asked, SimulatedEngine(truth=truth, step_s=step_s), **timing)

    fooled, told = (
        advised_with(),
        advised_with(in_turn=in_turn),
    )

    assert fooled.gain.low > 1
    assert told.gain.low is None or told.gain.low <= 1


def test_the_same_answers_and_clock_give_the_same_advice():
    assert advised()[0] == advised()[0]


@pytest.mark.parametrize("trainings", [4, 10, 30, 60])
def test_the_budget_is_a_ceiling(trainings):
    advice, engine = advised(trainings=trainings, truth=Truth(noise=0.1))

    # A run is cut at its expected length times three: the last one may pass the end by that much.
    assert engine.spent_s() <= advice.budget_s * 1.05


def test_no_seed_both_chooses_and_values_and_verifies():
    advice, _ = advised()

    seeds = {
        purpose: {run.seed for run in advice.tried if run.purpose == purpose}
        for purpose in ("tune", "value", "verify")
    }
    assert all(seeds.values())
    assert not seeds["tune"] & seeds["value"]
    assert not seeds["tune"] & seeds["verify"]
    assert not seeds["value"] & seeds["verify"]


def test_a_tuned_rate_is_not_taken_for_a_better_batch_size():
    # Every step takes as long as its examples: the reference batch size is among the best.
    advice, _ = advised(
        step_s=knee(1), truth=Truth(b_crit=5000.0, s_min=20.0, best_rate=0.16), trainings=100
    )

    assert advice.gain.estimate > 1.5
    assert advice.gain_from_batch_size.estimate < 1.3


@pytest.mark.nightly
def test_batch_sizes_that_are_hard_to_tell_apart_get_as_many_runs_as_it_takes():
    truth = Truth(noise=0.12)
    step_s = {size: 2.0 / truth.best_steps(size) for size in (64, 128, 256)}
    asked = question(step_s.__getitem__, budget_s=2000.0, sizes=tuple(step_s), delta=0.08)

    advice = advise(asked, SimulatedEngine(truth=truth, step_s=step_s.__getitem__))

    first, _, last = (candidate.n_runs for candidate in advice.candidates)
    assert advice.verdict == "indifferent"
    assert min(first, last) > 16
    assert abs(first - last) <= 1  # a ratio is known no better than its lesser known side
    # To be shown alike each must be at its best, so all seeds for it were asked about its rate.
    assert {len(seeds_that_chose(advice, size)) for size in step_s} == {4}
    assert advice.spent_s < 1000.0


def test_where_recorded_seeds_run_out_those_that_verify_value_but_for_one():
    truth = Truth(noise=0.25)
    step_s = {size: 2.0 / truth.best_steps(size) for size in (64, 128, 256)}
    asked = question(step_s.__getitem__, budget_s=2000.0, sizes=tuple(step_s))

    advice = advise(asked, SimulatedEngine(truth=truth, step_s=step_s.__getitem__, n_seeds=10))

    assert advice.verdict == "cannot_tell"
    # Of ten, two chose the rates; one would have verified a recommendation.
    assert {run.seed for run in advice.tried if run.purpose == "value"} == {2, 3, 4, 5, 6, 8, 9}


def test_the_planned_end_of_a_training_sets_the_level():
    epochs = 5.0  # fewer than it takes to see a plateau
    advice, engine = advised(target=None, longest_epochs=epochs, trainings=400)

    pilots = [asked for asked in engine.asked if asked.length.until is None]
    planned = math.ceil(epochs * (N_TRAIN // 64 + 1))  # whole epochs, with their smaller last batch
    assert max(asked.last_step for asked in pilots) == planned
    assert advice.target_origin == "pilot"
    (level,) = [step.why for step in advice.steps if step.why.code == "worst_of_seeds"]
    assert level.named["why"].code == "ends_as_planned"
    # What it ends with as it is, and a little less.
    at_the_end = 0.03 * (TRUTH.steps(64, 0.01) / planned) ** 0.5
    assert 1.0 <= (1 - advice.target.value) / at_the_end <= 1.25

    # Only ends that are shown are evaluated on train and test data.
    whole = [asked for asked in engine.asked if asked.length.all_splits == "at_end"]
    rest = [asked for asked in engine.asked if asked not in whole]
    assert {asked.length.all_splits for asked in rest} == {"never"}
    pilots = {run.seed for run in advice.tried if run.purpose == "pilot"}
    assert {ask.last_step for ask in whole if ask.trial.seed in pilots} == {planned}
    verified = {(run.batch_size, run.seed) for run in advice.tried if run.purpose == "verify"}
    assert verified <= {(asked.trial.batch_size, asked.trial.seed) for asked in whole}


def test_a_level_met_in_the_first_epoch_is_one():
    """The reference meets 0.97 after 0.4 of an epoch, and ends a hair above it."""
    easy = Truth(s_min=60.0, b_crit=64.0, best_rate=0.01, end=lambda size, rate: 1 - 0.03 / 1.05)

    advice, _ = advised(truth=easy, target=None, longest_epochs=12.0, trainings=3000)

    assert advice.objective == "time"
    assert advice.verdict in ("recommend", "indifferent")


@pytest.mark.slow
def test_a_pilot_whose_rate_diverges_is_run_at_lower_rates():
    advice, _ = advised(target=None, truth=Truth(best_rate=0.0004), trainings=600)

    assert advice.target is not None
    assert advice.verdict == "recommend"
    assert any(step.did.code == "pilot_at_other_rates" for step in advice.steps)


@pytest.mark.parametrize(("n_workers", "best_rate"), [(1, 0.5), (2, 0.5), (1, 10.0)])
def test_where_the_reference_hardly_learns_higher_rates_are_tried_and_one_sets_the_level(
    n_workers, best_rate
):
    learns = best_rate * 0.4
    truth = Truth(
        best_rate=best_rate,
        end=lambda size, rate: 0.98 if rate > learns else 0.1 + 0.1 * rate / best_rate,
    )
    step_s = knee(1024)
    engine = SimulatedEngine(truth=truth, step_s=step_s, n_workers=n_workers)

    advice, _ = advised(target=None, truth=truth, engine=engine, longest_epochs=20.0)

    pilots = [run.learning_rate for run in advice.tried if run.purpose == "pilot"]
    assert min(pilots) == pytest.approx(0.01)  # what learns a little is not at too high a rate
    assert codes(advice.hardly_learns) >= {"another_rate_learns", "hardly_learns"}
    assert advice.target.value > 0.9
    assert advice.named is None or advice.named.learning_rate > learns


def test_a_target_met_by_the_untrained_model_is_refused():
    with pytest.raises(UsageError, match="before the first step"):
        advised(target=0.05)


def test_the_only_batch_size_there_is_is_recommended_and_not_called_indifferent():
    advice, _ = advised(sizes=(64,))

    assert advice.verdict == "recommend"
    assert advice.reason.code == "the_only_one"


def test_no_run_goes_further_than_the_epochs_allowed():
    advice, engine = advised(longest_epochs=2.0)

    for ask in engine.asked:
        assert ask.length.steps <= ask.trial.plan.steps_in(2)
    assert advice.verdict in ("recommend", "cannot_tell")


class Failing(SimulatedEngine):
    """Runs at the batch sizes of `broken` end in an error before the first evaluation."""

    broken = frozenset(BATCH_SIZES)

    def answer(self, request):
        record = super().answer(request)
        if request.trial.batch_size in self.broken:
            record = replace(
                record,
                status=Status.ERROR,
                reason=Reason.as_written("no such file"),
                evaluations=(),
            )
        return record


def test_runs_that_all_end_in_an_error_end_the_study_with_its_reason():
    engine = Failing(truth=TRUTH, step_s=knee(1024))

    advice, _ = advised(engine=engine)

    assert advice.verdict == "cannot_tell"
    assert advice.reason.quotes(Reason.as_written("no such file"))
    assert len(engine.asked) < 20


class Rescored(SimulatedEngine):
    """Accuracies become another metric."""

    def answer(self, request):
        return rescored(super().answer(request), self.scores)


class Perfect(Rescored):
    @staticmethod
    def scores(accuracy):
        return 1.0 if accuracy > 0.95 else accuracy


class LogDensity(Rescored):
    @staticmethod
    def scores(accuracy):
        return 0.982 - accuracy


def test_a_perfect_score_is_half_an_example_from_perfect_and_the_best_there_is():
    engine = Perfect(truth=TRUTH, step_s=knee(64))

    advice, _ = advised(
        engine=engine, objective="quality", target=None, longest_epochs=20.0, n_validation=500
    )

    scored = [run for run in advice.tried if run.best_value == 1.0]
    assert scored
    costs = [c.cost.estimate for c in advice.candidates if c.cost.estimate is not None]
    assert min(costs) == pytest.approx(0.001)


def test_one_run_without_a_remaining_error_leaves_nothing_to_compare_and_nothing_is_named():
    """Else a run with a loss below 0, the best of all, would count as one that failed."""
    engine = LogDensity(truth=TRUTH, step_s=knee(64))

    advice, _ = advised(
        engine=engine, objective="quality", better="lower", target=None, longest_epochs=20.0
    )

    assert min(run.best_value for run in advice.tried) < 0 < max(r.best_value for r in advice.tried)
    assert (advice.verdict, advice.provisional) == ("cannot_tell", None)
    assert advice.reason.code == "no_distance_from_perfect"


def rescored(record, change):
    return replace(
        record,
        evaluations=tuple(
            replace(
                evaluation,
                scores=tuple(
                    replace(score, value=change(score.value)) for score in evaluation.scores
                ),
            )
            for evaluation in record.evaluations
        ),
    )


def test_where_a_batch_size_misses_with_all_the_epochs_allowed_no_larger_one_is_tried():
    """The steps of this machine cost the same up to 8192 examples: larger ones look cheap."""
    truth = Truth(noise=0.02, override=lambda size: 2000.0 if size <= 64 else 90.0 * size)
    epochs = 64 * 4000 / N_TRAIN
    step_s = knee(8192)
    asked = question(step_s, budget_s=40 * 2000 * step_s(64), longest_epochs=epochs)
    engine = SimulatedEngine(truth=truth, step_s=step_s)

    advice = advise(asked, engine)

    assert max(ask.trial.batch_size for ask in engine.asked) == 256
    (at_1024,) = [each for each in advice.candidates if each.batch_size == 1024]
    assert at_1024.steps_to_target.reason == Reason.of("missed_by_smaller", size=256)
    # What is said of 256 is what its runs had, not what a run of it was allowed.
    (at_256,) = [each for each in advice.candidates if each.batch_size == 256]
    ran = min(run.steps for run in advice.tried if run.batch_size == 256 and run.status == "ok")
    assert at_256.steps_to_target.reason == Reason.of("no_rate_met_target", steps=ran)
