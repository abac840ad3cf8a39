"""Would branches from a checkpoint tell the batch size? Asked of the recorded workloads.

    python benchmarks/branches.py mlp-narrow tabular --processes 2    # trains; a minute or two each

The protocol of Merrill et al. 2025 (`benchmarks/branched_endpoints.py`), mended. The reference is
trained to a checkpoint. From there branches go on with k times the batch size, k = 1/4 to 16, each
at a few rates around a rule's, on the same examples regrouped, with the optimizer's state, over one
window and over two. Every end is cooled down alike: one more part at a rate that falls to zero. The
unchanged branch, followed over four windows, says how many examples a loss is worth. So each branch
has E_k / E_1, the examples that it needs beside the unchanged one, and with the step times its
time. The branch with the least time names batch size and rate, which are valued on the record.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import torch
from by_rule import GRIDS, recorded_near
from regret.table_parts import head, percent, quantile, row
from regret.whole_situation import WholeSituation, profiles_of, whole_situation
from whole_workload import whole_workload

from batchlab.engines.recorded_grid import RecordedGrid
from batchlab.records.trial import Trial
from batchlab.training.evaluator import Evaluator
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

MULTIPLES = (0.25, 0.5, 1, 2, 4, 8, 16)
RATE_FACTORS = (0.5, 1, 2, 4)
# Where the checkpoints are, a window and the cool-down, as parts of a whole training.
CHECKPOINTS = (0.2, 0.6)
WINDOW, COOL_DOWN = 1 / 15, 1 / 30
N_WINDOWS = 4
SEEDS = (0, 1)
# Two windows say the same if their ratios of examples differ by less than this factor.
_AGREE = 1.5
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training that can be gone on with.

    Attributes:
        epoch: passes over the training set it has behind it, a whole number.
        model: its state.
        optimizer: its state.
    """

    epoch: int
    model: Mapping[str, Any]
    optimizer: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """How a branch trains: batch size and rate, and the seed that orders the examples."""

    batch_size: int
    learning_rate: float
    seed: int


class Brancher:
    """Trains a workload from checkpoint to checkpoint.

    Every part is whole epochs, so that each example is used once in each, however regrouped.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._evaluator = Evaluator(workload, _CPU, batch_size=2048)

    def trained(
        self, setting: Setting, start: Checkpoint | None, *, epochs: int, cools: bool = False
    ) -> Checkpoint:
        """`epochs` more from `start` (None: from the beginning); `cools`: at a rate that falls."""
        begun = 0 if start is None else start.epoch
        trial = self._trial(setting)
        first, last = (trial.plan.steps_in(epoch) for epoch in (begun, begun + epochs))
        if cools:
            trial = replace(trial, horizon_steps=last, cool_down=1 - first / last)
        stepper = Stepper(self._workload, trial, _CPU)
        if start is not None:
            rates = [group["lr"] for group in stepper.optimizer.param_groups]
            stepper.model.load_state_dict(start.model)
            stepper.optimizer.load_state_dict(copy.deepcopy(start.optimizer))
            for group, rate in zip(stepper.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
        if last > first:
            stepper.steps(stepper.stream(first), last - first, first_step=first)
        return Checkpoint(
            epoch=begun + epochs,
            model=copy.deepcopy(stepper.model.state_dict()),
            optimizer=copy.deepcopy(stepper.optimizer.state_dict()),
        )

    def loss(self, at: Checkpoint) -> float:
        """Held-out loss; infinite where it is not finite."""
        model = self._workload.model()
        model.load_state_dict(at.model)
        scores = self._evaluator.scores(model, ("validation",))
        value = next(each.value for each in scores if each.metric == "loss")
        return math.inf if value is None else value

    def _trial(self, setting: Setting) -> Trial:
        return Trial.of_whole_batches(
            workload_id="branches",
            workload=self._workload.name,
            n_train=len(self._workload.train[0]),
            batch_size=setting.batch_size,
            learning_rate=setting.learning_rate,
            seed=setting.seed,
        )


def windows_worth(loss: float, base: Sequence[float]) -> float:
    """How many windows the unchanged branch needs to a loss.

    Args:
        loss: to reach.
        base: the loss of the unchanged branch after 0, 1, 2 … windows; at least two.

    Returns:
        Between two of its ends in proportion; beyond the last by the mean slope; 0 or less where
        nothing was gained; NaN where the unchanged branch does not fall, so that it cannot be told.
    """
    if not base[-1] < base[0]:
        return math.nan
    if not loss < base[0]:
        return 0.0
    for done, (before, after) in enumerate(pairwise(base)):
        if before >= loss > after or loss == after:
            return done + (before - loss) / (before - after) if after < before else done + 1.0
    return len(base) - 1 + (base[-1] - loss) * (len(base) - 1) / (base[0] - base[-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """What one branch came to.

    Attributes:
        setting: its batch size and rate.
        ratios: E_k / E_1 by one window and by two; infinite: it learned nothing, NaN: the unchanged
            branch did not either.
    """

    setting: Setting
    ratios: tuple[float, float]

    @property
    def agrees(self) -> bool:
        """Whether both windows say the same."""
        one, two = self.ratios
        return 0 < one < math.inf and 0 < two < math.inf and max(one / two, two / one) < _AGREE


def branches(workload: Workload, *, fraction: float, seed: int) -> list[Branch]:
    """All branches from one checkpoint of the reference, after this part of a whole training."""
    epochs = workload.epochs
    assert epochs is not None
    window, cool = (max(1, round(part * epochs)) for part in (WINDOW, COOL_DOWN))
    brancher = Brancher(workload)

    def cooled(setting: Setting, start: Checkpoint) -> float:
        return brancher.loss(brancher.trained(setting, start, epochs=cool, cools=True))

    own = Setting(batch_size=workload.batch_size, learning_rate=workload.learning_rate, seed=seed)
    root = brancher.trained(own, None, epochs=round(fraction * epochs))
    at, base = root, [cooled(own, root)]
    for _ in range(N_WINDOWS):
        at = brancher.trained(own, at, epochs=window)
        base.append(cooled(own, at))
    found = []
    for multiple, factor in product(MULTIPLES, RATE_FACTORS):
        size = int(multiple * own.batch_size)
        if size < 1 or size > len(workload.train[0]):
            continue
        rate = own.learning_rate * multiple ** rule_exponent(workload) * factor
        setting = replace(own, batch_size=size, learning_rate=rate)
        at, ratios = root, []
        for done in (1, 2):
            at = brancher.trained(setting, at, epochs=window)
            worth = windows_worth(cooled(setting, at), base)
            ratios.append(math.inf if worth == 0 else done / worth)
        found.append(Branch(setting=setting, ratios=(ratios[0], ratios[1])))
    return found


def rule_exponent(workload: Workload) -> float:
    """Of the rule that moves the rate with the batch size: linear for SGD, else square root."""
    make = workload.optimizer
    is_sgd = make is None or isinstance(
        make([torch.nn.Parameter(torch.zeros(1))], 1.0), torch.optim.SGD
    )
    return 1.0 if is_sgd else 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the branches of one checkpoint name, on one machine.

    Attributes:
        workload: whose branches they are.
        fraction: where the checkpoint was, as a part of a whole training.
        multiple: batch size named, in times the reference's.
        cost: seconds of the checkpoint and all branches, in whole trainings of the reference.
        regret: how much longer what is named takes than the fastest that ends no worse; None: its
            rate was not recorded.
        ends_worse: whether it ends worse than the reference as it is, by more than the margin.
        agreeing: the share of the branches whose two windows say the same.
    """

    workload: str
    fraction: float
    multiple: float
    cost: float
    regret: float | None
    ends_worse: bool
    agreeing: float


def answered(situation: WholeSituation, found: Sequence[Branch], fraction: float) -> Answer:
    """The branch with the least time by two windows, valued on all seeds.

    Where no branch can be told from its checkpoint the reference stays as it is.
    """
    own_size = situation.reference[0]
    step_s = situation.step_s

    def relative_s(branch: Branch) -> float:
        size = branch.setting.batch_size
        ratio = branch.ratios[1]
        return math.inf if math.isnan(ratio) else ratio * step_s[size] / size

    timed = [branch for branch in found if branch.setting.batch_size in step_s]
    best = min(timed, key=relative_s).setting
    if min(map(relative_s, timed)) == math.inf:
        best = Setting(batch_size=own_size, learning_rate=situation.reference[1], seed=best.seed)
    seeds = situation.grid.seeds
    no_worse = [cell for cell in situation.grid.cells if situation.shortfall(cell, seeds) <= 1]
    best_s = min(situation.time_s(cell, seeds) for cell in no_worse)
    cell = recorded_near(situation.grid, best.batch_size, best.learning_rate)
    return Answer(
        workload=situation.header.workload,
        fraction=fraction,
        multiple=best.batch_size / own_size,
        cost=_cost(situation, timed, fraction),
        regret=None if cell is None else situation.time_s(cell, seeds) / best_s - 1,
        ends_worse=cell is not None and situation.shortfall_of_own(cell, seeds) > 1,
        agreeing=statistics.fmean(branch.agrees for branch in timed),
    )


def _cost(situation: WholeSituation, found: Sequence[Branch], fraction: float) -> float:
    """In whole trainings of the reference, without evaluations."""
    own_size = situation.reference[0]
    own_s = situation.step_s[own_size] / own_size
    unchanged = fraction + N_WINDOWS * WINDOW + (N_WINDOWS + 1) * COOL_DOWN
    each = 2 * (WINDOW + COOL_DOWN)
    return unchanged + each * sum(
        situation.step_s[size] / size / own_s
        for size in (branch.setting.batch_size for branch in found)
    )


def table(found: Iterable[Answer]) -> str:
    """A row for each workload and checkpoint, and one for all."""
    answers = list(found)
    lines = head(
        "workload", "checkpoint", "cost in whole trainings", "names, in times the batch size",
        "windows agree", "not recorded", "regret, median", "90th percentile", "ends worse",
    )  # fmt: skip
    names = [*dict.fromkeys(each.workload for each in answers), "all"]
    for name, fraction in product(names, CHECKPOINTS):
        group = [
            each for each in answers if name in (each.workload, "all") and each.fraction == fraction
        ]
        if not group:
            continue
        regrets = [each.regret for each in group if each.regret is not None]
        multiples = sorted({each.multiple for each in group})
        lines.append(
            row(
                name,
                percent(fraction),
                f"{statistics.median(each.cost for each in group):.1f}",
                ", ".join(f"{each:g}" for each in multiples),
                percent(statistics.fmean(each.agreeing for each in group)),
                f"{len(group) - len(regrets)} of {len(group)}",
                *(percent(quantile(regrets, at)) if regrets else "–" for at in (0.5, 0.9)),
                percent(statistics.fmean(each.ends_worse for each in group)),
            )
        )
    return "\n".join(lines)


def answers_of(name: str, fraction: float, seed: int) -> list[Answer]:
    """What the branches of one checkpoint of a recorded workload name, on each machine."""
    torch.set_num_threads(1)
    grid = RecordedGrid.read(GRIDS / f"{name}.csv.gz")
    found = branches(whole_workload(name), fraction=fraction, seed=seed)
    return [
        answered(whole_situation(grid, profile, draw=0), found, fraction)
        for profile in profiles_of(grid)
    ]


def main() -> None:
    """Train the branches, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.processes) as pool:
        asked = [
            pool.submit(answers_of, *each) for each in product(given.names, CHECKPOINTS, SEEDS)
        ]
        print(table(answer for job in asked for answer in job.result()))


if __name__ == "__main__":
    main()
