"""Branches: nothing but batch size and rate changes in them, and their arithmetic is exact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from benchmarks.regret.whole_situation import whole_situation
from tests.reference.script import script
from tests.reference.whole_grid import write_whole_grid
from torch import nn

from batchlab import Workload
from batchlab.engines.recorded_grid import RecordedGrid

N_TRAIN = 96


@pytest.fixture(scope="module")
def branching() -> Iterator[ModuleType]:
    with script("branches.py") as module:
        yield module


class _Noting(torch.optim.SGD):
    """SGD that notes the rate of every step."""

    rates: list[float]

    def step(self, closure: object = None) -> None:
        self.rates.append(self.param_groups[0]["lr"])
        super().step()


def _workload(seen: list[int], rates: list[float]) -> Workload:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_TRAIN, 3, generator=generator)
    y = x.sum(dim=1, keepdim=True)

    def loss(model: nn.Module, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        if model.training:
            seen.extend(batch[2].tolist())
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    def optimizer(parameters: object, learning_rate: float) -> torch.optim.Optimizer:
        made = _Noting(parameters, lr=learning_rate, momentum=0.9)  # type: ignore[arg-type]
        made.rates = rates
        return made

    return Workload(
        name="noted",
        model=lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
        train=(x, y, torch.arange(N_TRAIN)),
        validation=(x, y, torch.arange(N_TRAIN)),
        loss=loss,
        optimizer=optimizer,
        batch_size=8,
        learning_rate=0.01,
        epochs=30,
    )


@pytest.mark.slow
def test_the_unchanged_branch_goes_on_bit_for_bit(branching: ModuleType) -> None:
    brancher = branching.Brancher(_workload([], []))
    own = branching.Setting(batch_size=8, learning_rate=0.01, seed=3)

    at_once = brancher.trained(own, None, epochs=5)
    in_two = brancher.trained(own, brancher.trained(own, None, epochs=2), epochs=3)

    assert in_two.epoch == at_once.epoch == 5
    assert all(torch.equal(at_once.model[name], in_two.model[name]) for name in at_once.model)
    for index, kept in at_once.optimizer["state"].items():
        other = in_two.optimizer["state"][index]["momentum_buffer"]
        assert torch.equal(kept["momentum_buffer"], other)


@pytest.mark.parametrize("multiple", [0.25, 4, 6])
def test_a_branch_sees_the_same_examples_in_the_same_order_each_once_an_epoch(
    branching: ModuleType, multiple: float
) -> None:
    seen: list[int] = []
    brancher = branching.Brancher(_workload(seen, []))
    own = branching.Setting(batch_size=8, learning_rate=0.01, seed=3)
    root = brancher.trained(own, None, epochs=2)

    orders = []
    for setting in (own, replace(own, batch_size=int(multiple * 8))):
        seen.clear()
        brancher.trained(setting, root, epochs=2)
        orders.append(list(seen))

    assert orders[0] == orders[1]
    for epoch in (orders[0][:N_TRAIN], orders[0][N_TRAIN:]):
        assert sorted(epoch) == list(range(N_TRAIN))


def test_a_branch_trains_at_its_own_rate_and_cools_down_in_a_line_to_zero(
    branching: ModuleType,
) -> None:
    rates: list[float] = []
    brancher = branching.Brancher(_workload([], rates))
    own = branching.Setting(batch_size=8, learning_rate=0.01, seed=3)
    root = brancher.trained(own, None, epochs=2)
    faster = replace(own, batch_size=16, learning_rate=0.05)

    rates.clear()
    at = brancher.trained(faster, root, epochs=1)
    whole_window = list(rates)
    rates.clear()
    brancher.trained(faster, at, epochs=1, cools=True)

    assert whole_window == [0.05] * 6
    assert rates == pytest.approx([0.05 * (6 - step) / 6 for step in range(6)])


@pytest.mark.parametrize(
    ("loss", "windows"),
    [(3.0, 1.0), (2.75, 1.5), (2.125, 4.0), (4.0, 0.0), (5.0, 0.0), (math.inf, 0.0)],
)
def test_a_loss_is_worth_the_windows_that_the_unchanged_branch_needs_to_it(
    branching: ModuleType, loss: float, windows: float
) -> None:
    base = [4.0, 3.0, 2.5, 2.25, 2.125]

    assert branching.windows_worth(loss, base) == pytest.approx(windows)


def test_beyond_the_last_window_it_goes_on_at_the_mean_slope(branching: ModuleType) -> None:
    assert branching.windows_worth(1.0, [4.0, 3.5, 3.0]) == pytest.approx(6.0)


def test_what_the_unchanged_branch_does_not_learn_cannot_be_counted_in_its_windows(
    branching: ModuleType,
) -> None:
    assert math.isnan(branching.windows_worth(3.0, [4.0, 4.2, 4.1]))


@pytest.mark.slow
def test_an_unchanged_branch_needs_as_many_examples_as_itself(branching: ModuleType) -> None:
    falls_evenly = replace(_workload([], []), model=lambda: nn.Linear(3, 1), learning_rate=0.001)

    found = branching.branches(falls_evenly, fraction=0.2, seed=0)

    own = next(
        each
        for each in found
        if each.setting.batch_size == 8 and each.setting.learning_rate == 0.001
    )
    assert own.ratios == pytest.approx((1.0, 1.0))
    assert own.agrees
    assert {each.setting.batch_size for each in found} == {2, 4, 8, 16, 32, 64}


def test_the_branch_with_the_least_time_is_named_and_valued_as_recorded(
    branching: ModuleType, tmp_path: Path
) -> None:
    drawn = whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)
    size, rate = drawn.reference

    def branch(multiple: int, ratio: float) -> object:
        setting = branching.Setting(
            batch_size=multiple * size, learning_rate=multiple * rate, seed=0
        )
        return branching.Branch(setting=setting, ratios=(ratio, ratio))

    # A step of 256 takes as long as one of 64: a quarter of the time for as many examples.
    answer = branching.answered(drawn, [branch(1, 1.0), branch(2, 1.2), branch(4, 2.0)], 0.2)

    cell = drawn.grid.cell(4 * size, 4 * rate)
    seeds = drawn.grid.seeds
    no_worse = [each for each in drawn.grid.cells if drawn.shortfall(each, seeds) <= 1]
    best_s = min(drawn.time_s(each, seeds) for each in no_worse)
    assert answer.multiple == 4
    assert answer.regret == pytest.approx(drawn.time_s(cell, seeds) / best_s - 1)


@pytest.mark.slow
def test_where_nothing_can_be_told_the_reference_stays(
    branching: ModuleType, tmp_path: Path
) -> None:
    drawn = whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)
    size, rate = drawn.reference
    setting = branching.Setting(batch_size=2 * size, learning_rate=2 * rate, seed=0)
    branches = [
        branching.Branch(setting=setting, ratios=ratios)
        for ratios in ((1.0, math.inf), (math.nan, math.nan))
    ]

    answer = branching.answered(drawn, branches, 0.2)

    assert answer.multiple == 1
    assert not answer.ends_worse
