"""Bars of Lightning, Keras, tqdm and Hugging Face, recorded from the libraries."""

from __future__ import annotations

import pytest
from tests.reference.sampled_output import points_of, readings_of, sample

from batchlab.errors import ProgressError


def test_what_is_printed_below_a_full_bar_has_its_place() -> None:
    readings = readings_of(sample("tqdm_train_val.txt"))

    places = [
        [each.step for each in readings[:number] if each.step is not None][-1]
        for number, reading in enumerate(readings)
        if "val_loss" in dict(reading.values)
    ]

    assert places == [40, 80]
    assert points_of(sample("lightning_rich.txt")) == [(36, 0.002)]  # the bar filled the screen


def state(n: int, total: int, *, words: str = "", values: str = "") -> str:
    before = f"{words}: " if words else ""
    after = f", {values}" if values else ""
    return f"\r{before}{100 * n // total:3}%|####  | {n}/{total} [00:01<00:02, 9.5it/s{after}]"


def whole(total: int, words: str = "") -> str:
    return "".join(state(n, total, words=words) for n in (0, total // 2, total)) + "\n"


def val_loss(epoch: int) -> str:
    return f"val_loss {1 / (epoch + 1)}\n"


THREE = [(20, 1.0), (40, 1 / 2), (60, 1 / 3)]


DRAWN: dict[str, tuple[list[str], list[tuple[int, float]]]] = {
    "several validations after each epoch are passed over": (
        [whole(20) + whole(8) + whole(6) + val_loss(epoch) for epoch in range(3)],
        THREE,
    ),
    "a bar around those of the epochs counts epochs": (
        [state(epoch, 3) + "\n" + whole(20, "batches") + val_loss(epoch) for epoch in range(3)]
        + [state(3, 3)],
        THREE,
    ),
    "a bar around them may be a little behind and hold validations": (
        [
            state(max(0, epoch - 1), 3) + "\n" + whole(20) + whole(8) + val_loss(epoch)
            for epoch in range(3)
        ],
        THREE,
    ),
    "a validation within an epoch leaves the training where it is": (
        [state(0, 20), *(state(n, 20) + whole(8) + val_loss(n) for n in (10, 20))],
        [(10, 1 / 11), (20, 1 / 21)],
    ),
    "words tell what a short bar counts": (
        [state(n, 6, words="steps") + "\n" + val_loss(n) for n in (3, 6)],
        [(3, 1 / 4), (6, 1 / 7)],
    ),
    "words with the number of the epoch are those of one bar": (
        [whole(20, f"Training {epoch}") + val_loss(epoch) for epoch in range(3)],
        THREE,
    ),
    "what is done before the training is passed over": (
        [whole(50, "Packing"), whole(70, "Padding")]
        + [whole(20) + whole(8) + val_loss(epoch) for epoch in range(3)],
        THREE,
    ),
    "a bar with words for something else is the training's if the metric is below it": (
        [whole(20, "Crunching") + val_loss(epoch) for epoch in range(3)],
        THREE,
    ),
    "bars that are not told apart do no harm beside lines with counters": (
        [whole(500), whole(20), whole(20)]
        + [whole(20) + whole(20) + f"epoch {epoch + 1} {val_loss(epoch)}" for epoch in range(3)],
        THREE,
    ),
}


@pytest.mark.parametrize("drawn", DRAWN)
def test_values_stand_where_the_bar_of_the_training_is(drawn: str) -> None:
    output, points = DRAWN[drawn]

    assert points_of("".join(output).encode()) == points


def test_what_the_bar_around_the_epochs_shows_belongs_to_where_the_inner_one_is() -> None:
    words = "Epochs"
    output = [
        state(epoch, 3, words=words, values=f"val_loss={1 / epoch:.9f}" if epoch else "")
        + "\n"
        + whole(20, f"train {epoch}")
        + state(epoch, 3, words=words, values=f"val_loss={1 / (epoch + 1):.9f}")
        for epoch in range(3)
    ]

    assert points_of("".join(output).encode()) == [
        (step, pytest.approx(value)) for step, value in THREE
    ]


def test_values_of_a_bar_over_epochs_belong_to_the_pass_in_whose_body_they_were_set() -> None:
    values = [0.5, 0.4, 0.4]
    in_body, moved_first = [state(0, 3, words="Epochs")], [state(0, 3, words="Epochs")]
    for n, value in enumerate(values):
        shown = f"val_loss={value}"
        in_body += [state(n + more, 3, words="Epochs", values=shown) for more in (0, 1)]
        before = f"val_loss={values[n - 1]}" if n else ""
        moved_first += [state(n + 1, 3, words="Epochs", values=each) for each in (before, shown)]

    expected = list(zip((20, 40, 60), values, strict=True))
    assert points_of("".join(in_body).encode()) == expected
    assert points_of("".join(moved_first).encode()) == expected


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
        points_of("".join(output).encode())

    assert "\n" not in str(refused.value)
