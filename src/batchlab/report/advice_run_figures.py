"""The figures of an advice that compare configurations: head to head, along time, at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import fmean
from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice, Configuration, Ending, Endings
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.records.trial import Split, TrialRecord
from batchlab.report.advice_effects import (
    Effects,
    EpochsToTarget,
    effects_of,
    effects_table,
)
from batchlab.report.advice_figures import (
    advice_looks,
    kind_notes,
    learning_rates_figure,
    machine_figure,
    objective_figure,
    size_fields,
    steps_figure,
)
from batchlab.report.advice_words import objective_words, reference_text, target_text
from batchlab.report.cells import finals, held_out_split, thinned
from batchlab.report.chart import (
    LOG_METRIC,
    Plot,
    along_axis,
    chart_text,
    configuration_axis,
    row_values,
    size_panel,
    value_axis,
)
from batchlab.report.effect_panels import (
    effect_rows,
    finals_panel,
    jumps_panel,
    jumps_rows,
    plateau_panel,
    plateau_rows,
)
from batchlab.report.effects import NOISE_NOTE, PLATEAU_NOTE, UNFINISHED_NOTE
from batchlab.report.figure import (
    INK,
    Figure,
    Panel,
    Row,
    estimate_row,
    interval_row,
    rounded,
    row_column,
)
from batchlab.report.palette import Look
from batchlab.report.table import Column, Value, table_of
from batchlab.report.text import quantity_text, split_label, term_text
from batchlab.words.catalogue import capitalized, number_text, text

if TYPE_CHECKING:
    import altair as alt


def advice_figures(advice: Advice, study: Study, profile: Profile | None) -> tuple[Figure, ...]:
    """The figures of an advice, from the answer to what it rests on."""
    return (
        objective_figure(advice, study),
        steps_figure(advice, study),
        machine_figure(advice, study, profile),
        learning_rates_figure(advice, study),
        head_to_head_figure(advice, study),
        progress_figure(advice, study),
        endings_figure(advice, study),
        effects_figure(advice, study),
    )


def _settings(name: str, found: Configuration | Ending) -> str:
    """A configuration's name and settings on an axis; a bar breaks the line."""
    rate = quantity_text("learning_rate", found.learning_rate)
    return f"{name}|{text('{size}, rate {rate}', size=found.batch_size, rate=rate)}"


def _configuration_column() -> Column:
    def settings(row: Row) -> str:
        return str(row["configuration"]).replace("|", ", ")

    return Column("configuration", "", text("configuration"), of=settings)


def _configurations(rows: tuple[Row, ...]) -> list[str]:
    return list(dict.fromkeys(str(row["configuration"]) for row in rows if "configuration" in row))


def head_to_head_figure(advice: Advice, study: Study) -> Figure:
    """The verification: each configuration's figure on each fresh seed."""
    words, looks = objective_words(advice), advice_looks(advice, study)
    quantity, head = words.quantity, advice.head_to_head
    rows = tuple(_head_rows(advice, looks))
    compared = _configurations(rows)

    def plot() -> alt.LayerChart:
        x, y = configuration_axis(compared), value_axis(quantity, rows)
        chart = Plot({"panel": "e-seeds"}, quantity, looks, x=x, y=y)
        joined = chart.of(kind="run").mark_line(color=INK, opacity=0.35, strokeWidth=1)
        return chart.drawn([joined.encode(detail="seed:N")], chart.runs(), chart.bounds())

    title = text("{figure} on fresh seeds", figure=words.figure)
    values = row_values(quantity, rows, by="configuration")
    panel = Panel(
        key="e-seeds",
        title=title,
        alternative=chart_text(words.figure, "configuration", values),
        plot=plot,
    )
    notes = list(kind_notes(advice, rows))
    if rows and head is not None:
        notes.append(
            text(
                "Seeds {seeds} are fresh: they chose neither the batch size nor a learning rate. "
                "A thin line joins the runs of one seed.",
                seeds=", ".join(map(str, head.seeds)),
            )
        )
    if rows and advice.reference_tuned is not None:
        notes.append(
            text(
                "From right to left: first only the learning rate is tuned, then the batch size "
                "changes, too."
            )
        )
    return Figure(
        key="e",
        name="head-to-head",
        title=text("Head to head on fresh seeds"),
        notes=tuple(notes),
        nothing=_why_no_head(advice),
        panels=(panel,) if len(compared) > 1 else (),
        data="head",
        rows=rows,
        looks=looks,
        table=table_of(
            capitalized(title),
            rows,
            _configuration_column(),
            row_column("seed", label=text("seed")),
            Column(quantity, label=words.figure, of=_mean_of("run")),
            Column("bound", quantity, text("not reached by"), of=_mean_of("bound")),
        ).without_empty_columns(),
    )


def _mean_of(kind: str) -> Callable[[Row], Value]:
    return lambda row: row["mean"] if row["kind"] == kind else None


def _why_no_head(advice: Advice) -> str:
    if advice.recommendation is not None and advice.head_to_head is not None:
        if advice.recommendation == advice.reference:
            return reference_text(advice, "nothing_to_gain")
        return text("No run of the verification reached the target.")
    if advice.endings is None:
        return text("No verification on fresh seeds was run.")
    return text(
        "No batch size is recommended, so none is compared with yours here. How the trainings on "
        "fresh seeds ended is in the figure of whole trainings."
    )


def _head_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    head, words = advice.head_to_head, objective_words(advice)
    if head is None or advice.recommendation is None:
        return
    known: list[Configuration] = []
    bounds = head.reference_bounds or (None,) * len(head.seeds)
    for name, configuration, figures in (
        (text("recommended"), advice.recommendation, head.recommended),
        (text("tuned rate only"), advice.reference_tuned, head.reference_tuned),
        (text("yours as it is"), advice.reference, head.reference),
    ):
        if configuration is None or not figures or configuration in known:
            continue
        known.append(configuration)
        base = size_fields(looks, configuration.batch_size, "e-seeds")
        base |= {"configuration": _settings(name, configuration)}
        for seed, figure, bound in zip(head.seeds, figures, bounds, strict=True):
            if figure is not None:
                yield {**base, "seed": seed, "kind": "run", "mean": rounded(words.shown(figure))}
            elif configuration == advice.reference and bound is not None:
                yield {**base, "seed": seed, "kind": "bound", "mean": rounded(bound)}


_PROGRESS_POINTS = 100  # of a line on the page


def progress_figure(advice: Advice, study: Study) -> Figure:
    """The metric against training time, the recommendation beside the reference."""
    metric = study.workload.metrics[0].name
    own, own_size = (reference_text(advice, what) for what in ("configuration", "batch_size"))
    looks, what = advice_looks(advice, study), split_label("validation", metric)
    rows = tuple(_progress_rows(advice, study, looks, metric))
    curves = [row for row in rows if row["kind"] == "curve"]
    names = {
        "recommended": text("recommended"),
        "reference, tuned": text("{batch_size}, tuned", batch_size=own_size),
        "reference": own,
    }

    def plot() -> alt.LayerChart:
        import altair as alt

        chart = Plot(
            {"panel": "f-progress"},
            metric,
            looks,
            x=along_axis("equal_time_s", curves),
            y=value_axis(metric, rows, log_from=LOG_METRIC),
            series=list(names),
        )
        dash = alt.StrokeDash("series:N").legend(None)
        line = chart.colored(kind="curve").mark_line(strokeWidth=1.6, opacity=0.85, clip=True)
        line = line.encode(
            detail="run:N",
            strokeDash=dash.scale(domain=list(names), range=[[1, 0], [6, 3], [1, 3]]),
        )
        return chart.drawn(chart.levels(), [line])

    ends = list({row["run"]: row for row in curves}.values())  # the last of each line
    said = [
        text(
            "{name}, batch size {size}: {value} after {time}",
            name=names[str(row["series"])],
            size=row["batch"],
            value=quantity_text(metric, row["mean"]),
            time=quantity_text("equal_time_s", row["equal_time_s"]),
        )
        for row in ends
    ]
    panel = Panel(
        key="f-progress",
        title=what,
        alternative=chart_text(what, "equal_time_s", said),
        plot=plot,
    )
    return Figure(
        key="f",
        name="progress",
        title=text("{what} along training time", what=capitalized(what)),
        notes=(
            text(
                "One line a run. Solid: the recommendation. Dashed: {batch_size} at its tuned "
                "rate. Dotted: {configuration}.",
                batch_size=own_size,
                configuration=own,
            ),
            text(
                "Time is steps × the time of one step measured alone. The clock of runs that "
                "shared the machine would be longer."
            ),
        ),
        nothing=text("There are no runs to draw."),
        panels=(panel,) if curves else (),
        data="progress",
        rows=rows,
        looks=looks,
        table=table_of(
            text("Where each run ended"),
            ends,
            Column("configuration", "", text("configuration"), of=lambda row: names[row["series"]]),
            row_column("batch", "batch_size"),
            row_column("seed", label=text("seed")),
            row_column("equal_time_s"),
            Column(metric, label=what, of=lambda row: row["mean"]),
        ),
    )


def _progress_rows(
    advice: Advice, study: Study, looks: tuple[Look, ...], metric: str
) -> Iterator[Row]:
    if advice.target is not None and advice.target.metric == metric:
        value = advice.target.value
        words = text("target {value:.6g}", value=value)
        yield {"panel": "f-progress", "kind": "level", "mean": value, "text": words}
    seen = set()
    for name, found in (
        ("recommended", advice.recommendation),
        ("reference, tuned", advice.reference_tuned),
        ("reference", advice.reference),
    ):
        if found is None or (found.batch_size, found.learning_rate) in seen:
            continue
        seen.add((found.batch_size, found.learning_rate))
        candidate = advice.candidate(found.batch_size)
        step_s = None if candidate is None else candidate.step_s.estimate
        if step_s is None:
            continue
        for record in _records(study, found):
            seed = record.trial.seed
            points = [(e.step, v) for e, v in record.curve("validation", metric) if e.step > 0]
            for step, value in thinned(points, _PROGRESS_POINTS):
                yield {
                    **size_fields(looks, found.batch_size, "f-progress"),
                    "kind": "curve",
                    "series": name,
                    "run": f"{name}-{seed}",
                    "seed": seed,
                    "equal_time_s": rounded(step * step_s),
                    "mean": rounded(value),
                }


def _records(study: Study, found: Configuration) -> list[TrialRecord]:
    """Its runs; where some had fresh seeds for the verification, the last of them."""
    same = [
        record
        for record in study.records
        if record.trial.batch_size == found.batch_size
        and record.trial.learning_rate == found.learning_rate
        and record.trial.cool_down == found.cool_down
    ]
    return same[-4:]


def endings_figure(advice: Advice, study: Study) -> Figure:
    """The end of every whole training that was compared."""
    endings, looks = advice.endings, advice_looks(advice, study)
    metric = study.workload.metrics[0].name
    nothing = text("What is recommended was not trained to the end on a fresh seed.")
    if advice.target_origin == "given":
        nothing = text("The level was given, so no training was followed to its end.")
    panels: list[Panel] = []
    rows: tuple[Row, ...] = ()
    if endings is not None and endings.recommended.found:
        # What decided first; then the same at a constant rate, where those had a cool-down.
        constant, metric = endings.at_constant_rate, endings.metric
        sets = {"g-ends": endings} | ({} if constant is None else {"g-constant": constant})
        rows = tuple(
            row for key, each in sets.items() for row in _ending_rows(advice, looks, key, each)
        )
        title = "validation {metric} at the end"
        if constant is not None:
            title = "validation {metric} at the end, with a cool-down"
        titles = {
            "g-ends": title,
            "g-constant": "validation {metric} at the end, at a constant rate",
        }
        panels = [
            _endings_panel(key, text(titles[key], metric=metric), metric, rows, looks)
            for key in sets
        ]
    return Figure(
        key="g",
        name="endings",
        title=text("Where whole trainings end"),
        notes=tuple(_ending_notes(endings)) if endings is not None and panels else (),
        nothing=nothing,
        panels=tuple(panels),
        data="endings",
        rows=rows,
        looks=looks,
        table=table_of(
            text("Where whole trainings end; the test data decided nothing"),
            [row for row in rows if row["kind"] == "point"],
            _configuration_column(),
            row_column("cool_down", "", text("cool-down")),
            row_column("epochs", "epochs_to_target", text("epochs")),
            row_column("mean", metric, text("validation {m}", m=metric)),
            row_column("lowest", metric, text("lowest")),
            row_column("highest", metric, text("highest")),
            row_column("test", metric, text("test {m}", m=metric)),
            row_column("n", label=text("seeds")),
        ).without_empty_columns(),
    )


def _endings_panel(
    key: str, title: str, metric: str, rows: tuple[Row, ...], looks: tuple[Look, ...]
) -> Panel:
    own = tuple(row for row in rows if row["panel"] == key)

    def plot() -> alt.LayerChart:
        x = configuration_axis(_configurations(own))
        # One scale for all: with and without a cool-down they are compared.
        y = value_axis(metric, rows, log_from=LOG_METRIC)
        chart = Plot({"panel": key}, metric, looks, x=x, y=y)
        return chart.drawn(chart.levels(), chart.runs(), chart.points())

    values = row_values(metric, own, by="configuration")
    words = chart_text(title, "configuration", values)
    return Panel(key=key, title=title, alternative=words, plot=plot)


def _compared(advice: Advice, endings: Endings) -> Iterator[tuple[str, Ending]]:
    """Each configuration once, with its name."""
    mine = text("recommended") if advice.recommendation is not None else text("looked best")
    yours = text("yours as it is") if advice.stand_in_for is None else text("stand-in")
    yield mine, endings.recommended
    for ending in reversed(endings.references):
        yield yours if ending is endings.reference else text("tuned rate only"), ending


def _ending_rows(
    advice: Advice, looks: tuple[Look, ...], panel: str, endings: Endings
) -> Iterator[Row]:
    for name, ending in _compared(advice, endings):
        base = size_fields(looks, ending.batch_size, panel)
        base |= {"configuration": _settings(name, ending)}
        for seed, value in zip(endings.seeds, ending.values, strict=True):
            if value is not None:
                yield {**base, "kind": "run", "seed": seed, "mean": rounded(value)}
        if ending.found:
            part = text("last {part:percent}", part=ending.cool_down) if ending.cool_down else None
            tested = [value for value in ending.test if value is not None]
            yield {
                **base,
                "kind": "point",
                **interval_row(ending.mean, None, None, len(ending.found)),
                "epochs": ending.epochs,
                "cool_down": part,
                "lowest": min(ending.found),
                "highest": max(ending.found),
                "test": fmean(tested) if tested else None,
            }
    decisive = advice.endings or endings
    higher = decisive.better == "higher"
    worst = decisive.compared_with.mean + (-decisive.margin if higher else decisive.margin)
    words = text("no worse than yours: the mean below this line")
    if higher:
        words = text("no worse than yours: the mean above this line")
    yield {"panel": panel, "kind": "level", "mean": rounded(worst), "text": words}


def _ending_notes(endings: Endings) -> Iterator[str]:
    yield text(
        "A small circle is one training on a fresh seed: the mean of its last quarter. The large "
        "mark is the mean of the trainings."
    )
    if endings.at_constant_rate is not None:
        yield text(
            "With a cool-down the rate falls linearly to zero over the last {part:percent} of the "
            "training. There the last twentieth counts.",
            part=endings.recommended.cool_down,
        )
    yield text(
        "The line: {margin} worse than the better of yours. That limit was fixed beforehand.",
        margin=number_text(endings.margin, ".2g"),
    )


def effects_figure(advice: Advice, study: Study) -> Figure:
    """Epochs, noise and the train and held-out metric of whole trainings, by batch size."""
    effects, looks = effects_of(advice, study), advice_looks(advice, study)
    rows = tuple(_effect_rows(study, effects, looks))
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    panels = []
    if effects.shows_epochs and advice.target is not None:
        panels.append(
            size_panel(
                rows,
                looks,
                "h-epochs",
                "epochs_to_target",
                text("epochs to {target}", target=target_text(advice.target)),
            )
        )
    elif effects.shows_plateaus:
        panels.append(plateau_panel(rows, looks))
    if effects.shows_noise:
        panels.append(jumps_panel(study, rows, looks))
    if effects.shows_gap and split is not None:
        panels.append(finals_panel(rows, looks, "h-gap", metric, split))
    return Figure(
        key="h",
        name="effects",
        title=text("What batch size does, each at its own learning rate"),
        notes=tuple(_effect_notes(advice, study, effects, rows)),
        nothing=text("No two batch sizes were trained far enough to compare what they do."),
        panels=tuple(panels),
        data="effects",
        rows=rows,
        looks=looks,
        table=effects_table(study, effects),
    )


def _effect_rows(study: Study, effects: Effects, looks: tuple[Look, ...]) -> Iterator[Row]:
    labels = {look.batch_size: look.label for look in looks}
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    for each in effects.to_target if effects.shows_epochs else ():
        yield from _target_rows(each, looks)
    for effect in effects.flat if effects.shows_plateaus else ():
        yield from plateau_rows(effect, labels[effect.batch_size])
    for effect in effects.noisy if effects.shows_noise else ():
        yield from jumps_rows(effect, labels[effect.batch_size])
    splits: tuple[Split, ...] = ()
    if effects.shows_gap and split is not None:
        splits = ("train", split)
    for effect in effects.ends:
        for series in splits:
            found = finals(effect.records, series, metric)
            if found is not None:
                yield from effect_rows(effect, "gap", labels[effect.batch_size], found, series)


def _target_rows(each: EpochsToTarget, looks: tuple[Look, ...]) -> Iterator[Row]:
    base = size_fields(looks, each.batch_size, "h-epochs")
    base |= {"learning_rate": rounded(each.learning_rate)}
    if each.enough is not None and each.estimate is not None:
        row = {**base, **estimate_row(each.estimate)}
        yield {**row, "kind": "band", "series": "measured"}
        yield {**row, "kind": "point"}
    if each.enough is None or each.is_estimated or len(each.met) > 1:
        for epochs in each.met:
            yield {**base, "kind": "run", "mean": rounded(epochs)}
    for epochs in each.missed:
        yield {**base, "kind": "bound", "mean": rounded(epochs)}


def _effect_notes(
    advice: Advice, study: Study, effects: Effects, rows: tuple[Row, ...]
) -> Iterator[str]:
    to_target = effects.to_target if effects.shows_epochs else ()
    yield from kind_notes(advice, rows if to_target else ())
    if any(each.enough is not None and not each.is_estimated for each in to_target):
        yield text(
            "Epochs without an interval are of single runs. Where these chose the learning rate "
            "too, they look a little better than they are."
        )
    if effects.shows_plateaus:
        yield text(PLATEAU_NOTE)
        if any(effect.unfinished_epochs for effect in effects.flat):
            yield text(UNFINISHED_NOTE)
    if effects.shows_noise:
        yield text(NOISE_NOTE)
    if effects.shows_gap:
        yield text(
            "The gap is the distance from train to {split}, at the end of whole trainings.",
            split=term_text(held_out_split(study) or "test"),
        )
        if len({round(record.epochs) for e in effects.ends for record in e.records}) > 1:
            yield text("These trainings are not equally long: the table has their epochs.")
    noisy = effects.noisy if effects.shows_noise else ()
    ends = effects.ends if effects.shows_gap else ()
    if any(len(effect.records) > 1 for effect in (*noisy, *ends)):
        yield text("Jumps and metrics: the mark is the mean of the seeds, the bar their range.")
