"""The page of golden figures: what figures and tables hold for made-up records, row by row.

Of each kind of mark in a chart the page has the number of rows, the sums of its numbers and the
words. Where a figure is to change, write the page again with
`python -m tests.report.test_golden_figures` and read what changed in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study, with_validation_alone
from tests.reference.made_up_advice import KINDS, advice_study, made_up_advice, tried
from tests.reference.made_up_noise import made_up_noise, made_up_point, made_up_sample
from tests.report.test_golden_sentences import SWEEPS

from batchlab.advice.advice import Advice
from batchlab.measure.noise import Noise
from batchlab.records.study import Study
from batchlab.report.advice_figures import advice_figures
from batchlab.report.advice_rows import answer_table
from batchlab.report.cells import observations_table
from batchlab.report.figure import Figure, Panel
from batchlab.report.short_reports import noise_section
from batchlab.report.sweep_answer import sweep_table, trials_table
from batchlab.report.sweep_page import sweep_figures
from batchlab.report.table import Table

PAGE = Path(__file__).with_name("golden_figures.txt")
MOST_WORDS = 8
NOTES: set[str] = set()  # under the figures that were asked for; each stands on the page once


def of_figures(figures: Iterable[Figure]) -> Iterator[str]:
    for figure in figures:
        NOTES.update(f"{figure.key}: {note}" for note in figure.notes)
        for panel in figure.panels:
            yield f"{panel.key}: {panel.alternative}"
            yield from of_marks(panel)


def of_marks(panel: Panel) -> Iterator[str]:
    for kind in sorted({str(row["kind"]) for row in panel.rows}):
        rows = [row for row in panel.rows if row["kind"] == kind]
        told = [f"{len(rows)} {kind}"]
        for field in dict.fromkeys(field for row in rows for field in row):
            values = [row.get(field) for row in rows]
            if field not in ("panel", "kind"):
                told.append(f"{field} {summary(values)}")
        yield f"{panel.key}: {', '.join(told)}"


def summary(values: list[object]) -> str:
    """The sum of what are numbers, or the words."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers:
        return f"{math.fsum(numbers):.6g}"
    words = sorted({str(value) for value in values if value is not None})
    return "/".join(words) if len(words) <= MOST_WORDS else f"of {len(words)} words"


def of_table(table: Table) -> Iterator[str]:
    yield f"{table.caption}: {' | '.join(column.key for column in table.columns)}"
    yield from (" | ".join(cells) for cells in table.texts())


# ---- advices


def of_advice(advice: Advice) -> Iterator[str]:
    study = advice_study(advice)
    yield from of_table(answer_table(advice))
    yield from of_figures(advice_figures(advice, study, None))


ADVICE = made_up_advice()
MISSED = (
    tried(rate=0.01, steps=100, met=100.0, status="target_reached"),
    tried(rate=0.1, steps=80, met=80.0, status="target_reached"),
    tried(rate=0.1, steps=300, seed=1),
    tried(512, steps=80),
    tried(rate=1.0, steps=5, status="diverged"),
)
UNTRAINED = (replace(ADVICE.candidates[0], learning_rate=None), *ADVICE.candidates[1:])
SHOWN = "recommend cannot_tell quality one_sided ends_no_worse reference_missed"
ADVICES: dict[str, Callable[[], Advice]] = {
    **{kind: KINDS[kind] for kind in SHOWN.split()},
    "untrained": lambda: replace(ADVICE, candidates=UNTRAINED),
    "most missed": lambda: replace(ADVICE, tried=MISSED),
}


# ---- sweeps


def of_sweep(study: Study) -> Iterator[str]:
    for table in (sweep_table(study), trials_table(study)):
        yield from of_table(table)
    yield f"{len(observations_table(study).rows)} observations"
    yield from of_figures(sweep_figures(study))


def measured() -> Study:
    """Three quantities along training, seldom and only for one of the seeds at its end."""
    study = made_up_study(batch_sizes=(16, 64), seeds=2)
    records = []
    for record in study.records:
        size, seed = record.trial.batch_size, record.trial.seed
        seen = []
        for each in record.evaluations:
            variance = 32 / size * (5 if each.step else 1)
            known = {"noise_scale": 100.0 + 10 * seed, "gradient_variance": variance}
            if each.step > 500 * seed:
                known["sharpness"] = float(size * each.step + seed)
            seen.append(replace(each, measured=tuple(known.items())))
        records.append(replace(record, evaluations=tuple(seen)))
    return replace(study, records=tuple(records))


FIGURES_OF = (
    *("worse", "one seed", "full batch better", "bad ends", "nothing held out", "one size"),
    *("nothing", "plans"),
)
STUDIES: dict[str, Callable[[], Study]] = {
    **{name: SWEEPS[name] for name in FIGURES_OF},
    "measured": measured,
    "own script": lambda: with_validation_alone(made_up_study(n_test=0)),
}


# ---- noise


def of_noise(noise: Noise) -> Iterator[str]:
    table = noise_section(noise).table
    assert table is not None
    yield from of_table(table)


NOISES: dict[str, Callable[[], Noise]] = {
    "growing": lambda: made_up_noise(made_up_point(0, 20.0), made_up_point(7, 30.0)),
    "lost at last": lambda: made_up_noise(made_up_point(0, 20.0), made_up_point(100, math.inf)),
    "large": lambda: made_up_noise(
        replace(made_up_point(0, 3000.0), sample=made_up_sample(3000.0, block=512))
    ),
}


# ---- the page

SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    f"{what}: {name}": partial(lambda of, make: of(make()), of, make)
    for what, of, made in (
        ("advice", of_advice, ADVICES),
        ("sweep", of_sweep, STUDIES),
        ("noise", of_noise, NOISES),
    )
    for name, make in made.items()
}


@cache
def lines_of(section: str) -> list[str]:
    return [line.rstrip() for line in SECTIONS[section]()]


def page() -> dict[str, list[str]]:
    found = {section: lines_of(section) for section in SECTIONS}
    return found | {"notes": sorted(NOTES)}


def golden() -> dict[str, list[str]]:
    parts = PAGE.read_text(encoding="utf-8").split("== ")[1:]
    pages = (part.partition(" ==\n") for part in parts)
    return {name: text.splitlines() for name, _, text in pages}


@pytest.mark.parametrize("section", SECTIONS)
def test_figures_and_tables_hold_what_the_golden_page_says(section: str) -> None:
    assert lines_of(section) == golden()[section]


def test_the_golden_page_has_these_sections_and_every_note() -> None:
    found = page()

    assert list(golden()) == list(found)
    assert golden()["notes"] == found["notes"]


if __name__ == "__main__":
    PAGE.write_text(
        "".join("\n".join((f"== {name} ==", *lines, "")) for name, lines in page().items()),
        encoding="utf-8",
    )
