"""The comparison of rate searches: same runs, same cost, valued on seeds that chose nothing."""

from __future__ import annotations

import importlib.util
import json
import math
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.rate_search import (
    EVERY_RATE,
    OWN,
    RANDOM,
    START,
    Answer,
    Case,
    Choice,
    RandomSampler,
    Search,
    against_own,
    answers_of,
    capped,
    chosen_at,
    compared,
    document,
    every_rate,
    own_choices,
    table,
)
from benchmarks.regret.situation import situation
from tests.reference.recorded_grid import Row, line_to, write_grid

from batchlab.engines.contract import run_all
from batchlab.engines.recorded_grid import RecordedGrid
from batchlab.records.run import RunRequest
from batchlab.records.run_length import RunLength
from benchmarks import rate_search

# Steps to target at seed 0, by octaves above the reference rate; each seed takes 2 more.
STEPS = {0: 300, 1: 180, 2: 100, 3: 150}
N_SEEDS = 12


def rows() -> Iterator[Row]:
    for seed in range(N_SEEDS):
        for octave, steps in STEPS.items():
            curve = line_to(steps + 2 * seed)
            yield 16, 0.1 * 2**octave, seed, "target_reached", curve
        yield 16, 0.1 * 2**4, seed, "diverged", [(step, 1.0 + step) for step in range(11)]


@pytest.fixture
def grid(tmp_path: Path) -> RecordedGrid:
    return RecordedGrid.read(write_grid(tmp_path, rows()))


@pytest.fixture
def case(grid: RecordedGrid) -> Case:
    drawn = situation(grid, "cpu", split=0)
    return Case(drawn=drawn, batch_size=16, start="cold", lattice="recorded", draw=0)


# ---- what is searched


def test_a_search_is_told_the_recorded_rates_or_13_octaves_that_hold_them(case: Case) -> None:
    wide = replace(case, lattice="wide").octaves

    assert case.octaves == [0, 1, 2, 3, 4]
    assert wide == list(range(-4, 9))


def test_a_cold_start_is_the_reference_rate(case: Case) -> None:
    assert case.start_octave == 0


def test_a_warm_start_is_an_octave_off_the_best_on_either_side(case: Case) -> None:
    starts = {replace(case, start="warm", draw=draw).start_octave for draw in range(20)}

    assert starts == {1, 3}


def test_a_rate_that_was_not_recorded_fails_at_no_cost(case: Case) -> None:
    engine = replace(case, lattice="wide").engine()
    trial = engine.trial(batch_size=16, learning_rate=case.rate(6), seed=0)
    length = RunLength(steps=500, until=case.drawn.grid.target)

    (record,) = run_all(engine, [RunRequest(trial=trial, length=length)])

    assert trial.learning_rate == case.rate(6)
    assert record.crossing(case.drawn.grid.target) is None
    assert engine.spent_s() == 0.0


def test_a_rate_is_valued_on_seeds_held_back(case: Case) -> None:
    mean = 2 * statistics.fmean(case.drawn.held_back) - 0.5

    assert case.excess(2) == 0.0
    assert case.excess(1) == pytest.approx((180 + mean) / (100 + mean) - 1)


@pytest.mark.parametrize("octave", [None, 4, 6])
def test_a_rate_that_fails_or_was_not_recorded_has_infinite_excess(
    case: Case, octave: int | None
) -> None:
    assert case.excess(octave) == math.inf


# ---- the searches


@pytest.mark.slow
@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("lattice", ["recorded", "wide"])
def test_the_search_of_advise_finds_the_best_and_pays_for_its_runs(
    case: Case, start: str, lattice: str
) -> None:
    one_seed, both = own_choices(replace(case, start=start, lattice=lattice))

    assert (one_seed.octave, both.octave) == (2, 2)
    # Two neighbours and the best, at least; on the second seed the same three again.
    assert one_seed.spent_s > 2.5 * case.training_s
    assert both.spent_s - one_seed.spent_s > 2.5 * case.training_s


@pytest.mark.slow
def test_a_warm_start_spares_the_search_of_advise_runs(case: Case) -> None:
    cold, warm = (own_choices(replace(case, start=start))[0] for start in ("cold", "warm"))

    assert warm.spent_s < cold.spent_s


@pytest.mark.slow
def test_random_search_finds_the_best_given_enough(case: Case) -> None:
    choices = list(Search(case=case, method=RANDOM).choices(math.inf))

    assert choices[0].octave == case.start_octave
    assert choices[-1].octave == 2


def test_a_rate_asked_again_is_trained_with_the_next_seed(case: Case) -> None:
    method = replace(RANDOM, sampler=lambda case, start: RandomSampler(1, 0, seed=0), cut=None)

    choices = list(Search(case=case, method=method).choices(math.inf))

    # The start, again and again: as many trainings as there are seeds that every rate has.
    costs = [choice.spent_s for choice in choices]
    assert case.n_common_seeds == len(case.drawn.seen)
    assert len(set(costs)) == case.n_common_seeds
    longest_s = 0.001 * (300 + 2 * N_SEEDS + 1)
    assert costs[-1] <= case.n_common_seeds * longest_s


def test_a_run_is_cut_where_the_best_so_far_had_met_the_target(case: Case) -> None:
    warm = replace(case, drawn=replace(case.drawn, seen=case.drawn.seen[:1]))

    chosen = every_rate(warm)

    # In order: 300, 180 and 100 steps, then cut at the best, or diverged.
    seed = 2 * warm.drawn.seen[0]
    steps = round(chosen.spent_s / 0.001)
    assert chosen.octave == 2
    assert steps == pytest.approx(300 + 180 + 100 + 100 + 10 + 4 * seed, abs=6)


def test_a_search_that_asks_for_known_rates_alone_ends(case: Case) -> None:
    method = replace(RANDOM, sampler=lambda case, start: RandomSampler(1, 4, seed=0))

    assert len(list(Search(case=case, method=method).choices(math.inf))) < 100


# ---- the same cost


def test_on_average_the_budget_is_spent() -> None:
    choices = [Choice(octave=0, spent_s=1.0), Choice(octave=1, spent_s=3.0)]
    stream = random.Random(0)

    spent = [chosen_at(choices, 1.5, stream).spent_s for _ in range(1000)]

    standard_error = statistics.stdev(spent) / len(spent) ** 0.5
    assert set(spent) == {1.0, 3.0}
    assert abs(statistics.fmean(spent) - 1.5) < 4 * standard_error


def test_a_budget_of_whole_runs_buys_these_runs() -> None:
    choices = [Choice(octave=0, spent_s=1.0), Choice(octave=1, spent_s=3.0)]

    assert chosen_at(choices, 3.0, random.Random(0)) == choices[1]
    assert chosen_at(choices, 9.0, random.Random(0)) == choices[1]
    assert chosen_at(choices, 0.0, random.Random(0)).octave is None


# ---- the table


def _answer(who: str, draw: int, excess: float) -> Answer:
    return Answer(
        workload="made-up",
        batch_size=16,
        start="cold",
        lattice="recorded",
        draw=draw,
        who=who,
        seeds=2,
        multiple=1.0,
        excess=excess,
        trainings=5.0,
    )


def test_differences_are_between_the_same_draws() -> None:
    own = [_answer(OWN, draw, 0.1 * draw) for draw in range(4)]
    other = [_answer("other", draw, 0.1 * draw + 0.2) for draw in reversed(range(4))]

    assert against_own(other, own, 3.5) == pytest.approx((0.2, 0.2, 0.2))


def test_a_rate_that_fails_counts_as_cut() -> None:
    own = [_answer(OWN, 0, 0.0)]

    assert capped(math.inf, 3.5) == 2.5
    assert against_own([_answer("other", 0, math.inf)], own, 3.5)[0] == 2.5


@pytest.mark.slow
def test_the_comparison_runs_without_optuna(
    grid: RecordedGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # importing it fails

    answers = compared(grid, batch_sizes=(16,), draws=2, methods=[RANDOM])

    text = table(answers, grid.header.cut)
    assert {each.who for each in answers} == {OWN, START, EVERY_RATE, RANDOM.name}
    assert text.count("| advise (2 seeds) |") == 4
    assert "| random, cut at the best (2 seeds, 1.5 x) |" in text
    written = document(answers, draws=2, cut=grid.header.cut)
    assert json.loads(json.dumps(written, allow_nan=False))["failing_counts_as"] == 2.5


@pytest.mark.slow
def test_others_spend_what_advise_spent(case: Case) -> None:
    answers = [
        answer
        for draw in range(20)
        for answer in answers_of(replace(case, lattice="wide", draw=draw), [RANDOM])
    ]

    def cost(who: str, multiple: float) -> list[float]:
        return [
            each.trainings
            for each in answers
            if (each.who, each.seeds, each.multiple) == (who, 1, multiple)
        ]

    own, other = cost(OWN, 1.0), cost(RANDOM.name, 1.0)
    standard_error = statistics.stdev(other) / len(other) ** 0.5
    assert abs(statistics.fmean(other) - statistics.fmean(own)) < 4 * standard_error


def test_without_optuna_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rate_search"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SystemExit) as stopped:
        rate_search.main()

    assert stopped.value.code == 2
    assert "pip install optuna" in capsys.readouterr().err
