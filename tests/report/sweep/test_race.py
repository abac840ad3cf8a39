"""Who leads, and that budgets agree only where their leaders are clear."""

import itertools
import re

import numpy as np
import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.report.sweep.equal_budget import NAMES, EqualBudget
from batchlab.report.sweep.race import Race, agreement
from batchlab.report.sweep.sentences import sentences

STUDY = made_up_study()
STANDINGS = ("clear", "tied", "no_interval")
SIZES = ("batch size 64", "batch size 256")


def race(name, best, standing):
    budget = EqualBudget(name=name, amount=1.0, study=STUDY)
    return Race(budget=budget, best=best, value=0.9, rivals=(), standing=standing, text="")


@pytest.mark.parametrize(
    "states", list(itertools.product(itertools.product(SIZES, STANDINGS), repeat=3))
)
def test_only_clear_leaders_agree_or_differ(states):
    races = [race(name, *state) for name, state in zip(NAMES, states, strict=True)]

    told = agreement(races)

    clear = [best for best, standing in states if standing == "clear"]
    assert ("do not agree" in told) == (len(set(clear)) > 1)
    assert ("same leader" in told) == (len(clear) > 1 and len(set(clear)) == 1)
    assert ("One budget has a clear leader" in told) == (len(clear) == 1)
    unclear = [name for name, (_, standing) in zip(NAMES, states, strict=True)
               if standing != "clear"]  # fmt: skip
    if clear:
        said = told.partition("none is clear under ")[2]
        assert re.findall("|".join(NAMES), said) == unclear
        assert len(re.findall("batch size", told)) == len(clear)


def test_leaders_that_nobody_is_sure_of_are_no_agreement():
    races = [race(name, "batch size 64", "tied") for name in NAMES]

    assert agreement(races) == (
        "No leader is clear under equal epochs, equal steps and equal time."
    )


def test_with_one_seed_the_best_means_are_named_as_such():
    races = [race(name, "batch size 64", "no_interval") for name in NAMES[:2]]

    assert agreement(races) == (
        "Best means, without an interval: batch size 64 under equal epochs, batch size 64 under "
        "equal steps."
    )


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("number", range(12))
def test_what_made_up_studies_say_of_budgets_follows_what_they_say_of_each(number, seeds):
    random = np.random.default_rng([number, seeds])
    rates = dict(zip((64, 256, 1024), random.uniform(0.2, 1.2, 3), strict=True))
    scatter = random.choice([0.001, 0.02, 0.2])
    noise = {(b, s): float(random.normal(0, scatter)) for b in rates for s in range(seeds)}
    study = made_up_study(
        seeds=seeds,
        epochs=8,
        curves=lambda b, r, s: made_up_curves(rate=max(0.05, rates[b] + noise[b, s])),
    )

    said = {found.topic: found.text for found in sentences(study)}

    each = {name: said[f"equal {name}"] for name in NAMES}
    leaders = {name: re.search(r"; (batch size \d+) was best", told) for name, told in each.items()}
    clear = {name: found[1] for name, found in leaders.items() if found}
    together = said["equal budgets"]
    assert ("same leader" in together) == (len(clear) > 1 and len(set(clear.values())) == 1)
    assert ("do not agree" in together) == (len(set(clear.values())) > 1)
    for name, leader in clear.items():
        assert f"{leader} under equal {name}" in together
    assert "leader: no" not in together
    assert "no clear leader" not in together
