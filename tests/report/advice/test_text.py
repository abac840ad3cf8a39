from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.made_up_advice import (
    KINDS,
    advice_study,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)

from batchlab.advice.advice import Step
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_bars import bars
from batchlab.report.advice_text import advice_text, explain_text

written = Reason.as_written

ADVICE = made_up_advice()
STUDY = advice_study(ADVICE)


def screen(advice) -> str:
    return advice_text(advice, study=STUDY, report=Path("report.html"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_advice_fits_on_one_screen(kind):
    lines = screen(KINDS[kind]()).splitlines()

    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_long_caveats_still_fit_and_the_rest_is_counted():
    advice = made_up_advice(does_not_fit=(1024, 4096), reference_misses=True)
    advice = replace(
        advice,
        caveats=tuple(written(f"Caveat {number} " + "of many words " * 12) for number in range(9)),
    )

    text = screen(advice)

    assert len(text.splitlines()) <= 40
    assert "more caveats: see the report" in text


def test_the_screen_begins_with_the_answer_and_ends_with_the_report():
    lines = screen(ADVICE).splitlines()

    assert lines[0].startswith("Use batch size 1024 with learning rate 0.26")
    assert lines[-1] == "report: report.html"


def test_the_last_line_tells_how_to_get_a_model_that_was_trained_to_its_end():
    lines = screen(with_endings(ADVICE)).splitlines()

    assert lines[-1] == "report: report.html; trained model: batchlab weights --study made-up-"


def test_without_a_report_none_is_named():
    assert "report:" not in advice_text(ADVICE, study=STUDY, report=None)


def test_micro_batches_are_there():
    advice = made_up_advice(does_not_fit=(1024, 4096))

    text = screen(advice)

    assert "1024 (4 × 256)" in text
    assert "inputs.split(256)" in text


def test_yours_and_the_recommendation_stand_side_by_side_with_the_interval():
    lines = screen(ADVICE).splitlines()

    (time,) = (line.split("  ") for line in lines if line.startswith("time to target"))
    assert [part.strip() for part in time if part] == [
        "time to target, validation accuracy ≥ 0.95",
        "13.2 s",
        "1.28 s (1.21 s to 1.34 s)",
    ]


def drawn_bars(advice) -> dict[tuple[int, str], tuple[int, float]]:
    """Length in characters and seconds of each bar, by batch size and note."""
    drawn = {}
    for line in (line for line in bars(advice) if "█" in line):
        size, rest = line.split(maxsplit=1)
        bar, value, unit, *note = rest.split()
        assert unit == "s"
        drawn[int(size), " ".join(note)] = (len(bar), float(value))
    return drawn


def test_bars_are_as_long_as_the_times_they_stand_for():
    drawn = drawn_bars(ADVICE)

    assert (64, "yours") in drawn
    assert (64, "at its tuned rate") in drawn
    assert (1024, "recommended") in drawn
    longest = max(value for _, value in drawn.values())
    for length, value in drawn.values():
        assert -0.1 < length - 44 * value / longest < 1.1  # its last character may be a part


def test_what_was_verified_is_drawn_as_it_was_found_then():
    advice = replace(ADVICE, gain_from_batch_size=Estimate.of(1.9, interval=(0.85, 4.2), n=3))

    drawn = drawn_bars(advice)

    _, tuned_s = drawn[64, "at its tuned rate"]
    _, named_s = drawn[1024, "recommended"]
    assert tuned_s == pytest.approx(1.9 * named_s, rel=0.01)


def test_a_metric_is_not_drawn_as_bars():
    assert "█" not in screen(KINDS["quality"]())


def test_cannot_tell_shows_what_is_known_of_the_batch_sizes():
    text = screen(cannot_tell_advice())

    assert "█" in text
    assert "paste:" not in text
    assert "batchlab advise made-up --budget 12m" in map(str.strip, text.splitlines())


def test_a_percent_sign_stays_with_its_number():
    for kind in KINDS.values():
        assert not any(line.strip().startswith("%") for line in screen(kind()).splitlines())


def test_explain_has_one_line_a_step_with_the_time():
    advice = replace(
        ADVICE,
        steps=(
            Step(spent_s=0.5, did=written("did this"), why=written("for that")),
            Step(spent_s=130.0, did=written("did more"), why=written("for more")),
        ),
    )

    assert explain_text(advice) == "  500 ms  did this: for that\n2.17 min  did more: for more\n"


def test_explain_without_steps_says_so():
    assert explain_text(replace(ADVICE, steps=())) == "No step was recorded.\n"


def test_the_screen_loads_neither_torch_nor_a_plotting_library():
    code = (
        "import sys\n"
        "import batchlab.report.advice_text\n"
        "heavy = {'torch', 'altair', 'vl_convert', 'jinja2', 'scipy', 'batchlab.training'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
