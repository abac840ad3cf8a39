"""Sampled output: what real trainings printed, in tests/script/samples."""

import random
from pathlib import Path

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


def in_pieces(output: bytes, *, longest: int, seed: int) -> list[bytes]:
    """The output cut at random places."""
    rng, pieces, at = random.Random(seed), [], 0
    while at < len(output):
        length = rng.randint(1, longest)
        pieces.append(output[at : at + length])
        at += length
    return pieces
