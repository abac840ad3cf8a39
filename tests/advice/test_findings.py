"""Findings: seeds with one purpose each, rates that give way, bounds for what was not run."""

import math
from dataclasses import replace

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.climb import visit
from batchlab.advice.findings import Findings, SeedPlan
from batchlab.advice.further import follow_further
from batchlab.advice.ledger import Ledger
from batchlab.advice.scoring import score
from batchlab.advice.settle import decision_of

STEP_S = knee(512)


def found(*, truth=None, salt=0, **changes):
    engine = SimulatedEngine(truth=truth or Truth(noise=0.05), step_s=STEP_S, salt=salt)
    asked = question(STEP_S, budget_s=1e6, **changes)
    books = Ledger(question=asked, engine=engine, until=asked.target)
    return Findings(ledger=books, seeds=SeedPlan.of(None))


@pytest.mark.parametrize("n_seeds", [4, 5, 6, 10, 20, None])
def test_no_seed_has_two_purposes(n_seeds):
    plan = SeedPlan.of(n_seeds)

    seeds = [*plan.tune, *plan.value, *plan.verify]
    assert len(seeds) == len(set(seeds))
    assert plan.tune
    assert plan.value
    assert plan.verify
    assert n_seeds is None or set(seeds) == set(range(n_seeds))


def test_the_bound_of_a_batch_size_not_run_is_below_the_truth():
    findings = found(truth=Truth(noise=0.0))
    for size in (64, 512):
        findings.tune(size, limit_steps=10**6)
        findings.value(size, 1)

    for size in (8, 16, 128, 256, 1024, 8192):
        truth = math.log(Truth().best_steps(size) * STEP_S(size))
        # A tuned rate is half an octave off at most, which costs a few percent.
        assert findings.optimistic_log_score(size) <= truth + 0.05


def test_the_search_at_a_new_batch_size_begins_where_the_others_point():
    findings = found(truth=Truth(noise=0.0, rate_exponent=1.0))
    for size in (64, 256, 1024):
        findings.tune(size, limit_steps=10**6)
        findings.value(size, 1)

    best = math.log2(0.04 * (4096 / 64) ** 1.0 / 0.01)
    assert abs(findings.rate_start(4096) - best) <= 1.0


def test_a_rate_that_fresh_seeds_speak_against_is_moved_back():
    findings = found(truth=Truth(noise=0.0, right=0.3))
    search = findings.tune(64, limit_steps=10**6)
    good, merit = search.learning_rate, search.merit
    findings.value(64, 3)
    # As if a second seed had moved it an octave up.
    search.former.append((good, merit))
    search.learning_rate, search.merit = 2 * good, merit

    findings.value(64, 3)

    assert search.learning_rate == good
    assert len(findings.values(64)) == 3


def test_a_rate_that_takes_about_as_long_on_fresh_seeds_is_kept():
    findings = found(truth=Truth(noise=0.0, left=0.01, right=0.01))
    search = findings.tune(64, limit_steps=10**6)
    findings.value(64, 3)
    search.former.append((search.learning_rate, search.merit))
    search.learning_rate *= 2

    findings.value(64, 3)

    assert search.learning_rate == 2 * search.former[0][0]


def test_a_rate_is_kept_where_another_seed_would_move_it_by_little():
    # Two seeds are asked for a quarter of an octave, where the first one was for a half.
    flat = {"left": 0.05, "right": 0.05}
    findings = found(truth=Truth(noise=0.0, best_rate=0.01 * 2**2.25, **flat))
    search = findings.tune(64, limit_steps=10**6)
    before = search.learning_rate
    findings.confirm(64)

    assert search.learning_rate == before == 0.04
    assert search.former == []


def test_a_rate_is_moved_where_another_seed_promises_more():
    findings = found(truth=Truth(noise=0.0))
    search = findings.tune(64, limit_steps=10**6)
    search.learning_rate = 0.02  # as a misleading first seed might have chosen it
    findings.confirm(64)

    assert abs(math.log2(search.learning_rate / 0.04)) <= 0.25
    assert [rate for rate, _ in search.former] == [0.02]


def test_what_misses_rule_out_is_not_read_off_the_law():
    findings = found(truth=Truth(noise=0.0))
    for size in (64, 256, 1024):
        findings.tune(size, limit_steps=10**6)
        findings.value(size, 2)
    assert set(score(findings).batch_sizes) >= {2048, 4096, 8192}

    law = score(findings).fit
    just_below = math.exp(law.log_steps([4096])[0] - 0.01)
    findings.missed_at[4096] = math.floor(just_below)
    possible = score(findings)
    drawn = possible.merit_draws[:, possible.batch_sizes.index(4096)]
    assert drawn.min() == pytest.approx(math.log(math.floor(just_below)))
    assert drawn.min() > law.log_steps_draws([4096]).min()

    findings.missed_at[4096] = 10_000

    assert set(score(findings).batch_sizes) & {1024, 2048, 4096, 8192} == {1024}


def test_runs_go_on_to_a_harder_target_only_where_the_budget_reaches_for_it():
    findings = found(truth=Truth(noise=0.02))
    for size in (64, 256, 512):
        findings.tune(size, limit_steps=10**6)
        findings.value(size, 2)
    decision = decision_of(findings, score(findings))
    spent_s, before = findings.ledger.engine.spent_s(), len(findings.ledger.engine.asked)

    findings.ledger.question = replace(findings.question, budget_s=spent_s + 0.1)
    follow_further(findings, decision)
    assert len(findings.ledger.engine.asked) == before

    findings.ledger.question = replace(findings.question, budget_s=spent_s + 1000)
    follow_further(findings, decision)
    assert len(findings.ledger.engine.asked) > before


def test_a_rate_that_is_kept_has_the_figure_of_all_its_seeds():
    findings = found(truth=Truth(noise=0.0, best_rate=0.04, left=0.1, right=0.1))
    search = findings.tune(64, limit_steps=10**6)
    one_seed = search.merit
    search.merit = 1.5 * one_seed

    findings.confirm(64)

    assert search.former == []
    assert search.merit == one_seed  # without noise the mean of both


def test_a_miss_says_no_more_than_the_steps_that_were_run():
    findings = found(truth=Truth(noise=0.0), longest_epochs=9)  # 64 needs 7 of them, 256 needs 12
    findings.tune(64, limit_steps=10**6)
    findings.value(64, 1)

    visit(findings, 256, why="a test")

    assert 256 in findings.ruled_out
    assert findings.missed_at[256] == 9 * findings.ledger.steps_per_epoch(256)


def test_a_batch_size_that_missed_bounds_those_beyond_it():
    findings = found(truth=Truth(noise=0.0))
    findings.tune(64, limit_steps=10**6)
    findings.value(64, 1)
    before = findings.optimistic_log_score(8)

    findings.missed_at[16] = 10_000

    assert findings.optimistic_log_score(8) == pytest.approx(math.log(10_000 * STEP_S(8)))
    assert findings.optimistic_log_score(8) > before
