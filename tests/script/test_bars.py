"""Bars of Lightning, Keras, tqdm and Hugging Face, recorded from the libraries."""

from __future__ import annotations

from collections.abc import Callable

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
# What is drawn before the epochs, in each of three, and behind them; the metric stands at THREE.
DRAWN: dict[str, tuple[str, Callable[[int], str], str]] = {
    "several validations after each epoch are passed over": (
        *("", lambda epoch: whole(20) + whole(8) + whole(6) + val_loss(epoch), ""),
    ),
    "a bar around those of the epochs counts epochs": (
        "",
        lambda epoch: state(epoch, 3) + "\n" + whole(20, "batches") + val_loss(epoch),
        state(3, 3),
    ),
    "a bar around them may be a little behind and hold validations": (
        "",
        lambda epoch: f"{state(max(0, epoch - 1), 3)}\n{whole(20)}{whole(8)}{val_loss(epoch)}",
        "",
    ),
    "words with the number of the epoch are those of one bar": (
        *("", lambda epoch: whole(20, f"Training {epoch}") + val_loss(epoch), ""),
    ),
    "what is done before the training is passed over": (
        whole(50, "Packing") + whole(70, "Padding"),
        lambda epoch: whole(20) + whole(8) + val_loss(epoch),
        "",
    ),
    "a bar with words for something else is the training's if the metric is below it": (
        *("", lambda epoch: whole(20, "Crunching") + val_loss(epoch), ""),
    ),
    "bars that are not told apart do no harm beside lines with counters": (
        whole(500) + whole(20) + whole(20),
        lambda epoch: whole(20) + whole(20) + f"epoch {epoch + 1} {val_loss(epoch)}",
        "",
    ),
    "what the bar around the epochs shows belongs to where the inner one is": (
        "",
        lambda epoch: (
            f"{around(epoch, epoch)}\n{whole(20, f'train {epoch}')}{around(epoch, epoch + 1)}"
        ),
        "",
    ),
}


def around(n: int, epoch: int) -> str:
    """A bar over epochs with the value at the end of one."""
    return state(n, 3, words="Epochs", values=f"val_loss={1 / epoch:.9f}" if epoch else "")


@pytest.mark.parametrize("drawn", DRAWN)
def test_values_stand_where_the_bar_of_the_training_is(drawn: str) -> None:
    before, in_epoch, behind = DRAWN[drawn]
    output = "".join((before, *map(in_epoch, range(3)), behind))

    assert points_of(output.encode()) == [(step, pytest.approx(value)) for step, value in THREE]


def test_words_tell_what_a_short_bar_counts_and_a_validation_leaves_it_where_it_is() -> None:
    steps = "".join(state(n, 6, words="steps") + "\n" + val_loss(n) for n in (3, 6))
    inside = state(0, 20) + "".join(state(n, 20) + whole(8) + val_loss(n) for n in (10, 20))

    assert points_of(steps.encode()) == [(3, 1 / 4), (6, 1 / 7)]
    assert points_of(inside.encode()) == [(10, 1 / 11), (20, 1 / 21)]


@pytest.mark.parametrize("moves_first", [False, True])
def test_values_of_a_bar_over_epochs_belong_to_the_pass_in_whose_body_they_were_set(
    moves_first: bool,
) -> None:
    values = [0.5, 0.4, 0.4]
    output = state(0, 3, words="Epochs")
    for n, value in enumerate(values):
        shown = f"val_loss={value}"
        before = f"val_loss={values[n - 1]}" if n else ""
        drawn = ((n, shown), (n + 1, shown))
        if moves_first:
            drawn = ((n + 1, before), (n + 1, shown))
        output += "".join(state(at, 3, words="Epochs", values=text) for at, text in drawn)

    assert points_of(output.encode()) == list(zip((20, 40, 60), values, strict=True))


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
