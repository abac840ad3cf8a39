from __future__ import annotations

import math

import pytest
from tests.reference.sampled_output import readings_of


def test_a_counter_and_the_numbers_beside_it_are_read() -> None:
    (found,) = readings_of(b'{"step": 100, "loss": 0.5, "name": "a", "done": false, "x": null}')

    assert (found.shape, found.step, found.values) == ("json-lines", 100, (("loss", 0.5),))


def test_numbers_inside_an_object_have_its_name_before_theirs() -> None:
    (found,) = readings_of(b'{"epoch": 1, "validation": {"loss": 0.5, "top": {"k": 5}}}')

    assert found.values == (("validation.loss", 0.5), ("validation.top.k", 5.0))


def test_what_is_not_finite_is_kept() -> None:
    (found,) = readings_of(b'{"samples": 640, "loss": NaN, "best": Infinity}')

    assert found.samples == 640
    assert repr(dict(found.values)) == repr({"loss": math.nan, "best": math.inf})


def test_numbers_that_are_written_as_texts_are_read() -> None:
    (found,) = readings_of(b'{"epoch": 1, "train_loss": "5.1", "num_updates": "100", "on": "cpu"}')

    assert (found.step, found.values) == (100, (("train_loss", 5.1),))


@pytest.mark.parametrize(
    "line",
    [
        '{"steps": 1000, "lr": 0.1}',
        '{"loss": 0.5}',
        '{"step": 3}',
        '["step", 3]',
        '{"step": true, "loss": 1}',
    ],
)
def test_an_object_without_a_counter_or_a_number_is_no_progress(line: str) -> None:
    assert [each for each in readings_of(line.encode()) if each.shape == "json-lines"] == []


def test_a_whole_epoch_is_a_number_and_a_fraction_the_passes_done() -> None:
    output = b'{"epoch": 0, "loss": 1}\n{"epoch": 1, "loss": 1}\n'

    assert [each.epoch for each in readings_of(output)] == [1, 2]
    assert readings_of(b'{"epoch": 0.25, "loss": 1}')[0].epoch == 0.25


def places_of(output: bytes) -> list[tuple[int | None, float | None]]:
    found = readings_of(output)
    assert {each.shape for each in found} <= {"json-lines"}
    return [(each.step, each.epoch) for each in found]


def test_a_dict_that_a_script_prints_is_read_as_json_is() -> None:
    with_epoch = (
        b"{'epoch': 0, 'step': 10, 'val_loss': 0.9}\n{'epoch': 1, 'step': 30, 'val_loss': 0.8}\n"
    )

    assert places_of(with_epoch) == [(10, None), (30, None)]
    assert places_of(b"{'step': 10, 'val_loss': nan}") == [(10, None)]
    assert places_of(b"{'epoch': 0, 'val_loss': 1}\n{'epoch': 1, 'val_loss': 1}") == [
        (None, 1),
        (None, 2),
    ]
    assert places_of(b"{'epoch': 2, 'learning_rate': 0.1, 'val_loss': 1}") == [(None, 2)]


@pytest.mark.parametrize(
    "before",
    [
        b"2026-01-01 10:00:00,123 INFO train: ",
        b"INFO:root:",
        b"[2026-01-01 10:00:00,123][__main__][INFO] - ",
    ],
)
@pytest.mark.parametrize(
    "said", [b'{"step": 10, "val_loss": 0.9}', b"{'step': 10, 'val_loss': 0.9}"]
)
def test_what_a_logger_puts_before_an_object_is_no_part_of_it(before: bytes, said: bytes) -> None:
    (found,) = readings_of(before + said)

    assert (found.shape, found.step, found.values) == ("json-lines", 10, (("val_loss", 0.9),))


def test_a_plain_line_with_an_empty_object_behind_it_stays_a_plain_line() -> None:
    (found,) = readings_of(b'epoch 3 val_loss 0.5 {"step": 7}')

    assert (found.shape, dict(found.values)) == ("words", {"val_loss": 0.5})


def test_the_update_of_fairseq_is_a_part_of_an_epoch_and_no_step() -> None:
    lines = (
        b'{"epoch": 1, "update": 0.063, "loss": "9.5", "num_updates": "100"}\n'
        b'{"epoch": 2, "update": 1.5, "loss": "9.1"}\n'
    )

    assert [step for step, _ in places_of(lines)] == [100, None]
