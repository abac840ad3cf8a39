"""The record of regret: chosen on some seeds, valued on others; and the fit of the prior."""

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.harness import GRIDS, path_of
from benchmarks.regret.whole_habits import WHOLE_HABITS
from benchmarks.regret.whole_situation import profiles_of, step_times, whole_situation
from benchmarks.regret.whole_table import ADVISE, WholeAnswer, stated
from benchmarks.regret.workloads import WHOLE_WORKLOADS
from benchmarks.surface_prior import Seen, prior_without, without_twins
from scipy.stats import multivariate_normal
from tests.reference import joint_belief as twin
from tests.reference.engine_run import run_engine
from tests.reference.recorded_grid import CELLS, EPOCHS, N_SEEDS, rise, write_grid, write_whole_grid
from tests.reference.small_workloads import small_trial

from batchlab.errors import TrialError
from batchlab.records.run import RunLength
from benchmarks import regret_whole

pytestmark = pytest.mark.nightly  # nobody who uses batchlab runs what judges the advice


def test_a_recorded_run_is_what_training_gives_again():
    grid = RecordedGrid.read(path_of("mlp-narrow"))
    run = grid.runs[64, 0.16, 0]
    workload = WHOLE_WORKLOADS["mlp-narrow"]()
    trial = small_trial(workload, batch_size=64, learning_rate=0.16)

    again = run_engine(workload, trial, RunLength(steps=run.curve[12][0]))

    # Another processor adds in another order: what differs grows with the steps.
    curve = [(each.step, each.score("validation", "accuracy")) for each in again.evaluations]
    for (step, value), (recorded_step, recorded) in zip(curve, run.curve[:13], strict=True):
        assert step == recorded_step
        assert value == pytest.approx(recorded, abs=0.01)


# Whole trainings as a question: what is seen does not judge


@pytest.fixture
def whole(tmp_path):
    return whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)


def test_nine_of_fourteen_seeds_are_seen_and_the_others_judge(tmp_path):
    grid = RecordedGrid.read(
        write_whole_grid(tmp_path, is_far=lambda size, octave: (size, octave) == (64, 3))
    )

    for draw in range(10):
        whole = whole_situation(grid, "cpu", draw=draw)
        assert len(whole.seen) == 9
        assert sorted(whole.seen + whole.judging) == list(range(N_SEEDS))
        # The far seeds are met first, and one of them judges.
        assert sum(seed < 4 for seed in whole.seen[:3]) == 3
        assert any(seed < 4 for seed in whole.judging)


def test_another_rate_of_the_user_sets_another_level(whole):
    tuned, low = whole.with_rate(0), whole.with_rate(-1)

    assert (tuned.rate_octaves, low.rate_octaves) == (0, -1)
    assert tuned.reference == (whole.reference[0], whole.best_rate)
    assert low.reference[1] == pytest.approx(whole.best_rate / 2)
    assert whole.rate_octaves == round(math.log2(whole.reference[1] / whole.best_rate))
    assert tuned.level.end == tuned.end(tuned.reference, tuned.grid.seeds) > low.level.end
    with pytest.raises(TrialError):
        whole.with_rate(-20)


def test_the_optimum_is_the_fastest_that_ends_no_worse(tmp_path):
    # (256, 0.4) is faster, but ends three margins worse; at the level it is met all the same.
    cells = ((64, 0.1, 2.0, 0.95), (128, 0.2, 0.8, 0.9495), (256, 0.4, 0.3, 0.9480))
    rows = [
        (size, rate, seed, "ok", rise(size, epochs_to_half=half, end=end, seed=seed))
        for size, rate, half, end in (*cells, (64, 0.2, 0.9, 0.953))
        for seed in range(N_SEEDS)
    ]
    path = write_grid(tmp_path, rows)
    whole = whole_situation(RecordedGrid.read(path), "cpu", draw=0)

    times = {cell: whole.time_s(cell, whole.grid.seeds) for cell in whole.grid.cells}

    assert min(times, key=lambda cell: times[cell]) == (256, 0.4)
    assert whole.shortfall((256, 0.4), whole.seen) > 1
    assert whole.shortfall((128, 0.2), whole.seen) > 1  # beside the tuned reference
    assert whole.optimum == (64, 0.2)
    assert whole.regret(whole.optimum) == 0
    assert whole.regret((64, 0.1)) > 0.5
    assert whole.regret(None) == math.inf


# The advice without a target, and the table of its answers

FOUND = WholeAnswer(
    **{"workload": "made-up", "profile": "cpu", "rate_octaves": 0, "draw": 0, "who": ADVISE},
    **{"tuned_trainings": 40.0, "whole_trainings": 4.0, "batch_size": 256, "learning_rate": 0.8},
    **{"named_as": "named", "origin": "pilot", "n_workers": 1, "regret": 0.0, "spent": 0.9},
    **{"of_reference": 0.5, "of_reference_error": 0.1, "n_sizes": 4},
    **{"shortfall": 0.0, "shortfall_of_own": 0.0, "shortfall_error": 0.4, "chance": 0.85},
    **{"gain_low": 1.5, "gain": 2.0, "gain_high": 2.5, "gain_seen": 2.0},
)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_advice_sets_its_level_from_a_whole_training(whole, n_workers):
    budget_s = 75 * whole.tuned_reference_s

    question = whole.question(1.0)
    reply = regret_whole.advised(whole, budget_s, n_workers)

    assert (question.target, question.planned_epochs) == (None, EPOCHS)
    assert (reply.problem, reply.origin) == ("", "pilot")
    assert reply.cell != whole.reference
    assert whole.regret(reply.cell) < 0.1
    assert whole.shortfall_of_own(reply.cell, whole.judging) < 1
    assert 0 < reply.spent_s <= budget_s
    assert reply.n_sizes == 4
    assert reply.chance > 0.8


def test_a_given_target_is_the_level_of_all_trainings_also_at_another_rate(tmp_path):
    path = write_whole_grid(tmp_path)

    (answer,), none = (
        regret_whole.answers_of(path, "cpu", (75.0,), (0,), octaves, 2, True)
        for octaves in (0, -20)
    )

    assert (answer.problem, answer.origin, answer.named_as) == ("", "given", "named")
    assert (answer.of_reference < 1, answer.chance > 0.8) == (True, True)
    assert (answer.rate_octaves, none) == (0, [])


def test_every_habit_answers_beside_the_advice_within_its_budget(tmp_path):
    path = write_whole_grid(tmp_path)
    cells = RecordedGrid.read(path).cells

    answers = regret_whole.answers_of(path, "cpu", (18.0, 300.0), (0,))

    assert [each.who for each in answers] == [ADVISE, *WHOLE_HABITS] * 2
    for answer in answers:
        is_reference = answer.who == "reference"
        assert (answer.spent == 0.0) == is_reference, answer.who
        assert answer.spent <= 1.1, answer.who
        assert (answer.batch_size, answer.learning_rate) in cells, answer.who
        assert not is_reference or (answer.of_reference, answer.named_as) == (1.0, "reference")
    assert "## All, beside the habits" in regret_whole.tables(answers)


def test_stated_chances_stand_beside_what_was_seen():
    answers = [
        FOUND,
        # Slower, and its gain outside.
        replace(FOUND, chance=0.81, of_reference=1.1, gain_seen=0.9),
        replace(FOUND, chance=0.99, shortfall_of_own=1.1),  # ends worse
        # Misses the level: it has no gain.
        replace(FOUND, chance=0.97, of_reference=math.inf, gain_seen=None),
        replace(FOUND, chance=None, named_as="reference", of_reference=1.0),
        replace(FOUND, chance=0.95, whole_trainings=0.5),
    ]

    lines = stated(answers)

    def cells(line: str) -> list[str]:
        return [cell.partition(" (")[0] for cell in line.strip("| ").split(" | ")]

    assert [cells(line) for line in lines[2:4]] == [
        ["0 to 1", "1", "95 %", "100 %", "100 %"],
        ["3 to 6", "4", "90 %", "25 %", "67 %"],
    ]
    assert [cells(line) for line in lines[7:]] == [["83 %", "2", "50 %"], ["97 %", "3", "33 %"]]


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.name)
def test_a_recorded_grid_is_small_whole_and_judges_what_may_be_chosen(path):
    grid = RecordedGrid.read(path)
    drawn = whole_situation(grid, "cpu", draw=0)

    assert path.stat().st_size <= 2_000_000
    for run in grid.runs.values():
        assert run.status != "ok" or run.steps == drawn.whole_steps(run.batch_size)
    for size in grid.batch_sizes:
        octaves = [math.log2(rate / drawn.reference[1]) for rate in grid.learning_rates(size)]
        first = round(octaves[0])
        assert octaves == pytest.approx(list(range(first, first + len(octaves))))
    for cell in (drawn.reference, drawn.tuned_reference, drawn.optimum):
        assert len(grid.cells[cell]) == len(grid.seeds)
    for profile in profiles_of(grid):
        times = step_times(grid, profile)
        assert sorted(times) == list(grid.batch_sizes)
        assert min(times.values()) > 0


# The prior of the belief: what a workload has no part in


def test_the_likelihood_is_a_normal_density(whole):
    seen, prior = Seen(whole), prior_without("made-up")
    n = len(CELLS)

    mean, covariance = twin.before_any_run(prior, seen.places, np.zeros(n))
    density = multivariate_normal(mean, covariance + np.diag(seen.variances))

    expected = density.logpdf(seen.values) + n * math.log(2 * math.pi)  # of 2 n values
    assert seen.log_likelihood(prior) == pytest.approx(expected, abs=1e-6)
    # Of (64, 0.1) itself: it takes as long as the reference, and ends no worse.
    own = [(size, octave) for size, octave, _, _ in CELLS].index((64, 0))
    assert (seen.places.size[own], seen.places.rate[own]) == (0, 0)
    assert seen.values[[own, n + own]] == pytest.approx([0, 0], abs=1e-9)


def test_a_workload_and_its_twin_have_no_part_in_its_prior():
    known = {name: [] for name in ("cnn", "mlp-adam", "mlp-adam-cosine", "softmax")}
    for name in known:
        known[name].append(name)

    left = {name: [seen for (seen,) in without_twins(known, name)] for name in known}

    assert left == {
        "cnn": ["mlp-adam", "mlp-adam-cosine", "softmax"],
        "mlp-adam": ["cnn", "softmax"],
        "mlp-adam-cosine": ["cnn", "softmax"],
        "softmax": ["cnn", "mlp-adam", "mlp-adam-cosine"],
    }
