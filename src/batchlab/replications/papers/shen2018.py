"""shen2018: the experiment of a much-read chapter, with what it leaves open tried both ways."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, DrawnPoint, Form
from batchlab.records.trial import Setting
from batchlab.replications.arms import (
    Seeds,
    each_seed,
    ended,
    final,
    last_measured,
    less,
    level,
    mean_measured,
    times,
)
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
from batchlab.replications.tables import Key, PublishedTable

_TABLE = PublishedTable.of("shen2018")
_RATE = _TABLE.number("base_learning_rate", "all runs")
_RAISED = _TABLE.number("raised_learning_rate", "B=1024")
_EPOCHS = _TABLE.whole("epochs", "all runs")
_SMALL, _MIDDLE, _LARGE = map(int, _TABLE.several("batch_sizes", "main figure"))
_TINY = 2
_OPEN = tuple(itertools.product((0.0, 0.9), ("torch", "glorot", "he"), ("unit", "standardized")))
_AS_PYTORCH = tuple(each for each in _OPEN if each[1:] == ("torch", "unit"))
_N_TEST = 10_000
_WITHIN = 0.005  # half a point: the accuracies are told as whole percent
_MATTERS = 0.001

Open = tuple[float, str, str]  # momentum, initialization, input


def paper() -> Paper:
    """All of it."""
    return Paper(
        title="On MNIST, does test accuracy fall as the batch grows, and does the rate recover it?",
        paper=(
            "Kevin Shen 2018, Effect of batch size on training dynamics, "
            "https://medium.com/mini-distill/effect-of-batch-size-on-training-dynamics-21c14f7a716e"
        ),
        protocol=(
            "A fully connected network (two layers of 128) on all 60,000 training digits, SGD at "
            "one rate for all batch sizes, and at a raised one for the large batch.",
            "Accuracy on the 10,000 test digits after the last epoch.",
        ),
        left_open=(
            "Momentum (0 and 0.9), initialization (PyTorch's, Glorot's, He's) and input scaling (0 "
            "to 1, standardized) are not given: all twelve were run.",
            "The hidden layers are not given: two of 128, with ReLU.",
            "Rates (0.01, raised 0.1), 30 epochs and batch 2 are believed, not found in a source.",
            "Adam's rate is not given: PyTorch's default, 0.001, at batch size 64.",
            "Not run: a batch that shrinks on the way, and the tail of the gradient norms.",
        ),
        experiments=_experiments,
        measured=_measured,
        claims=lambda form: tuple(_claims()),
        drawings=_drawings,
    )


# ---- what is trained


def _words(of: Open) -> str:
    momentum, init, scaling = of
    return f"momentum {momentum:g}, {init}, {scaling}"


def _experiments(form: Form) -> tuple[Experiment, ...]:
    return tuple(_each_experiment(form))


def _each_experiment(form: Form) -> Iterator[Experiment]:
    is_full = form == "full"
    seeds, epochs = (5, _EPOCHS) if is_full else (3, 4)
    for of in _OPEN:
        momentum, init, scaling = of
        settings: dict[str, Setting] = {
            "train": "all", "momentum": momentum, "init": init, "input": scaling
        }  # fmt: skip
        is_usual = of in _AS_PYTORCH
        all_sizes = (_TINY, _SMALL, _MIDDLE, _LARGE)
        measure = ("sharpness",) if is_usual else ()
        yield Experiment(
            name=_words(of),
            settings=settings,
            batch_sizes=all_sizes if is_full or is_usual else (_SMALL, _LARGE),
            learning_rates=(_RATE,),
            measure=measure,
            seeds=seeds,
            epochs=epochs,
        )
        yield Experiment(
            name=_raised(of),
            settings=settings,
            batch_sizes=(_LARGE,),
            learning_rates=(_RAISED,),
            measure=measure,
            seeds=seeds,
            epochs=epochs,
        )
    yield Experiment(
        name="Adam",
        settings={"train": "all", "optimizer": "adam"},
        batch_sizes=(_SMALL,),
        seeds=seeds,
        epochs=epochs,
    )


def _raised(of: Open) -> str:
    return f"{_words(of)}, raised rate"


# ---- what it shows

_PUBLISHED: dict[str, Key] = {
    "small": ("test_accuracy", "B=64;lr=base"),
    "large": ("test_accuracy", "B=1024;lr=base"),
    "raised": ("test_accuracy", "B=1024;lr=raised"),
    "tiny": ("test_accuracy", "B=2"),
}


def _accuracies(studies: Studies, of: Open) -> dict[str, Seeds]:
    base = studies.get(_words(of))
    return {
        "tiny": final(ended(base, batch_size=_TINY)),
        "small": final(ended(base, batch_size=_SMALL)),
        "middle": final(ended(base, batch_size=_MIDDLE)),
        "large": final(ended(base, batch_size=_LARGE)),
        "raised": final(ended(studies.get(_raised(of)))),
    }


def _measured(studies: Studies, table: PublishedTable) -> Measured:
    found: dict[str, Estimate] = {}
    published = {arm: table.number(*_PUBLISHED[arm]) for arm in ("small", "large", "raised")}
    for of in _OPEN:
        seen, name = _accuracies(studies, of), _words(of)
        if not (seen["small"] and seen["raised"]):
            continue
        for arm, values in seen.items():
            found[f"{arm}; {name}"] = level(values)
        found[f"small less large; {name}"] = less(seen["small"], seen["large"], n_examples=_N_TEST)
        found[f"raised less large; {name}"] = less(
            seen["raised"], seen["large"], n_examples=_N_TEST
        )
        apart = (
            {seed: abs(value - published[arm]) for seed, value in seen[arm].items()}
            for arm in published
        )
        found[f"farthest; {name}"] = level(each_seed(max, *apart))
    for of in _AS_PYTORCH:
        base, name = studies.get(_words(of)), _words(of)
        small, large = (ended(base, batch_size=size) for size in (_SMALL, _LARGE))
        if small and large:
            distances = (last_measured(each, "distance") for each in (small, large))
            found[f"distance; {name}"] = less(*distances)
            steps = (mean_measured(each, "update_norm") for each in (large, small))
            found[f"step; {name}"] = times(*steps)
    adam, sgd = ended(studies.get("Adam")), ended(studies.get(_words(_AS_PYTORCH[-1])))
    sgd = tuple(record for record in sgd if record.trial.batch_size == _SMALL)
    if adam and sgd:
        norms = (last_measured(each, "parameter_norm") for each in (adam, sgd))
        found["norm"] = times(*norms)
        found["Adam"] = less(final(adam), final(sgd), n_examples=_N_TEST)
    return found


# ---- what is claimed


def _claims() -> Iterator[Claim]:
    for of in _AS_PYTORCH:
        yield from _usual_claims(_words(of))
    for of in _OPEN:
        name = _words(of)
        yield Claim(
            says=f"98, 96 and, at the raised rate, 98 % come out together ({name})",
            measured=f"farthest; {name}",
            measured_as="the largest difference from any of the three",
            rows=(("farthest from a published accuracy", "B=64 and B=1024;lr=base and raised"),),
            by="value",
            within=_WITHIN,
            at_full_size=True,
            quantity="accuracy",
        )
    yield Claim(
        says="Adam ends with much larger weights than SGD",
        measured="norm",
        measured_as="norm of the weights, Adam's over that of SGD with momentum 0.9, batch size 64",
        rows=(("norm of the weights", "Adam over SGD"),),
        by="value",
    )
    yield Claim(
        says="Adam ends with a lower test accuracy than SGD",
        measured="Adam",
        measured_as="test accuracy, Adam's less that of SGD with momentum 0.9, batch size 64",
        rows=(("test accuracy", "Adam less SGD"),),
        matters=_MATTERS,
        quantity="accuracy",
    )


def _usual_claims(name: str) -> Iterator[Claim]:
    rows = _PUBLISHED
    yield Claim(
        says=f"At one rate the large batch ends with a lower test accuracy ({name})",
        measured=f"small less large; {name}",
        measured_as="test accuracy at batch size 64 less that at 1024",
        rows=(rows["small"], rows["large"]),
        matters=_MATTERS,
        quantity="accuracy",
    )
    yield Claim(
        says=f"A raised rate recovers it ({name})",
        measured=f"raised less large; {name}",
        measured_as="test accuracy at batch size 1024, at the raised rate less that at the base",
        rows=(rows["raised"], rows["large"]),
        matters=_MATTERS,
        quantity="accuracy",
    )
    for arm, what in (
        ("small", "Batch size 64"),
        ("large", "Batch size 1024"),
        ("raised", "Batch size 1024 at the raised rate"),
        ("tiny", "Batch size 2"),
    ):
        yield Claim(
            says=f"{what} ends at the published test accuracy ({name})",
            measured=f"{arm}; {name}",
            measured_as="test accuracy",
            rows=(rows[arm],),
            by="value",
            within=_WITHIN,
            at_full_size=True,
            quantity="accuracy",
        )
    yield Claim(
        says=f"The large batch does not travel as far from the initial weights ({name})",
        measured=f"distance; {name}",
        measured_as="distance from the initial weights at batch size 64 less that at 1024",
        rows=(("distance", "B=64 less B=1024;same epochs"),),
        by="value",
        quantity="distance",
    )
    yield Claim(
        says=f"A larger batch takes larger steps ({name})",
        measured=f"step; {name}",
        measured_as="mean length of a step at batch size 1024 over that at 64",
        rows=(("length of a step", "B=1024 over B=64;same lr and epochs"),),
        by="value",
    )


# ---- figures


def _drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    return (
        Drawing(
            title="Test accuracy by batch size, PyTorch's initialization, pixels from 0 to 1",
            over="batch_size",
            quantity="accuracy",
            points=tuple(_accuracy_points(studies, table)),
            note="At the base rate; batch size 1024 also at the raised one.",
        ),
        Drawing(
            title="The largest difference from the three published accuracies",
            over="configuration",
            quantity="accuracy",
            points=tuple(_grid_points(studies, table)),
            note="By momentum, initialization and input scaling. Half a point is 0.005.",
        ),
    )


def _accuracy_points(studies: Studies, table: PublishedTable) -> Iterator[DrawnPoint]:
    sizes = {"tiny": _TINY, "small": _SMALL, "middle": _MIDDLE, "large": _LARGE, "raised": _LARGE}
    for momentum, init, scaling in _AS_PYTORCH:
        seen = _accuracies(studies, (momentum, init, scaling))
        for arm, size in sizes.items():
            raised = ", raised rate" if arm == "raised" else ""
            series = f"momentum {momentum:g}{raised}"
            yield DrawnPoint(series=series, at=size, value=level(seen[arm]))
    for arm, key in _PUBLISHED.items():
        value = Estimate.of(table.number(*key), n=1)
        yield DrawnPoint(series="published", at=sizes[arm], value=value, is_published=True)


def _grid_points(studies: Studies, table: PublishedTable) -> Iterator[DrawnPoint]:
    found = _measured(studies, table)
    for of in _OPEN:
        momentum, init, scaling = of
        name = f"{momentum:g}|{init}|{'stand.' if scaling == 'standardized' else scaling}"
        if (value := found.get(f"farthest; {_words(of)}")) is not None:
            yield DrawnPoint(series="measured", at=name, value=value)
