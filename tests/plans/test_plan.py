"""Plans: what they are made of, what they are for given data, and what is refused."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from tests.reference.batch_plan import WalkedBatchPlan
from tests.reference.made_up_advice import made_up_advice

from batchlab import plans
from batchlab.errors import UsageError
from batchlab.plans import Milestone, Plan


def sizes_by_step(plan: Plan, n_train: int, *, drop_last: bool = False) -> list[int]:
    for_data = plan.for_data(n_train, drop_last=drop_last)
    return [for_data.batch_size_at(step) for step in range(for_data.steps_in(plan.epochs))]


def rates_by_part(plan: Plan) -> list[tuple[int, float]]:
    return [(m.batch_size, pytest.approx(m.rate_factor)) for m in plan.milestones]


def test_growing_at_a_step_takes_the_steps_that_counting_by_hand_gives() -> None:
    plan = plans.steps(8, {25: 32}, unit="steps", epochs=3)

    found = sizes_by_step(plan, 200)

    assert found == [8] * 25 + [32] * 6 + [8] + [32] * 6 + [8]
    assert len(found) == 39
    assert sum(found) == 600


@pytest.mark.parametrize(
    ("unit", "place"),
    [("fraction", 0.5), ("epochs", 2), ("steps", 20), ("samples", 200), ("tokens", 3200)],
)
def test_one_place_in_any_unit_is_the_same_plan_for_the_data(unit: str, place: float) -> None:
    tokens = 16.0 if unit == "tokens" else None
    times = 16 if unit == "tokens" else 1

    plan = plans.steps(
        10 * times, {place: 50 * times}, unit=unit, epochs=4, tokens_per_example=tokens
    )

    assert sizes_by_step(plan, 100) == [10] * 20 + [50] * 4


def test_a_constant_plan_is_the_constant_batch_plan() -> None:
    assert sizes_by_step(plans.constant(30, epochs=2), 100) == [30, 30, 30, 10] * 2
    assert sizes_by_step(plans.constant(30, epochs=2), 100, drop_last=True) == [30, 30, 30] * 2


def test_a_part_of_an_epoch_ends_the_run() -> None:
    assert sizes_by_step(plans.constant(10, epochs=1.5), 40) == [10] * 6


def test_geometric_growth_stops_at_its_cap() -> None:
    plan = plans.geometric(8, factor=2, every=0.25, cap=20, epochs=4)

    assert rates_by_part(plan) == [(16, 1), (20, 1)]
    assert [m.at for m in plan.milestones] == [1.0, 2.0]


def test_a_warm_up_doubles_from_its_start_to_the_size_within_its_part() -> None:
    plan = plans.warm_up(100, start=16, part=0.3, epochs=10)

    assert plan.sizes == (16, 32, 64, 100)
    assert [m.at for m in plan.milestones] == pytest.approx([1, 2, 3])


def test_instead_of_decay_keeps_rate_over_size_that_of_the_schedule() -> None:
    plan = plans.instead_of_decay(128, (0.3, 0.6, 0.8), factor=5, cap=1000, epochs=200)

    assert rates_by_part(plan) == [(640, 1.0), (1000, 0.3125), (1000, 0.0625)]
    for n, milestone in enumerate(plan.milestones, start=1):
        assert milestone.rate_factor * 128 / milestone.batch_size == pytest.approx(5.0**-n)


def test_its_updates_are_those_of_the_published_counts() -> None:
    # Smith et al. 2018: 50,000 examples, 200 epochs, cuts by 5 at 60, 120 and 160, cap 5120.
    decays = (0.3, 0.6, 0.8)
    increasing = plans.instead_of_decay(128, decays, cap=5120, epochs=200)
    large = plans.instead_of_decay(640, decays, cap=5120, epochs=200)

    assert len(sizes_by_step(increasing, 50_000)) == 29240
    assert len(sizes_by_step(large, 50_000)) == 6500
    assert len(sizes_by_step(increasing, 50_000, drop_last=True)) == 29040
    assert len(sizes_by_step(large, 50_000, drop_last=True)) == 6300


def test_seesaw_moves_the_rate_by_the_root_where_the_size_takes_the_rest() -> None:
    plan = plans.seesaw(64, (0.25, 0.5, 0.75), factor=2, cap=256, epochs=8)

    root = 2**-0.5
    assert rates_by_part(plan) == [(128, root), (256, 0.5), (256, 0.25)]


def test_a_measured_noise_scale_becomes_doublings_between_bounds_that_never_fall() -> None:
    seen = {0.0: 40.0, 0.2: 90.0, 0.4: 70.0, 0.5: math.nan, 0.6: 520.0, 0.8: 10_000.0}

    plan = plans.from_noise_scale(seen, least=32, most=1024, epochs=10)

    assert plan.sizes == (32, 64, 512, 1024)
    assert [m.at for m in plan.milestones] == [2.0, 6.0, 8.0]


def test_a_rule_moves_the_rate_with_the_size() -> None:
    plan = Plan(
        epochs=2,
        batch_size=10,
        milestones=(Milestone(at=1, batch_size=40, rate_factor=0.5),),
        scaling_rule="sqrt",
    )

    assert plan.for_data(40).stage_at(4).rate_factor == 1.0  # 0.5 × √4
    assert plan.for_data(40).stage_at(3).rate_factor == 1.0


def test_constraints_change_sizes_and_drop_what_they_make_alike() -> None:
    plan = plans.steps(30, {0.25: 50, 0.5: 100, 0.75: 200}, epochs=4)

    assert plan.capped(100).sizes == (30, 50, 100)
    assert plan.divisible_by(16).sizes == (16, 48, 96, 192)
    assert plan.divisible_by(64).sizes == (64, 192)


def test_a_plan_after_a_plan_goes_on_with_its_rate() -> None:
    first = plans.instead_of_decay(10, (0.5,), factor=2, cap=10, epochs=4)

    plan = first.then(plans.steps(40, {0.5: 80}, epochs=2))

    assert plan.epochs == 6
    assert [(m.at, m.batch_size, m.rate_factor) for m in plan.milestones] == [
        (2.0, 10, 0.5),
        (4, 40, 0.5),
        (5.0, 80, 0.5),
    ]


def test_an_advice_gives_the_plan_of_what_it_names(tmp_path: Path) -> None:
    advice = made_up_advice()
    (tmp_path / "advice.json").write_text(json.dumps(advice.to_dict()))

    plan = plans.from_advice(tmp_path / "advice.json", epochs=10)

    assert plans.from_advice(advice, epochs=10) == plan
    named = advice.recommendation
    assert plan == Plan(
        epochs=10,
        batch_size=named.batch_size,
        learning_rate=named.learning_rate,
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ("{", "this is no advice"),
        ("[]", "this is no advice"),
        ('{"recommendation": null, "provisional": null}', "names nothing"),
    ],
)
def test_what_is_no_advice_is_refused_in_one_line(
    tmp_path: Path, content: str | None, told: str
) -> None:
    path = tmp_path / "advice.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(UsageError, match=told) as refused:
        plans.from_advice(path, epochs=10)
    assert "\n" not in str(refused.value)


def test_it_is_its_own_json() -> None:
    plan = plans.steps(64, {0.3: 256}, epochs=10)

    assert Plan.from_json(plan.to_json()) == plan
    of_numpy = plans.steps(np.int64(64), {np.float64(0.3): np.int64(256)}, epochs=np.int32(10))
    assert of_numpy.to_json() == plan.to_json()
    with pytest.raises(UsageError, match="this is no plan"):
        Plan.from_json('{"epochs": 3}')


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: plans.constant(0, epochs=3), "batch size 0 in a plan"),
        (lambda: plans.constant(8, epochs=0), "epochs 0 in a plan: expected a number above 0"),
        (lambda: plans.constant(8, epochs="3"), "epochs '3'"),
        (lambda: plans.constant(True, epochs=3), "batch size True"),
        (lambda: plans.steps(8, {"0.3": 16}, epochs=3), "milestone '0.3'"),
        (lambda: plans.steps(8, {0.3: 16.0}, epochs=3), "batch size 16.0"),
        (lambda: plans.steps(8, {1.5: 16}, unit="steps", epochs=3), "milestone 1.5"),
        (lambda: plans.constant(8, epochs=3).divisible_by(0), "part 0"),
        (lambda: plans.warm_up(64, start=0, epochs=3), "start 0"),
        (lambda: plans.steps(8, {0.6: 16, 0.3: 32}, epochs=3), "give milestones in order"),
        (lambda: plans.steps(8, {0: 16}, epochs=3), "milestone 0 in a plan"),
        (lambda: plans.steps(8, {1.0: 16}, epochs=3), "it would never come"),
        (lambda: plans.steps(8, {0.5: 16}, epochs=3, unit="hours"), "unit 'hours'"),
        (lambda: plans.steps(8, {9: 16}, epochs=3, unit="tokens"), "tokens_per_example"),
        (lambda: plans.geometric(64, cap=32, epochs=3), "cap=32 is below"),
        (lambda: plans.geometric(64, cap=128, factor=1, epochs=3), "factor above 1"),
        (lambda: plans.instead_of_decay(64, (0.5,), cap=32, epochs=3), "cap=32 is below"),
        (lambda: plans.warm_up(64, start=128, epochs=3), "start=128 is above"),
        (lambda: Plan(epochs=3, batch_size=8, scaling_rule="cubic"), "expected one of none"),
        (lambda: Plan(epochs=3, batch_size=8, learning_rate=0.0), "learning rate 0.0"),
        (lambda: plans.constant(101, epochs=3).for_data(100), r"plan.capped\(100\)"),
        (
            lambda: plans.steps(10, {90: 20}, unit="steps", epochs=3).for_data(100),
            "at 90 steps never comes",
        ),
        (
            lambda: plans.steps(8, {3: 16}, unit="steps", epochs=3).then(
                plans.constant(8, epochs=1)
            ),
            "milestones in epochs",
        ),
    ],
)
def test_what_no_data_could_be_trained_by_is_refused_in_one_line(make, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("seed", range(20))
def test_steps_at_steps_are_the_walk_that_changes_there(seed: int) -> None:
    draw = random.Random(seed)
    n = draw.randint(5, 60)
    places = sorted(draw.sample(range(1, 3 * n), 3))
    sizes = [draw.randint(1, max(1, n // 3)) for _ in range(4)]

    def wanted(step: int, samples: int) -> int:
        return sizes[sum(place <= step for place in places)]

    plan = plans.steps(sizes[0], dict(zip(places, sizes[1:], strict=True)), unit="steps", epochs=99)
    walked = WalkedBatchPlan(n_train=n, wanted=wanted, drop_last=False)

    found = sizes_by_step(plan, n)[: 4 * n]

    assert found == [here.batch_size for here, _ in zip(walked.walk(), found, strict=False)]
