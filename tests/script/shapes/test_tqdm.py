"""Which of several bars of tqdm trains: told by their words, lengths and order, or refused."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.reference.sampled_output import readings_of

from batchlab.errors import ProgressError
from batchlab.script.metric import ProgressPoints


def state(n: int, total: int, *, words: str = "", values: str = "") -> str:
    before = f"{words}: " if words else ""
    after = f", {values}" if values else ""
    return f"\r{before}{100 * n // total:3}%|####  | {n}/{total} [00:01<00:02, 9.5it/s{after}]"


def whole(total: int, words: str = "") -> str:
    return "".join(state(n, total, words=words) for n in (0, total // 2, total)) + "\n"


def steps_of(output: Iterable[str], *, n_train: int = 1000) -> list[tuple[int, float]]:
    """Steps of a batch of 50, of which an epoch has 20, and the values of val_loss there."""
    points = ProgressPoints("val_loss", batch_size=50, n_train=n_train)
    for reading in readings_of("".join(output).encode(), metric="val_loss"):
        points.add(reading)
    return [(point.step, point.value) for point in points.points]


def val_loss(epoch: int) -> str:
    return f"val_loss {1 / (epoch + 1)}\n"


THREE = [(20, 1.0), (40, 1 / 2), (60, 1 / 3)]


def test_a_bar_of_another_length_in_between_is_that_of_a_validation() -> None:
    output = [whole(20) + whole(8) + val_loss(epoch) for epoch in range(3)]

    assert steps_of(output) == THREE


def test_several_validations_after_each_epoch_are_passed_over() -> None:
    output = [whole(20) + whole(8) + whole(6) + val_loss(epoch) for epoch in range(3)]

    assert steps_of(output) == THREE


@pytest.mark.parametrize("inside", ["", "batches"])
def test_a_bar_around_the_bars_of_the_epochs_counts_epochs(inside: str) -> None:
    output = [
        state(epoch, 3) + "\n" + whole(20, inside) + val_loss(epoch) for epoch in range(3)
    ] + [state(3, 3)]

    assert steps_of(output) == THREE


def test_a_bar_around_them_may_be_a_little_behind_and_hold_validations() -> None:
    output = [
        state(max(0, epoch - 1), 3) + "\n" + whole(20) + whole(8) + val_loss(epoch)
        for epoch in range(3)
    ]

    assert steps_of(output) == THREE


def test_what_the_bar_around_the_epochs_shows_belongs_to_where_the_inner_one_is() -> None:
    words = "Epochs"
    output = [
        state(epoch, 3, words=words, values=f"val_loss={1 / epoch:.9f}" if epoch else "")
        + "\n"
        + whole(20, f"train {epoch}")
        + state(epoch, 3, words=words, values=f"val_loss={1 / (epoch + 1):.9f}")
        for epoch in range(3)
    ]

    assert steps_of(output) == [(step, pytest.approx(value)) for step, value in THREE]


def test_a_validation_within_an_epoch_leaves_the_training_where_it_is() -> None:
    output = [state(n, 20) + whole(8) + val_loss(n) for n in (10, 20)]

    assert steps_of([state(0, 20), *output]) == [(10, 1 / 11), (20, 1 / 21)]


def test_values_of_a_bar_over_epochs_belong_to_the_pass_in_whose_body_they_were_set() -> None:
    values = [0.5, 0.4, 0.4]
    in_body, moved_first = [state(0, 3, words="Epochs")], [state(0, 3, words="Epochs")]
    for n, value in enumerate(values):
        shown = f"val_loss={value}"
        in_body += [state(n + more, 3, words="Epochs", values=shown) for more in (0, 1)]
        before = f"val_loss={values[n - 1]}" if n else ""
        moved_first += [state(n + 1, 3, words="Epochs", values=each) for each in (before, shown)]

    expected = list(zip((20, 40, 60), values, strict=True))
    assert steps_of(in_body) == expected
    assert steps_of(moved_first) == expected


TWO_LENGTHS = "bars of tqdm are not told apart: give each its words, .* batchlab.log"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ([whole(500)] + [whole(20) + val_loss(epoch) for epoch in range(3)], TWO_LENGTHS),
        (
            [state(e, 3) + whole(20) + whole(20) + val_loss(e) for e in range(3)]
            + [state(3, 3), val_loss(3)],
            TWO_LENGTHS,
        ),
        ([state(0, 20) + whole(8), state(9, 20), "\n", val_loss(0)], TWO_LENGTHS),
        (
            [state(0, 20), state(9, 20), state(0, 20), "\n", val_loss(0)],
            "before its end was shown: leave out leave=False, or log steps with batchlab.log",
        ),
        (
            [state(0, 6), state(1, 6), "\n", val_loss(0)],
            "counts to 6, less than the 20 steps .*desc",
        ),
        (
            [state(n, 6, words="Epochs") + "\n" + val_loss(n) for n in range(2)],
            "without a counter below a bar over epochs; print its epoch beside it",
        ),
    ],
)
def test_what_bars_do_not_tell_is_refused_in_one_line(output: list[str], said: str) -> None:
    with pytest.raises(ProgressError, match=said) as refused:
        steps_of(output)

    assert "\n" not in str(refused.value)


def test_words_tell_what_a_short_bar_counts() -> None:
    output = [state(n, 6, words="steps") + "\n" + val_loss(n) for n in (3, 6)]

    assert steps_of(output) == [(3, 1 / 4), (6, 1 / 7)]


def test_words_with_the_number_of_the_epoch_are_those_of_one_bar() -> None:
    output = [whole(20, f"Training {epoch}") + val_loss(epoch) for epoch in range(3)]

    assert steps_of(output) == THREE


def test_bars_that_are_not_told_apart_do_no_harm_beside_lines_with_counters() -> None:
    output = [whole(20) + whole(20) + f"epoch {epoch + 1} {val_loss(epoch)}" for epoch in range(3)]
    lost = [whole(500), whole(20), whole(20)]

    assert steps_of([*lost, *output]) == THREE
