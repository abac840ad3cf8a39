"""keskar2017: do large batches end in sharp minima, and generalize worse?"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import nn

from batchlab import Estimate
from replications.experiment import Experiment, Measured, Studies
from replications.papers.networks import digits, mlp
from replications.seeds import difference, final, last_measured, mean, ratio, trials
from replications.tables import PublishedTable

_TABLE = PublishedTable.of("keskar2017")
_SIZES = {
    "SB": _TABLE.whole("batch_size_small", "all networks"),
    "LB": _TABLE.whole("batch_size_large", "MNIST"),
}
_SPLITS: tuple[Literal["test", "train"], ...] = ("test", "train")


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""
    epochs = dict.fromkeys(_SIZES, _TABLE.whole("epochs", "Fig. 4 and 5"))
    if is_quick:
        epochs = {"SB": 15, "LB": 60}
    return tuple(
        Experiment(
            name=arm,
            workload=digits(
                "keskar2017-f1",
                partial(mlp, layers=5, width=128 if is_quick else 512, norm=nn.BatchNorm1d),
                optimizer=torch.optim.Adam,
                settings={},
                learning_rate=0.001,
            ),
            batch_sizes=(size,),
            seeds=_TABLE.whole("trials", "per network"),
            epochs=epochs[arm],
            measure=("sharpness",),
        )
        for arm, size in _SIZES.items()
    )


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    small, large = (trials(studies[arm]) for arm in _SIZES)
    numbers: dict[str, Estimate] = {}
    for split in _SPLITS:
        of_small, of_large = (final(each, split=split) for each in (small, large))
        numbers[f"{split} SB"], numbers[f"{split} LB"] = mean(of_small), mean(of_large)
        numbers[f"{split} SB less LB"] = difference(of_small, of_large, n_examples=10_000)
    numbers["sharpness"] = ratio(*(last_measured(each, "sharpness") for each in (large, small)))
    numbers["distance"] = ratio(*(last_measured(each, "distance") for each in (small, large)))
    return numbers
