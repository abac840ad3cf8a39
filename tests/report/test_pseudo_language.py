"""No text of a report escapes the catalogue: in the pseudo-language all of it is in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from tests.reference.by_day import by_day
from tests.reference.chart_words import figure_words
from tests.reference.made_up import made_up_curves, made_up_study
from tests.reference.made_up_profile import made_up_point, made_up_profile
from tests.reference.names import NAMES
from tests.reference.pseudo_language import letters_outside, pseudo_language
from tests.reference.visible_text import visible_texts

from batchlab.fitting.fit import fit
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report.fit.text import fit_text
from batchlab.report.notebook_view import notebook_view
from batchlab.report.parts import page as page_part
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.profile.text import profile_text
from batchlab.report.sweep import figures as sweep_figures
from batchlab.report.sweep.html import html_page
from batchlab.report.sweep.text import text_report
from batchlab.words.catalogue import language

STUDIES = {
    "one seed": made_up_study(),
    "one batch size": made_up_study(batch_sizes=(64,)),
    "nothing": replace(made_up_study(), records=()),
    "seeds and full batch": made_up_study(batch_sizes=(32, 64, 4096), seeds=3),
    "rates and bad ends": made_up_study(
        batch_sizes=(32, 256, 4096),
        learning_rates=(0.01, 0.03, 0.1),
        curves=lambda b, rate, seed: made_up_curves(
            validation=0.9 - abs(rate - 0.03) * (1 + b / 1000) + 0.002 * seed, rate=2.0
        ),
        seeds=2,
        endings={(256, 0.1, 0): (Status.DIVERGED, "⟦the loss grew⟧", 2)},
    ),
    "all ended badly": made_up_study(
        batch_sizes=(64,), endings={(64, 0.01, 0): (Status.NAN, "⟦NaN⟧", 2)}
    ),
    "no step times": made_up_study(batch_sizes=(64, 4096), timed=False, n_test=0),
    "a full batch that has hardly trained": made_up_study(
        batch_sizes=(32, 64, 4096),
        curves=lambda b, rate, seed: made_up_curves(
            train=0.13 if b == 4096 else 0.98, validation=0.97 + 0.002 * seed, rate=1.0
        ),
        seeds=3,
    ),
    "two of unlike training fit": made_up_study(
        batch_sizes=(64, 4096),
        curves=lambda b, rate, seed: made_up_curves(train=0.9 - b / 1e4, rate=1 + seed / 100),
        seeds=2,
    ),
    "untrained": made_up_study(
        curves=lambda b, rate, seed: made_up_curves(train=0.1, validation=0.1 + 0.001 * seed),
        seeds=2,
    ),
    "train data only": made_up_study(n_test=0, n_validation=0, seeds=2),
}


# Those with figures of their own; the others differ in their sentences, which the text has too.
DRAWN_BY_DAY = (
    "nothing",
    "one batch size",
    "seeds and full batch",
    "rates and bad ends",
    "train data only",
)
PROFILES = {
    "whole": made_up_profile(),
    "too few for a law": made_up_profile(made_up_point(1), made_up_point(2)),
    "out of time": replace(
        made_up_profile(*(made_up_point(size) for size in (1, 2, 4))), stopped="time"
    ),
    "within a limit": replace(
        made_up_profile(
            made_up_point(64),
            made_up_point(128),
            made_up_point(256, micro_batch_size=128),
            memory_limit_bytes=70_000_000,
        ),
        stopped="memory",
    ),
    "nothing ran": replace(
        made_up_profile(made_up_point(2, status=Status.ERROR, reason="⟦it broke⟧")),
        stopped="errors",
    ),
}
SEEDS = (-1, 0, 1)
FITS = {
    "a law": [
        {"batch_size": b, "steps_to_target": int(300 * (1 + 500 / b) * (1 + 0.02 * seed))}
        for b in (16, 64, 256, 1024, 4096)
        for seed in SEEDS
    ],
    "three batch sizes": [
        {"batch_size": b, "steps_to_target": int(300 * (1 + 500 / b))} for b in (16, 64, 256)
    ],
    "rates, missed and step times": [
        {
            "batch_size": b,
            "learning_rate": 0.01 * k,
            "steps_to_target": int(300 * k * (1 + 500 / b)) if b < 2000 else None,
            "after_steps": None if b < 2000 else 900,
            "step_s": 0.001 + b / 1e6,
        }
        for b in (16, 64, 256, 1024, 4096)
        for k in (1, 2)
    ],
}


def escaped(texts: Iterable[str]) -> list[str]:
    """What stands outside of the catalogue and is none of the names."""
    pieces = [piece.strip() for text in texts for piece in letters_outside(text)]
    return [piece for piece in pieces if not NAMES.fullmatch(piece)]


def drawn_words(study: Study) -> Iterator[str]:
    """All words of all figures and charts of a study, on a page and on paper."""
    for row in figure_rows(sweep_figures):
        yield from figure_words(row.build(study))


@pytest.mark.parametrize("name", STUDIES)
def test_the_text_of_a_sweep_is_all_from_the_catalogue(name: str) -> None:
    with language(pseudo_language()):
        said = text_report(STUDIES[name])

    assert escaped([said]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(STUDIES, DRAWN_BY_DAY))
def test_the_page_of_a_sweep_is_all_from_the_catalogue(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The words of the charts, which take long to draw, are looked at by themselves below.
    monkeypatch.setattr(page_part, "still_svg", lambda *_, **__: "")
    with language(pseudo_language()):
        page = html_page(STUDIES[name])

    assert escaped(visible_texts(page)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(STUDIES, DRAWN_BY_DAY))
def test_the_charts_of_a_sweep_are_all_from_the_catalogue(name: str) -> None:
    with language(pseudo_language()):
        words = list(drawn_words(STUDIES[name]))

    assert words
    assert escaped(words) == []


@pytest.mark.parametrize("name", PROFILES)
def test_the_text_and_view_of_a_profile_are_all_from_the_catalogue(name: str) -> None:
    with language(pseudo_language()):
        said = [profile_text(PROFILES[name]), *visible_texts(notebook_view(PROFILES[name]))]

    assert escaped(said) == []


@pytest.mark.parametrize("name", FITS)
def test_the_text_and_view_of_a_fit_are_all_from_the_catalogue(name: str) -> None:
    found = fit(FITS[name])

    with language(pseudo_language()):
        said = [fit_text(found), *visible_texts(notebook_view(found))]

    assert escaped(said) == []


def test_the_values_of_other_groups_are_the_users_own_and_all_else_is_from_the_catalogue() -> None:
    rows = [{**row, "depth": depth, "steps_to_target": depth * row["steps_to_target"]}
            for row in FITS["a law"] for depth in (1, 2, 3, 4)]  # fmt: skip
    found = fit(rows, across="depth")

    with language(pseudo_language()):
        pieces = escaped([fit_text(found)])

    assert {word for piece in pieces for word in re.findall(r"[a-z_]+", piece)} <= {
        *("depth", "b_crit", "batch_at_overhead")
    }


@pytest.mark.slow
def test_words_that_stand_in_no_catalogue_are_found() -> None:
    study = made_up_study(
        batch_sizes=(64,), endings={(64, 0.01, 0): (Status.NAN, "not translated", 2)}
    )

    with language(pseudo_language()):
        found = escaped([text_report(study)]) + escaped(visible_texts(html_page(study)))

    assert "not translated" in found
