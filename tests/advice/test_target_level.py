"""Target levels: from a pilot's plateau, easier ones, and the neighbours of a target."""

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record
from tests.reference.reason_codes import codes
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.level import end_as, end_so_far, from_pilot, neighbours, of_the_worst
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Target
from batchlab.runs.contract import run_all

ASKED = question(knee(64), budget_s=100.0, target=None)
LONG = 10**9
TARGET = Target(metric="accuracy", value=0.97, better="higher")


def simulated(steps, *, until=None, rate=0.04):
    engine = SimulatedEngine(truth=Truth(noise=0.0), step_s=knee(64))
    trial = engine.trial(batch_size=64, learning_rate=rate, seed=0)
    return run_all(engine, [RunRequest(trial=trial, length=RunLength(steps=steps, until=until))])[0]


def curve_to(level, *, epochs=25):
    curves = made_up_curves()
    curves["validation", "accuracy"] = approach(level, rate=1.0)
    return made_up_record(curves=curves, epochs=epochs, evaluations_per_epoch=4)


def test_a_pilot_with_a_plateau_sets_a_level_with_five_per_cent_more_errors():
    level = from_pilot(ASKED, [curve_to(0.9)], planned_steps=LONG)

    assert level.origin == "pilot"
    assert level.end.ended_by == "plateau"
    assert 0.894 <= level.target.value <= 0.895  # a round figure at most a fifth of that easier


def test_of_runs_that_came_to_their_end_the_clearly_better_sets_the_level():
    both = from_pilot(ASKED, [curve_to(0.8), curve_to(0.9)], planned_steps=LONG)
    other_way_round = from_pilot(ASKED, [curve_to(0.9), curve_to(0.8)], planned_steps=LONG)

    assert both == other_way_round == from_pilot(ASKED, [curve_to(0.9)], planned_steps=LONG)


def test_what_is_better_by_what_chance_brings_leaves_the_level_to_the_reference():
    """One seed each: the better of two alike is not what the reference ends with."""
    luckier = 0.9 + 1.9 * 0.05 * 0.1

    level = from_pilot(ASKED, [curve_to(0.9), curve_to(luckier)], planned_steps=LONG)

    assert level == from_pilot(ASKED, [curve_to(0.9)], planned_steps=LONG)


@pytest.mark.parametrize("order", [(0.88, 0.9, 0.92), (0.92, 0.88, 0.9)])
def test_the_worst_of_the_seeds_sets_the_level(order):
    """What one seed ends with, half of the others miss."""
    alone = from_pilot(ASKED, [curve_to(0.88)], planned_steps=LONG)
    first = from_pilot(ASKED, [curve_to(order[0])], planned_steps=LONG).end

    level = of_the_worst(ASKED, [end_as(ASKED, first, curve_to(final)) for final in order])

    assert (level.target, level.end) == (alone.target, alone.end)
    assert codes(level.why) == {"worst_of_seeds", "ends_at_plateau"}
    assert level.why.named["best"] == pytest.approx(0.92)


def hardly_learned(**changes):
    """What labels drawn at random give: a wobble, and a little better than untrained."""
    curves = {
        **made_up_curves(),
        ("validation", "accuracy"): lambda epoch: 0.1 + 0.002 * (epoch > 0) + 0.001 * (epoch % 2),
    }
    return made_up_record(curves=curves, evaluations_per_epoch=2, **changes)


def test_a_run_about_as_good_as_the_untrained_model_all_the_way_sets_no_level():
    """A level within its wobble would be met by chance, and soonest by whoever is luckiest."""
    cut = hardly_learned(epochs=20)

    assert from_pilot(ASKED, [cut], planned_steps=LONG) is None
    beside = from_pilot(ASKED, [cut, curve_to(0.9)], planned_steps=LONG)
    assert beside.target == from_pilot(ASKED, [curve_to(0.9)], planned_steps=LONG).target
    on_its_way = made_up_record(
        curves={**made_up_curves(), ("validation", "accuracy"): approach(0.9, rate=0.02)},
        epochs=20,
        evaluations_per_epoch=2,
    )
    assert from_pilot(ASKED, [cut, on_its_way], planned_steps=LONG).origin == "easier"


def test_a_pilot_without_a_plateau_sets_the_level_that_it_was_at_when_it_was_cut():
    record = simulated(1000)

    level = from_pilot(ASKED, [record], planned_steps=LONG)

    so_far = end_so_far(ASKED, record)
    assert (level.origin, level.end) == ("easier", None)
    assert so_far.value - level.target.value == pytest.approx(so_far.margin, rel=0.25)
    assert record.crossing(level.target).samples <= record.samples


def test_the_easier_neighbour_is_met_earlier_and_the_harder_lies_half_as_far_beyond():
    record = simulated(10_000, until=TARGET)

    easy, hard = neighbours(ASKED, TARGET, [record])

    assert record.crossing(easy).samples < record.crossing(TARGET).samples
    assert hard.value - TARGET.value == pytest.approx((TARGET.value - easy.value) / 2)
