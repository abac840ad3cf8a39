"""Bars and lines of Lightning, Keras, tqdm and Hugging Face, recorded from the libraries.

Lightning 2.6.6, Keras 3.15.1 on PyTorch, tqdm 4.70.1 and transformers 5.23.0 printed them into a
pipe; `keras_tty.txt` was printed to a terminal.
"""

from __future__ import annotations

import pytest
from tests.reference.sampled_output import readings_of, sample


def evaluations(name: str, metric: str) -> list[tuple[int | None, float | None, float]]:
    return [
        (reading.step, reading.epoch, dict(reading.values)[metric])
        for reading in readings_of(sample(name))
        if metric in dict(reading.values)
    ]


@pytest.mark.parametrize("name", ["lightning_tqdm.txt", "lightning_rich_forced.txt"])
def test_a_validation_of_lightning_belongs_to_the_end_of_its_epoch(name: str) -> None:
    found = evaluations(name, "val_loss")

    assert [(step, epoch) for step, epoch, _ in found] == [(12, 1), (24, 2), (36, 3)]
    assert [round(value, 2) for _, _, value in found] == [0.16, 0.02, 0.0]


def test_a_validation_within_an_epoch_of_lightning_is_read_where_it_was() -> None:
    found = evaluations("lightning_tqdm_half.txt", "val_loss")

    assert [step for step, _, _ in found] == [6, 12, 18, 24, 30, 36]


def test_epochs_of_lightning_are_numbered_from_0_also_where_a_run_goes_on() -> None:
    bar = "Epoch 1: 100%|███| 12/12 [00:00<00:00, 40it/s, val_loss=0.3]\n"
    own = "Training: |          | 0/? [00:00<?, ?it/s]\n"

    assert readings_of((own + bar).encode())[-1].step == 24
    assert readings_of(bar.encode())[-1].step == 12  # somebody else's, numbered from 1


def test_a_bar_of_rich_that_was_broken_into_two_lines_is_put_together() -> None:
    assert evaluations("lightning_rich.txt", "val_loss") == [(36, 3, 0.002)]


@pytest.mark.parametrize("name", ["keras.txt", "keras_tty.txt", "keras_verbose_2.txt"])
def test_keras_validates_at_the_end_of_its_epochs(name: str) -> None:
    assert evaluations(name, "val_loss") == [(10, 1, 0.4299), (20, 2, 0.3758), (30, 3, 0.3324)]


def test_a_longer_evaluation_of_keras_is_no_part_of_the_training_either() -> None:
    output = "Epoch 1/1\n5/5 - 1s - 2ms/step - loss: 0.4\n9/9 - 1s - 2ms/step - loss: 0.9\n"

    assert {dict(each.values).get("loss", 0.4) for each in readings_of(output.encode())} == {0.4}


def test_older_lines_of_keras_are_read() -> None:
    output = (
        "Epoch 1/2\n 6/12 [=====>......] - ETA: 1s - loss: 0.5\r"
        "12/12 [==============================] - 2s 14ms/step - loss: 0.4 - val_loss: 0.3\n"
    )

    assert dict(readings_of(output.encode())[-1].values) == {"loss": 0.4, "val_loss": 0.3}


def test_the_lines_of_a_trainer_get_the_step_of_the_bar_below_them() -> None:
    assert evaluations("huggingface.txt", "eval_loss") == [
        (10, 0.5, 0.693),
        (20, 1.0, 0.693),
        (30, 1.5, 0.693),
        (40, 2.0, 0.693),
    ]
    assert [step for step, _, _ in evaluations("huggingface.txt", "loss")] == [7, 14, 21, 28, 35]


def test_the_bar_of_an_evaluation_gives_a_trainer_no_step() -> None:
    output = (
        "  0%|          | 0/40 [00:00<?, ?it/s]\n{'eval_loss': 0.5, 'epoch': 0.25}\n"
        "100%|██████████| 13/13 [00:00<00:00, 9it/s]\n"
        " 25%|██▌       | 10/40 [00:00<00:00, 9it/s]\n"
    )

    (found,) = [each for each in readings_of(output.encode()) if each.shape == "huggingface"]

    assert found.step == 10


@pytest.mark.parametrize(
    "line",
    [
        "{'loss': 0.5, 'grad_norm': nan, 'learning_rate': 5e-05, 'epoch': 0.3}",
        "{'loss': '0.5', 'grad_norm': 'nan', 'learning_rate': '5e-05', 'epoch': '0.3'}",
    ],
)
def test_a_trainer_without_a_bar_is_read_by_its_epochs(line: str) -> None:
    (found,) = readings_of(line.encode())

    assert (found.shape, found.step, found.epoch) == ("huggingface", None, 0.3)
    assert dict(found.values)["loss"] == 0.5


@pytest.mark.parametrize(
    "line",
    [
        "{'loss': __import__('os').system('touch /tmp/never'), 'epoch': 1}",
        "{'lr': 0.1, 'batch_size': 32}",
        "{'epoch': 1}",
        "{'loss': " + "9" * 5000 + ", 'epoch': 1}",
        "{'loss': 0.5, 'epoch': " + "(" * 3000,
        "{'a': 1, 'epoch'}",
    ],
)
def test_another_dict_is_no_progress_and_nothing_in_it_runs(line: str) -> None:
    assert [each for each in readings_of(line.encode()) if each.shape == "huggingface"] == []


def test_a_bar_of_tqdm_that_begins_again_is_the_next_epoch() -> None:
    assert evaluations("tqdm_again.txt", "val_loss") == [(30, 1, 0.5), (60, 2, 0.4), (90, 3, 0.3)]


def test_what_is_printed_below_a_full_bar_has_its_place() -> None:
    readings = readings_of(sample("tqdm_train_val.txt"))

    places = [
        [each.step for each in readings[:number] if each.step is not None][-1]
        for number, reading in enumerate(readings)
        if "val_loss" in dict(reading.values)
    ]

    assert places == [40, 80]


@pytest.mark.parametrize(
    "line",
    [
        "Downloading:  40%|████      | 120/300 [00:10<00:15, 11.5it/s]",
        "Map:  40%|████      | 120/300 [00:10<00:15, 11.5 examples/s]",
        " 40%|████      | 1.2M/3.0M [00:10<00:15, 115kB/s]",
        " 40%|████      | 0/0 [00:10<00:15, 115kB/s]",
    ],
)
def test_other_bars_are_no_progress(line: str) -> None:
    assert readings_of(line.encode()) == []


def test_a_bar_over_epochs_counts_passes() -> None:
    (found,) = readings_of("Epochs:  30%|███  | 3/10 [00:10<00:15, 1.5s/it, val_loss=0.3]".encode())

    assert (found.step, found.epoch, dict(found.values)) == (None, 3, {"val_loss": 0.3})


def test_a_decimal_comma_beside_a_bar_is_read_and_one_of_either_kind_left_out() -> None:
    bar = " 50%|█████ | 5/10 [00:10<00:15, 1.5s/it, loss=0,53, acc=0,912, tokens=2,531]"

    assert dict(readings_of(bar.encode())[-1].values) == {"loss": 0.53, "acc": 0.912}
