"""Plans: what they are made of, what they are for given data, and what is refused."""

import pytest
import torch
from tests.reference.least_squares import optimum

from batchlab import plans
from batchlab.errors import UsageError
from batchlab.plans import Milestone, Plan
from batchlab.workload.loading import load_workload


def sizes_by_step(plan: Plan, n_train: int) -> list[int]:
    for_data = plan.for_data(n_train)
    return [for_data.batch_size_at(step) for step in range(for_data.steps_in(plan.epochs))]


PLACES = {"fraction": 0.5, "epochs": 2, "steps": 20, "samples": 200}
BY_STEPS = plans.steps(8, {27: 32, 30: 16}, unit="steps", epochs=3)


@pytest.mark.parametrize(
    ("plan", "n_train", "sizes"),
    [
        # The last batch of each epoch has 5 examples.
        (BY_STEPS, 197, [8] * 24 + [5, 8, 8] + [32] * 3 + [16] * 5 + [5] + [16] * 12 + [5]),
        *(
            (plans.steps(10, {place: 50}, unit=unit, epochs=4), 100, [10] * 20 + [50] * 4)
            for unit, place in PLACES.items()
        ),
        (plans.constant(30, epochs=2), 100, [30, 30, 30, 10] * 2),
        (plans.constant(10, epochs=1.5), 40, [10] * 6),  # a part of an epoch ends the run
    ],
)
def test_a_plan_takes_the_steps_that_counting_by_hand_gives(plan, n_train, sizes):
    assert sizes_by_step(plan, n_train) == sizes


HALVED = Milestone(at=1, batch_size=40, rate_factor=0.5)  # by its rule a step has twice the rate


@pytest.mark.parametrize(("plan", "milestones"), [
    # It doubles from its start to the size within its part.
    # The rate over the size is that of the schedule.
    (plans.instead_of_decay(128, (0.3, 0.6, 0.8), factor=5, cap=1000, epochs=200),
     [(60, 640, 1.0), (120, 1000, 0.3125), (160, 1000, 0.0625)]),
])  # fmt: skip
def test_a_rule_gives_these_milestones(plan, milestones):
    found = [(m.at, m.batch_size, m.rate_factor) for m in plan.milestones]

    assert found == [pytest.approx(milestone) for milestone in milestones]


@pytest.mark.parametrize(("first", "n_steps"), [(128, [29240, 29040]), (640, [6500, 6300])])
def test_its_updates_are_those_of_the_published_counts(first, n_steps):
    # Smith et al. 2018: 50,000 examples, 200 epochs, cuts by 5 at 60, 120 and 160, cap 5120.
    plan = plans.instead_of_decay(first, (0.3, 0.6, 0.8), cap=5120, epochs=200)

    counts = [plan.for_data(50_000, drop_last=only).steps_in(200) for only in (False, True)]
    assert counts == n_steps


def test_constraints_change_sizes():
    plan = plans.steps(30, {0.25: 50, 0.5: 100, 0.75: 200}, epochs=4)

    assert plan.capped(100).sizes == (30, 50, 100, 100)
    assert plan.divisible_by(16).sizes == (16, 48, 96, 192)
    assert plan.divisible_by(64).sizes == (64, 64, 64, 192)
    plan = Plan(epochs=2, batch_size=10, milestones=(HALVED,), scaling_rule="sqrt")
    assert [plan.for_data(40).stage_at(step).rate_factor for step in (3, 4)] == [1.0, 1.0]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: plans.constant(0, epochs=3), "batch size 0 in a plan"),
    (lambda: plans.constant(8, epochs=0), "epochs 0 in a plan: expected a number above 0"),
    (lambda: plans.steps(8, {"0.3": 16}, epochs=3), "milestone '0.3'"),
    (lambda: plans.steps(8, {0.6: 16, 0.3: 32}, epochs=3), "give milestones in order"),
    (lambda: plans.steps(8, {1.0: 16}, epochs=3), "it would never come"),
    (lambda: plans.steps(8, {0.5: 16}, epochs=3, unit="hours"), "unit 'hours'"),
    (lambda: plans.instead_of_decay(64, (0.5,), cap=32, epochs=3), "cap=32 is below"),
    (lambda: Plan(epochs=3, batch_size=8, scaling_rule="cubic"), "expected one of none"),
    (lambda: plans.constant(101, epochs=3).for_data(100), r"plan.capped\(100\)"),
    (lambda: plans.steps(8, {90: 16}, unit="steps", epochs=3).for_data(16), "90 steps never comes"),
])  # fmt: skip
def test_what_no_data_could_be_trained_by_is_refused_in_one_line(make, message):
    with pytest.raises(UsageError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def excess_losses(plan: Plan, *, n: int) -> torch.Tensor:
    """Where `n` trainings of a plan end above the least loss of the least squares."""
    settings = {"n": 256, "dimension": 4, "condition_number": 4.0}
    x, y = load_workload("least-squares", settings).workload.train
    draw = torch.Generator().manual_seed(0)
    weights = torch.zeros(n, x.shape[1], dtype=x.dtype)
    for size in sizes_by_step(plan, 256):
        seen, wanted = x.expand(n, -1, -1), y.expand(n, -1)
        if size < 256:  # with replacement
            places = torch.randint(256, (n, size), generator=draw)
            seen, wanted = x[places], y[places]
        residuals = torch.einsum("nbd,nd->nb", seen, weights) - wanted
        weights -= 0.3 * torch.einsum("nbd,nb->nd", seen, residuals) / size
    residuals = weights @ x.T - y
    return residuals.square().mean(1) / 2 - optimum(x, y).loss


def test_grown_to_the_full_batch_it_gets_to_the_optimum_as_the_full_batch_does():
    full = excess_losses(plans.constant(256, epochs=200), n=1)
    small = excess_losses(plans.constant(4, epochs=4), n=50)

    grown = excess_losses(plans.steps(4, {4: 64, 8: 256}, unit="epochs", epochs=208), n=50)

    assert float(full) < 1e-6 * float(small.mean())
    assert float(grown.max()) < 10 * float(full)
