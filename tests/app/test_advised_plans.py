"""Plans beside an advice: which sizes, rates and lengths they take from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up_advice import advice_study, cannot_tell_advice, made_up_advice
from tests.reference.made_up_profile import made_up_profile
from tests.reference.tiny_workload import tiny
from tests.reference.training_script import training_script

from batchlab.advice.advice import Advice
from batchlab.app import advised_plans
from batchlab.app.advised_plans import PlansBeside, plans_beside, reserved_for_plans_s
from batchlab.app.question import Question, asked
from batchlab.app.report import Advised
from batchlab.errors import BudgetError, UsageError

N_TRAIN = 4096


def advised(advice: Advice) -> Advised:
    return Advised(advice=advice, study=advice_study(advice), profile=made_up_profile())


def named(advice: Advice, batch_size: int) -> Advice:
    assert advice.recommendation is not None
    return replace(advice, recommendation=replace(advice.recommendation, batch_size=batch_size))


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions of the sweeps that were asked for; nothing is trained."""
    seen: list[Question] = []
    monkeypatch.setattr(advised_plans, "subject_of", lambda question: question)
    monkeypatch.setattr(advised_plans, "swept", seen.append)
    return seen


def beside(advice: Advice, **given: Any) -> PlansBeside:
    command = "batchlab advise mine.py:workload --plans --budget 60s --set width=8"
    base: dict[str, Any] = {"workload": tiny(), "budget": 60, "command": command}
    return plans_beside(advised(advice), asked("advise", **(base | given)), reserved_s=5.0)


def test_it_grows_from_the_named_size_or_up_to_it(swept: list[Question]) -> None:
    beside(named(made_up_advice(), 32))
    beside(named(made_up_advice(), 512))

    assert [question.batch_sizes for question in swept] == [(32, 512), (32, 512)]


def test_each_size_brings_the_rate_that_the_advice_has_for_it(swept: list[Question]) -> None:
    advice = named(made_up_advice(), 32)
    tuned = advice.candidate(512)
    assert advice.recommendation is not None
    assert tuned is not None

    beside(advice)

    rates = (advice.recommendation.learning_rate, tuned.learning_rate)
    assert swept[0].learning_rates == pytest.approx(sorted(rates), rel=1e-5)


def test_an_untuned_size_gets_the_rate_by_the_root(swept: list[Question]) -> None:
    advice = named(made_up_advice(), 32)
    untuned = [replace(each, learning_rate=None) for each in advice.candidates]

    beside(replace(advice, candidates=tuple(untuned)))

    low, high = swept[0].learning_rates or ()
    assert high / low == pytest.approx(4.0, rel=1e-5)


def test_it_trains_as_long_as_the_advice_did(swept: list[Question]) -> None:
    advice = made_up_advice()
    assert advice.recommendation is not None
    size = advice.recommendation.batch_size
    found = advised(advice)
    longest = max(r.epochs for r in found.study.records if r.trial.batch_size == size)

    beside(advice)

    assert swept[0].epochs == max(2, round(longest))


def test_the_command_that_goes_on_keeps_what_belongs_to_the_workload(swept: list[Question]) -> None:
    command = beside(named(made_up_advice(), 32)).command

    assert command is not None
    assert command.startswith("batchlab sweep mine.py:workload --set width=8 --plan small,large,")
    assert "--batch-sizes 32,512" in command
    assert "--budget" not in command


def test_it_has_what_is_left_of_the_budget(swept: list[Question]) -> None:
    beside(made_up_advice())

    budget = swept[0].budget
    assert budget.seconds == 60
    assert budget.deadline_s == pytest.approx(budget.started_s + 55)


def test_an_advice_without_a_name_compares_what_one_trains_with(swept: list[Question]) -> None:
    advice = cannot_tell_advice()

    beside(replace(advice, provisional=None))

    assert advice.reference.batch_size in (swept[0].batch_sizes or ())


def test_without_a_size_far_from_it_the_reason_is_said(swept: list[Question]) -> None:
    advice = named(made_up_advice(), 64)
    near = [each for each in advice.candidates if each.batch_size in (32, 64, 128)]

    found = beside(replace(advice, candidates=tuple(near)))

    assert not swept
    assert "no batch size that fits is four times as large" in found.text()


def test_a_budget_that_ends_before_is_told_with_the_command(
    swept: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(question: Question) -> None:
        raise BudgetError("budget 60 s: it ended while timing")

    monkeypatch.setattr(advised_plans, "swept", ended)
    found = beside(named(made_up_advice(), 32))

    assert "Not compared: budget 60 s: it ended while timing." in found.text()
    assert "batchlab sweep" in found.text()
    document = json.loads(found.in_document('{"verdict": "recommend"}'))
    assert document["verdict"] == "recommend"
    assert document["growth"] is None
    assert document["growth_missing"] == "budget 60 s: it ended while timing"
    assert document["growth_command"] == found.command


def test_half_of_a_budget_is_left_to_them() -> None:
    assert reserved_for_plans_s("mnist-mlp", 60.0, None, None) == 30
    assert reserved_for_plans_s("mnist-mlp", None, None, None) == 90
    assert reserved_for_plans_s("mnist-mlp", None, 4.0, None) == 0


def test_a_script_is_refused_before_half_of_a_budget_is_kept_from_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it sizes its own batches"):
        reserved_for_plans_s(training_script(tmp_path), 60.0, None, None)
    with pytest.raises(UsageError, match="ask there"):
        reserved_for_plans_s("mnist-mlp", 60.0, None, tmp_path / "profile.json")


def test_sizes_that_fit_in_pieces_alone_are_left_out(swept: list[Question]) -> None:
    advice = named(made_up_advice(), 32)
    cut = [
        replace(each, micro_batch_size=64) if each.batch_size > 256 else each
        for each in advice.candidates
    ]

    beside(replace(advice, candidates=tuple(cut)))

    assert swept[0].batch_sizes == (32, 256)
