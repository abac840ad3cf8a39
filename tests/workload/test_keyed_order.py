"""An order of very many examples is random, and no list of it is made."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, spearmanr

from batchlab.workload import keyed_order
from batchlab.workload.keyed_order import (
    MOST_LISTED,
    KeyedDraws,
    KeyedOrder,
    drawn,
    first_shuffled,
    shuffled,
)

BILLION = 1_073_741_825


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 32, 33, 1000, 4095, 4096, 4097])
@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_every_example_has_exactly_one_place(n: int, seed: int) -> None:
    assert sorted(KeyedOrder.of(n, seed=seed).listed().tolist()) == list(range(n))


def test_any_example_may_stand_in_any_place_and_beside_any_other() -> None:
    places = torch.tensor([0, 1, MOST_LISTED])
    orders = (KeyedOrder.of(MOST_LISTED + 1, seed=seed)[places] for seed in range(4000))

    tenths = torch.stack([order * 10 // (MOST_LISTED + 1) for order in orders])

    for column in tenths.T:
        assert chisquare(torch.bincount(column, minlength=10).numpy()).pvalue > 1e-3
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pairs = torch.bincount(10 * tenths[:, one] + tenths[:, other], minlength=100)
        assert chisquare(pairs.numpy()).pvalue > 1e-3


def test_places_tell_nothing_of_examples_nor_of_their_neighbors() -> None:
    places = torch.arange(40_000)

    found = KeyedOrder.of(BILLION, seed=3)[places].numpy()

    # Under independence a rank correlation has the standard error 1 / sqrt(n).
    assert abs(spearmanr(places.numpy(), found).statistic) < 4 / 200
    assert abs(spearmanr(found[:-1], found[1:]).statistic) < 4 / 200
    in_tenths = np.bincount(found * 10 // BILLION, minlength=10)
    assert chisquare(in_tenths).pvalue > 1e-3


def test_orders_of_two_seeds_have_nothing_in_common() -> None:
    one, other = (KeyedOrder.of(1000, seed=seed).listed() for seed in (1, 2))

    assert int((one == other).sum()) < 8  # on average one


def test_a_part_of_a_part_stands_where_the_whole_has_it() -> None:
    whole = KeyedOrder.of(1000, seed=5)

    assert torch.equal(whole[200:600][50:120].listed(), whole.listed()[250:320])
    assert torch.equal(whole[900:][torch.tensor([[3, 99]])], whole.listed()[[903, 999]][None])
    assert whole[990:][9] == int(whole.listed()[999])
    assert len(whole[400:300]) == 0


@pytest.mark.parametrize("place", [1000, -1])
def test_a_place_outside_is_refused_as_that_of_a_list_is(place: int) -> None:
    with pytest.raises(IndexError):
        KeyedOrder.of(1000, seed=5)[place]


def test_draws_are_uniform_and_do_not_depend_on_those_before() -> None:
    draws = KeyedDraws.of(10_000, seed=1).listed()

    tenths = draws * 10 // 10_000
    assert chisquare(torch.bincount(tenths, minlength=10).numpy()).pvalue > 1e-3
    pairs = torch.bincount(10 * tenths[:-1] + tenths[1:], minlength=100)
    assert chisquare(pairs.numpy()).pvalue > 1e-3
    # Of n draws from n examples a part of 1 - 1/e are there, with a standard error below 0.0025.
    assert abs(len(draws.unique()) / 10_000 - (1 - np.exp(-1))) < 0.01


def test_few_examples_are_listed_as_pytorch_lists_them() -> None:
    generator = torch.Generator().manual_seed(9)

    assert torch.equal(shuffled(50, seed=9)[:], torch.randperm(50, generator=generator))


@pytest.mark.parametrize("order", [shuffled, drawn])
def test_of_a_billion_examples_no_list_is_made(order: object) -> None:
    tracemalloc.start()
    found = keyed_order.listed(order(BILLION, seed=1)[BILLION - 512 :])  # type: ignore[operator]
    few = first_shuffled(BILLION, 2000, seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (len(found), len(few)) == (512, 2000)
    assert peak < 2**20
