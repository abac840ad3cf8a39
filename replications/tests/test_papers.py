"""What a paper measures of trials, compared with trials made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.reference.made_up import made_up_record, made_up_trial

from batchlab import Study, Target, TrialRecord
from replications.papers import shen2018, smith2018
from replications.papers.folklore import loss_left, memory_exponent, time_to_level
from replications.papers.hoffer2017 import error_of_log_less_power
from replications.papers.shallue2019 import cost_of_rule
from replications.steps import at_best_rate, law_of_steps, steps_to_target
from replications.text import number_text

STEP_S = {16: 0.001, 1024: 0.004}


def climbing(batch_size: int, seed: int, *, to: float, within: float) -> TrialRecord:
    """Accuracy rises evenly over so many of four epochs, of 4096 examples each."""
    trial = made_up_trial(batch_size=batch_size, seed=seed)
    curve = {("validation", "accuracy"): lambda epoch: to * min(1.0, epoch / within)}
    return made_up_record(trial=trial, curves=cast(Any, curve), epochs=4)


def test_a_level_that_is_met_between_two_evaluations_is_met_anywhere_between() -> None:
    small = tuple(climbing(16, seed, to=0.9, within=2.0) for seed in range(3))
    large = tuple(climbing(1024, seed, to=0.9, within=3.0) for seed in range(3))

    found = time_to_level({16: small, 1024: large}, STEP_S)

    # After one epoch and at two of 256 steps; after two and at three of four.
    assert found.low == pytest.approx((2 * 4 * 0.004) / (2 * 256 * 0.001))
    assert found.high == pytest.approx((3 * 4 * 0.004) / (1 * 256 * 0.001))
    assert found.low < (found.estimate or 0.0) < found.high


def test_a_level_that_was_there_at_the_first_look_bounds_nothing_from_above() -> None:
    # One seed of three was there after one epoch, and may have been there after one step.
    small = tuple(climbing(16, seed, to=0.9, within=1.0 + (seed > 0)) for seed in range(3))
    large = tuple(climbing(1024, seed, to=0.9, within=3.0) for seed in range(3))

    found = time_to_level({16: small, 1024: large}, STEP_S)

    assert found.high is None
    assert found.low is not None


def losing(batch_size: int, seed: int, *, loss: float, epochs: int) -> TrialRecord:
    trial = made_up_trial(batch_size=batch_size, seed=seed)
    curve = {("train", "loss"): lambda epoch: loss + 0.001 * seed}
    return made_up_record(trial=trial, curves=cast(Any, curve), epochs=epochs)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 0.1), (64, None)])
def test_training_losses_are_compared_after_as_many_examples(
    epochs: int, expected: float | None
) -> None:
    small = tuple(losing(16, seed, loss=0.3, epochs=1) for seed in range(3))
    large = tuple(losing(1024, seed, loss=0.4, epochs=epochs) for seed in range(3))

    found = loss_left(large, beside=small).estimate

    assert found == (None if expected is None else pytest.approx(expected))


def ending(batch_size: int, rate: float, seed: int, accuracy: float) -> TrialRecord:
    trial = made_up_trial(batch_size=batch_size, learning_rate=rate, seed=seed)
    curve = {("test", "accuracy"): lambda epoch: accuracy}
    return made_up_record(trial=trial, curves=cast(Any, curve), epochs=1)


def study_of(records: list[TrialRecord], **fields: Any) -> Study:
    return cast(Study, SimpleNamespace(records=tuple(records), **fields))


def test_the_open_settings_are_held_to_all_three_accuracies(monkeypatch: Any) -> None:
    def study(small: float, large: float, raised: float) -> Study:
        ends = ((64, 0.01, small), (1024, 0.01, large), (1024, 0.1, raised), (64, 0.1, 0.5))
        return study_of(
            [
                ending(size, rate, seed, accuracy + 0.001 * seed)
                for size, rate, accuracy in ends
                for seed in range(4)
            ]
        )

    two_of_three, each_a_point_off = (0.0, "torch", "unit"), (0.9, "torch", "unit")
    monkeypatch.setattr(shen2018, "_OPEN", (two_of_three, each_a_point_off))
    numbers = shen2018.measured(
        {
            "momentum 0, torch, unit": study(0.98, 0.90, 0.98),
            "momentum 0.9, torch, unit": study(0.97, 0.95, 0.97),
            "Adam": study(0.97, 0.95, 0.97),
        }
    )

    # The second is nearest for seeds 0 and 2; seeds 1 and 3 judge it.
    assert numbers["three"].estimate == pytest.approx((0.009 + 0.007) / 2)
    apart = numbers["small less large; momentum 0, torch, unit"]
    assert apart.estimate == pytest.approx(0.08)
    assert numbers["tiny"].estimate is None


GOAL = Target(metric="accuracy", value=0.96, better="higher")


def at_goal(
    seed: int, *, size: int = 2048, rate: float = 0.1, within: float = 2.0, to: float = 0.98
) -> TrialRecord:
    """Train to a goal that is reached after about `within` epochs, if `to` lies above it."""
    trial = made_up_trial(
        batch_size=size, learning_rate=rate, seed=seed, n_train=50_000, workload="perceptron"
    )
    curve = {("validation", "accuracy"): lambda epoch: to * min(1.0, epoch / within)}
    return made_up_record(trial=trial, curves=cast(Any, curve), epochs=60, target=GOAL)


def ruled(*records: TrialRecord) -> Study:
    return study_of([*records], workload=SimpleNamespace(name="perceptron"))


def test_a_rule_that_never_reaches_the_goal_has_only_a_lower_bound() -> None:
    tuned = steps_to_target(tuple(at_goal(seed, within=2.0 + 0.5 * seed) for seed in range(4)))
    never = cost_of_rule(ruled(*(at_goal(seed, to=0.9) for seed in range(4))), tuned)
    late = cost_of_rule(ruled(*(at_goal(seed, within=20.0) for seed in range(4))), tuned)
    one_never = cost_of_rule(
        ruled(*(at_goal(seed, within=20.0, to=0.9 if seed == 3 else 0.98) for seed in range(4))),
        tuned,
    )

    assert late.estimate is not None
    assert late.high is not None
    for bound in (never, one_never):
        assert (bound.estimate, bound.high) == (None, None)
        assert bound.low is not None
        assert number_text(bound) == f"at least {bound.low:.4g}"
    # 60 epochs of 25 steps over at most some 90 tuned steps.
    assert never.low is not None
    assert 1 < never.low < 60 * 25 / min(tuned.values())


def test_a_rate_is_chosen_by_even_seeds_and_judged_by_odd_ones() -> None:
    """On the odd seeds the rate 0.1 is the slow one."""
    study = study_of(
        [
            at_goal(seed, rate=rate, within=4.0 if (seed % 2 == 0) is (rate == 0.2) else 2.0)
            for seed in range(6)
            for rate in (0.1, 0.2)
        ],
        batch_sizes=(2048,),
    )

    best = at_best_rate(study)

    assert [(r.trial.seed, r.trial.learning_rate) for r in best] == [(1, 0.1), (3, 0.1), (5, 0.1)]
    assert min(steps_to_target(best).values()) > 60


def test_the_law_of_steps_needs_three_batch_sizes() -> None:
    def study(size: int) -> Study:
        within = 10 + size / 100
        return study_of(
            [at_goal(seed, size=size, within=within) for seed in range(6)], batch_sizes=(size,)
        )

    exponent, b_crit = law_of_steps(map(study, (64, 256, 1024, 4096)))

    assert exponent.estimate == pytest.approx(1.0, abs=0.1)
    assert b_crit.estimate == pytest.approx(1000, rel=0.1)
    assert law_of_steps(map(study, (64, 256)))[1].estimate is None


def test_the_published_numbers_of_updates_follow_from_the_schedule() -> None:
    arms = (smith2018._ORIGINAL, smith2018._GROWING, smith2018._HIGHER, smith2018._MOMENTUM)

    assert [smith2018.updates(arm) for arm in arms] == [78_200, 29_240, 6_500, 2_360]


def test_a_power_law_of_memory_has_its_exponent() -> None:
    peaks: dict[int, int | None] = {n: 1000 + round(50 * n**1.5) for n in (2, 16, 64, 256, 1024)}
    peaks[1] = 1000

    assert memory_exponent(peaks).estimate == pytest.approx(1.5, rel=1e-3)
    assert memory_exponent(peaks | {64: None}).estimate is None


def test_a_process_that_scatters_leaves_the_power_to_large_batches() -> None:
    """Batch size 1 took more than 16: what a process needs scatters by a megabyte."""
    scatter = {1: 900_000, 2: -700_000, 16: 0, 64: 300_000, 256: -100_000, 1024: 200_000}
    peaks = {n: 300_000_000 + 20_000 * n + more for n, more in scatter.items()}

    known = memory_exponent(peaks)

    assert known.low is not None
    assert known.high is not None
    assert 0.6 < known.low < 1 < known.high < 1.4


def test_memory_that_does_not_grow_has_no_power() -> None:
    assert memory_exponent(dict.fromkeys((1, 2, 16, 64, 256, 1024), 1000)).estimate is None


@pytest.mark.parametrize(("power", "is_log"), [(None, True), (0.5, False)])
def test_the_law_of_a_distance_is_the_one_that_fits(power: float | None, is_log: bool) -> None:
    steps = [round(100 * 1.2**i) for i in range(20)]
    evaluations = [
        SimpleNamespace(
            step=step,
            measurement={"distance": 3.0 + i if power is None else float(step**power)}.get,
        )
        for i, step in enumerate(steps)
    ]
    record = cast(Any, SimpleNamespace(steps=steps[-1] * 5, evaluations=evaluations))

    found = error_of_log_less_power(record)

    assert found is not None
    assert (found < 0) is is_log
