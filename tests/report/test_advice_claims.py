"""What an advice says is true of what it names, of what it compares with, and of its objective."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up_advice import (
    cannot_tell_advice,
    made_up_advice,
    tried,
)
from tests.reference.shown import table_rows
from tests.report.advice_cases import CASES, NOT_TRAINED, with_candidates

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Reason
from batchlab.report.advice_claims import advice_sentences
from batchlab.report.advice_figures import level_figure
from batchlab.report.advice_tables import answer_table
from batchlab.words.reasons import reason_text

ADVICE = made_up_advice()


def said(advice: Advice) -> dict[str, str]:
    return {sentence.topic: sentence.text for sentence in advice_sentences(advice, None)}


def test_of_what_was_trained_to_its_end_nothing_is_said_to_be_missing() -> None:
    _, advice = CASES["the tuned one stays"]

    text = said(advice)["where it ends"]

    assert "the usual configuration with 0.97" in text
    assert "No training" not in text
    assert "itself" not in text


def test_what_has_a_small_chance_is_not_called_likely() -> None:
    assert "not sure (about 5 in 10)" in said(replace(ADVICE, chance=0.5))["answer"]
    assert "likely (about 8 in 10)" in said(replace(ADVICE, chance=0.8))["answer"]


def test_the_gain_over_the_best_rate_is_not_explained_by_another_rate() -> None:
    own = said(ADVICE)["why"]
    usual = said(replace(ADVICE, is_usual=True))["why"]

    assert "times the learning rate" in own
    assert "learning rate" not in usual


def test_a_figure_of_the_best_rate_expected_is_not_given_with_a_rate() -> None:
    tuned = ADVICE.reference_tuned
    twice = ADVICE.gain_from_batch_size.times(0.5)  # the best rate was not trained

    advice = replace(ADVICE, gain_from_batch_size=twice)
    (row,) = [row for row in table_rows(answer_table(advice)) if row["which"] == "tuned"]

    assert f"{tuned.learning_rate:g}" not in said(advice)["from the batch size alone"]
    assert row["cost"] == advice.candidate(tuned.batch_size).cost


def test_the_metric_at_the_tuned_rate_is_that_of_its_trainings() -> None:
    advice = made_up_advice(objective="quality")

    assert "tuned rate (0.05)" in said(advice)["from the batch size alone"]


@pytest.mark.parametrize("code", ["best_of_likely_no_worse", "nothing_likely_better", "promises"])
def test_reasons_of_every_objective_do_not_speak_of_time(code: str) -> None:
    values = {"size": 64} if code == "best_of_likely_no_worse" else {}
    values = {"cost_s": 3.0} if code == "promises" else values

    text = reason_text(Reason.of(code, **values))

    assert not {"slower", "sooner", "faster"} & set(text.split())
    assert "%" not in text


def test_a_usual_size_that_was_not_trained_did_not_have_too_few_runs() -> None:
    advice = with_candidates(ADVICE, b16=NOT_TRAINED, b32=NOT_TRAINED)
    untrained = replace(advice, tried=tuple(run for run in advice.tried if run.batch_size > 32))

    assert "16 and 32 were not trained." in said(untrained)["usual sizes"]
    assert "16 and 32 failed" in said(advice)["usual sizes"]


@pytest.mark.parametrize(("n_validation", "tells"), [(None, True), (500, False)])
def test_few_validation_examples_do_not_tell_ends_apart(n_validation, tells) -> None:
    named = ADVICE.named
    runs = (
        replace(tried(named.batch_size, rate=named.learning_rate, met=100.0), end=0.93),
        replace(tried(ADVICE.reference_tuned.batch_size, rate=0.05, met=400.0), end=0.95),
    )

    found = said(replace(ADVICE, tried=runs, n_validation=n_validation))["ends best"]

    assert ("do not tell the two apart" in found) is not tells


def test_no_line_of_steps_is_explained_where_none_is_drawn() -> None:
    shown = level_figure(cannot_tell_advice(), ())

    assert not [note for note in shown.notes if "Line and band" in note]


def test_what_is_faster_and_not_worth_its_risk_is_told_in_the_answer_once() -> None:
    why = Reason.of("risk_outweighs", size=128, rate=0.08, tenths=8)
    stays = replace(ADVICE, recommendation=None, provisional=ADVICE.reference, reason=why)

    answer, *others = (sentence.text for sentence in advice_sentences(stays, None))

    assert answer == (
        "Stay with batch size 64 and learning rate 0.01: batch size 128 at learning rate 0.08 is "
        "likely no slower and ends no worse (about 8 in 10), but its risks weigh more than the "
        "time it saves."
    )
    assert not any("128 at learning rate 0.08" in text for text in others)
