from __future__ import annotations

import numpy as np
import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.laws.plateau import metric_noise
from batchlab.report.effects import effects
from batchlab.report.sweep_figures import effects_figure

# Batch size 64 is at its level long before the end, 1024 still climbs.
RATES = {64: 2.0, 1024: 0.02}


def curves(batch_size: int, learning_rate: float, seed: int):
    return made_up_curves(validation=0.95, test=0.9, rate=RATES[batch_size])


STUDY = made_up_study(batch_sizes=(64, 1024), seeds=2, epochs=30, curves=curves)


def test_epochs_are_enough_where_the_plateau_was_reached_and_a_bound_where_not() -> None:
    small, large = effects(STUDY)

    assert len(small.plateau_epochs) == 2
    assert max(small.plateau_epochs) < 15
    assert (large.plateau_epochs, large.unfinished_epochs) == ((), (30.0, 30.0))
    figure = effects_figure(STUDY)
    bounds = [row for row in figure.rows if row.get("kind") == "bound"]
    assert [(row["batch_size"], row["mean"]) for row in bounds] == [(1024, 30.0), (1024, 30.0)]
    assert any(note.startswith("↑") for note in figure.notes)


def test_noise_is_that_of_trainings_that_surely_no_longer_improve() -> None:
    small, large = effects(STUDY)
    values = small.records[0].at_epoch_ends("validation", "accuracy")
    last = [value for epoch, value in sorted(values.items()) if epoch > 15]
    unsure = made_up_study(
        batch_sizes=(64, 1024), epochs=30, curves=curves, n_validation=0, n_test=0
    )

    assert small.noises[0] == pytest.approx(metric_noise(last))
    assert np.isfinite(small.noises).all()
    assert [large.noises, *(effect.noises for effect in effects(unsure))] == [()] * 3
