from __future__ import annotations

import pytest
from tests.reference.sampled_output import readings_of, sample

from batchlab.script.metric import MetricName, Recognized


def recognized(output: bytes, metric: str) -> Recognized:
    found = Recognized(MetricName(metric))
    for reading in readings_of(output):
        found.add(reading)
    return found


@pytest.mark.parametrize(
    ("name", "metric", "shape", "value", "step"),
    [
        ("keras.txt", "val_loss", "keras", 0.4299, 10),
        ("huggingface.txt", "loss", "huggingface", 0.6934, 7),
        ("pytorch_mnist.txt", "accuracy", "words", 0.9842, None),
    ],
)
def test_what_was_recognized_is_told_with_its_first_value(
    name: str, metric: str, shape: str, value: float, step: int | None
) -> None:
    found = recognized(sample(name), metric)

    first = found.first_of_metric
    assert first is not None
    assert (first.shape, first.step) == (shape, step)
    assert f"= {value:g} at" in found.text()
    assert found.complaint() is None


@pytest.mark.parametrize(
    ("output", "metric", "said"),
    [
        (sample("keras.txt"), "f1", "printed were accuracy, loss, val_accuracy, val_loss"),
        (b"hello\n", "val_loss", "batchlab.log(step=..., val_loss=...)"),
        (
            b'{"batchlab_log": 1, "at_s": 1.0, "step": 1, "values": {}, '
            b'"not_understood": ["a=\'b\'"]}',
            "a",
            "no number: a='b'",
        ),
    ],
)
def test_a_metric_that_was_not_seen_is_told_with_what_was(
    output: bytes, metric: str, said: str
) -> None:
    assert said in str(recognized(output, metric).complaint())


def test_it_keeps_little_of_a_long_run() -> None:
    found = recognized(b"".join(b"step %d name_%d_loss 1\n" % (n, n) for n in range(500)), "loss")

    assert len(found.names) == 30
