"""Endings: shown to be no worse, shown to be worse, or open; by a margin fixed beforehand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tests.reference.by_day import by_day
from tests.reference.made_up_outcome import END
from tests.reference.made_up_state import Run, diverged, learning_rate, made_up_state, met

from batchlab.advice.endings import endings_of, seeds_to_tell
from batchlab.advice.whole_trainings import compared_with, requests_of, seeds_that_fit
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status

REFERENCE, TUNED, CHOSEN = (64, 0.01), (64, learning_rate(64)), (256, learning_rate(256))
ALIKE = (0.979, 0.978, 0.977)


def ends_at(state, cell, value: float) -> Run:
    """A whole training that is at `value` for its last quarter, and was worse before."""
    last = state.sizes[cell[0]].whole_steps
    marks = [(round(share * last), value) for share in (0.75, 0.8, 0.9, 1.0)]
    return Run(Status.OK, ((0, 0.1), (last // 2, value - 0.2), *marks))


def state_with(ends, *, end=END, **question):
    """Whole trainings that end so, by configuration and seed; a Run stands for itself."""
    state = made_up_state({64: [met(900)] * 2, 256: [met(500)] * 2}, **question)
    state.end = END
    for cell, values in ends.items():
        for seed, value in zip(state.seeds.verify, values, strict=False):
            run = value if isinstance(value, Run) else ends_at(state, cell, value)
            size, rate = cell
            trial = state.engine.trial(batch_size=size, learning_rate=rate, seed=seed)
            state.records[size, rate, seed] = run.record_of(trial)
            state.purposes[size, rate, seed] = "verify"
    state.end = end
    return state


def found(ends, *, n=3, tuned=TUNED, chosen=CHOSEN, n_looks=2, **changes):
    state = state_with(ends, **changes)
    seeds = state.seeds.verify[:n]
    return endings_of(state, seeds, recommended=chosen, tuned=tuned, n_looks=n_looks)


def shifted(values, by):
    return tuple(value + by for value in values)


@pytest.mark.parametrize(
    ("better_by", "verdict", "code"),
    [
        (0.002, "no_worse", "ends_no_worse"),
        (0.0, "open", "ending_open"),
        (-0.004, "worse", "ends_worse"),
    ],
)
def test_the_interval_against_the_margin_is_the_verdict(better_by, verdict, code):
    ends = {REFERENCE: ALIKE, TUNED: shifted(ALIKE, -0.01), CHOSEN: shifted(ALIKE, better_by)}

    endings = found(ends)

    assert (endings.verdict, endings.reason.code) == (verdict, code)
    assert endings.difference.estimate == pytest.approx(better_by)
    assert endings.margin == pytest.approx(0.05 * (1 - 0.978))
    half = endings.difference.high - endings.difference.estimate
    assert endings.difference.low == pytest.approx(better_by - half)


def test_so_many_seeds_as_are_said_to_tell_do():
    """Seeds in groups of three alike: the scatter is the same with 3 and with 30."""
    ends = {cell: ALIKE * 10 for cell in (REFERENCE, TUNED, CHOSEN)}
    needed = seeds_to_tell(found(ends, n=3))

    assert 3 < needed <= 30
    assert found(ends, n=needed).verdict == "no_worse"
    assert seeds_to_tell(found({REFERENCE: ALIKE, CHOSEN: ALIKE}, n=1, tuned=None)) is None


@pytest.mark.parametrize("better", [REFERENCE, TUNED])
def test_it_is_compared_with_the_better_of_the_references(better):
    ends = dict.fromkeys((REFERENCE, TUNED, CHOSEN), ALIKE) | {better: shifted(ALIKE, 0.005)}

    endings = found(ends)

    assert (endings.compared_with.batch_size, endings.compared_with.learning_rate) == better
    assert endings.difference.estimate == pytest.approx(-0.005)
    assert endings.verdict == "worse"


@pytest.mark.parametrize(
    ("than_own", "than_tuned", "verdict", "no_worse_than_own"),
    [
        (0.004, 0.0, "open", True),
        (0.0, 0.0, "open", False),  # open beside both
        (0.004, -0.0013, "open", False),  # likely to end worse than the tuned one
        (0.004, -0.004, "worse", False),
        (0.004, 0.004, "no_worse", True),
    ],
)
def test_it_may_be_shown_to_end_no_worse_than_the_reference_as_it_is_alone(
    than_own, than_tuned, verdict, no_worse_than_own
):
    ends = {REFERENCE: shifted(ALIKE, -than_own), TUNED: shifted(ALIKE, -than_tuned), CHOSEN: ALIKE}

    endings = found(ends)

    assert endings.verdict == verdict
    assert endings.than_own.estimate == pytest.approx(than_own)
    assert endings.is_no_worse_than_own == no_worse_than_own


@pytest.mark.parametrize(("n_validation", "verdict"), [(200, "open"), (20_000, "no_worse")])
def test_seeds_that_end_on_the_same_count_scatter_as_far_as_the_count_can_tell(
    n_validation, verdict
):
    """With 200 examples the next count lies as far off as four margins: agreement shows little."""
    same = (0.98, 0.98, 0.98)
    ends = {REFERENCE: same, TUNED: same, CHOSEN: same}

    endings = found(ends, n_validation=n_validation)

    assert endings.verdict == verdict
    assert endings.standard_error >= 1 / n_validation / math.sqrt(12) * math.sqrt(2 / 3) * 0.999


def test_a_whole_training_that_fails_ends_worse_whatever_the_others_do():
    ends = {REFERENCE: ALIKE, TUNED: ALIKE, CHOSEN: (0.999, diverged(50), 0.999)}

    endings = found(ends)

    assert endings.verdict == "worse"
    assert endings.recommended.values == (pytest.approx(0.999), None, pytest.approx(0.999))
    assert endings.reason.code == "whole_trainings_failed"


def test_what_stopped_early_has_come_to_its_end():
    last = state_with({}).sizes[CHOSEN[0]].whole_steps
    marks = tuple((round(share * last), 0.975) for share in (0.3, 0.4, 0.5))
    half = Run(Status.OK, ((0, 0.1), *marks))
    state = state_with({REFERENCE: ALIKE, TUNED: ALIKE, CHOSEN: (half, *ALIKE[1:])})
    key = (*CHOSEN, state.seeds.verify[0])
    stopped = Reason.of("stopped_early", epochs=3, best=1, metric="accuracy")
    state.records[key] = replace(state.records[key], notes=(stopped,))

    seeds = state.seeds.verify[:3]
    endings = endings_of(state, seeds, recommended=CHOSEN, tuned=TUNED, n_looks=2)

    assert endings.recommended.values[0] == pytest.approx(0.975)


def test_one_seed_each_tells_nothing_however_good_it_looks():
    ends = {REFERENCE: (0.9,), TUNED: (0.9,), CHOSEN: (0.99,)}

    endings = found(ends, n=1)

    assert endings.verdict == "open"
    assert endings.difference.low is None
    assert endings.reason.code == "ending_seen_once"


def test_the_reference_itself_ends_no_worse_than_itself():
    endings = found({REFERENCE: ALIKE}, chosen=REFERENCE, tuned=None)

    assert endings.verdict == "no_worse"
    assert (endings.difference.low, endings.difference.estimate) == (0.0, 0.0)


def test_where_no_end_was_seen_or_the_reference_has_none_nothing_is_said():
    assert found({REFERENCE: ALIKE, CHOSEN: ALIKE}, end=None) is None
    assert found({CHOSEN: ALIKE}) is None


def test_all_that_are_compared_train_for_as_many_epochs_as_the_slowest_needs():
    state = state_with({})
    per_epoch = state.plan(256).steps_in(1)
    state.sizes[64].search.learning_cost = state.sizes[256].search.learning_cost = 1.0

    compared_with(state, state.sizes[256])
    assert state.sizes[256].whole_steps == 16 * per_epoch
    assert state.sizes[64].whole_steps == state.plan(64).steps_in(16)

    state.sizes[256].search.learning_cost = 20.0 * per_epoch
    compared_with(state, state.sizes[256])
    assert state.sizes[256].whole_steps == 30 * per_epoch
    assert state.sizes[64].whole_steps == state.plan(64).steps_in(30)

    state.question = replace(state.question, longest_epochs=25)
    compared_with(state, state.sizes[256])
    assert state.whole_epochs == 25
    assert state.sizes[256].whole_steps == 25 * per_epoch


def test_the_last_of_three_whole_trainings_may_be_cut():
    """The two that are whole still tell something."""
    state = state_with({})
    requests = requests_of(state, [CHOSEN], state.seeds.verify[:3])
    state.question = replace(
        state.question, budget_s=state.engine.spent_s() + state.usual_s(requests) / 1.05
    )

    assert len(seeds_that_fit(state, [CHOSEN], state.seeds.verify[:3])) == 3


def test_of_a_reference_that_overfits_the_best_in_a_row_counts():
    overfits = replace(END, ended_by="overfitting")
    last = state_with({}).sizes[CHOSEN[0]].whole_steps
    marks = [(round(last * share), 0.9 - abs(share - 0.5)) for share in np.linspace(0.1, 1, 10)]
    run = Run(Status.OK, ((0, 0.1), *marks))

    endings = found({REFERENCE: ALIKE, CHOSEN: [run] * 3}, tuned=None, end=overfits)

    assert endings.recommended.found[0] == pytest.approx((0.8 + 0.9 + 0.8) / 3)


# How much more it scatters than the reference, and how far a seed's own examples move all ends.
ENDS_BY_CHANCE = ((1.0, 0.0), (3.0, 0.0), (6.0, 0.0), (2.0, 0.01))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scatter", "luck", "n_looks", "n_studies"),
    by_day(
        [
            (1.0, 0.0, 2, 200),
            *((*each, n, 600) for each in ENDS_BY_CHANCE for n in (1, 2)),
        ],
        [(1.0, 0.0, 2, 200)],
    ),
)
def test_what_ends_worse_by_the_margin_is_called_no_worse_in_5_of_100_at_most(
    scatter, luck, n_looks, n_studies
):
    """In both looks together: three seeds, and where those leave it open as many as tell.

    The `luck` of a seed's own examples is in all of its ends.
    """
    rng, wrong = np.random.default_rng(8), 0
    margin = 0.05 * (1 - 0.978)
    for _ in range(n_studies):
        drawn = {
            REFERENCE: rng.normal(0.978, 0.0005, 24),
            TUNED: rng.normal(0.97, 0.0005, 24),
            CHOSEN: rng.normal(0.978 - margin, scatter * 0.0005, 24),
        }
        of_examples = rng.normal(0.0, luck, 24) if luck else 0.0
        ends = {cell: tuple(map(float, values + of_examples)) for cell, values in drawn.items()}
        endings = found(ends, n_looks=n_looks, draws_by_seed=luck > 0)
        if n_looks == 2 and endings.verdict == "open":
            n = min(max(6, seeds_to_tell(endings)), 24)
            endings = found(ends, n=n, draws_by_seed=luck > 0)
        wrong += endings.verdict == "no_worse"

    standard_error = math.sqrt(0.05 * 0.95 / n_studies)
    assert wrong / n_studies <= 0.05 + 3 * standard_error


def test_the_interval_is_the_wider_of_students_over_all_and_welchs_of_the_two():
    ends = {REFERENCE: (0.97, 0.98), TUNED: (0.96, 0.97), CHOSEN: (0.971, 0.981, 0.976, 0.976)}

    difference = found(ends, n=4).difference

    # Variances: twice 0.005² with one degree of freedom, 0.005² * 2/3 with three.
    pooled = (5e-5 + 5e-5 + 5e-5) / 5
    students = 2.5705818 * math.sqrt(pooled * (1 / 4 + 1 / 2))
    parts = (5e-5 / 3 / 4, 5e-5 / 2)
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1)
    welchs = stats.t(degrees).ppf(0.975) * math.sqrt(sum(parts))
    assert welchs > students
    assert difference.estimate == pytest.approx(0.001)
    assert difference.high - difference.low == pytest.approx(2 * welchs)
    assert difference.n == 2


def test_where_each_seed_draws_its_examples_ends_are_compared_seed_by_seed():
    """How hard its examples are is in both ends; a seed that one of the two lacks is left out."""
    luck = (-0.004, 0.006, 0.001, -0.003)
    ends = {
        REFERENCE: tuple(0.978 + by for by in luck),
        CHOSEN: tuple(0.980 + by + of for by, of in zip(luck, (-1e-4, 0, 1e-4), strict=False)),
    }

    paired = found(ends, n=4, tuned=None, draws_by_seed=True).difference
    apart = found(ends, n=4, tuned=None).difference

    half = stats.t(2).ppf(0.975) * 1e-4 / math.sqrt(3)
    assert paired.estimate == pytest.approx(0.002)
    assert (paired.n, apart.n) == (3, 3)
    assert paired.high - paired.estimate == pytest.approx(half)
    assert apart.high - apart.estimate > 20 * half


def test_a_reference_that_was_not_run_leaves_it_open_and_one_that_fails_does_not():
    better = shifted(ALIKE, 0.01)

    missing = found({REFERENCE: ALIKE, CHOSEN: better})
    failing = found({REFERENCE: ALIKE, TUNED: [diverged(50)] * 3, CHOSEN: better})

    assert (missing.verdict, missing.reason.code) == ("open", "whole_trainings_not_seen")
    assert failing.verdict == "no_worse"


@pytest.mark.parametrize("ended_by", ["plateau", "overfitting"])
def test_a_training_that_went_on_counts_as_far_as_the_others_go(ended_by):
    """Beside a slower candidate the references were trained longer, and got better there."""

    def goes_on(state, value):
        last = state.sizes[64].whole_steps
        curve = ends_at(state, REFERENCE, value).curve
        later = [(round(share * last), value + 0.01) for share in (1.4, 1.6, 1.8, 2)]
        return Run(Status.OK, (*curve, *later))

    def failed_later(state, value):
        return replace(goes_on(state, value), status=Status.DIVERGED)

    state = state_with({})
    end = replace(END, ended_by=ended_by)
    ends = {TUNED: shifted(ALIKE, -0.01), CHOSEN: ALIKE}
    seen = found({REFERENCE: ALIKE, **ends}, end=end)

    for went_on in (goes_on, failed_later):
        longer = tuple(went_on(state, value) for value in ALIKE)
        assert found({REFERENCE: longer, **ends}, end=end) == seen


@pytest.mark.parametrize(
    ("pilot", "worse_by", "seems"),
    [
        (0.9774, 0.0014, True),  # 0.2 thousandths apart: 1.32 are enough
        (0.9770, 0.0014, False),
        (0.9725, 0.0050, False),
        (None, 0.0014, False),  # the level was set by another rate: twice the margin, 2.24
        (None, 0.0026, True),
    ],
)
def test_one_seed_says_that_it_ends_worse_if_it_is_further_off_than_the_seeds_are(
    pilot, worse_by, seems
):
    """The pilot and the fresh training of the reference, ending at 0.9776, tell of the scatter."""
    end = replace(END, value=0.5, learning_rate=0.04)
    if pilot is not None:
        end = replace(END, value=pilot, learning_rate=REFERENCE[1])

    ends = {REFERENCE: (0.9776,), TUNED: (0.97,), CHOSEN: (0.9776 - worse_by,)}
    endings = found(ends, n=1, end=end)

    assert (endings.verdict, endings.difference.low) == ("open", None)
    assert endings.is_likely_worse(beyond_errors=1) == seems
