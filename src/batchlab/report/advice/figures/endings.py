"""Figure (g): where whole trainings end, seed by seed, beside what counts as no worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from batchlab.advice.advice import Advice, Ending, Endings
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.report.advice_rows import advice_looks, kinds_of, label_of, settings_label
from batchlab.report.parts.charts.axes import configuration_x, value_y
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import (
    Figure,
    Panel,
    Row,
    estimate_row,
    list_text,
    rounded,
    rows_domain,
    with_room,
)
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.words.catalogue import number_text, text


@dataclass(frozen=True, kw_only=True, slots=True)
class _Set:
    """Trainings that were alike but for their configuration.

    Attributes:
        panel: where they are drawn.
        title: over it.
        endings: theirs.
        named: each configuration once, with its name.
    """

    panel: str
    title: str
    endings: Endings
    named: tuple[tuple[str, Ending], ...]


def endings_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """The end of every whole training that was compared."""
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
    sets = _sets(advice, endings)
    rows = tuple(row for each in sets for row in _rows(advice, study, each, endings))
    return Figure(
        key=key,
        title=title,
        notes=_notes(endings),
        absent=None,
        panels=tuple(_panel(key, advice, study, each, rows) for each in sets),
        data="endings",
        rows=rows,
        table=_table(sets),
    )


def _panel(key: str, advice: Advice, study: Study, shown: _Set, rows: tuple[Row, ...]) -> Panel:
    metric = shown.endings.metric
    return Panel(
        key=f"{key}-{shown.panel}",
        title=shown.title,
        alternative=_words(shown),
        plot=partial(
            chart,
            "endings",
            where=in_panel(shown.panel),
            x=partial(
                configuration_x, [settings_label(name, *of.cell) for name, of in shown.named]
            ),
            # One scale for all: with and without a cool-down they are compared.
            y=partial(value_y, metric, with_room(rows_domain(rows), below=0.06, above=0.06)),
            name=metric,
            kinds=kinds_of(rows),
            looks=advice_looks(advice, study),
        ),
    )


def _absent(advice: Advice) -> str:
    if advice.target_origin == "given":
        return text("The level was given, so no training was followed to its end.")
    return text("What is recommended was not trained to the end on a fresh seed.")


def _sets(advice: Advice, endings: Endings) -> list[_Set]:
    """What decided first; then the same at a constant rate, where those had a cool-down."""
    metric, constant = endings.metric, endings.at_constant_rate
    if constant is None:
        title = text("validation {metric} at the end", metric=metric)
        return [_Set(panel="ends", title=title, endings=endings, named=_named(advice, endings))]
    cooled = text("validation {metric} at the end, with a cool-down", metric=metric)
    plain = text("validation {metric} at the end, at a constant rate", metric=metric)
    return [
        _Set(panel="ends", title=cooled, endings=endings, named=_named(advice, endings)),
        _Set(panel="constant", title=plain, endings=constant, named=_named(advice, constant)),
    ]


def _named(advice: Advice, endings: Endings) -> tuple[tuple[str, Ending], ...]:
    mine = text("recommended") if advice.recommendation is not None else text("looked best")
    yours = text("yours as it is") if advice.stand_in_for is None else text("stand-in")
    references = (
        (yours if ending is endings.reference else text("tuned rate only"), ending)
        for ending in reversed(endings.references)
    )
    return ((mine, endings.recommended), *references)


def _rows(advice: Advice, study: Study, shown: _Set, decisive: Endings) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    for name, ending in shown.named:
        for seed, value in zip(shown.endings.seeds, ending.values, strict=True):
            if value is not None:
                yield {
                    "panel": shown.panel,
                    "kind": "run",
                    "configuration": settings_label(name, *ending.cell),
                    "batch": label_of(looks, ending.batch_size),
                    "seed": seed,
                    "mean": rounded(value),
                }
        if ending.found:
            mean = Estimate.of(ending.mean, interval=(None, None), n=len(ending.found))
            yield {
                "panel": shown.panel,
                "kind": "point",
                "configuration": settings_label(name, *ending.cell),
                "batch": label_of(looks, ending.batch_size),
                **estimate_row(mean),
            }
    worse = -decisive.margin if decisive.better == "higher" else decisive.margin
    yield {
        "panel": shown.panel,
        "kind": "level",
        "mean": rounded(decisive.compared_with.mean + worse),
        "text": text("no worse than yours: the mean above this line")
        if decisive.better == "higher"
        else text("no worse than yours: the mean below this line"),
    }


def _notes(endings: Endings) -> tuple[str, ...]:
    seeds = text(
        "A small circle is one training on a fresh seed: the mean of its last quarter. The large "
        "mark is the mean of the trainings."
    )
    cool_down = text(
        "With a cool-down the rate falls linearly to zero over the last {part:percent} of the "
        "training. There the last twentieth counts.",
        part=endings.recommended.cool_down,
    )
    line = text(
        "The line: {margin} worse than the better of yours. That limit was fixed beforehand.",
        margin=number_text(endings.margin, ".2g"),
    )
    return (seeds, line) if endings.at_constant_rate is None else (seeds, cool_down, line)


def _words(shown: _Set) -> str:
    parts = [
        f"{settings_label(name, *ending.cell).replace('|', ', ')}: "
        + list_text(number_text(value, ".4g") for value in ending.found)
        for name, ending in shown.named
    ]
    return text(
        "Chart of validation {metric} at the end by seed. {values}.",
        metric=shown.endings.metric,
        values="; ".join(parts),
    )


def _cool_down(ending: Ending) -> str | None:
    if not ending.cool_down:
        return None
    return text("last {part:percent}", part=ending.cool_down)


def _table(sets: Sequence[_Set]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for name, ending in (pair for each in sets for pair in each.named):
        test = [value for value in ending.test if value is not None]
        rows.append(
            (
                name,
                ending.batch_size,
                ending.learning_rate,
                _cool_down(ending),
                ending.epochs,
                ending.mean if ending.found else None,
                min(ending.found, default=None),
                max(ending.found, default=None),
                sum(test) / len(test) if test else None,
                len(ending.found),
            )
        )
    metric = sets[0].endings.metric
    return Table(
        caption=text("Where whole trainings end; the test data decided nothing"),
        columns=(
            Column(key="configuration", quantity="", label=text("configuration")),
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="cool_down", quantity="", label=text("cool-down")),
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
