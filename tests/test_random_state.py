"""RandomState: the global random streams go on as if nothing had been drawn."""

import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from batchlab.random_state import RandomState, seed_everything, untouched_randomness


def drawn() -> tuple[float, float, float, float, float]:
    """A number from each stream, and a Gaussian from the two that keep one in reserve."""
    return (
        random.random(),
        random.gauss(0, 1),
        float(np.random.random()),
        float(np.random.standard_normal()),
        float(torch.randn(())),
    )


def test_seeding_is_what_the_textbook_does():
    seed_everything(7)
    first = drawn()

    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)

    assert drawn() == first


@pytest.mark.parametrize(
    "draw",
    [
        random.random,
        lambda: random.gauss(0, 1),
        np.random.random,
        np.random.standard_normal,  # the second of a pair is in reserve: no key moves for it
        lambda: torch.rand(()),
    ],
)
def test_a_state_tells_every_draw(draw):
    seed_everything(1)
    for _ in range(2):
        kept = RandomState.now()
        assert kept.is_now()

        draw()

        assert not kept.is_now()


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_drawn_inside_is_not_noticed_outside_though_it_ends_in_an_error(fails):
    seed_everything(1)
    expected = [drawn(), drawn()]

    seed_everything(1)
    seen = [drawn()]  # and one Gaussian of each kind is in reserve
    with suppress(ZeroDivisionError), untouched_randomness():
        seed_everything(5)
        _ = drawn()[0] / (not fails)
    seen.append(drawn())

    assert seen == expected
