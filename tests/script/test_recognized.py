from __future__ import annotations

import pytest
from tests.reference.sampled_output import readings_of, sample

from batchlab.script.metric import MetricName, Recognized, silence_text


def recognized(output: bytes, metric: str) -> Recognized:
    found = Recognized(MetricName(metric))
    for reading in readings_of(output):
        found.add(reading)
    return found


@pytest.mark.parametrize(
    ("name", "metric", "text"),
    [
        (
            "keras.txt",
            "val_loss",
            "Recognized: lines of Keras; val_loss = 0.4299 at step 10.",
        ),
        (
            "huggingface.txt",
            "loss",
            "Recognized: dict lines of a Hugging Face Trainer; loss = 0.6934 at step 7.",
        ),
        (
            "pytorch_mnist.txt",
            "accuracy",
            "Recognized: names and numbers in plain lines; Accuracy = 0.9842 at epoch 1.",
        ),
    ],
)
def test_what_was_recognized_is_told_with_its_first_value(
    name: str, metric: str, text: str
) -> None:
    found = recognized(sample(name), metric)

    assert found.text() == text
    assert found.complaint() is None


def test_the_names_that_were_seen_are_listed_for_one_that_was_not() -> None:
    found = recognized(sample("keras.txt"), "f1")

    assert found.text() == "Progress was recognized (lines of Keras), without f1."
    assert found.complaint() == (
        "no metric 'f1' was printed; printed were accuracy, loss, val_accuracy, val_loss: name one "
        "of them with --metric"
    )


def test_without_any_progress_it_says_how_to_print_some() -> None:
    found = recognized(b"hello\n", "val_loss")

    assert found.text() == "No progress was recognized in the output yet."
    assert "batchlab.log(step=..., val_loss=...)" in str(found.complaint())


def test_the_runs_that_follow_read_the_shape_of_the_metric_alone() -> None:
    output = b'{"step": 1, "val_loss": 0.5}\nstep 1 loss 0.7\n'

    assert recognized(output, "val_loss").shapes == ("json-lines",)
    assert recognized(b"", "val_loss").shapes is None


def test_a_metric_without_a_place_of_its_own_keeps_the_shapes_that_have_one() -> None:
    assert recognized(sample("tqdm_train_val.txt"), "val_loss").shapes == ("tqdm", "words")


def test_what_is_no_number_in_a_log_is_told() -> None:
    line = (
        b'{"batchlab_log": 1, "at_s": 1.0, "step": 1, "values": {}, "not_understood": ["a=\'b\'"]}'
    )

    assert "no number: a='b'" in str(recognized(line, "a").complaint())


def test_it_keeps_little_of_a_long_run() -> None:
    found = recognized(b"".join(b"step %d name_%d_loss 1\n" % (n, n) for n in range(500)), "loss")

    assert len(found.names) == 30
    assert len(found.samples_of_shape["words"]) == 3


def test_a_silent_script_is_told_how_to_flush() -> None:
    assert all(way in silence_text(30) for way in ("python -u", "flush=True", "stdbuf -oL", "30 s"))
