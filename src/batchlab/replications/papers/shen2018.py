"""shen2018: the experiment of a much-read chapter, with what it leaves open tried both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, product

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.replications.arms import (
    Place,
    Records,
    Seeds,
    chosen_by_others,
    drawing,
    each_seed,
    ended,
    final,
    last_measured,
    less,
    level,
    mean_measured,
    middle,
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
_OPEN = tuple(product((0.0, 0.9), ("torch", "glorot", "he"), ("unit", "standardized")))
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
    seeds, epochs = (5, _EPOCHS) if is_full else (3, 2)
    for of in _OPEN:
        momentum, init, scaling = of
        is_usual = of in _AS_PYTORCH
        both_rates = Experiment(
            name=_words(of),
            settings={"train": "all", "momentum": momentum, "init": init, "input": scaling},
            batch_sizes=(_SMALL, _LARGE),
            learning_rates=(_RATE, _RAISED),
            measure=("sharpness",) if is_usual and (is_full or momentum) else (),
            seeds=seeds,
            epochs=epochs,
        )
        yield both_rates
        if is_full or is_usual:
            yield replace(
                both_rates,
                name=_others(of),
                batch_sizes=(_TINY, _MIDDLE),
                learning_rates=(_RATE,),
                measure=both_rates.measure if is_full else (),
            )
    yield Experiment(
        name="Adam",
        settings={"train": "all", "optimizer": "adam"},
        batch_sizes=(_SMALL,),
        seeds=seeds,
        epochs=epochs,
    )


def _others(of: Open) -> str:
    return f"{_words(of)}, other sizes"


# ---- what it shows

_PUBLISHED: dict[str, Key] = {
    "small": ("test_accuracy", "B=64;lr=base"),
    "large": ("test_accuracy", "B=1024;lr=base"),
    "raised": ("test_accuracy", "B=1024;lr=raised"),
    "tiny": ("test_accuracy", "B=2"),
}
_THREE = ("small", "large", "raised")  # published together
_ARMS = {  # batch size and rate
    "tiny": (_TINY, _RATE),
    "small": (_SMALL, _RATE),
    "middle": (_MIDDLE, _RATE),
    "large": (_LARGE, _RATE),
    "small raised": (_SMALL, _RAISED),
    "raised": (_LARGE, _RAISED),
}


def _runs(studies: Studies, of: Open) -> dict[str, Records]:
    """The trials of each arm that ended well."""
    both = (studies.get(_words(of)), studies.get(_others(of)))
    return {
        arm: tuple(chain(*(ended(each, batch_size=size, learning_rate=rate) for each in both)))
        for arm, (size, rate) in _ARMS.items()
    }


def _apart(studies: Studies, table: PublishedTable, *arms: str) -> dict[str, Seeds]:
    """By setting how far these arms end from their published accuracies, the farthest of them."""
    found, published = {}, {arm: table.number(*_PUBLISHED[arm]) for arm in arms}
    for of in _OPEN:
        runs = _runs(studies, of)
        apart = (
            {seed: abs(value - number) for seed, value in final(runs[arm]).items()}
            for arm, number in published.items()
        )
        found[_words(of)] = each_seed(lambda *of_seed: max(of_seed), *apart)
    return {setting: seeds for setting, seeds in found.items() if seeds}


def _nearest(apart: Mapping[str, Seeds]) -> Estimate:
    """Of each seed in the setting that is nearest for the others."""
    chosen = chosen_by_others(apart, better="lower")
    return level({seed: apart[setting][seed] for seed, setting in chosen.items()})


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found = {
        "three": _nearest(_apart(studies, table, *_THREE)),
        "tiny": _nearest(_apart(studies, table, "tiny")),
    }
    for of in _AS_PYTORCH:
        name, runs = _words(of), _runs(studies, of)
        accuracy = {arm: final(records) for arm, records in runs.items()}
        for first, second in (("small", "large"), ("raised", "large"), ("raised", "small")):
            apart = less(accuracy[first], accuracy[second], n_examples=_N_TEST)
            found[f"{first} less {second}; {name}"] = apart
        distances = (last_measured(runs[arm], "distance") for arm in ("small", "large"))
        found[f"distance; {name}"] = less(*distances)
        steps = (mean_measured(runs[arm], "update_norm") for arm in ("large", "small"))
        found[f"step; {name}"] = times(*steps)
    adam, sgd = ended(studies.get("Adam")), _runs(studies, _AS_PYTORCH[-1])["small"]
    found["norm"] = times(*(last_measured(each, "parameter_norm") for each in (adam, sgd)))
    found["Adam"] = less(final(adam), final(sgd), n_examples=_N_TEST)
    return found


# ---- figures

_USUAL = "PyTorch's initialization, pixels from 0 to 1."
_AT_THE_END = (
    ("distance", "Distance from the start", ""),
    ("update_norm", "The last step", "Without momentum it is the gradient's norm times the rate."),
    ("sharpness", "Sharpness at the end", ""),
)


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    published = [(_ARMS[arm][0], table.number(*key)) for arm, key in _PUBLISHED.items()]
    apart, drawn = _apart(studies, table, *_THREE), []
    for of in _AS_PYTORCH:
        with_momentum = f"with momentum {of[0]:g}"
        ends = partial(_ends, _runs(studies, of))
        grid: dict[Place, Estimate] = {
            f"{init}|{scaling[:8]}": level(apart.get(_words((momentum, init, scaling)), {}))
            for momentum, init, scaling in _OPEN
            if momentum == of[0]
        }
        drawn += [
            drawing(
                f"Test accuracy {with_momentum}",
                "accuracy",
                ends(final, level),
                published=published,
                note=f"{_USUAL} Published at 1024: below at the base rate, above at the raised.",
            ),
            drawing(
                f"Farthest from a published accuracy {with_momentum}",
                "accuracy",
                {"measured": grid},
                note="The largest difference from the three, by initialization and input scaling. "
                "Half a point is 0.005.",
            ),
        ]
        drawn += [
            drawing(
                f"{title} {with_momentum}",
                quantity,
                ends(partial(last_measured, name=quantity), middle),
                note=f"{_USUAL} {note}",
            )
            for quantity, title, note in _AT_THE_END
        ]
    return tuple(each for each in drawn if each.points)


def _ends(
    runs: Mapping[str, Records],
    value: Callable[[Records], Seeds],
    mean: Callable[[Seeds], Estimate],
) -> dict[str, dict[Place, Estimate]]:
    """What each arm ends with, by rate and batch size."""
    series: dict[str, dict[Place, Estimate]] = {"base rate": {}, "raised rate": {}}
    for arm, (size, rate) in _ARMS.items():
        series["base rate" if rate == _RATE else "raised rate"][size] = mean(value(runs[arm]))
    return series
