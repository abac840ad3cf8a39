"""What the user has beside what is named: the same figures as everywhere, and none made up."""

from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up_advice import (
    KINDS,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)

from batchlab.advice.advice import Advice, Configuration
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_bars import bars
from batchlab.report.advice_tables import side_by_side

ADVICE = made_up_advice()


def rows(advice: Advice) -> dict[str, tuple[str, str]]:
    table = side_by_side(advice)
    assert table is not None
    return {str(name): (str(yours), str(named)) for name, yours, named in table.rows}


def header(advice: Advice) -> list[str]:
    table = side_by_side(advice)
    assert table is not None
    return [column.header.strip() for column in table.columns]


def test_settings_time_and_memory_stand_side_by_side() -> None:
    assert header(ADVICE) == ["", "yours", "recommended"]
    assert rows(ADVICE) == {
        "batch size": ("64", "1024"),
        "learning rate": ("0.01", "0.26"),
        "time to target, validation accuracy ≥ 0.95": ("13.2 s", "1.28 s (1.21 s to 1.34 s)"),
        "peak memory": ("32.6 MB", "71 MB"),
    }


def test_yours_takes_as_many_times_as_long_as_the_gain_says() -> None:
    twice = replace(ADVICE, gain=Estimate.of(2.0, interval=(1.9, 2.1), n=3))

    yours, _ = rows(twice)["time to target, validation accuracy ≥ 0.95"]

    assert yours == "2.56 s"


def test_a_reference_that_missed_the_target_has_a_bound() -> None:
    missed = KINDS["reference_missed"]()

    yours, _ = rows(missed)["time to target, validation accuracy ≥ 0.95"]

    assert yours.startswith("at least ")


def test_of_an_unknown_gain_nothing_is_made_up() -> None:
    unknown = replace(ADVICE, gain=Estimate.cannot_tell(Reason.as_written("no seed")))

    yours, _ = rows(unknown)["time to target, validation accuracy ≥ 0.95"]

    assert yours == "–"


def test_where_whole_trainings_end_is_there_if_what_is_named_was_followed() -> None:
    followed = with_endings(ADVICE)
    found = rows(followed)

    assert any(name.startswith("accuracy after 16 epochs") for name in found)
    assert not any("epochs" in name for name in rows(ADVICE))


def test_what_is_best_so_far_is_called_so() -> None:
    best = Configuration(batch_size=256, micro_batch_size=256, learning_rate=0.113137)
    advice = replace(cannot_tell_advice(), provisional=best)

    assert header(advice) == ["", "yours", "best so far"]
    assert rows(advice)["learning rate"] == ("0.01", "0.11")


def test_yours_at_its_tuned_rate_is_the_figure_of_its_batch_size() -> None:
    best = Configuration(batch_size=1024, micro_batch_size=1024, learning_rate=0.26)
    tuned = replace(ADVICE.reference, learning_rate=ADVICE.candidate(64).learning_rate)
    advice = replace(cannot_tell_advice(), provisional=best, reference=tuned, head_to_head=None)

    yours, _ = rows(advice)["time to target, validation accuracy ≥ 0.95"]

    assert yours.startswith("5.3 s")
    assert any(line.endswith("5.3 s  yours") for line in bars(advice))


def test_where_nothing_changes_there_is_no_table() -> None:
    assert side_by_side(replace(ADVICE, recommendation=ADVICE.reference)) is None
    assert side_by_side(cannot_tell_advice()) is None


def test_for_the_best_metric_it_is_the_metric_that_is_compared() -> None:
    found = rows(KINDS["quality"]())

    yours, named = found["validation accuracy"]
    assert float(yours) < float(named.split()[0])
