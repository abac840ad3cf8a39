"""Cadence: evaluations at the same samples for every batch size, near enough to each other."""

import random
from itertools import accumulate, islice, pairwise

import pytest
from tests.reference.batch_plan import Rule, WalkedBatchPlan

from batchlab.plans.cadence import Pause, n_pauses, pauses, with_every_epoch_end
from batchlab.records.batch_plan import BatchPlan

# The epochs at whose ends train and test are evaluated too: half as many again each time.
ON_ALL_SPLITS = (1, 2, 3, 5, 8, 12, 18, 27, 41, 62, 93, 140)


def marks_up_to(n_train: int, samples: float) -> list[float]:
    """N/64, 2N/64, ... and, once 5 % of the samples are more than that, each 5 % above the last."""
    marks = [n_train / 64]
    while marks[-1] < samples:
        marks.append(marks[-1] + max(n_train / 64, 0.05 * marks[-1]))
    return marks


def pauses_by_walking(plan: WalkedBatchPlan, last_step: int) -> list[Pause]:
    """Every pause of a run of up to 200 epochs, after which epoch ends are thinned."""
    n_train, walked = plan.n_train, list(islice(plan.walk(), last_step + 1))
    epoch_ends = [here.step for here in walked if here.step_of_epoch == 0 and here.step]
    done = list(accumulate((here.batch_size for here in walked), initial=0))
    marks = marks_up_to(n_train, done[-1])
    pauses, last_mark = [], 0
    for step in range(1, last_step + 1):
        passes_a_mark = any(done[step - 1] < mark <= done[step] for mark in marks)
        next_is_too_far = (
            done[last_mark] >= n_train * 20 / 64
            and step > last_mark
            and done[last_mark] < 0.95 * done[step + 1]
        )
        if passes_a_mark or next_is_too_far:
            last_mark = step
        if step in (last_mark, last_step, *epoch_ends):
            whole = step in epoch_ends and epoch_ends.index(step) + 1 in ON_ALL_SPLITS
            pauses.append(Pause(step=step, all_splits=whole or step == last_step))
    return pauses


# (N, B): one example, ragged, dividing, over half, all but one, all of them.
CONFIGURATIONS = [
    (n, batch_size)
    for n in (1, 7, 100, 640, 1000)
    for batch_size in (1, 3, 10, 33, n // 30, n // 2 + 1, n - 1, n)
    if 1 <= batch_size <= n
]
N_GROWING = 60
CHANGING: list[Rule] = [
    lambda step, samples: min(N_GROWING, 2 ** (step // 7)),  # also in the middle of an epoch
    lambda step, samples: min(N_GROWING, 3 + step),
    lambda step, samples: max(1, N_GROWING // (step + 1)),  # full at first, then smaller
    *(lambda step, _, seed=seed: random.Random(f"{seed} {step}").randint(1, 60) for seed in (0, 1)),
]


def plan_of(n: int, batch_size: int, *, drop_last: bool = False) -> BatchPlan:
    return BatchPlan(n_train=n, batch_size=batch_size, drop_last=drop_last)


def all_pauses(plan: BatchPlan, *, epochs: int, **settings: int) -> list[Pause]:
    return list(pauses(plan, last_step=plan.steps_in(epochs), **settings))


@pytest.mark.slow
@pytest.mark.parametrize("drop_last", [False, True])
def test_the_pauses_are_those_found_by_walking_every_step(drop_last):
    for n, size in CONFIGURATIONS:
        plan = plan_of(n, size, drop_last=drop_last)
        walked = WalkedBatchPlan(n_train=n, wanted=lambda *_, size=size: size, drop_last=drop_last)
        assert all_pauses(plan, epochs=7) == pauses_by_walking(walked, plan.steps_in(7)), (n, size)
    for wanted in CHANGING:
        growing = WalkedBatchPlan(n_train=N_GROWING, wanted=wanted, drop_last=drop_last)
        assert list(pauses(growing, last_step=40)) == pauses_by_walking(growing, 40)


def test_where_a_run_is_watched_the_pauses_are_those_of_every_run():
    for n, batch_size in CONFIGURATIONS:
        plan = plan_of(n, batch_size)
        everything = set(all_pauses(plan, epochs=9))
        needed = {p for p in everything if p.all_splits or plan.samples_at(p.step) >= 4 * n}
        assert needed <= set(all_pauses(plan, epochs=9, watched_from_samples=4 * n)) <= everything


@pytest.mark.parametrize("interval_samples", [1, 50, 640, 3000])
@pytest.mark.parametrize(("n", "batch_size"), [(640, 3), (640, 33), (50_000, 64), (1600, 32)])
def test_with_an_interval_no_two_pauses_but_the_last_are_nearer(n, batch_size, interval_samples):
    plan = plan_of(n, batch_size)
    everything = all_pauses(plan, epochs=9)

    some = all_pauses(plan, epochs=9, interval_samples=interval_samples)

    assert set(some) <= set(everything)
    assert some[-1] == everything[-1]
    for before, here in pairwise([0, *(plan.samples_at(pause.step) for pause in some[:-1])]):
        # Where the marks lie further apart than the interval all of them are left.
        spacing = max(n / 64, 0.05 * here) + batch_size
        assert interval_samples <= here - before <= 2 * interval_samples + spacing


@pytest.mark.parametrize(("interval_samples", "every"), [(200, 1), (640, 1), (1000, 2)])
def test_an_interval_leaves_epoch_ends_rather_than_the_marks_before_them(interval_samples, every):
    some = all_pauses(plan_of(640, 10), epochs=9, interval_samples=interval_samples)

    ends = [pause.step // 64 for pause in some if pause.step % 64 == 0]
    assert ends == [*range(every, 9, every), 9]


@pytest.mark.parametrize("interval_samples", [0, 25])
@pytest.mark.parametrize("watched_from_samples", [0, 150, 10_000])
def test_pauses_are_counted_by_what_is_evaluated_and_a_resumed_run_has_those_that_are_left(
    watched_from_samples, interval_samples
):
    plan = plan_of(100, 4)
    settings = {"watched_from_samples": watched_from_samples, "interval_samples": interval_samples}
    everything = all_pauses(plan, epochs=7, **settings)

    on_all = [pause.all_splits for pause in everything]
    assert on_all.count(True) == 5  # epochs 1, 2, 3, 5 and the last
    counts = n_pauses(plan, 175, watched_from_samples, interval_samples)
    assert counts == (on_all.count(False), 5)
    assert n_pauses(plan, 0) == (0, 0)
    for after_step in (0, 1, 5, 24, 25, 26, 74, 75):
        rest = all_pauses(plan, epochs=7, after_step=after_step, **settings)
        assert rest == [pause for pause in everything if pause.step > after_step]


def test_every_epoch_end_is_a_pause_at_first_and_one_in_a_hundred_of_those_done_later():
    steps = [pause.step for pause in all_pauses(plan_of(10, 5), epochs=1000)]

    ends = [step // 2 for step in steps if step % 2 == 0]
    assert ends[:200] == list(range(1, 201))
    assert {*range(200, 300, 2), *range(300, 400, 3), 1000} <= set(ends)
    marks = [step for step in steps if step > 400 and step % 2]
    assert len(steps) < 400 + 330 + 2 * len(marks)


@pytest.mark.parametrize("after_step", [0, 3, 5, 12])
def test_every_epoch_end_can_be_a_pause_among_the_others(after_step):
    plan = plan_of(40, 8)
    usual = list(pauses(plan, last_step=33, after_step=after_step, interval_samples=120))

    every = list(with_every_epoch_end(iter(usual), plan, after_step=after_step))

    ends = [step for step in (5, 10, 15, 20, 25, 30) if step > after_step]
    assert [pause.step for pause in every] == sorted({*ends, *(pause.step for pause in usual)})
    assert [pause for pause in every if pause in usual] == usual
    assert len(every) > len(usual)
