"""What lines of a training's output say: values by their names, and where they stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.reference.sampled_output import readings_of, sample

from batchlab.errors import UsageError
from batchlab.progress_log import ProgressLog
from batchlab.script.formats import LinePattern

ODD = (math.nan, math.nan, math.inf, -math.inf)
Place = tuple[int | None, float | None, float]  # step, epoch, value


@pytest.mark.parametrize(
    ("name", "metric", "which", "places"),
    [
        ("pytorch_mnist", "Accuracy", slice(None), [(None, 1, 0.9842), (None, 2, 0.9881)]),
        ("pytorch_mnist", "Loss", slice(-1, None), [(None, 1.992, 0.009012)]),
        # The epoch stands above its lines.
        ("pytorch_quickstart", "Avg loss", slice(None), [(None, 1, 2.150834), (None, 2, 1.884371)]),
        ("pytorch_quickstart", "loss", slice(1, 2), [(None, 6464 / 60000, 2.294637)]),
        ("nanogpt", "loss", slice(-2, None), [(260, None, 2.3012), (500, None, 1.7012)]),
        # Batches are counted within an epoch, and steps may start again in each.
        ("timm", "LR", slice(1, 2), [(None, 50 / 1251, 1e-5)]),
        # Progress bars.
        *(
            (name, "val_loss", slice(None), [(10, 1, 0.4299), (20, 2, 0.3758), (30, 3, 0.3324)])
            for name in ("keras", "keras_tty", "keras_verbose_2")
        ),
        ("tqdm_again", "val_loss", slice(None), [(30, 1, 0.5), (60, 2, 0.4), (90, 3, 0.3)]),
    ],
)
def test_a_metric_of_a_well_known_output_is_read_where_it_was(
    name: str, metric: str, which: slice, places: list[Place]
) -> None:
    found = [
        (reading.step, reading.epoch, dict(reading.values)[metric])
        for reading in readings_of(sample(f"{name}.txt"))
        if metric in dict(reading.values)
    ]

    assert found[which] == places


@pytest.mark.parametrize(
    ("name", "metric", "steps"),
    [
        ("yunjey", "Loss", [100, 600, 700, 1200]),
        ("huggingface", "loss", [7, 14, 21, 28, 35]),
        ("lightning_tqdm", "val_loss", [12, 24, 36]),
        ("lightning_rich_forced", "val_loss", [12, 24, 36]),
        ("lightning_tqdm_half", "val_loss", [6, 12, 18, 24, 30, 36]),
    ],
)
def test_steps_are_counted_on_where_they_start_again(
    name: str, metric: str, steps: list[int]
) -> None:
    found = [each for each in readings_of(sample(f"{name}.txt")) if metric in dict(each.values)]

    assert [each.step for each in found] == steps


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("epoch 3 step 100 val_loss=0.41", {"val_loss": 0.41}),
        ("step 1 | loss 1.2e-3 | lr 3e-4 | 12.5ms", {"loss": 1.2e-3, "lr": 3e-4}),
        ("step 1 loss: NaN, acc=-inf", {"loss": math.nan, "acc": -math.inf}),
        ("step 1 a: -nan, b: NAN, c=Inf, d -Infinity", dict(zip("abcd", ODD, strict=True))),
        ("2026-01-01 10:00:00,123 INFO step=100 loss=0.5", {"loss": 0.5}),
        ("step 7: tokens seen: 16,384, loss: 0.5.", {"tokens seen": 16384.0, "loss": 0.5}),
        ("val_loss: tensor(0.41, device='cuda:0') step=3", {"val_loss": 0.41}),
        ("Training loss (for 1 batch) at step 100: 0.9853", {"Training loss": 0.9853}),
        ("Validation loss after epoch 3 is 0.5", {"Validation loss": 0.5}),
        ("At epoch 10 the validation accuracy was 0.9", {"validation accuracy": 0.9}),
        ("[Epoch 1/10] [Batch 5/938] [D loss: 0.5]", {"D loss": 0.5}),
        ("step 7 elapsed: 0:10:31 loss: 0.5", {"loss": 0.5}),
        ('epoch 3 val_loss 0.5 {"step": 7}', {"val_loss": 0.5}),
        # A comma is read as what it can be.
        *(
            (f"step 1 loss: {text}, lr: .5", {"loss": number, "lr": 0.5})
            for text, number in (
                ("-0,532", -0.532),
                ("1,2345e-3", 1.2345e-3),
                ("1,234,567", 1234567.0),
                ("12,345.5", 12345.5),
                ("1,234", 1234.0),
            )
        ),
    ],
)
def test_values_are_read_by_the_names_before_them(line: str, values: dict[str, float]) -> None:
    (found,) = readings_of(line.encode())

    assert repr(dict(found.values)) == repr(values)


@pytest.mark.parametrize(
    "line",
    [
        "Using 4 workers on host gpu-17",
        "loss is going down",
        "Epochs: 10",
        "max steps: 1000, loss weight: 2",
        "total steps = 500 loss 3",
        # Objects without a counter or a number, ...
        '{"steps": 1000, "lr": 0.1}',
        '{"loss": 0.5}',
        '["step", 3]',
        "{'lr': 0.1, 'batch_size': 32}",
        # ... in which nothing runs.
        "{'loss': __import__('os').system('touch /tmp/never'), 'epoch': 1}",
        # Bars of downloads.
        "Downloading:  40%|████      | 120/300 [00:10<00:15, 11.5it/s]",
        "Map:  40%|████      | 120/300 [00:10<00:15, 11.5 examples/s]",
        " 40%|████      | 1.2M/3.0M [00:10<00:15, 115kB/s]",
        " 40%|████      | 0/0 [00:10<00:15, 115kB/s]",
    ],
)
def test_a_line_that_measures_nothing_is_no_progress(line: str) -> None:
    assert [each for each in readings_of(line.encode()) if each.has_position] == []


@pytest.mark.parametrize(
    "line",
    [
        '{"step": true, "loss": 1}',
        "{'loss': " + "9" * 5000 + ", 'epoch': 1}",
        "{'loss': 0.5, 'epoch': " + "(" * 3000,
        "{'a': 1, 'epoch'}",
    ],
)
def test_what_is_not_the_object_that_it_looks_like_is_not_read_as_one(line: str) -> None:
    assert {each.shape for each in readings_of(line.encode())} <= {"words"}


@pytest.mark.parametrize(
    ("line", "step", "values"),
    [
        ('{"step": 100, "loss": 0.5, "name": "a", "ok": false, "x": null}', 100, {"loss": 0.5}),
        # Numbers inside an object have its name before theirs.
        (
            *('{"epoch": 1, "validation": {"loss": 0.5, "top": {"k": 5}}}', None),
            {"validation.loss": 0.5, "validation.top.k": 5.0},
        ),
        ('{"step": 1, "loss": NaN, "best": Infinity}', 1, {"loss": math.nan, "best": math.inf}),
        ('{"epoch": 1, "a": "5.1", "num_updates": "100", "on": "cpu"}', 100, {"a": 5.1}),
        ("{'step': 10, 'val_loss': nan}", 10, {"val_loss": math.nan}),
        ('2026-01-01 10:00:00,123 INFO train: {"step": 10, "x": 0.9}', 10, {"x": 0.9}),
        ("[2026-01-01 10:00:00,123][__main__][INFO] - {'step': 10, 'x': 0.9}", 10, {"x": 0.9}),
    ],
)
def test_the_numbers_of_an_object_beside_a_counter_are_read(
    line: str, step: int | None, values: dict[str, float]
) -> None:
    (found,) = readings_of(line.encode())

    assert (found.shape, found.step) == ("json-lines", step)
    assert repr(dict(found.values)) == repr(values)


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        ('{"epoch": 0, "loss": 1}\n{"epoch": 1, "loss": 1}\n', [(None, 1), (None, 2)]),
        ('{"epoch": 0.25, "loss": 1}', [(None, 0.25)]),
        (
            "{'epoch': 0, 'step': 10, 'a': 1}\n{'epoch': 1, 'step': 30, 'a': 1}\n",
            [(10, None), (30, None)],
        ),
        ("{'epoch': 0, 'val_loss': 1}\n{'epoch': 1, 'val_loss': 1}", [(None, 1), (None, 2)]),
        ("{'epoch': 2, 'learning_rate': 0.1, 'val_loss': 1}", [(None, 2)]),
        # The update of fairseq is a part of an epoch, and no step.
        (
            '{"epoch": 1, "update": 0.063, "loss": "9.5", "num_updates": "100"}\n'
            '{"epoch": 2, "update": 1.5, "loss": "9.1"}\n',
            [(100, None), (None, 2)],
        ),
    ],
)
def test_objects_stand_where_their_counters_say(
    lines: str, places: list[tuple[int | None, float | None]]
) -> None:
    found = readings_of(lines.encode())

    assert {each.shape for each in found} == {"json-lines"}
    assert [(each.step, each.epoch) for each in found] == places


def test_what_was_logged_is_read(tmp_path: Path) -> None:
    log = ProgressLog(str(tmp_path / "log"))
    log.write(step=100, samples=6400, values={"val_loss": 0.1 + 0.2, "b c": math.inf})
    log.write(epoch=0.5, values={"a": "bad"})

    first, second = readings_of((tmp_path / "log").read_bytes())

    assert (first.shape, first.step, first.samples) == ("batchlab", 100, 6400)
    assert first.values == (("val_loss", 0.1 + 0.2), ("b c", math.inf))
    assert first.at_s < second.at_s
    assert (second.epoch, second.not_understood) == (0.5, ("a='bad'",))


@pytest.mark.parametrize(
    ("counters", "epochs"),
    [
        ([{"epoch": i / 2} for i in range(5)], [0, 0.5, 1, 1.5, 2]),
        ([{"epoch": i} for i in range(3)], [0, 1, 2]),
        # A whole epoch beside steps counts only where they agree.
        ([{"step": 20 * i, "epoch": i} for i in range(4)], [None, None, 2, 3]),
        ([{"step": 20 * i + 20, "epoch": i} for i in range(4)], [None] * 4),
        ([{"samples": 250, "epoch": 0.25}], [0.25]),
    ],
)
def test_an_epoch_that_was_logged_is_the_passes_done(
    counters: list[dict[str, float]], epochs: list[float | None], tmp_path: Path
) -> None:
    log = ProgressLog(str(tmp_path / "log"))
    for each in counters:
        log.write(**each, values={"val_loss": 0.5})

    assert [each.epoch for each in readings_of((tmp_path / "log").read_bytes())] == epochs


def test_samples_go_on_where_a_line_prints_only_its_step() -> None:
    """The batch grows from 10 to 50, so steps alone do not tell the samples."""
    lines = [(10, 100), (12, None), (20, 600), (21, None)]
    output = "".join(
        f"iteration {step} | {f'consumed samples: {samples} |' if samples else ''} loss: 1\n"
        for step, samples in lines
    )

    assert [each.samples for each in readings_of(output.encode())] == [100, 120, 600, 650]


Since = tuple[int | None, float | None, int | None]  # step, epoch, steps since


@pytest.mark.parametrize(
    ("lines", "places"),
    [
        # Epochs that are numbered from 0 end one later than those from 1.
        (["epoch 0", "epoch 1"], [(None, 1, None), (None, 2, None)]),
        (["epoch 1", "epoch 2"], [(None, 1, None), (None, 2, None)]),
        # A fraction makes the numbers passes that are done.
        (["epoch 0.5", "epoch 1", "epoch 1.5"], [(None, n / 2, None) for n in (1, 2, 3)]),
        # A step that counts on is taken as it is, whatever the epoch.
        (["epoch 0 step 50", "epoch 1 step 150"], [(50, None, None), (150, None, None)]),
        # A total of steps that rises evenly with the epochs tells the passes.
        (
            ["epoch 1 step 63", "epoch 2 step 126", "epoch 3 step 189"],
            [(63, None, None), (126, 2, None), (189, 3, None)],
        ),
        # A step that starts again in each epoch is put behind the epochs before.
        (
            ["epoch 1 step 50/100", "epoch 1 step 100/100", "epoch 2 step 50/100"],
            [(50, None, None), (100, None, None), (150, None, None)],
        ),
        (["epoch 1 step 117/117", "epoch 2 step 117/117"], [(117, None, None), (234, None, None)]),
        (["epoch 1 step 19", "epoch 2 step 19"], [(19, None, None), (None, 1, 19)]),
        # An epoch below the first one is no place, and no fault either.
        (["epoch 1 step 19", "epoch 0 step 29"], [(19, None, None), (29, None, None)]),
        # A line without a counter ends the epoch that the lines before were in.
        (["Epoch 2 [900/1000]", ""], [(None, 1.9, None), (None, 2, None)]),
        (["step 900", ""], [(900, None, None), (None, None, None)]),
        (["samples 640 step 10"], [(10, None, None)]),
        # As well-known examples print them.
        (
            ["[1,  2000]", "[1, 12000]", "[2,  2000]"],
            [(2000, None, None), (12000, None, None), (None, 1, 2000)],
        ),
        (["| epoch   2 |   100/ 400 batches |"], [(None, 1.25, None)]),
        (["Training loss at step 100: 0.98"], [(100, None, None)]),
        (["Loss after epoch 3: 0.5"], [(None, 3, None)]),
        (["Loss for epoch 3: 0.5"], [(None, 3, None)]),
    ],
)
def test_a_line_stands_where_its_counters_say(lines: list[str], places: list[Since]) -> None:
    output = "".join(f"{line} val_loss 0.5\n" for line in lines).encode()

    found = [(each.step, each.epoch, each.epoch_step) for each in readings_of(output)]

    assert found == places


@pytest.mark.parametrize(
    ("pattern", "output", "found"),
    [
        # Named groups are counters and values.
        (
            r"\[(?P<epoch>\d+), +(?P<step>\d+)\] loss: (?P<train_loss>\S+)",
            *(b"[2,  2000] loss: 1.4e-1\n", [("pattern", 2000, {"train_loss": 0.14})]),
        ),
        # A line that it takes is read by nothing else.
        (
            r"step (?P<step>\d+) loss (?P<mine>\S+)",
            b"step 3 loss 0.5\nstep 4 other_loss 0.5\n",
            [("pattern", 3, {"mine": 0.5}), ("words", 4, {"other_loss": 0.5})],
        ),
        # What is no number is left out, a decimal comma is read, and one that may be either is not
        # sure to be one of thousands.
        (r"loss (?P<loss>\S+)", b"loss unknown\n", []),
        (
            r"step (?P<step>\d+) vl=(?P<vl>\S+)",
            b"step 1 vl=0,53\nstep 2 vl=2,531\n",
            [("pattern", 1, {"vl": 0.53}), ("pattern", 2, {"vl": 2531.0})],
        ),
    ],
)
def test_a_line_is_read_by_the_pattern_given(
    pattern: str, output: bytes, found: list[tuple[str, int, dict[str, float]]]
) -> None:
    readings = readings_of(output, pattern=pattern)

    assert [(each.shape, each.step, dict(each.values)) for each in readings] == found


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "is no regular expression: missing \\)"),
        (r"(?P<step>\d+)", "no named group for a value"),
    ],
)
def test_a_bad_pattern_is_refused_in_one_line(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        LinePattern(pattern)

    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_a_line_that_is_nearly_a_dict_says_nothing_of_its_own() -> None:
    assert readings_of(b"{'a': 1in}\n") == []
