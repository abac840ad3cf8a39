"""keskar2017: do large batches end in sharp minima, and generalize worse?"""

from __future__ import annotations

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.trial import Setting, Split
from batchlab.replications.arms import (
    Place,
    Seeds,
    drawing,
    ended,
    final,
    last_measured,
    less,
    level,
    middle,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.tables import PublishedTable

_TABLE = PublishedTable.of("keskar2017")
_SMALL = _TABLE.whole("batch_size_small", "all networks")
_LARGE = _TABLE.whole("batch_size_large", "MNIST")
_N_TEST = 10_000
_ARMS = ("SB", "LB")
_SPLITS: tuple[Split, ...] = ("test", "train")
# What is measured at the end, and the row of a network and a box.
_SHARPNESS = {
    "sharpness": ("sharpness_full_space", "1e-3"),
    "sharpness_half_box": ("sharpness_full_space", "5e-4"),
    "sharpness_subspace": ("sharpness_random_subspace_100", "1e-3"),
    "sharpness_subspace_half_box": ("sharpness_random_subspace_100", "5e-4"),
}
_SPACES = {"sharpness_full_space": "all", "sharpness_random_subspace_100": "100"}


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    settings: dict[str, Setting] = {
        "layers": 5,
        "width": 512 if is_full else 128,
        "batch_norm": True,
        "train": "all",
        "optimizer": "adam",
    }
    epochs = _TABLE.whole("epochs", "Fig. 4 and 5")
    lengths = {"SB": epochs, "LB": epochs} if is_full else {"SB": 15, "LB": 60}
    sizes = {"SB": _SMALL, "LB": _LARGE}
    return tuple(
        Experiment(
            name=arm,
            settings=settings,
            batch_sizes=(sizes[arm],),
            seeds=_TABLE.whole("trials", "per network"),
            epochs=lengths[arm],
            measure=tuple(_SHARPNESS),
        )
        for arm in _ARMS
    )


def _seeds(studies: Studies, arm: str, measured: str) -> Seeds:
    records = ended(studies.get(arm))
    for split in _SPLITS:
        if split == measured:
            return final(records, "accuracy", split)
    return last_measured(records, measured)


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found: dict[str, Estimate] = {}
    for split in _SPLITS:
        small, large = (_seeds(studies, arm, split) for arm in _ARMS)
        found[f"{split} SB"], found[f"{split} LB"] = level(small), level(large)
        found[f"{split} SB less LB"] = less(small, large, n_examples=_N_TEST)
    for name in _SHARPNESS:
        small, large = (_seeds(studies, arm, name) for arm in _ARMS)
        found[name] = times(large, small)
    small, large = (_seeds(studies, arm, "distance") for arm in _ARMS)
    found["distance"] = times(small, large)
    return found


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    seen: dict[Place, Estimate] = {}
    published: list[tuple[Place, float]] = []
    for name, (space, box) in _SHARPNESS.items():
        for arm in _ARMS:
            place = f"{arm}|{_SPACES[space]}|{box}"
            seen[place] = middle(_seeds(studies, arm, name))
            published.append((place, table.number(space, f"F1;{arm};epsilon={box}")))
    return (
        drawing(
            "Sharpness at the end",
            "sharpness",
            {"measured": seen},
            published=published,
            note="SB small, LB large batches; in all directions or in 100 random ones; the box in "
            "parts of each weight's size. How the directions are drawn is left open: compare SB "
            "with LB, not ours with theirs.",
        ),
    )
