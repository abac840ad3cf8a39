"""Who leads under each equal budget, and what the conclusion and the table say of it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.report.sweep_claims import conclusion
from batchlab.report.sweep_evidence import Evidence, races
from batchlab.report.sweep_tables import races_table


def scattered_study(number: int, seeds: int):
    """Three batch sizes that learn at random speeds, with seeds that scatter little or much."""
    random = np.random.default_rng([number, seeds])
    rates = dict(zip((64, 256, 1024), random.uniform(0.2, 1.2, 3), strict=True))
    scatter = random.choice([0.001, 0.02, 0.2])
    noise = {(b, s): float(random.normal(0, scatter)) for b in rates for s in range(seeds)}
    return made_up_study(
        seeds=seeds,
        epochs=8,
        curves=lambda b, r, s: made_up_curves(rate=max(0.05, rates[b] + noise[b, s])),
    )


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("number", range(12))
def test_what_is_said_of_each_budget_follows_its_intervals(number, seeds):
    study = scattered_study(number, seeds)
    evidence = Evidence.of(study)
    found, lead = races(evidence), conclusion(study).lead

    assert [race.budget.name for race in found] == ["epochs", "steps", "time"]
    for race in found:
        lows = [other.comparison.difference.low for other in race.others]
        outcomes = [other.comparison.outcome for other in race.others]
        if seeds == 1:
            assert (race.standing, lows) == ("no_interval", [None, None])
        else:
            is_clear = outcomes == ["better"] * 2
            assert is_clear == (min(lows) > 0 and "same" not in outcomes)
            assert race.standing == ("clear" if is_clear else "tied")
        assert all(race.level >= other.level for other in race.others)
        if race.budget.name != "epochs":
            name = evidence.name(race.leader)
            says_best = f"In {race.budget.words}, {name} is best with {race.level:.4f}." in lead
            says_ahead = f"In {race.budget.words}, {name} is ahead with {race.level:.4f}" in lead
            assert (says_best, says_ahead) == (race.standing == "clear", race.standing != "clear")


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_table_has_every_batch_size_of_every_budget_the_best_first(seeds):
    evidence = Evidence.of(scattered_study(0, seeds))
    table = races_table(evidence)

    expected = [
        (race.budget.words, evidence.name(cell))
        for race in races(evidence)
        for cell in (race.leader, *(other.cell for other in race.others))
    ]
    assert [row[:2] for row in table.rows] == expected
    for first in range(0, len(expected), 3):
        ahead, *others = table.rows[first : first + 3]
        assert ahead[-1] == "ahead"
        for row in others:
            assert row[3] == pytest.approx(ahead[2] - row[2])
            assert (row[4] == "") == (seeds == 1)


def test_more_rivals_than_a_sentence_bears_are_counted():
    study = made_up_study(
        batch_sizes=(8, 16, 32, 64, 128),
        seeds=2,
        curves=lambda b, r, seed: made_up_curves(validation=0.5 + 0.5 * seed),
    )

    assert "; 4 others may be as good." in conclusion(study).lead
