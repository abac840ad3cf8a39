"""What lines of a training's output say: values by their names, and where they stand."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of, sample

from batchlab.errors import ProgressError, UsageError
from batchlab.progress_log import ProgressLog
from batchlab.script.formats import LinePattern
from batchlab.script.metric import ProgressPoints
from batchlab.script.reading import NUMBER, NumberStyle, number_of, sure_number_of


def places_of(name: str, metric: str) -> list[tuple[int | None, float | None, float]]:
    return [
        (reading.step, reading.epoch, dict(reading.values)[metric])
        for reading in readings_of(sample(name))
        if metric in dict(reading.values)
    ]


def points_of(output: bytes, metric: str = "val_loss") -> list[tuple[int, float]]:
    points = ProgressPoints(metric, made_up_trial(batch_size=50, n_train=1000))
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


def json_places_of(output: bytes) -> list[tuple[int | None, float | None]]:
    found = readings_of(output)
    assert {each.shape for each in found} <= {"json-lines"}
    return [(each.step, each.epoch) for each in found]


def test_a_dict_that_a_script_prints_is_read_as_json_is() -> None:
    with_epoch = (
        b"{'epoch': 0, 'step': 10, 'val_loss': 0.9}\n{'epoch': 1, 'step': 30, 'val_loss': 0.8}\n"
    )

    assert json_places_of(with_epoch) == [(10, None), (30, None)]
    assert json_places_of(b"{'step': 10, 'val_loss': nan}") == [(10, None)]
    assert json_places_of(b"{'epoch': 0, 'val_loss': 1}\n{'epoch': 1, 'val_loss': 1}") == [
        (None, 1),
        (None, 2),
    ]
    assert json_places_of(b"{'epoch': 2, 'learning_rate': 0.1, 'val_loss': 1}") == [(None, 2)]


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

    assert [step for step, _ in json_places_of(lines)] == [100, None]


def test_what_was_logged_is_read(tmp_path: Path) -> None:
    log = ProgressLog(str(tmp_path / "log"))
    log.write(step=100, samples=6400, values={"val_loss": 0.1 + 0.2, "b c": math.inf})
    log.write(epoch=0.5, values={"a": "bad"})

    first, second = readings_of((tmp_path / "log").read_bytes())

    assert (first.shape, first.step, first.samples) == ("batchlab", 100, 6400)
    assert first.values == (("val_loss", 0.1 + 0.2), ("b c", math.inf))
    assert first.at_s < second.at_s
    assert (second.epoch, second.not_understood) == (0.5, ("a='bad'",))


def epochs_told(tmp_path: Path, *counters: dict[str, float]) -> list[float | None]:
    log = ProgressLog(str(tmp_path / "log"))
    for each in counters:
        log.write(**each, values={"val_loss": 0.5})
    return [reading.epoch for reading in readings_of((tmp_path / "log").read_bytes())]


def test_an_epoch_that_was_logged_is_the_passes_done(tmp_path: Path) -> None:
    halves, whole = tmp_path / "halves", tmp_path / "whole"
    halves.mkdir()
    whole.mkdir()

    assert epochs_told(halves, *({"epoch": i / 2} for i in range(5))) == [0, 0.5, 1, 1.5, 2]
    assert epochs_told(whole, *({"epoch": i} for i in range(3))) == [0, 1, 2]


def test_a_whole_epoch_beside_steps_counts_only_where_they_agree(tmp_path: Path) -> None:
    done, under_way = tmp_path / "done", tmp_path / "under_way"
    done.mkdir()
    under_way.mkdir()

    found = epochs_told(done, *({"step": 20 * i, "epoch": i} for i in range(4)))
    other = epochs_told(under_way, *({"step": 20 * i + 20, "epoch": i} for i in range(4)))

    assert found == [None, None, 2, 3]
    assert other == [None] * 4


def test_a_fraction_beside_samples_is_taken_as_it_is(tmp_path: Path) -> None:
    assert epochs_told(tmp_path, {"samples": 250, "epoch": 0.25}) == [0.25]


Place = tuple[int | None, float | None, int | None]  # step, epoch, steps since


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        # Epochs that are numbered from 0 end one later than those from 1.
        (["epoch 0", "epoch 1"], [(None, 1, None), (None, 2, None)]),
        (["epoch 1", "epoch 2"], [(None, 1, None), (None, 2, None)]),
        # A fraction makes the numbers passes that are done.
        (
            ["epoch 0.5", "epoch 1", "epoch 1.5", "epoch 2.0"],
            [(None, 0.5, None), (None, 1, None), (None, 1.5, None), (None, 2, None)],
        ),
        # A step that counts on is taken as it is, whatever the epoch.
        (["epoch 0 step 50", "epoch 1 step 150"], [(50, None, None), (150, None, None)]),
        # A total of steps that rises evenly with the epochs tells the passes.
        (
            ["epoch 1 step 63", "epoch 2 step 126", "epoch 3 step 189"],
            [(63, None, None), (126, 2, None), (189, 3, None)],
        ),
        (["epoch 0 step 63", "epoch 1 step 126"], [(63, None, None), (126, 2, None)]),
        (
            ["epoch 1 step 50", "epoch 1 step 100", "epoch 2 step 150"],
            [(50, None, None), (100, None, None), (150, None, None)],
        ),
        # A step that starts again in each epoch is put behind the epochs before.
        (
            ["epoch 1 step 50/100", "epoch 1 step 100/100", "epoch 2 step 50/100"],
            [(50, None, None), (100, None, None), (150, None, None)],
        ),
        (
            ["epoch 1 step 117/117", "epoch 2 step 117/117"],
            [(117, None, None), (234, None, None)],
        ),
        (["epoch 0 step 90", "epoch 1 step 10"], [(90, None, None), (None, 1, 10)]),
        (["epoch 1 step 19", "epoch 2 step 19"], [(19, None, None), (None, 1, 19)]),
        # An epoch below the first one is no place, and no fault either.
        (["epoch 1 step 19", "epoch 0 step 29"], [(19, None, None), (29, None, None)]),
        # A line without a counter ends the epoch that the lines before were in.
        (["Epoch 2 [900/1000]", ""], [(None, 1.9, None), (None, 2, None)]),
        (["step 900", ""], [(900, None, None), (None, None, None)]),
        (["samples 640 step 10"], [(10, None, None)]),
    ],
)
def test_a_line_stands_where_its_counters_say(lines: list[str], places: list[Place]) -> None:
    output = "".join(f"{line} val_loss 0.5\n" for line in lines).encode()

    found = [(each.step, each.epoch, each.epoch_step) for each in readings_of(output)]

    assert found == places


def test_named_groups_are_counters_and_values() -> None:
    pattern = r"\[(?P<epoch>\d+), +(?P<step>\d+)\] loss: (?P<train_loss>\S+)"

    (found,) = readings_of(b"[2,  2000] loss: 1.4e-1\n", pattern=pattern)

    assert (found.shape, found.step, found.values) == ("pattern", 2000, (("train_loss", 0.14),))


def test_a_line_that_the_pattern_takes_is_read_by_nothing_else() -> None:
    output = b"step 3 loss 0.5\nstep 4 other_loss 0.5\n"

    found = readings_of(output, pattern=r"step (?P<step>\d+) loss (?P<mine>\S+)")

    assert [(each.shape, each.values[0][0]) for each in found] == [
        ("pattern", "mine"),
        ("words", "other_loss"),
    ]


def test_what_is_no_number_where_the_pattern_looks_is_left_out() -> None:
    pattern = r"loss (?P<loss>\S+)"

    assert readings_of(b"loss unknown\n", pattern=pattern) == []


def test_a_decimal_comma_where_the_pattern_looks_is_read() -> None:
    output = b"step 1 vl=0,53\nstep 2 vl=2,531\n"

    found = readings_of(output, pattern=r"step (?P<step>\d+) vl=(?P<vl>\S+)")

    assert [dict(each.values)["vl"] for each in found] == [0.53, 2.531]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "is no regular expression: missing \\)"),
        ("(?P<1>x)", "is no regular expression"),
        ("loss", "no named group for a value"),
        (r"(?P<step>\d+)", "no named group for a value"),
    ],
)
def test_a_bad_pattern_is_refused_in_one_line(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        LinePattern(pattern)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0,532", 0.532),
        ("-0,53", -0.53),
        ("12,5", 12.5),
        ("0,12345", 0.12345),
        ("1,2345e-3", 1.2345e-3),
        ("1234,567", 1234.567),
        ("1,234,567", 1234567.0),
        ("12,345.5", 12345.5),
        ("1,234", 1234.0),
        ("0.53,", 0.53),
        (".5", 0.5),
        ("NAN", math.nan),
        ("-Infinity", -math.inf),
        ("INF", math.inf),
    ],
)
def test_a_comma_is_read_as_what_it_can_be(text: str, number: float) -> None:
    found = re.fullmatch(rf"{NUMBER},?", text)

    assert found is not None
    assert number_of(text) == pytest.approx(number, nan_ok=True, rel=1e-12)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ((), (2531.0, False)),
        (("0,5",), (2.531, True)),
        (("0.5",), (2531.0, True)),
        (("1,234,567",), (2531.0, True)),
        (("0,5", "0.5"), (2531.0, False)),
        (("7", "3,141", "no.number"), (2531.0, False)),
    ],
)
def test_one_comma_and_three_digits_are_what_the_other_numbers_of_the_run_tell(
    seen: tuple[str, ...], told: tuple[float, bool]
) -> None:
    style = NumberStyle()
    for text in seen:
        style.see(text)

    number, is_sure = told
    assert style.values_of([("a", "2,531", None)]) == ((("a", number),), () if is_sure else ("a",))
    assert sure_number_of("2,531") is None
