"""Sampled output: what real trainings printed, in tests/script/samples."""

import random
from pathlib import Path

from tests.reference.made_up import made_up_trial

from batchlab.script.metric import ProgressPoints
from batchlab.script.output import OutputReader
from batchlab.script.reading import Reading

SAMPLES = Path(__file__).parents[1] / "script" / "samples"


def sample_names() -> list[str]:
    return sorted(path.name for path in SAMPLES.iterdir())


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def readings_of(output: bytes, **options: object) -> list[Reading]:
    """All readings of an output that came in one piece, at second 0."""
    reader = OutputReader(**options)  # type: ignore[arg-type]
    return reader.feed(output, 0.0) + reader.finish()


def points_of(output: bytes, metric: str = "val_loss") -> list[tuple[int, float]]:
    """Steps and values of a metric; a batch has 50 examples, an epoch 20 steps."""
    points = ProgressPoints(metric, made_up_trial(batch_size=50, n_train=1000))
    for reading in readings_of(output, metric=metric):
        points.add(reading)
    return [(point.step, point.value) for point in points.points]


def in_pieces(output: bytes, *, longest: int, seed: int) -> list[bytes]:
    rng, pieces, at = random.Random(seed), [], 0
    while at < len(output):
        length = rng.randint(1, longest)
        pieces.append(output[at : at + length])
        at += length
    return pieces
