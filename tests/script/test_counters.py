from __future__ import annotations

from batchlab.script.reading import Counters, Position


def test_epochs_numbered_from_0_end_one_later_than_those_from_1() -> None:
    from_0, from_1 = Counters(), Counters()

    assert [from_0.position(epoch=number).epoch for number in (0, 1, 2)] == [1, 2, 3]
    assert [from_1.position(epoch=number).epoch for number in (1, 2, 3)] == [1, 2, 3]


def test_a_fraction_makes_the_numbers_passes_that_are_done() -> None:
    counters = Counters()

    assert [counters.position(epoch=epoch).epoch for epoch in (0.5, 1, 1.5, 2.0)] == [
        0.5,
        1,
        1.5,
        2.0,
    ]


def test_a_step_that_counts_on_is_taken_as_it_is_whatever_the_epoch() -> None:
    counters = Counters()

    found = [counters.position(step=step, epoch=epoch) for step, epoch in ((50, 0), (150, 1))]

    assert found == [Position(step=50), Position(step=150)]


def test_a_total_of_steps_that_rises_evenly_with_the_epochs_tells_the_passes() -> None:
    from_0, from_1, finer = Counters(), Counters(), Counters()

    ends = [from_1.position(step=63 * n, epoch=n) for n in (1, 2, 3)]
    assert [(each.step, each.epoch) for each in ends] == [(63, None), (126, 2), (189, 3)]
    assert from_0.position(step=63, epoch=0).epoch is None
    assert from_0.position(step=126, epoch=1).epoch == 2
    within = [finer.position(step=step, epoch=n) for step, n in ((50, 1), (100, 1), (150, 2))]
    assert [each.epoch for each in within] == [None, None, None]


def test_a_step_that_starts_again_each_epoch_is_put_behind_the_epochs_before() -> None:
    counters = Counters()

    found = [
        counters.position(step=step, n_steps=100, epoch=epoch)
        for step, epoch in ((50, 1), (100, 1), (50, 2), (100, 2), (50, 3))
    ]

    assert [each.step for each in found] == [50, 100, 150, 200, 250]


def test_one_line_at_the_end_of_each_epoch_is_understood() -> None:
    counters = Counters()

    found = [counters.position(step=117, n_steps=117, epoch=epoch).step for epoch in (1, 2, 3)]

    assert found == [117, 234, 351]


def test_without_the_length_of_an_epoch_its_steps_are_kept_apart() -> None:
    counters = Counters()
    counters.position(step=90, epoch=0)

    found = counters.position(step=10, epoch=1)

    assert found == Position(epoch=1, epoch_step=10)


def test_a_line_without_a_counter_ends_the_epoch_that_the_lines_before_were_in() -> None:
    inside, outside = Counters(), Counters()
    inside.position(epoch=2, part=(900, 1000))
    outside.position(step=900)

    assert inside.position() == Position(epoch=2)
    assert outside.position() == Position()


def test_samples_that_are_printed_are_taken_as_they_are() -> None:
    assert Counters().position(samples=640, step=10).samples == 640


def test_a_step_that_is_the_same_at_the_end_of_each_epoch_starts_again_in_each() -> None:
    counters = Counters()

    found = [counters.position(step=19, epoch=epoch) for epoch in (1, 2, 3)]

    assert found == [
        Position(step=19),
        Position(epoch=1, epoch_step=19),
        Position(epoch=2, epoch_step=19),
    ]
