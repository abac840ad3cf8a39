"""Figure (g): where whole trainings end, seed by seed, beside what counts as no worse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.advice.advice import Advice
from batchlab.advice.parts import Ending, Endings
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.report.advice.rows import (
    advice_looks,
    estimate_row,
    kinds_of,
    label_of,
    settings_label,
)
from batchlab.report.parts.charts.axes import configuration_x, value_y
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import (
    Figure,
    Panel,
    Row,
    list_text,
    rounded,
    rows_domain,
    with_room,
)
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.table import Column, Table, Value
from batchlab.words.catalogue import number_text, text

Named = tuple[str, Ending, tuple[int, ...]]
"""A configuration's name, how its trainings end, and their seeds."""


def endings_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """The end of every whole training on fresh seeds."""
    endings = advice.endings
    title = text("Where whole trainings end")
    if endings is None or not endings.recommended.found:
        return Figure(
            key=key,
            title=title,
            notes=(),
            absent=_absent(advice),
            panels=(),
            data="endings",
            rows=(),
            table=Table(caption=title, columns=(), rows=()),
        )
    named = _named(advice, endings)
    rows = tuple(_rows(advice, study, endings, named))
    panel = Panel(
        key=f"{key}-ends",
        title=text("validation {metric} at the end", metric=endings.metric),
        alternative=_words(endings, named),
        plot=partial(
            chart,
            "endings",
            where=in_panel("endings"),
            x=partial(
                configuration_x, [settings_label(name, *ending.cell) for name, ending, _ in named]
            ),
            y=partial(
                value_y, endings.metric, with_room(rows_domain(rows), below=0.06, above=0.06)
            ),
            name=endings.metric,
            kinds=kinds_of(rows),
            looks=advice_looks(advice, study),
        ),
    )
    return Figure(
        key=key,
        title=title,
        notes=_notes(endings),
        absent=None,
        panels=(panel,),
        data="endings",
        rows=rows,
        table=_table(endings, named),
    )


def _absent(advice: Advice) -> str:
    if advice.target_origin == "given":
        return text("The level was given, so no training was followed to its end.")
    return text("What is recommended was not followed to the end of a training on a fresh seed.")


def _named(advice: Advice, endings: Endings) -> list[Named]:
    """The configurations that were followed, each once, with its name and its seeds."""
    named = [(name, ending, endings.seeds) for name, ending in _those_of(advice, endings)]
    if endings.at_constant_rate is None:
        return named
    cooled = [(text("{name}, cool-down", name=name), of, seeds) for name, of, seeds in named]
    return [*cooled, *_named(advice, endings.at_constant_rate)]


def _those_of(advice: Advice, endings: Endings) -> list[tuple[str, Ending]]:
    mine = text("recommended") if advice.recommendation is not None else text("looked best")
    yours = text("yours as it is") if advice.stand_in_for is None else text("stand-in")
    references = (
        (yours if ending is endings.reference else text("tuned rate only"), ending)
        for ending in reversed(endings.references)
    )
    return [(mine, endings.recommended), *references]


def _rows(advice: Advice, study: Study, endings: Endings, named: list[Named]) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    for name, ending, seeds in named:
        for seed, value in zip(seeds, ending.values, strict=True):
            if value is not None:
                yield {
                    "panel": "endings",
                    "kind": "run",
                    "configuration": settings_label(name, *ending.cell),
                    "batch": label_of(looks, ending.batch_size),
                    "seed": seed,
                    "mean": rounded(value),
                }
        if ending.found:
            mean = Estimate.of(ending.mean, interval=(None, None), n=len(ending.found))
            yield {
                "panel": "endings",
                "kind": "point",
                "configuration": settings_label(name, *ending.cell),
                "batch": label_of(looks, ending.batch_size),
                **estimate_row(mean),
            }
    worse = -endings.margin if endings.better == "higher" else endings.margin
    yield {
        "panel": "endings",
        "kind": "level",
        "mean": rounded(endings.compared_with.mean + worse),
        "text": text("no worse than yours: the mean above this line")
        if endings.better == "higher"
        else text("no worse than yours: the mean below this line"),
    }


def _notes(endings: Endings) -> tuple[str, ...]:
    seeds = text(
        "One small circle is one training on a seed that chose neither the batch size nor a "
        "learning rate: the mean of its last quarter. The large mark is the mean of the trainings."
    )
    cool_down = text(
        "With a cool-down the rate falls linearly to zero over the last {part:percent} of the "
        "training, and its last twentieth counts.",
        part=endings.recommended.cool_down,
    )
    line = text(
        "The line: {margin} worse than the better of yours, a rule fixed beforehand.",
        margin=number_text(endings.margin, ".2g"),
    )
    return (seeds, line) if endings.at_constant_rate is None else (seeds, cool_down, line)


def _words(endings: Endings, named: list[Named]) -> str:
    parts = [
        f"{settings_label(name, *ending.cell).replace('|', ', ')}: "
        + list_text(number_text(value, ".4g") for value in ending.found)
        for name, ending, _ in named
    ]
    return text(
        "Chart of validation {metric} at the end by seed. {values}.",
        metric=endings.metric,
        values="; ".join(parts),
    )


def _table(endings: Endings, named: list[Named]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for name, ending, _ in named:
        test = [value for value in ending.test if value is not None]
        rows.append(
            (
                name,
                ending.batch_size,
                ending.learning_rate,
                ending.epochs,
                ending.mean if ending.found else None,
                min(ending.found, default=None),
                max(ending.found, default=None),
                sum(test) / len(test) if test else None,
                len(ending.found),
            )
        )
    metric = endings.metric
    return Table(
        caption=text("Where whole trainings end; nothing was decided by the test data"),
        columns=(
            Column(key="configuration", quantity="", label=text("configuration")),
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="epochs", quantity="epochs_to_target", label=text("epochs")),
            Column(key="validation", quantity=metric, label=text("validation {m}", m=metric)),
            Column(key="lowest", quantity=metric, label=text("lowest")),
            Column(key="highest", quantity=metric, label=text("highest")),
            Column(key="test", quantity=metric, label=text("test {m}", m=metric)),
            Column(key="n", quantity="n", label=text("seeds")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (
    FigureRow(
        key="g",
        name="endings",
        build=lambda advice, study, profile: endings_figure(advice, study, key="g"),
    ),
)
