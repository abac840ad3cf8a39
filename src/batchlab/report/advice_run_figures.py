"""The figures of an advice that compare configurations: head to head, along time, at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.advice.advice import Advice, Configuration, Ending, Endings
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.advice_effects import (
    Effects,
    EpochsToTarget,
    compared,
    effects_of,
)
from batchlab.report.advice_figures import (
    kind_notes,
    learning_rates_figure,
    machine_figure,
    objective_figure,
    steps_figure,
)
from batchlab.report.advice_words import objective_words, reference_text, target_text
from batchlab.report.cells import held_out_split, mean_of
from batchlab.report.effects import effect_notes, finals_panel, jumps_panel, plateau_panel
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    alone,
    interval_mark,
    mark,
    thinned,
)
from batchlab.report.table import Value
from batchlab.report.text import quantity_text, split_label
from batchlab.words.catalogue import capitalized, number_text, term_text, text


def advice_figures(advice: Advice, study: Study, profile: Profile | None) -> tuple[Figure, ...]:
    """The figures of an advice, from the answer to what it rests on."""
    return (
        objective_figure(advice),
        steps_figure(advice),
        machine_figure(advice, profile),
        learning_rates_figure(advice),
        head_to_head_figure(advice),
        progress_figure(advice, study),
        endings_figure(advice),
        effects_figure(advice, study),
    )


def _settings(name: str, found: Configuration | Ending) -> dict[str, Value]:
    """A configuration's name and settings on an axis; a bar breaks the line."""
    rate = quantity_text("learning_rate", found.learning_rate)
    told = text("{size}, rate {rate}", size=found.batch_size, rate=rate)
    return {"batch_size": found.batch_size, "configuration": f"{name}|{told}"}


def head_to_head_figure(advice: Advice) -> Figure:
    """The verification: each configuration's figure on each fresh seed."""
    words, head = objective_words(advice), advice.head_to_head
    rows = tuple(_head_rows(advice))
    panel = Panel(
        "e-seeds",
        text("{figure} on fresh seeds", figure=words.figure),
        words.quantity,
        rows,
        axis="configuration",
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
        "e",
        "head-to-head",
        text("Head to head on fresh seeds"),
        [panel] if len({row["configuration"] for row in rows}) > 1 else [],
        notes=notes,
        nothing=_why_no_head(advice),
        data="head",
    )


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


def _configurations(advice: Advice) -> Iterator[tuple[str, Configuration]]:
    """What the verification compared, each training once."""
    seen = set()
    for name, found in (
        ("recommended", advice.recommendation),
        ("reference, tuned", advice.reference_tuned),
        ("reference", advice.reference),
    ):
        key = found and (found.batch_size, found.learning_rate, found.cool_down)
        if found is not None and key not in seen:
            seen.add(key)
            yield name, found


def _head_rows(advice: Advice) -> Iterator[Row]:
    head, words = advice.head_to_head, objective_words(advice)
    if head is None or advice.recommendation is None:
        return
    told = {
        "recommended": (text("recommended"), head.recommended),
        "reference, tuned": (text("tuned rate only"), head.reference_tuned),
        "reference": (text("yours as it is"), head.reference),
    }
    bounds = head.reference_bounds or (None,) * len(head.seeds)
    for name, configuration in _configurations(advice):
        label, figures = told[name]
        at = _settings(label, configuration)
        for seed, figure, bound in zip(head.seeds, figures or (), bounds, strict=False):
            if figure is not None:
                yield mark("run", words.shown(figure), **at, seed=seed)
            elif name == "reference" and bound is not None:
                yield mark("bound", bound, **at, seed=seed)


_PROGRESS_POINTS = 100  # of a line on the page


def progress_figure(advice: Advice, study: Study) -> Figure:
    """The metric against training time, the recommendation beside the reference."""
    metric = study.workload.metrics[0].name
    own, own_size = (reference_text(advice, what) for what in ("configuration", "batch_size"))
    what = split_label("validation", metric)
    panel = Panel(
        "f-progress",
        what,
        metric,
        tuple(_progress_rows(advice, study, metric)),
        axis="equal_time_s",
        is_metric=True,
    )
    return Figure(
        "f",
        "progress",
        text("{what} along training time", what=capitalized(what)),
        [panel],
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
        for record in _records(study, found):
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


def endings_figure(advice: Advice) -> Figure:
    """The end of every whole training that was compared."""
    endings = advice.endings
    nothing = text("What is recommended was not trained to the end on a fresh seed.")
    if advice.target_origin == "given":
        nothing = text("The level was given, so no training was followed to its end.")
    panels, notes = [], []
    if endings is not None and endings.recommended.found:
        panels, notes = _ending_panels(advice, endings), list(_ending_notes(endings))
    return Figure(
        "g",
        "endings",
        text("Where whole trainings end"),
        panels,
        notes=notes,
        nothing=nothing,
    )


def _ending_panels(advice: Advice, endings: Endings) -> list[Panel]:
    """What decided first; then the same at a constant rate, where those had a cool-down."""
    constant = endings.at_constant_rate
    shown = {"validation {metric} at the end": ("g-ends", endings)}
    if constant is not None:
        shown = {
            "validation {metric} at the end, with a cool-down": ("g-ends", endings),
            "validation {metric} at the end, at a constant rate": ("g-constant", constant),
        }
    rows = {title: tuple(_ending_rows(advice, each)) for title, (_, each) in shown.items()}
    return [
        Panel(
            key,
            text(title, metric=endings.metric),
            endings.metric,
            rows[title],
            axis="configuration",
            is_metric=True,
            # One scale for all: with and without a cool-down they are compared.
            frame=tuple(row for own in rows.values() for row in own),
        )
        for title, (key, _) in shown.items()
    ]


def _compared(advice: Advice, endings: Endings) -> Iterator[tuple[str, Ending]]:
    """Each configuration once, with its name."""
    mine = text("recommended") if advice.recommendation is not None else text("looked best")
    yours = text("yours as it is") if advice.stand_in_for is None else text("stand-in")
    yield mine, endings.recommended
    for ending in reversed(endings.references):
        yield yours if ending is endings.reference else text("tuned rate only"), ending


def _ending_rows(advice: Advice, endings: Endings) -> Iterator[Row]:
    for name, ending in _compared(advice, endings):
        at = _settings(name, ending)
        for seed, value in zip(endings.seeds, ending.values, strict=True):
            if value is not None:
                yield mark("run", value, **at, seed=seed)
        if ending.found:
            part = text("last {part:percent}", part=ending.cool_down) if ending.cool_down else None
            yield from interval_mark(
                "point",
                alone(ending.mean, len(ending.found)),
                **at,
                epoch=ending.epochs,
                cool_down=part,
                lowest=min(ending.found),
                highest=max(ending.found),
                test=mean_of([value for value in ending.test if value is not None]),
            )
    decisive = advice.endings or endings
    higher = decisive.better == "higher"
    worst = decisive.compared_with.mean + (-decisive.margin if higher else decisive.margin)
    words = text("no worse than yours: the mean below this line")
    if higher:
        words = text("no worse than yours: the mean above this line")
    yield mark("level", worst, text=words)


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
    effects = effects_of(advice, study)
    to_target = compared(effects.to_target) if effects.knows_enough else ()
    panels = []
    if to_target and advice.target is not None:
        panels.append(
            Panel(
                "h-epochs",
                text("epochs to {target}", target=target_text(advice.target)),
                "epochs_to_target",
                tuple(row for each in to_target for row in _target_rows(each)),
            )
        )
    elif any(effect.plateau_epochs for effect in compared(effects.plateaus)):
        panels.append(plateau_panel(effects.flat))
    panels.append(jumps_panel(study, compared(effects.noisy)))
    panels.append(finals_panel(study, compared(effects.ends), key="h-gap"))
    return Figure(
        "h",
        "effects",
        text("What batch size does, each at its own learning rate"),
        panels,
        notes=(
            *kind_notes(advice, panels[0].rows if to_target else ()),
            *_target_notes(to_target),
            *effect_notes(panels),
            *_end_notes(study, effects),
        ),
        nothing=text("No two batch sizes were trained far enough to compare what they do."),
    )


def _target_rows(each: EpochsToTarget) -> Iterator[Row]:
    at: dict[str, Value] = {
        "batch_size": each.batch_size,
        "learning_rate": each.learning_rate,
    }
    if each.enough is not None and each.estimate is not None:
        yield from interval_mark("band", each.estimate, **at, series="measured")
        yield from interval_mark("point", each.estimate, **at)
    if each.enough is None or each.is_estimated or len(each.met) > 1:
        yield from (mark("run", epochs, **at) for epochs in each.met)
    yield from (mark("bound", epochs, **at) for epochs in each.missed)


def _target_notes(to_target: Sequence[EpochsToTarget]) -> Iterator[str]:
    if any(each.enough is not None and not each.is_estimated for each in to_target):
        yield text(
            "Epochs without an interval are of single runs. Where these chose the learning rate "
            "too, they look a little better than they are."
        )


def _end_notes(study: Study, effects: Effects) -> Iterator[str]:
    ends = compared(effects.ends)
    if ends:
        yield text(
            "The gap is the distance from train to {split}, at the end of whole trainings.",
            split=term_text(held_out_split(study) or "test"),
        )
        epochs = {round(record.epochs) for effect in ends for record in effect.records}
        if len(epochs) > 1:
            message = "These trainings are not equally long: {low} to {high} epochs."
            yield text(message, low=min(epochs), high=max(epochs))
    if any(len(effect.records) > 1 for effect in (*compared(effects.noisy), *ends)):
        yield text("Jumps and metrics: the mark is the mean of the seeds, the bar their range.")
