from __future__ import annotations

from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS, advice_study
from tests.reference.made_up_noise import made_up_noise
from tests.reference.made_up_profile import made_up_profile

from batchlab.report import text_report
from batchlab.report.advice_text import advice_headline, advice_text
from batchlab.report.noise_text import noise_text
from batchlab.report.profile import profile_text
from batchlab.report.text import on_a_terminal, table_width, text_width

WIDTHS = (40, 60, 80, 120)


@pytest.mark.parametrize(("columns", "used"), [(20, 40), (40, 40), (73, 73), (240, 100)])
def test_a_text_is_as_wide_as_the_terminal_from_40_to_100(columns: int, used: int) -> None:
    with on_a_terminal(columns):
        assert (text_width(88), table_width()) == (used, used)

    assert (text_width(88), table_width()) == (88, None)


def to_be_wrapped(said: str) -> list[str]:
    """All lines but code and commands, which are to be copied in one piece."""
    head, *after = said.split("\n\npaste:\n")
    rest = after[0].partition("\n\n")[2] if after else ""
    lines = f"{head}\n{rest}".splitlines()
    return [line for line in lines if "batchlab advise" not in line]


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_advice_fits_every_terminal(kind: str, columns: int) -> None:
    advice = KINDS[kind]()

    with on_a_terminal(columns):
        said = advice_text(advice, study=advice_study(advice), report=Path("report.html"))
        said += advice_headline(advice, study=advice_study(advice))

    assert [line for line in to_be_wrapped(said) if len(line) > columns] == []


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_laboratorys_texts_fit_every_terminal(columns: int) -> None:
    with on_a_terminal(columns):
        texts = (
            profile_text(made_up_profile()),
            noise_text(made_up_noise()),
            text_report(made_up_study(batch_sizes=(64, 256), learning_rates=(0.01, 0.1))),
        )

    for said in texts:
        assert [line for line in said.splitlines() if len(line) > columns] == []


def test_nothing_is_lost_on_a_narrow_terminal() -> None:
    wide = profile_text(made_up_profile())

    with on_a_terminal(40):
        narrow = profile_text(made_up_profile())

    assert set(wide.split()) - set(narrow.split()) == set()
