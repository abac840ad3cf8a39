"""Figure (e): the recommendation against the reference on fresh seeds, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from batchlab.advice.advice import Advice, Configuration, HeadToHead
from batchlab.records.study import Study
from batchlab.report.advice_rows import advice_looks, kinds_of, label_of, settings_label
from batchlab.report.advice_words import ObjectiveWords, objective_words, reference_words
from batchlab.report.parts.charts.axes import configuration_x, ratio_y
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, list_text, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import quantity_text, with_a_capital
from batchlab.words.catalogue import text


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One configuration of the verification.

    Attributes:
        name: what it is, in words.
        configuration: its settings.
        figures: the objective's figure by seed; None: it missed the target.
        bounds: where it missed: the figure by which it had not met it; None: not known.
    """

    name: str
    configuration: Configuration
    figures: tuple[float | None, ...]
    bounds: tuple[float | None, ...]

    @property
    def label(self) -> str:
        """Its name and settings."""
        found = self.configuration
        return settings_label(self.name, found.batch_size, found.learning_rate)


def contenders(advice: Advice) -> tuple[Contender, ...]:
    """The configurations that ran on the fresh seeds; equal ones once."""
    head = advice.head_to_head
    if head is None or advice.recommendation is None:
        return ()
    words = objective_words(advice)
    unknown = (None,) * len(head.seeds)
    found = [
        Contender(
            name=text("recommended"),
            configuration=advice.recommendation,
            figures=_shown(words, head.recommended),
            bounds=unknown,
        )
    ]
    tuned = advice.reference_tuned
    for name, configuration, figures, bounds in (
        (text("tuned rate only"), tuned, head.reference_tuned, unknown),
        (text("yours as it is"), advice.reference, head.reference, _padded(head)),
    ):
        known = [contender.configuration for contender in found]
        if configuration is None or not figures or configuration in known:
            continue
        found.append(
            Contender(
                name=name,
                configuration=configuration,
                figures=_shown(words, figures),
                bounds=bounds,
            )
        )
    return tuple(found)


def _shown(words: ObjectiveWords, figures: tuple[float | None, ...]) -> tuple[float | None, ...]:
    return tuple(None if figure is None else words.shown(figure) for figure in figures)


def head_to_head_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """The verification: each configuration's figure on each fresh seed."""
    found = contenders(advice)
    words = objective_words(advice)
    rows = tuple(_rows(advice, study, found))
    absent = None
    if len(found) < 2:
        absent = reference_words(advice).nothing_to_gain if found else _why_absent(advice)
    elif not rows:
        absent = text("No run of the verification reached the target.")
    panel = Panel(
        key=f"{key}-seeds",
        title=text("{figure} on fresh seeds", figure=words.figure_text),
        alternative=_words(advice, found),
        plot=partial(
            chart,
            "head",
            where=in_panel("head"),
            x=partial(configuration_x, [contender.label for contender in found]),
            y=partial(ratio_y, words.quantity, rows_domain(rows)),
            name=words.quantity,
            kinds=kinds_of(rows) | {"joined"},
            looks=advice_looks(advice, study),
        ),
    )
    return Figure(
        key=key,
        title=text("Head to head on fresh seeds"),
        notes=tuple(_notes(advice, rows)),
        absent=absent,
        panels=() if absent else (panel,),
        data="head",
        rows=rows,
        table=_table(advice, found),
    )


def _why_absent(advice: Advice) -> str:
    if advice.endings is None:
        return text("No verification on fresh seeds was run.")
    return text(
        "No batch size is recommended, so none is compared with yours here. How the trainings on "
        "fresh seeds ended is in the figure of whole trainings."
    )


def _padded(head: HeadToHead) -> tuple[float | None, ...]:
    return head.reference_bounds or (None,) * len(head.seeds)


def _rows(advice: Advice, study: Study, found: tuple[Contender, ...]) -> Iterator[Row]:
    head = advice.head_to_head
    if head is None:
        return
    looks = advice_looks(advice, study)
    for contender in found:
        for seed, figure, bound in zip(
            head.seeds, contender.figures, contender.bounds, strict=True
        ):
            base: Row = {
                "panel": "head",
                "configuration": contender.label,
                "batch": label_of(looks, contender.configuration.batch_size),
                "seed": seed,
            }
            if figure is not None:
                yield {**base, "kind": "run", "mean": rounded(figure)}
            elif bound is not None:
                yield {**base, "kind": "bound", "mean": rounded(bound)}


def _notes(advice: Advice, rows: tuple[Row, ...]) -> Iterator[str]:
    head = advice.head_to_head
    if head is None:
        return
    yield text(
        "Seeds {seeds} are fresh: they chose neither the batch size nor a learning rate. A thin "
        "line joins the runs of one seed.",
        seeds=list_text(head.seeds),
    )
    if any(row["kind"] == "bound" for row in rows):
        yield text("↑: the target was not reached by then, so the figure is larger than this.")
    if advice.reference_tuned is not None:
        yield text(
            "From right to left: first only the learning rate is tuned, then the batch size "
            "changes, too."
        )


def _words(advice: Advice, found: tuple[Contender, ...]) -> str:
    words = objective_words(advice)
    parts = []
    for contender in found:
        values = [
            quantity_text(words.quantity, figure)
            if figure is not None
            else text("more than {bound}", bound=quantity_text(words.quantity, bound))
            if bound is not None
            else text("missed")
            for figure, bound in zip(contender.figures, contender.bounds, strict=True)
        ]
        parts.append(f"{contender.label.replace('|', ', ')}: {', '.join(values)}")
    return text(
        "Chart of {figure} by seed. {values}.", figure=words.figure_text, values="; ".join(parts)
    )


def _table(advice: Advice, found: tuple[Contender, ...]) -> Table:
    head, words = advice.head_to_head, objective_words(advice)
    rows: list[tuple[Value, ...]] = []
    for contender in found:
        assert head is not None
        for seed, figure, bound in zip(
            head.seeds, contender.figures, contender.bounds, strict=True
        ):
            rows.append(
                (
                    contender.name,
                    contender.configuration.batch_size,
                    contender.configuration.learning_rate,
                    seed,
                    figure,
                    bound if figure is None else None,
                )
            )
    return Table(
        caption=text("{figure} on fresh seeds", figure=with_a_capital(words.figure_text)),
        columns=(
            Column(key="configuration", quantity="", label=text("configuration")),
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="seed", quantity="seed", label=text("seed")),
            Column(key=words.quantity, quantity=words.quantity, label=words.figure_text),
            Column(key="bound", quantity=words.quantity, label=text("not reached by")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (
    FigureRow(
        key="e",
        name="head-to-head",
        build=lambda advice, study, profile: head_to_head_figure(advice, study, key="e"),
    ),
)
