"""The figures of an advice that compare configurations: head to head, along time, at the end."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.advice.advice import Advice, Configuration, Ending, Endings
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.advice_effects import Effects, compared, effects_of
from batchlab.report.advice_figures import (
    kind_notes,
    learning_rates_figure,
    level_figure,
    machine_figure,
    objective_figure,
)
from batchlab.report.advice_rows import run_figures, runs_of
from batchlab.report.advice_words import objective_words, reference_text
from batchlab.report.cells import held_out_split, mean_of
from batchlab.report.effects import effect_notes, finals_panel, jumps_panel, plateau_panel
from batchlab.report.figure import Figure, Panel, Row, drawn_sizes, interval_mark, mark, thinned
from batchlab.report.table import Value
from batchlab.report.text import quantity_text, split_label
from batchlab.words.catalogue import capitalized, number_text, term_text, text


def advice_figures(advice: Advice, study: Study, profile: Profile | None) -> tuple[Figure, ...]:
    """The figures of an advice: the answer, how sure it is, what it comes from, what else is so."""
    effects = effects_of(advice, study)
    return (
        objective_figure(advice),
        seeds_figure(advice),
        progress_figure(advice, study),
        level_figure(advice, effects.to_target),
        machine_figure(advice, profile),
        learning_rates_figure(advice),
        effects_figure(study, effects),
    )


def _settings(name: str, found: Configuration | Ending, n: int = 0) -> dict[str, Value]:
    """A configuration's name, settings and how many a mean is of; a bar breaks the line."""
    rate = quantity_text("learning_rate", found.learning_rate)
    told = text("{size}, rate {rate}", size=found.batch_size, rate=rate)
    of = f"|{text('mean of {n}', n=n)}" if n else ""
    return {"batch_size": found.batch_size, "configuration": f"{name}|{told}{of}"}


def seeds_figure(advice: Advice) -> Figure:
    """Draw each configuration seed by seed: how soon it gets to the target, where it ends."""
    words, endings = objective_words(advice), advice.endings
    rows, notes = tuple(_soon_rows(advice)), list[str]()
    soon = Panel("b-soon", text(words.figure), words.quantity, rows, axis="configuration")
    panels = [soon] if len({row["configuration"] for row in rows}) > 1 else []
    absent = [] if panels else [text("No two configurations were run to the target.")]
    if advice.target is None:
        absent = [text("There is no target, so nothing was compared by when it is met.")]
    if panels:
        notes += kind_notes(advice, rows)
        notes.append(text("A thin line joins the runs of one seed."))
    if endings is not None and endings.named.found:
        metric, ends = endings.metric, tuple(_ending_rows(advice, endings))
        title = "validation {metric} at the end (no worse below the line)"
        if endings.better == "higher":
            title = "validation {metric} at the end (no worse above the line)"
        said = text(title, metric=metric)
        panels.append(Panel("b-ends", said, metric, ends, axis="configuration", is_metric=True))
        notes += _ending_notes(advice, endings)
    elif advice.target_origin == "given":
        absent.append(text("The level was given, so no training was followed to its end."))
    elif advice.objective != "quality":
        absent.append(text("Nothing that is named was trained to its end."))
    return Figure(
        "b",
        "seeds",
        text("Training by training"),
        panels,
        notes=(*notes, *absent),
        nothing=" ".join(absent),
    )


def _configurations(advice: Advice) -> Iterator[tuple[str, Configuration]]:
    """What is recommended and the references, each once."""
    seen: list[Configuration] = []
    for name, found in (
        ("recommended", advice.recommendation),
        ("reference, tuned", advice.reference_tuned),
        ("reference", advice.reference),
    ):
        if found is not None and not any(map(found.is_same, seen)):
            seen.append(found)
            yield name, found


def _soon_rows(advice: Advice) -> Iterator[Row]:
    names = {
        "recommended": text("recommended"),
        "reference, tuned": text("tuned rate only"),
        "reference": reference_text(advice, "as_is"),
    }
    for name, configuration in _configurations(advice):
        candidate = advice.candidate(configuration.batch_size)
        if candidate is None:
            continue
        at = _settings(names[name], configuration)
        runs = list(runs_of(advice, configuration.batch_size, configuration.learning_rate))
        for run, figure in zip(runs, run_figures(advice, candidate, runs), strict=False):
            yield mark("bound" if figure.is_bound else "run", figure.shown, **at, seed=run.seed)


_PROGRESS_POINTS = 100  # of a line on the page


def progress_figure(advice: Advice, study: Study) -> Figure:
    """The metric against training time, of what is named beside the reference."""
    metric = study.workload.metrics[0].name
    what = split_label("validation", metric)
    panel = Panel(
        "c-progress",
        what,
        metric,
        tuple(_progress_rows(advice, study, metric)),
        axis="equal_time_s",
        is_metric=True,
    )
    names = {
        "reference, tuned": text(
            "{batch_size} at its tuned rate", batch_size=reference_text(advice, "batch_size")
        ),
        "reference": reference_text(advice, "configuration"),
    }
    lines = ", ".join(
        text("{dash}: {line}", dash=text(dash), line=names.get(series) or term_text(series))
        for series, dash in zip(panel.series, ("solid", "dashed", "dotted"), strict=False)
    )
    return Figure(
        "c",
        "progress",
        text("Along training time"),
        [panel],
        notes=(
            text("One line a training. {lines}.", lines=capitalized(lines)),
            text(
                "Time is steps × the time of one step measured alone. The clock of runs that "
                "shared the machine would be longer."
            ),
        ),
        nothing=text("There are no runs to draw."),
    )


def _progress_rows(advice: Advice, study: Study, metric: str) -> Iterator[Row]:
    if advice.target is not None and advice.target.metric == metric:
        value = advice.target.value
        yield mark("level", value, text=text("target {value:.6g}", value=value))
    for name, found in _configurations(advice):
        candidate = advice.candidate(found.batch_size)
        step_s = None if candidate is None else candidate.step_s.estimate
        if step_s is None:
            continue
        for record in _records(advice, study, found):
            points = [(e.step, v) for e, v in record.curve("validation", metric) if e.step > 0]
            for step, value in thinned(points, _PROGRESS_POINTS):
                yield mark(
                    "curve",
                    value,
                    batch_size=found.batch_size,
                    series=name,
                    seed=record.trial.seed,
                    equal_time_s=step * step_s,
                )


def _records(advice: Advice, study: Study, found: Configuration) -> list[TrialRecord]:
    """Return its runs; where some were trained to their end, these."""
    compared = advice.endings
    same = [record for record in study.records if found.is_same(record.trial)]
    return [r for r in same if compared and r.trial.seed in compared.seeds] or same


def _compared(advice: Advice, endings: Endings) -> Iterator[tuple[str, Ending]]:
    """Each configuration once, with its name."""
    for ending in (endings.named, *reversed(endings.references)):
        name = text("tuned rate only")
        if advice.recommendation is not None and ending is endings.named:
            name = text("recommended")
        elif ending is endings.own:
            name = reference_text(advice, "as_is")
        yield name, ending


def _ending_rows(advice: Advice, endings: Endings) -> Iterator[Row]:
    for name, ending in _compared(advice, endings):
        at = _settings(name, ending, len(ending.found))
        for seed, value in zip(endings.seeds, ending.values, strict=True):
            if value is not None:
                yield mark("run", value, **at, seed=seed)
        if ending.found:
            yield from interval_mark(
                "point",
                ending.estimate,
                **at,
                epoch=ending.epochs,
                lowest=min(ending.found),
                highest=max(ending.found),
                test=mean_of([value for value in ending.test if value is not None]),
            )
    higher = endings.better == "higher"
    worst = endings.compared_with.mean + (-endings.margin if higher else endings.margin)
    yield mark("level", worst, text="")


def _ending_notes(advice: Advice, endings: Endings) -> Iterator[str]:
    yield text(
        "At the end a small circle is what one training ends with, the large mark the mean of the "
        "trainings.",
    )
    yield text(
        "The line lies {margin} from the mean of {yours}, at the better of its rates that were "
        "tried: a mean this far off still counts as no worse. That limit was fixed beforehand.",
        yours=reference_text(advice, "configuration"),
        margin=number_text(endings.margin, ".2g"),
    )


def effects_figure(study: Study, effects: Effects) -> Figure:
    """Epochs, noise and the train and held-out metric of whole trainings, by batch size."""
    panels = [
        plateau_panel(effects.plateaus, key="g-epochs"),
        jumps_panel(study, effects.noisy, key="g-noise"),
        finals_panel(study, effects.ends, key="g-gap"),
    ]
    panels = [panel for panel in panels if len(drawn_sizes(panel.rows)) > 1]
    return Figure(
        "g",
        "effects",
        text("Noise and gap by batch size"),
        panels,
        notes=(*effect_notes(panels), *_end_notes(study, effects)),
        nothing=text("No two batch sizes were trained far enough to compare what they do."),
    )


def _end_notes(study: Study, effects: Effects) -> Iterator[str]:
    if compared(effects.ends):
        yield text(
            "The gap is the distance from train to {split}, at the end of whole trainings. Marks "
            "are means of the seeds, bars their range.",
            split=term_text(held_out_split(study) or "test"),
        )
