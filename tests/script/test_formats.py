"""What a training's output says: values by their names, and where they stand."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import points_of, readings_of, sample

from batchlab import progress_log
from batchlab.errors import ProgressError, UsageError
from batchlab.script.formats import LinePattern
from batchlab.script.metric import ProgressPoints
from batchlab.script.reading import Reading

HERE = Path(__file__).parent
ENTRIES = (HERE / "log_formats.txt").read_text("utf-8").split("\n## ")[1:]
ROWS = [row for row in (HERE / "readings.txt").read_text("utf-8").split("\n") if "  =>  " in row]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.partition(" |")[0])
def test_what_a_tool_prints_is_read_or_refused_with_what_to_do(entry):
    head, _, output = entry.partition("\n")
    _, metric, expected = head.split(" | ", 2)
    points = ProgressPoints(metric, made_up_trial(batch_size=50, n_train=1000))
    said = None
    try:
        for reading in readings_of(output.encode(), metric=metric):
            points.add(reading)
        said = points.complaint()
    except ProgressError as error:
        said = str(error)

    found = ", ".join(f"{point.step} {point.value:.10g}" for point in points.points)

    if expected.startswith("refused: "):
        assert said is not None
        assert re.search(expected.removeprefix("refused: "), said), said
    else:
        assert (found, said) == (expected, None)


def written(reading: Reading) -> str:
    words = [reading.shape]
    for name in ("step", "epoch", "epoch_step", "samples", "split"):
        if getattr(reading, name) not in (None, ""):
            words += [name, str(getattr(reading, name))]
    values = ", ".join(f"{name} {value:.10g}" for name, value in reading.values)
    return re.sub(r"\.0\b", "", " ".join(words)) + f": {values}" * bool(values)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.partition("  =>")[0][:40])
@pytest.mark.filterwarnings("error")  # as of a line that is nearly a dict
def test_of_an_output_this_is_read(row):
    output, _, expected = row.partition("  =>  ")
    printed = output.encode("latin-1", "backslashreplace").decode("unicode_escape")

    readings = readings_of(printed.encode())

    assert " & ".join(map(written, readings)) == expected.removeprefix("nothing")


# Of what real trainings printed: a metric, and its steps, epochs and values.
SAMPLED = """
pytorch_mnist | Accuracy | - 1 0.9842, - 2 0.9881
pytorch_mnist | Loss | - 0 2.30004, - 0.0106667 2.21347, - 0.992 0.065224, - 1 0.035412, - 1.992 0.009012
pytorch_quickstart | Avg loss | - 1 2.15083, - 2 1.88437
pytorch_quickstart | loss | - 0.00106667 2.30349, - 0.107733 2.29464, - 0.961067 2.1545, - 1.00107 2.16154
nanogpt | loss | 0 - 4.2649, 10 - 3.2438, 250 - 2.021, 260 - 2.3012, 500 - 1.7012
timm | LR | - 0 1e-05, - 0.039968 1e-05, - 0.999201 1e-05, - 1 0.0002
keras | val_loss | 10 1 0.4299, 20 2 0.3758, 30 3 0.3324
keras_tty | val_loss | 10 1 0.4299, 20 2 0.3758, 30 3 0.3324
keras_verbose_2 | val_loss | 10 1 0.4299, 20 2 0.3758, 30 3 0.3324
tqdm_again | val_loss | 30 1 0.5, 60 2 0.4, 90 3 0.3
yunjey | Loss | 100 - 0.2186, 600 - 0.1301, 700 - 0.0952, 1200 - 0.0733
huggingface | loss | 7 0.35 0.6934, 14 0.7 0.6932, 21 1.05 0.693, 28 1.4 0.6929, 35 1.75 0.6935
lightning_tqdm | val_loss | 12 1 0.161, 24 2 0.0173, 36 3 0.00213
lightning_rich_forced | val_loss | 12 1 0.161, 24 2 0.017, 36 3 0.002
lightning_tqdm_half | val_loss | 6 0.5 0.587, 12 1 0.161, 18 1.5 0.0541, 24 2 0.0173, 30 2.5 0.0062, 36 3 0.00213
"""  # noqa: E501


@pytest.mark.parametrize("row", SAMPLED.strip().split("\n"), ids=lambda row: row.partition(" ")[0])
def test_a_metric_of_a_well_known_output_is_read_where_it_was(row):
    name, metric, places = row.split(" | ")
    found = []
    for reading in readings_of(sample(f"{name}.txt")):
        value = dict(reading.values).get(metric)
        if value is not None:
            place = ("-" if n is None else f"{n:.6g}" for n in (reading.step, reading.epoch))
            found.append(" ".join((*place, f"{value:.6g}")))

    assert ", ".join(found) == places


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_log, "_PATH", str(tmp_path / "log"))
    return tmp_path / "log"


def test_what_was_logged_is_read(log):
    progress_log.log(step=100, samples=6400, **{"val_loss": 0.1 + 0.2, "b c": math.inf})
    progress_log.log(epoch=0.5, a="bad")  # type: ignore[arg-type]

    first, second = readings_of(log.read_bytes())

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
def test_an_epoch_that_was_logged_is_the_passes_done(counters, epochs, log):
    for counter in counters:
        progress_log.log(**counter, val_loss=0.5)

    assert [reading.epoch for reading in readings_of(log.read_bytes())] == epochs


@pytest.mark.parametrize(
    ("pattern", "output", "found"),
    [
        # Named groups are counters and values.
        (
            r"\[(?P<epoch>\d+), +(?P<step>\d+)\] loss: (?P<train_loss>\S+)",
            *("[2,  2000] loss: 1.4e-1", "pattern step 2000: train_loss 0.14"),
        ),
        # A line that it takes is read by nothing else.
        (
            *(r"step (?P<step>\d+) loss (?P<mine>\S+)", "step 3 loss 0.5\nstep 4 other_loss 0.5"),
            "pattern step 3: mine 0.5 & words step 4: other_loss 0.5",
        ),
        # What is no number is left out, a decimal comma is read, and one that may be either is not
        # sure to be one of thousands.
        (r"loss (?P<loss>\S+)", "loss unknown", ""),
        (
            r"step (?P<step>\d+) vl=(?P<vl>\S+)",
            *(
                "step 1 vl=0,53\nstep 2 vl=2,531",
                "pattern step 1: vl 0.53 & pattern step 2: vl 2531",
            ),
        ),
    ],
)
def test_a_line_is_read_by_the_pattern_given(pattern, output, found):
    readings = readings_of(output.encode(), pattern=pattern)

    assert " & ".join(map(written, readings)) == found


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(", "is no regular .*: missing \\)"), (r"(?P<step>\d+)", "no named group for a value")],
)
def test_a_bad_pattern_is_refused_in_one_line(pattern, said):
    with pytest.raises(UsageError, match=said) as refused:
        LinePattern(pattern)

    assert "\n" not in str(refused.value)


# Bars of Lightning, Keras, tqdm and Hugging Face, recorded from the libraries


def test_what_is_printed_below_a_full_bar_has_its_place():
    validated = points_of(sample("tqdm_train_val.txt"))

    assert [step for step, _ in validated] == [40, 80]
    assert points_of(sample("lightning_rich.txt")) == [(36, 0.002)]  # the bar filled the screen


def state(n: int, total: int, *, words: str = "", values: str = "") -> str:
    before = f"{words}: " if words else ""
    after = f", {values}" if values else ""
    return f"\r{before}{100 * n // total:3}%|####  | {n}/{total} [00:01<00:02, 9.5it/s{after}]"


def whole(total: int, words: str = "") -> str:
    return "".join(state(n, total, words=words) for n in (0, total // 2, total)) + "\n"


def val_loss(epoch: int) -> str:
    return f"val_loss {1 / (epoch + 1)}\n"


def around(n: int, epoch: int) -> str:
    """A bar over epochs with the value at the end of one."""
    return state(n, 3, words="Epochs", values=f"val_loss={1 / epoch:.9f}" if epoch else "")


# What is drawn in each of three epochs, and before and behind them; the metric stands at THREE.
THREE = [(20, 1.0), (40, 1 / 2), (60, 1 / 3)]
DRAWN: dict[str, tuple[Callable[[int], str], str, str]] = {
    "several validations after each epoch are passed over": (
        *(lambda epoch: whole(20) + whole(8) + whole(6) + val_loss(epoch), "", ""),
    ),
    "a bar around those of the epochs counts epochs": (
        lambda epoch: state(epoch, 3) + "\n" + whole(20, "batches") + val_loss(epoch),
        *("", state(3, 3)),
    ),
    "a bar around them may be a little behind and hold validations": (
        lambda epoch: f"{state(max(0, epoch - 1), 3)}\n{whole(20)}{whole(8)}{val_loss(epoch)}",
        *("", ""),
    ),
    "words with the number of the epoch are those of one bar": (
        *(lambda epoch: whole(20, f"Training {epoch}") + val_loss(epoch), "", ""),
    ),
    "what is done before the training is passed over": (
        lambda epoch: whole(20) + whole(8) + val_loss(epoch),
        *(whole(50, "Packing") + whole(70, "Padding"), ""),
    ),
    "bars that are not told apart do no harm beside lines with counters": (
        lambda epoch: whole(20) + whole(20) + f"epoch {epoch + 1} {val_loss(epoch)}",
        *(whole(500) + whole(20) + whole(20), ""),
    ),
    "what the bar around the epochs shows belongs to where the inner one is": (
        lambda e: f"{around(e, e)}\n{whole(20, f'train {e}')}{around(e, e + 1)}",
        *("", ""),
    ),
}


@pytest.mark.parametrize("drawn", DRAWN)
def test_values_stand_where_the_bar_of_the_training_is(drawn):
    in_epoch, before, behind = DRAWN[drawn]
    output = "".join((before, *map(in_epoch, range(3)), behind))

    assert points_of(output.encode()) == [(step, pytest.approx(value)) for step, value in THREE]


def test_words_tell_what_a_short_bar_counts_and_a_validation_leaves_it_where_it_is():
    steps = "".join(state(n, 6, words="steps") + "\n" + val_loss(n) for n in (3, 6))
    inside = state(0, 20) + "".join(state(n, 20) + whole(8) + val_loss(n) for n in (10, 20))

    assert points_of(steps.encode()) == [(3, 1 / 4), (6, 1 / 7)]
    assert points_of(inside.encode()) == [(10, 1 / 11), (20, 1 / 21)]


@pytest.mark.parametrize("moves_first", [False, True])
def test_values_of_a_bar_over_epochs_belong_to_the_pass_in_whose_body_they_were_set(moves_first):
    values, output = [0.5, 0.4, 0.4], state(0, 3, words="Epochs")
    for n, value in enumerate(values):
        shown, before = f"val_loss={value}", f"val_loss={values[n - 1]}" if n else ""
        first = (n + 1, before) if moves_first else (n, shown)
        for at, text in (first, (n + 1, shown)):
            output += state(at, 3, words="Epochs", values=text)

    assert points_of(output.encode()) == list(zip((20, 40, 60), values, strict=True))


TWO_LENGTHS = "bars of tqdm cannot be told apart: give each a description, .* batchlab.log"


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
            "without a counter below a bar over epochs; print its epoch next to it",
        ),
    ],
)
def test_what_bars_do_not_tell_is_refused_in_one_line(output, said):
    with pytest.raises(ProgressError, match=said) as refused:
        points_of("".join(output).encode())

    assert "\n" not in str(refused.value)
