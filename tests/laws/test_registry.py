"""The registry of laws: which rows there are, and all of them fitted to the same runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.reference.steps_to_target import WIDE, exact, on_the_law

from batchlab.laws.registry import every_law, law_rows
from batchlab.laws.steps import FittedLaw, LawFit, fit_steps_to_target
from batchlab.records.quantities import QUANTITIES

USED = law_rows()["critical-batch-size"]


def with_residuals(*residuals: float | None) -> FittedLaw:
    """The law of two fitted numbers, these far from the runs."""
    return FittedLaw(name="any", law=USED, found=LawFit(estimates=(), residuals=residuals))


def test_the_law_that_decisions_use_comes_first_and_the_free_exponent_is_a_row() -> None:
    assert list(law_rows())[:2] == ["critical-batch-size", "free-exponent"]


def test_each_parameter_is_one_of_a_known_quantity() -> None:
    named = {row.name for row in QUANTITIES}

    assert all(p.quantity in named for law in law_rows().values() for p in law.parameters)


def test_every_row_estimates_each_of_its_parameters_and_leaves_a_residual_for_each_run() -> None:
    fit = fit_steps_to_target(on_the_law(WIDE, seeds=2))

    for fitted in every_law(fit):
        assert len(fitted.estimates) == len(fitted.law.parameters)
        assert len(fitted.found.residuals or ()) == len(fit.observations)


def test_a_row_that_leaves_an_estimate_out_is_not_told_with_the_wrong_labels() -> None:
    short = replace(with_residuals(), found=LawFit(estimates=(), residuals=None))

    with pytest.raises(ValueError, match="zip"):
        _ = short.estimates


def test_the_distance_from_a_law_counts_the_runs_that_got_there_less_what_was_fitted() -> None:
    law = with_residuals(0.1, -0.1, 0.2, None, -0.2)

    assert law.residual_sd == pytest.approx(math.sqrt((2 * 0.1**2 + 2 * 0.2**2) / 2))


def test_two_runs_say_nothing_of_the_distance_from_a_law_of_two_numbers() -> None:
    assert with_residuals(0.1, -0.1, None).residual_sd is None
    assert replace(with_residuals(), found=LawFit(estimates=(), residuals=None)).residual_sd is None


def test_the_law_that_decisions_use_is_told_as_it_was_fitted() -> None:
    never = replace(exact(800, 1.0), steps=None, after_steps=900.0)
    fit = fit_steps_to_target([*on_the_law(WIDE, seeds=2), never])

    used = every_law(fit)[0]

    assert {p.name: value for p, value in used.estimates} == {
        "b_crit": fit.b_crit,
        "s_min": fit.s_min,
        "e_min": fit.e_min,
    }
    assert used.found.residuals == fit.residuals
