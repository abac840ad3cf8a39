"""Where lines with counters stand in a training, by what the run has printed until then."""

from __future__ import annotations

import pytest
from tests.reference.sampled_output import readings_of

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
