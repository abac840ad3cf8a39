"""RandomState: the global random streams go on as if nothing had been drawn."""

import random
from collections.abc import Callable

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


def test_seeding_is_what_the_textbook_does() -> None:
    seed_everything(7)
    first = drawn()

    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)

    assert drawn() == first


@pytest.mark.parametrize("in_use", [False, True])
def test_seeding_reaches_a_gpu_only_where_one_is_in_use(
    in_use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)

    seed_everything(7)

    assert seeds == ([7] if in_use else [])


def test_streams_go_back_to_where_they_were() -> None:
    seed_everything(1)
    drawn()
    kept = RandomState.now()
    expected = drawn()

    kept.restore()

    assert drawn() == expected


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
def test_a_state_tells_every_draw(draw: Callable[[], object]) -> None:
    seed_everything(1)
    for _ in range(2):
        kept = RandomState.now()
        assert kept.is_now()

        draw()

        assert not kept.is_now()


def test_what_is_drawn_inside_is_not_noticed_outside() -> None:
    seed_everything(1)
    expected = [drawn(), drawn()]

    seed_everything(1)
    seen = [drawn()]
    with untouched_randomness():
        seed_everything(5)
        drawn()
    seen.append(drawn())

    assert seen == expected


def test_an_exception_inside_restores_as_well() -> None:
    seed_everything(1)
    expected = drawn()

    seed_everything(1)
    with pytest.raises(ZeroDivisionError), untouched_randomness():
        _ = drawn()[0] / 0

    assert drawn() == expected
