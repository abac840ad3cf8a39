"""keskar2017: do large batches end in sharp minima, and generalize worse?"""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, DrawnPoint, Form
from batchlab.records.trial import Setting, Split
from batchlab.replications.arms import Seeds, ended, final, last_measured, less, level, times
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
from batchlab.replications.tables import Key, PublishedTable

_TABLE = PublishedTable.of("keskar2017")
_SMALL = _TABLE.whole("batch_size_small", "all networks")
_LARGE = _TABLE.whole("batch_size_large", "MNIST")
_N_TEST = 10_000
_WITHIN = 0.005
_MATTERS = 0.0005
_ARMS = ("SB", "LB")
_SPLITS: tuple[Split, ...] = ("test", "train")
# What is measured at the end, and the row of a network and a box.
_SHARPNESS = {
    "sharpness": ("sharpness_full_space", "1e-3"),
    "sharpness_half_box": ("sharpness_full_space", "5e-4"),
    "sharpness_subspace": ("sharpness_random_subspace_100", "1e-3"),
    "sharpness_subspace_half_box": ("sharpness_random_subspace_100", "5e-4"),
}
_SPACES = {"sharpness_full_space": "all directions", "sharpness_random_subspace_100": "100 random"}


def paper() -> Paper:
    """All of it."""
    return Paper(
        title="Do large batches end in sharp minima, and does it cost test accuracy?",
        paper=(
            "Keskar, Mudigere, Nocedal, Smelyanskiy, Tang 2017, On Large-Batch Training for Deep "
            "Learning: Generalization Gap and Sharp Minima, https://arxiv.org/abs/1609.04836: the "
            "network F1"
        ),
        protocol=(
            "F1: fully connected, five hidden layers with batch normalization and ReLU, on all "
            "60,000 training digits, Adam.",
            "Small batches of 256 (SB) against large ones of a tenth of the data (LB).",
            "Sharpness at the end: the highest loss in a box around the weights, in all directions "
            "and in 100 random ones.",
        ),
        left_open=(
            "Adam's settings are not given: PyTorch's defaults.",
            "Trained until the loss ceases to improve: here for a fixed number of epochs, more of "
            "them with large batches.",
            "How the 100 directions are drawn and scaled: standard normal entries. So the ratio of "
            "sharpness counts, not its size.",
            "Where the search starts: at the weights, and at a random point of a tenth of the box. "
            "The loss is that of 2,000 training digits, not of all.",
            "Batch normalization in the sharpness: by the batch's own statistics, as in the "
            "authors' code.",
        ),
        experiments=_experiments,
        measured=_measured,
        claims=lambda form: tuple(_claims()),
        drawings=_drawings,
    )


def _experiments(form: Form) -> tuple[Experiment, ...]:
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
            seeds=_TABLE.whole("trials", "per network") if is_full else 3,
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


def _measured(studies: Studies, table: PublishedTable) -> Measured:
    found: dict[str, Estimate] = {}
    if not all(ended(studies.get(arm)) for arm in _ARMS):
        return found
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


def _claims() -> Iterator[Claim]:
    yield Claim(
        says="The small batch generalizes better",
        measured="test SB less LB",
        measured_as="test accuracy with small batches less that with large ones",
        rows=(("test_accuracy", "F1;SB"), ("test_accuracy", "F1;LB")),
        matters=_MATTERS,
        quantity="accuracy",
    )
    yield Claim(
        says="The large batch fits its training data no worse",
        measured="train SB less LB",
        measured_as="training accuracy with small batches less that with large ones",
        rows=(("train_accuracy", "F1;SB"), ("train_accuracy", "F1;LB")),
        matters=_MATTERS,
        quantity="accuracy",
    )
    for name, (space, box) in _SHARPNESS.items():
        yield Claim(
            says=f"The large batch ends in a sharper minimum ({_SPACES[space]}, box {box})",
            measured=name,
            measured_as="sharpness with large batches over that with small ones",
            rows=(_row(space, "LB", box), _row(space, "SB", box)),
            of_two="ratio",
        )
    yield Claim(
        says="The small batch ends several times farther from the initial weights",
        measured="distance",
        measured_as="distance with small batches over that with large ones",
        rows=(("distance_ratio_SB_over_LB", "networks of the paper"),),
        by="value",
        at_full_size=True,
    )
    for split in _SPLITS:
        for arm in _ARMS:
            yield Claim(
                says=f"F1 ends at the published {split} accuracy ({arm})",
                measured=f"{split} {arm}",
                measured_as=f"{split} accuracy",
                rows=((f"{split}_accuracy", f"F1;{arm}"),),
                by="value",
                within=_WITHIN,
                at_full_size=True,
                quantity="accuracy",
            )


def _row(space: str, arm: str, box: str) -> Key:
    return space, f"F1;{arm};epsilon={box}"


def _drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    def points(measured: bool) -> Iterator[DrawnPoint]:
        for name, (space, box) in _SHARPNESS.items():
            at = f"{_SPACES[space].partition(' ')[0]}|{box}"
            for arm in _ARMS:
                place = f"{arm}|{at}"
                if measured:
                    value = level(_seeds(studies, arm, name))
                else:
                    value = Estimate.of(table.number(*_row(space, arm, box)), n=1)
                yield DrawnPoint(series=arm, at=place, value=value, is_published=not measured)

    return (
        Drawing(
            title="Sharpness at the end",
            over="configuration",
            quantity="sharpness",
            points=(*points(True), *points(False)),
            note=(
                "SB small, LB large batches; in all directions or in 100 random ones; the box in "
                "parts of each weight's size. How the directions are drawn is left open, so "
                "compare SB with LB, not ours with theirs."
            ),
        ),
    )
