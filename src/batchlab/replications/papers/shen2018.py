"""shen2018: the experiment of a much-read chapter, with what it leaves open tried both ways."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.trial import Setting
from batchlab.replications.arms import (
    Place,
    Seeds,
    drawing,
    each_seed,
    ended,
    final,
    last_measured,
    less,
    level,
    mean_measured,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
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

Open = tuple[float, str, str]  # momentum, initialization, input


# ---- what is trained


def _words(of: Open) -> str:
    momentum, init, scaling = of
    return f"momentum {momentum:g}, {init}, {scaling}"


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
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


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found: dict[str, Estimate] = {}
    published = {arm: table.number(*_PUBLISHED[arm]) for arm in ("small", "large", "raised")}
    for of in _OPEN:
        seen, name = _accuracies(studies, of), _words(of)
        if not (seen["small"] and seen["raised"]):
            continue
        for arm, values in seen.items():
            found[f"{arm}; {name}"] = level(values)
        found[f"small less large; {name}"] = less(seen["small"], seen["large"], n_examples=_N_TEST)
        found[f"raised less small; {name}"] = less(
            seen["raised"], seen["small"], n_examples=_N_TEST
        )
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


# ---- figures


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    sizes = {"tiny": _TINY, "small": _SMALL, "middle": _MIDDLE, "large": _LARGE, "raised": _LARGE}
    published = [(sizes[arm], table.number(*key)) for arm, key in _PUBLISHED.items()]
    found, drawn = measured(studies, table), []
    for of in _AS_PYTORCH:
        series: dict[str, dict[Place, Estimate]] = {"base rate": {}, "raised rate": {}}
        for arm, values in _accuracies(studies, of).items():
            series["raised rate" if arm == "raised" else "base rate"][sizes[arm]] = level(values)
        grid: dict[Place, Estimate] = {
            f"{init}|{scaling[:8]}": found[name]
            for momentum, init, scaling in _OPEN
            if momentum == of[0]
            if (name := f"farthest; {_words((momentum, init, scaling))}") in found
        }
        base = studies.get(_words(of))
        with_momentum = f"with momentum {of[0]:g}"
        usual = "PyTorch's initialization, pixels from 0 to 1."
        drawn += [
            drawing(
                f"Test accuracy {with_momentum}",
                "accuracy",
                series,
                published=published,
                note=f"{usual} Published at 1024: below at the base rate, above at the raised one.",
            ),
            drawing(
                f"Farthest from a published accuracy {with_momentum}",
                "accuracy",
                {"measured": grid},
                note="The largest difference from the three, by initialization and input scaling. "
                "Half a point is 0.005.",
            ),
        ]
        for quantity in ("distance", "gradient_norm", "sharpness"):
            ends: dict[Place, Estimate] = {
                size: level(last_measured(ended(base, batch_size=size), quantity))
                for size in (_TINY, _SMALL, _MIDDLE, _LARGE)
            }
            title = f"{quantity.replace('_', ' ').capitalize()} at the end {with_momentum}"
            drawn.append(drawing(title, quantity, {"base rate": ends}, note=usual))
    return tuple(drawn)
