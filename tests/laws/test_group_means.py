"""One or two batch sizes: means and draws without a law."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference.steps_to_target import MadeUpStudy, drawn

from batchlab.errors import FitError
from batchlab.laws.group_means import fit_group_means
from batchlab.laws.steps_table import StepsObservation
from batchlab.words.reasons import reason_text


def test_two_batch_sizes_with_two_seeds_have_draws_and_no_law():
    seen = drawn(sizes=(64, 256), seeds=2)

    fit = fit_group_means(seen)

    assert not fit.law_holds
    assert "the law needs 3" in reason_text(fit.b_crit.reason)
    assert fit.log_steps_draws([64, 256]).shape == (999, 2)


def test_two_batch_sizes_with_one_run_each_say_that_their_scatter_is_unknown():
    fit = fit_group_means(drawn(sizes=(64, 256), seeds=1))

    assert "second seed" in reason_text(fit.no_draws_reason)
    assert (fit.steps(64).low, fit.steps(64).high) == (None, None)
    with pytest.raises(FitError, match="second seed"):
        fit.log_steps_draws([64])


def test_means_of_batch_sizes_leave_out_those_that_never_got_there():
    seen = [*drawn(sizes=(64, 256), seeds=2)]
    never = StepsObservation(batch_size=1024, after_steps=99, steps=None)

    assert fit_group_means([*seen, never]).batch_sizes == (64, 256)
    with pytest.raises(FitError, match="none of 1 runs"):
        fit_group_means([never])


@pytest.mark.parametrize("seeds", [2, 4])
def test_the_draws_of_two_batch_sizes_hold_their_true_ratio_95_times_in_100(seeds):
    rng = np.random.default_rng(3)
    n_draws = 400
    # Far from the bounds that no batch size can break: those would only help.
    study = MadeUpStudy(sizes=(64, 256), b_crit=128, seeds=seeds, sigma=0.05, cadence=0.0)
    held = 0
    for _ in range(n_draws):
        seen, truth = study.draw(rng)
        draws = fit_group_means(seen).log_steps_draws([64, 256])
        low, high = np.quantile(draws[:, 0] - draws[:, 1], (0.025, 0.975))
        held += low <= truth[64] - truth[256] <= high

    assert abs(held / n_draws - 0.95) < 4 * (0.95 * 0.05 / n_draws) ** 0.5
