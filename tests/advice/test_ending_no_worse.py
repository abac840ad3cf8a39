"""The advice of a study that saw the end of a training: what it names ends no worse."""

import math
from dataclasses import replace

import pytest
from tests.reference.by_day import by_day
from tests.reference.reason_codes import codes
from tests.reference.side_by_side_engine import SideBySideEngine
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice import conclusion
from batchlab.advice.advisor import advise
from batchlab.advice.chance import SCALED_UNSEEN

STEP_S = knee(1024)
# The level is 5 % of the errors below it.
USUAL_END = 1 - 0.03 / 1.05


def advised(
    *, trainings=100.0, n_workers=2, objective="time", salt=0, kind=SimulatedEngine, **truth
):
    known = Truth(**({"end": lambda size, rate: USUAL_END, "end_noise": 0.0002} | truth))
    engine = kind(truth=known, step_s=STEP_S, n_workers=n_workers, salt=salt)
    budget_s = trainings * known.best_steps(64) * STEP_S(64)
    asked = question(
        STEP_S, budget_s=budget_s, target=None, target_origin="pilot", objective=objective
    )
    return advise(asked, engine), engine


def cells(endings):
    """The configurations whose ends were compared, as (batch size, rate)."""
    three = (endings.recommended, endings.reference, endings.reference_tuned)
    return [(ending.batch_size, ending.learning_rate) for ending in three if ending is not None]


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("end_noise", "n"), [(0.0002, 2), (0.02, 4)])
def test_two_seeds_of_the_reference_set_the_level_or_four_where_they_differ(
    n_workers, end_noise, n
):
    """Seeds further apart than the margin leave the level to chance."""
    advice, _ = advised(n_workers=n_workers, end_noise=end_noise)

    (why,) = [step.why for step in advice.steps if step.did.code == "target_set"]
    assert (why.code, why.named["n"]) == ("worst_of_seeds", n)
    seeds: dict[float, list[int]] = {}
    for run in advice.tried:
        if run.purpose == "pilot":
            seeds.setdefault(run.learning_rate, []).append(run.seed)
    assert sorted(max(seeds.values(), key=len)) == list(range(n))


@pytest.mark.parametrize("n_workers", [1, 2, 8])
def test_the_pilot_leaves_half_of_the_clock_to_what_follows_it_on_however_many_cores(n_workers):
    advice, _ = advised(trainings=2.0, n_workers=n_workers, kind=SideBySideEngine)

    spent_s = next(step.spent_s for step in advice.steps if step.did.code == "target_set")
    assert 0 < spent_s <= 0.52 * advice.budget_s


@pytest.mark.slow
@pytest.mark.parametrize("trainings", [40.0, 100.0, 200.0])
def test_what_is_named_was_shown_to_end_no_worse_in_whole_trainings_on_fresh_seeds(trainings):
    advice, engine = advised(trainings=trainings)

    assert advice.target_origin == "pilot"
    assert advice.endings.verdict == "no_worse"
    chosen = (advice.recommendation.batch_size, advice.recommendation.learning_rate)
    assert cells(advice.endings)[:2] == [chosen, (64, 0.01)]
    verified = [r for r in engine.asked if r.trial.seed in advice.endings.seeds]
    assert {request.length.until for request in verified} == {None}
    assert engine.spent_s() <= 1.05 * advice.budget_s
    chose = {run.seed for run in advice.tried if run.purpose in ("pilot", "tune", "value")}
    assert not chose & set(advice.endings.seeds)


def test_a_run_has_an_end_where_it_is_a_whole_training_and_that_of_the_comparison():
    advice, _ = advised(trainings=12.0)

    ends = {(run.batch_size, run.learning_rate, run.seed): run for run in advice.tried}
    endings = advice.endings
    for ending in (endings.recommended, *endings.references):
        for seed, value in zip(endings.seeds, ending.values, strict=True):
            assert ends[*ending.cell, seed].end == value
    whole = {run.batch_size: run.steps for run in advice.tried if run.purpose == "verify"}
    for run in advice.tried:
        is_cut = run.batch_size in whole and run.steps < 0.9 * whole[run.batch_size]
        assert not (is_cut and run.end is not None)


@pytest.mark.parametrize("trainings", [6.0, 40.0])
def test_only_runs_that_were_to_go_to_their_end_tell_what_it_is(trainings):
    """Of those that stop at the target the ones that miss it go on: their ends are the worst."""
    advice, engine = advised(trainings=trainings, end_noise=0.003)

    whole = {
        (each.trial.batch_size, each.trial.learning_rate, each.trial.seed)
        for each in engine.asked
        if each.length.until is None
    }
    told = {
        (run.batch_size, run.learning_rate, run.seed) for run in advice.tried if run.end is not None
    }
    assert told
    assert told <= whole


def test_after_the_answer_one_run_of_every_tuned_batch_size_goes_on_to_its_end():
    advice, engine = advised(trainings=100.0)

    (step,) = [step for step in advice.steps if step.did.code == "follow_to_the_end"]
    followed = {int(size) for size in step.did.named["sizes"].split(", ")}
    tuned = {(c.batch_size, c.learning_rate) for c in advice.candidates if c.n_runs}
    with_end = {(r.batch_size, r.learning_rate) for r in advice.tried if r.end is not None}
    assert followed
    assert tuned <= with_end
    # They go on from where they were stopped, and decide nothing any more.
    again = [each for each in engine.asked if each.trial.batch_size in followed][-len(followed) :]
    asked = [(each.trial.batch_size, each.trial.seed) for each in engine.asked[: -len(followed)]]
    assert all((each.trial.batch_size, each.trial.seed) in asked for each in again)
    chosen = advice.recommendation
    assert (chosen.batch_size, chosen.learning_rate) == advice.endings.recommended.cell


@pytest.mark.parametrize(
    ("trainings", "step_s", "is_named"),
    [(1.5, STEP_S, True), (1.5, lambda size: 1e-3 * size, False), (100.0, STEP_S, False)],
)
def test_where_yours_would_stay_for_want_of_runs_it_is_doubled_if_that_is_faster(
    trainings, step_s, is_named
):
    """By the record, without a run; where something else is named it is not."""
    truth = Truth(end=lambda size, rate: USUAL_END, end_noise=0.0002)
    engine = SimulatedEngine(truth=truth, step_s=step_s, n_workers=1)
    budget_s = trainings * truth.best_steps(64) * step_s(64)
    asked = question(step_s, budget_s=budget_s, target=None, target_origin="pilot")

    advice = advise(asked, engine)

    doubled = [why for why in advice.caveats if why.code == "doubled_unseen"]
    assert bool(doubled) == is_named
    if doubled:
        named = advice.named
        assert (named.batch_size, named.learning_rate) == (128, 0.02)
        assert advice.chance == doubled[0].named["chance"] == SCALED_UNSEEN


@pytest.mark.slow
def test_what_is_faster_to_the_level_but_ends_worse_is_out_and_the_next_one_is_named():
    """The tuned reference ends far better than both pilots, by which the level was set."""

    def end(size: int, rate: float) -> float:
        return USUAL_END + (0.012 if size == 64 and rate not in (0.01, 0.04) else 0.0)

    advice, _ = advised(end=end, best_rate=0.02, right=0.3, left=0.3)

    # By time to the level alone it is 1024, four times faster.
    worse = advice.candidate(1024).note
    assert "ends_worse" in codes(worse)
    assert (advice.recommendation.batch_size, advice.recommendation.learning_rate) == (64, 0.02)
    assert advice.endings.verdict == "no_worse"
    assert advice.endings.recommended.found[0] > USUAL_END + 0.01


@pytest.mark.slow
def test_where_nothing_faster_lasts_for_a_whole_training_the_reference_stays_for_now():
    """A rate that gets to the level may not survive what comes after it."""

    def lasts(size: int, rate: float) -> float:
        return math.inf if (size, rate) == (64, 0.01) else 1.25

    advice, _ = advised(lasts=lasts)

    assert advice.verdict == "cannot_tell"
    assert advice.recommendation is None
    assert "whole_trainings_failed" in codes(advice.reason)
    assert (advice.provisional.batch_size, advice.provisional.learning_rate) == (64, 0.01)


@pytest.mark.slow
def test_where_whether_it_ends_worse_stays_open_it_is_not_named():
    advice, _ = advised(end_noise=0.0012, trainings=100)

    assert (advice.verdict, advice.recommendation) == ("cannot_tell", None)
    assert "ending_open" in codes(advice.missing)
    assert advice.missing.named["n"] > 6  # as many more seeds as were likely to tell
    (guess,) = [why for why in advice.caveats if why.code == "first_guess"]
    assert guess.named["size"] == advice.missing.named["size"] > advice.named.batch_size
    # Both raised less are likely to be no worse.
    assert advice.caveats[0].code == "scaled_step"
    assert (advice.endings.verdict, advice.named.learning_rate) == ("open", 0.08)


def test_without_a_whole_training_on_a_fresh_seed_nothing_is_named(monkeypatch):
    seen = conclusion.verify

    def without_endings(state, size):
        return replace(seen(state, size), endings=None)

    monkeypatch.setattr(conclusion, "verify", without_endings)

    advice, _ = advised()

    assert (advice.verdict, advice.recommendation) == ("cannot_tell", None)
    assert advice.reason.code == "whole_trainings_not_seen"


@pytest.mark.slow
@pytest.mark.parametrize("n_studies", by_day([6, 12], [6]))
def test_what_seems_to_end_worse_gives_way_to_the_next_after_one_training(n_studies):
    """So long as the fastest is open, the next is `better`; its seeds are still all there."""

    def end(size: int, rate: float) -> float:
        return USUAL_END + (0.006 if size < 1024 and rate not in (0.01, 0.04) else 0.0)

    followed = []  # on how many fresh seeds 1024 was, in the studies where it gave way first
    for salt in range(n_studies):
        advice, engine = advised(trainings=30.0, salt=salt, end=end)
        passed = [step for step in advice.steps if step.did.code == "size_is_passed_over"]
        sizes = [step.did.named["size"] for step in passed]
        if sizes[:1] != [1024]:
            continue
        assert passed[0].why.code == "seems_to_end_worse"
        assert advice.verdict == "better"
        assert advice.recommendation.batch_size not in sizes
        assert advice.endings.verdict == "no_worse"
        assert len(advice.endings.seeds) >= 3
        assert advice.more_budget_s > 0
        assert engine.spent_s() <= 1.05 * advice.budget_s
        seeds = {r.trial.seed for r in engine.asked if r.trial.batch_size == 1024}
        followed.append(len(seeds & set(advice.endings.seeds)))
        if followed[-1] == 1:  # on one training nothing is ruled out
            assert advice.missing.code == "faster_seems_to_end_worse"
            assert advice.missing.named["size"] == 1024
    assert len(followed) >= n_studies // 3
    assert followed.count(1) >= n_studies // 6


def test_what_takes_too_many_epochs_to_be_followed_leaves_the_next_fastest_to_be_named():
    """Beside a batch size that needs many epochs the reference has to be trained for as many."""
    advice, engine = advised(trainings=30.0, b_crit=30.0, best_rate=0.02)

    assert advice.verdict == "better"
    assert advice.endings.verdict == "no_worse"
    assert advice.missing.code == "faster_not_followed"
    faster = advice.missing.named["size"]
    assert faster > advice.recommendation.batch_size
    assert (
        advice.candidate(faster).cost.estimate
        < advice.candidate(advice.recommendation.batch_size).cost.estimate
    )
    assert engine.spent_s() >= 0.6 * advice.budget_s
    assert advice.more_budget_s > 0
