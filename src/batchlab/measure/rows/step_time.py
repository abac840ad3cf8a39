"""step-time: what one optimizer step takes, alone on its device."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text


def _step_time(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    timing = study.timing(batch_size)
    if timing is None:
        return None
    return timing.step_s, tuple(block / timing.block_steps for block in timing.block_s)


def _notes(study: Study) -> Iterator[str]:
    if not study.timings:
        yield text(
            "No step time was measured alone: the trials' own clocks were shared and give none."
        )
        return
    yield text(
        "Each batch size ran alone on {devices} with {threads} thread(s): large marks are the "
        "median of up to {blocks} blocks of steps, small circles single blocks, bars their "
        "range.",
        devices=", ".join(sorted({timing.device for timing in study.timings})),
        threads=", ".join(map(str, sorted({timing.threads for timing in study.timings}))),
        blocks=max(len(timing.block_s) for timing in study.timings),
    )
    untimed = [batch_size for batch_size in study.batch_sizes if study.timing(batch_size) is None]
    if untimed:
        yield text(
            "No step time was measured alone for: {sizes}.", sizes=", ".join(map(str, untimed))
        )


MEASUREMENT = Measurement(
    quantity=quantity("step_s"),
    needs="batch_size",
    cost="a timed run of each batch size alone, before its trials",
    over_seeds="median",
    figure="cost",
    of_batch_size=_step_time,
    short="step",
    range_headers=("fastest block", "slowest block"),
    notes=_notes,
)
