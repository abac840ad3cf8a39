"""Plain lines of real scripts, each as it was printed."""

from __future__ import annotations

import math

import pytest
from tests.reference.sampled_output import readings_of, sample

from batchlab.errors import ProgressError
from batchlab.script.metric import ProgressPoints


def places_of(name: str, metric: str) -> list[tuple[int | None, float | None, float]]:
    return [
        (reading.step, reading.epoch, dict(reading.values)[metric])
        for reading in readings_of(sample(name))
        if metric in dict(reading.values)
    ]


def points_of(output: bytes, metric: str = "val_loss") -> list[tuple[int, float]]:
    points = ProgressPoints(metric, batch_size=50, n_train=1000)
    for reading in readings_of(output, metric=metric):
        points.add(reading)
    return [(point.step, point.value) for point in points.points]


def test_the_mnist_example_of_pytorch_tests_at_the_end_of_its_epochs() -> None:
    assert places_of("pytorch_mnist.txt", "Accuracy") == [(None, 1, 0.9842), (None, 2, 0.9881)]
    assert places_of("pytorch_mnist.txt", "Loss")[-1] == (None, 1.992, 0.009012)


def test_the_quickstart_of_pytorch_names_the_epoch_above_its_lines() -> None:
    assert places_of("pytorch_quickstart.txt", "Avg loss") == [
        (None, 1, 2.150834),
        (None, 2, 1.884371),
    ]
    assert places_of("pytorch_quickstart.txt", "loss")[1] == (None, 6464 / 60000, 2.294637)


def test_names_of_two_words_and_no_colon_are_read() -> None:
    assert places_of("nanogpt.txt", "val loss") == [
        (0, None, 4.2823),
        (250, None, 2.0655),
        (500, None, 1.8012),
    ]
    assert places_of("nanogpt.txt", "loss")[-2:] == [(260, None, 2.3012), (500, None, 1.7012)]


def test_the_references_of_torchvision_count_batches_within_an_epoch() -> None:
    assert places_of("torchvision.txt", "Acc@1") == [(None, 1, 23.402)]
    assert [place[1] for place in places_of("torchvision.txt", "lr")] == [0, 625 / 1251, 1]


def test_steps_that_start_again_each_epoch_are_counted_on() -> None:
    assert [step for step, _, _ in places_of("yunjey.txt", "Loss")] == [100, 600, 700, 1200]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("epoch 3 step 100 val_loss=0.41", {"val_loss": 0.41}),
        ("Step: 100, loss: 0.5", {"loss": 0.5}),
        ("step 1 | loss 1.2e-3 | lr 3e-4 | 12.5ms", {"loss": 1.2e-3, "lr": 3e-4}),
        ("step 1 loss: nan, acc=-inf", {"loss": math.nan, "acc": -math.inf}),
        ("2026-01-01 10:00:00,123 INFO step=100 loss=0.5", {"loss": 0.5}),
        ("INFO:train:step=100 loss=.5", {"loss": 0.5}),
        ("step 7: tokens seen: 16,384, loss: 0.5.", {"tokens seen": 16384.0, "loss": 0.5}),
        ("val_loss: tensor(0.41, device='cuda:0') step=3", {"val_loss": 0.41}),
        ("Training loss (for 1 batch) at step 100: 0.9853", {"Training loss": 0.9853}),
        ("Validation loss after epoch 3 is 0.5", {"Validation loss": 0.5}),
        ("At epoch 10 the validation accuracy was 0.9", {"validation accuracy": 0.9}),
        ("[Epoch 1/10] [Batch 5/938] [D loss: 0.5]", {"D loss": 0.5}),
        ("step 7 elapsed: 0:10:31 loss: 0.5", {"loss": 0.5}),
    ],
)
def test_values_are_read_by_the_names_before_them(line: str, values: dict[str, float]) -> None:
    (found,) = readings_of(line.encode())

    assert repr(dict(found.values)) == repr(values)


@pytest.mark.parametrize(
    ("output", "steps", "epochs"),
    [
        (
            "[1,  2000] loss: 2.2\n[1, 12000] loss: 1.3\n[2,  2000] loss: 1.2",
            [2000, 12000, None],
            1,
        ),
        ("| epoch   2 |   100/ 400 batches | loss  8.20 |", [None], 1.25),
        ("Training loss at step 100: 0.98", [100], None),
        ("Loss after epoch 3: 0.5", [None], 3),
    ],
)
def test_the_counters_of_well_known_examples_are_found(
    output: str, steps: list[int | None], epochs: float | None
) -> None:
    found = readings_of(output.encode())

    assert [reading.step for reading in found] == steps
    assert found[-1].epoch == epochs


@pytest.mark.parametrize(
    "line",
    [
        "Using 4 workers on host gpu-17",
        "number of training examples: many",
        "loss is going down",
        "Epochs: 10",
        "samples: 60000",
    ],
)
def test_a_line_that_measures_nothing_is_no_progress(line: str) -> None:
    assert [each for each in readings_of(line.encode()) if each.has_position] == []


def test_the_number_of_steps_to_come_is_no_counter() -> None:
    for reading in readings_of(b"max steps: 1000, loss weight: 2\ntotal steps = 500 loss 3\n"):
        assert not reading.has_position


def test_one_line_per_epoch_with_its_last_batch_gives_one_point_per_epoch() -> None:
    output = (
        b"epoch 1 batch 19 val_loss 0.9\n"
        b"epoch 2 batch 19 val_loss 0.7\n"
        b"epoch 3 batch 19 val_loss 0.5"
    )

    assert points_of(output) == [(19, 0.9), (39, 0.7), (59, 0.5)]


def test_decimal_commas_are_read_at_their_value() -> None:
    output = b"epoch 1 val_loss: 0,932\nepoch 2 val_loss: 0,51\nepoch 3 val_loss: 1,023\n"

    assert points_of(output) == [(20, 0.932), (40, 0.51), (60, 1.023)]


def test_a_point_elsewhere_in_the_run_makes_a_comma_one_of_thousands() -> None:
    assert points_of(b"epoch 1 val_loss: 2,531 lr: 0.1\n") == [(20, 2531.0)]


def test_a_comma_that_may_be_either_is_refused_where_the_metric_has_it() -> None:
    with pytest.raises(ProgressError, match=r"'val_loss' was printed as 2,531, .* decimal comma"):
        points_of(b"epoch 1 val_loss: 2,531\n")

    assert points_of(b"epoch 1 tokens: 2,531 val_loss: 2\n") == [(20, 2.0)]


@pytest.mark.parametrize("said", ["NAN", "nan", "NaN", "-nan", "Inf", "-Infinity", "INF"])
def test_what_is_not_finite_is_read_however_it_is_written(said: str) -> None:
    (found,) = readings_of(f"step 1 Loss: {said}".encode())

    assert not math.isfinite(dict(found.values)["Loss"])


def followed(name: str, metric: str) -> list[tuple[int, float]]:
    return points_of(sample(name), metric)


def test_a_metric_of_the_mnist_example_is_found_by_its_plain_names() -> None:
    assert followed("pytorch_mnist.txt", "accuracy") == [(20, 0.9842), (40, 0.9881)]
    assert followed("pytorch_mnist.txt", "average loss") == [(20, 0.0496), (40, 0.0361)]


def test_the_evaluation_of_timm_is_the_average_at_its_last_batch() -> None:
    assert followed("timm.txt", "Acc@1") == [(20, 8.124), (40, 19.52)]
    assert places_of("timm.txt", "LR")[1] == (None, 50 / 1251, 1e-5)


def test_the_rounds_of_boosted_trees_are_steps() -> None:
    assert followed("lightgbm.txt", "valid_0's auc") == [(10, 0.91), (20, 0.934)]
    assert followed("lightgbm.txt", "auc") == [(10, 0.91), (20, 0.934)]
    assert followed("xgboost.txt", "validation-auc") == [(0, 0.82104), (10, 0.91), (20, 0.93451)]
    assert followed("xgboost.txt", "auc")[-1] == (20, 0.93451)


def test_an_iteration_of_scikit_learn_is_a_pass() -> None:
    assert followed("scikit_learn.txt", "loss") == [(20, 2.30120413), (40, 1.98120411)]
    assert followed("scikit_learn.txt", "Validation score") == [(20, 0.412), (40, 0.53)]
    assert readings_of(b"Iteration 7, loss = 0.5")[0].step == 7


def test_what_loggers_put_before_a_line_is_no_part_of_it() -> None:
    found = followed("logging.txt", "val_loss")

    assert found == [(20 * n, pytest.approx(1 - n / 10)) for n in range(1, 8)]
