"""The whole tables of coverage: every made-up row, where scripts/test takes some of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.law_coverage import b_crit_coverage, coverage
from tests.reference.steps_to_target import ANY_EXPONENT, EXPONENTS, STUDIES

N_FITS, N_STUDIES = 200, 1000


@pytest.mark.nightly
def test_b_crit_holds_the_truth_in_every_row_at_every_exponent() -> None:
    least = {}
    for name, made_up in ANY_EXPONENT.items():
        for exponent in EXPONENTS:
            study = replace(made_up, exponent=exponent)
            least[name, exponent], told = b_crit_coverage(study, n_studies=N_FITS, seed=102)
            assert told > 0.4, (name, exponent)

    print(f"{len(least)} rows, from {min(least.values()):.1%} to {max(least.values()):.1%}")
    # Where little is known intervals are wider than they need be, so nothing is asked from above.
    slack = 3 * (0.95 * 0.05 / N_FITS) ** 0.5
    assert {row: held for row, held in least.items() if held <= 0.92 - slack} == {}


@pytest.mark.nightly
def test_the_intervals_of_every_made_up_study_hold_the_truth_92_to_98_times_in_100() -> None:
    shares = {}
    for name, study in STUDIES.items():
        found = coverage(study, n_studies=N_STUDIES, seed=101)
        shares |= {(name, what): found[what] for what in ("B_crit", "expected")}

    print(f"{len(shares)} rows, from {min(shares.values()):.1%} to {max(shares.values()):.1%}")
    slack = 3 * (0.95 * 0.05 / N_STUDIES) ** 0.5
    assert {row: s for row, s in shares.items() if not 0.92 - slack < s < 0.98 + slack} == {}
