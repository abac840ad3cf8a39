"""Cadence: evaluations at the same samples for every batch size, near enough to each other."""

import random
from itertools import islice, pairwise

import pytest
from tests.reference.batch_plan import Rule, WalkedBatchPlan

from batchlab.plans.cadence import Pause, n_pauses, pauses, with_every_epoch_end
from batchlab.records.batch_plan import BatchPlan

# The epochs at whose ends train and test are evaluated too: half as many again each time.
ON_ALL_SPLITS = (1, 2, 3, 5, 8, 12, 18, 27, 41, 62, 93, 140)


def epoch_steps(n_train: int, batch_size: int, *, drop_last: bool = False) -> int:
    return n_train // batch_size if drop_last else -(-n_train // batch_size)


def marks_up_to(n_train: int, samples: float) -> list[float]:
    """N/64, 2N/64, ... and, once 5 % of the samples are more than that, each 5 % above the last."""
    marks = [n_train / 64]
    while marks[-1] < samples:
        marks.append(marks[-1] + max(n_train / 64, 0.05 * marks[-1]))
    return marks


def pauses_by_walking(plan: WalkedBatchPlan, last_step: int) -> list[tuple[int, bool]]:
    """(step, whether on all splits) of every pause, for runs of up to 200 epochs."""
    n_train, walked = plan.n_train, list(islice(plan.walk(), last_step + 1))
    epoch_ends = [here.step for here in walked if here.step_of_epoch == 0 and here.step]
    assert len(epoch_ends) <= 200, "epoch ends are thinned after that"
    done = [0]
    for here in walked:
        done.append(done[-1] + here.batch_size)
    marks = marks_up_to(n_train, done[-1])
    pauses = []
    last_mark = 0
    for step in range(1, last_step + 1):
        passes_a_mark = any(done[step - 1] < mark <= done[step] for mark in marks)
        next_is_too_far = (
            done[last_mark] >= n_train * 20 / 64
            and step > last_mark
            and done[last_mark] < 0.95 * done[step + 1]
        )
        if passes_a_mark or next_is_too_far:
            last_mark = step
        if step in (last_mark, last_step) or step in epoch_ends:
            whole = step in epoch_ends and epoch_ends.index(step) + 1 in ON_ALL_SPLITS
            pauses.append((step, whole or step == last_step))
    return pauses


# (N, B): one example, ragged, dividing, over half, all but one, all of them.
CONFIGURATIONS = [
    (n, batch_size)
    for n in (1, 7, 100, 640, 1000)
    for batch_size in (1, 3, 10, 33, n // 30, n // 2 + 1, n - 1, n)
    if 1 <= batch_size <= n
]


def all_pauses(
    n: int, batch_size: int, *, epochs: int, drop_last: bool = False, **given: int
) -> list[Pause]:
    plan = BatchPlan(n_train=n, batch_size=batch_size, drop_last=drop_last)
    last_step = epochs * epoch_steps(n, batch_size, drop_last=drop_last)
    return list(pauses(plan, last_step=last_step, **given))


def samples_after(n: int, batch_size: int, step: int) -> int:
    epochs, rest = divmod(step, epoch_steps(n, batch_size))
    return epochs * n + min(n, rest * batch_size)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("n", "batch_size"), CONFIGURATIONS)
def test_the_pauses_are_those_found_by_walking_every_step(
    n: int, batch_size: int, drop_last: bool
) -> None:
    found = all_pauses(n, batch_size, epochs=7, drop_last=drop_last)

    plan = WalkedBatchPlan(n_train=n, wanted=lambda *_: batch_size, drop_last=drop_last)
    expected = pauses_by_walking(plan, 7 * epoch_steps(n, batch_size, drop_last=drop_last))
    assert [(pause.step, pause.all_splits) for pause in found] == expected


@pytest.mark.parametrize(("n", "batch_size"), CONFIGURATIONS)
def test_where_a_run_is_watched_the_pauses_are_those_of_every_run(n: int, batch_size: int) -> None:
    everything = all_pauses(n, batch_size, epochs=9)

    found = all_pauses(n, batch_size, epochs=9, watched_from_samples=4 * n)

    def watched(pauses: list[Pause]) -> list[Pause]:
        return [p for p in pauses if samples_after(n, batch_size, p.step) >= 4 * n]

    assert watched(found) == watched(everything)
    assert set(found) <= set(everything)
    assert [p for p in found if p.all_splits] == [p for p in everything if p.all_splits]


@pytest.mark.parametrize("interval_samples", [1, 50, 640, 3000])
@pytest.mark.parametrize(("n", "batch_size"), [(640, 3), (640, 33), (50_000, 64), (1600, 32)])
def test_with_an_interval_no_two_pauses_but_the_last_are_nearer(
    n: int, batch_size: int, interval_samples: int
) -> None:
    everything = all_pauses(n, batch_size, epochs=9)

    found = all_pauses(n, batch_size, epochs=9, interval_samples=interval_samples)

    assert set(found) <= set(everything)
    assert found[-1] == everything[-1]
    samples = [0, *(samples_after(n, batch_size, pause.step) for pause in found)]
    for before, here in pairwise(samples[:-1]):
        # Where the marks lie further apart than the interval all of them are left.
        spacing = max(n / 64, 0.05 * here) + batch_size
        assert interval_samples <= here - before <= 2 * interval_samples + spacing


@pytest.mark.parametrize(("interval_samples", "every"), [(200, 1), (640, 1), (1000, 2)])
def test_an_interval_leaves_epoch_ends_rather_than_the_marks_before_them(
    interval_samples: int, every: int
) -> None:
    found = all_pauses(640, 10, epochs=9, interval_samples=interval_samples)

    ends = [pause.step // 64 for pause in found if pause.step % 64 == 0]
    assert ends == [*range(every, 9, every), 9]


@pytest.mark.parametrize("interval_samples", [0, 25])
@pytest.mark.parametrize("watched_from_samples", [0, 150, 10_000])
def test_pauses_are_counted_by_what_is_evaluated(
    watched_from_samples: int, interval_samples: int
) -> None:
    found = all_pauses(
        100,
        10,
        epochs=7,
        watched_from_samples=watched_from_samples,
        interval_samples=interval_samples,
    )

    plan = BatchPlan(n_train=100, batch_size=10, drop_last=False)
    validation, whole = n_pauses(plan, 70, watched_from_samples, interval_samples)
    assert validation == sum(not pause.all_splits for pause in found)
    assert whole == sum(pause.all_splits for pause in found) == 5  # epochs 1, 2, 3, 5 and the last
    assert n_pauses(plan, 0) == (0, 0)


@pytest.mark.parametrize("interval_samples", [0, 25])
@pytest.mark.parametrize("watched_from_samples", [0, 150, 10_000])
@pytest.mark.parametrize("after_step", [0, 1, 5, 24, 25, 26, 74, 75])
def test_a_run_taken_up_again_has_the_pauses_that_were_left(
    after_step: int, watched_from_samples: int, interval_samples: int
) -> None:
    watched = {"watched_from_samples": watched_from_samples, "interval_samples": interval_samples}
    everything = all_pauses(100, 4, epochs=3, **watched)

    rest = all_pauses(100, 4, epochs=3, after_step=after_step, **watched)

    assert rest == [pause for pause in everything if pause.step > after_step]


def test_every_epoch_end_is_a_pause_at_first_and_one_in_a_hundred_of_those_done_later() -> None:
    found = [pause.step for pause in all_pauses(10, 5, epochs=1000)]

    ends = [step // 2 for step in found if step % 2 == 0]
    assert ends[:200] == list(range(1, 201))
    assert {*range(200, 300, 2), *range(300, 400, 3), 1000} <= set(ends)
    marks = [step for step in found if step > 400 and step % 2]
    assert len(found) < 400 + 330 + 2 * len(marks)


N_GROWING = 60


def wandering(seed: int) -> Rule:
    """Any batch size at any step."""
    sizes = [random.Random(f"{seed} {step}").randint(1, N_GROWING) for step in range(200)]
    return lambda step, samples: sizes[step]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(
    "wanted",
    [
        lambda step, samples: min(N_GROWING, 2 ** (step // 7)),  # also in the middle of an epoch
        lambda step, samples: min(N_GROWING, 3 + step),
        lambda step, samples: max(1, N_GROWING // (step + 1)),  # full at first, then smaller
        wandering(0),
        wandering(1),
    ],
)
def test_the_pauses_of_a_batch_size_that_changes_are_too(wanted: Rule, drop_last: bool) -> None:
    plan = WalkedBatchPlan(n_train=N_GROWING, wanted=wanted, drop_last=drop_last)

    found = list(pauses(plan, last_step=40))

    expected = pauses_by_walking(plan, 40)
    assert [(pause.step, pause.all_splits) for pause in found] == expected


@pytest.mark.parametrize("after_step", [0, 3, 5, 12])
def test_every_epoch_end_can_be_a_pause_among_the_others(after_step: int) -> None:
    plan = BatchPlan(n_train=40, batch_size=8, drop_last=False)
    usual = list(pauses(plan, last_step=33, after_step=after_step, interval_samples=120))

    found = list(with_every_epoch_end(iter(usual), plan, after_step=after_step))

    ends = [step for step in (5, 10, 15, 20, 25, 30) if step > after_step]
    assert [pause.step for pause in found] == sorted({*ends, *(pause.step for pause in usual)})
    assert [pause for pause in found if pause in usual] == usual
    assert len(found) > len(usual)
