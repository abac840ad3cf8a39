"""A replication: sweeps in one store, resumed, within a budget, its claims by what they show."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.told import Told

from batchlab.app import replicate as app
from batchlab.app.replicate import paper_of, replicate, replication_names
from batchlab.errors import BudgetError, UsageError
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Form, PublishedRow, Replication
from batchlab.replications.arms import ended, final, less, level
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
from batchlab.replications.tables import PublishedTable
from batchlab.store.store import Store

SETTINGS = {"n": 64, "dimension": 2, "condition_number": 2.0}
ROW = PublishedRow(
    source="a paper",
    quantity="loss",
    condition="large less small",
    value="> 0",
    uncertainty="",
    unit="",
    verified="yes",
    note="",
)


def experiments(form: Form) -> tuple[Experiment, ...]:
    return tuple(
        Experiment(
            name=name,
            workload="least-squares",
            settings=SETTINGS,
            batch_sizes=(size,),
            learning_rates=(0.1,),
            epochs=2 if form == "quick" else 4,
            seeds=3,
        )
        for name, size in (("small", 4), ("large", 32))
    )


def measured(studies: Studies, table: PublishedTable) -> Measured:
    if not {"small", "large"} <= studies.keys():
        return {}
    small, large = (final(ended(studies[name]), "loss") for name in ("small", "large"))
    found: dict[str, Estimate] = {"large less small": less(large, small), "small": level(small)}
    return found


CLAIM = Claim(
    says="Larger batches end higher",
    measured="large less small",
    measured_as="test loss, large less small",
    rows=(("loss", "large less small"),),
    by="value",
    quantity="loss",
)
PAPER = Paper(
    title="Do larger batches end higher?",
    paper="A paper of nobody",
    protocol=("Least squares.",),
    left_open=("All of it.",),
    experiments=experiments,
    measured=measured,
    claims=(CLAIM,),
    drawings=lambda studies, table: (),
)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[PublishedRow]:
    """The published rows of the replication "nobody2026", the only one there is."""
    found = [ROW]

    def table(name: str) -> PublishedTable:
        return PublishedTable(name, {(row.quantity, row.condition): row for row in found})

    monkeypatch.setattr(app, "PublishedTable", SimpleNamespace(of=table))
    monkeypatch.setattr(app, "paper_of", lambda name: PAPER)
    return found


def run(store: Path, **given: Any) -> Replication:
    return replicate("nobody2026", store=store, **given)


@pytest.mark.slow
def test_it_trains_each_arm_once_and_holds_its_claims_against_them(rows, lab) -> None:
    told = Told()
    found = run(lab, listener=told)

    assert found.is_finished
    assert [(arm.name, arm.trials, arm.finished) for arm in found.arms] == [
        ("small", 3, 3),
        ("large", 3, 3),
    ]
    (claim,) = found.claims
    assert claim.verdict == "held"
    assert claim.measured.low is not None
    assert claim.measured.low > 0
    assert found.smaller == ("epochs 2 for 4",)
    with Store.existing(lab) as store:
        trained = [store.study(arm.study) for arm in found.arms]
    ends = {study.batch_sizes: final(ended(study), "loss") for study in trained}
    assert less(ends[(32,)], ends[(4,)]) == claim.measured

    # What is stored answers; a flipped row turns the verdict, and one without a number leaves none.
    rows[0] = replace(ROW, value="< 0")
    assert [claim.verdict for claim in run(lab).claims] == ["did_not_hold"]
    rows[0] = replace(ROW, value="larger")
    (claim,) = run(lab).claims
    assert (claim.verdict, claim.why.code) == ("cannot_tell", "published_without_number")

    told = Told()
    assert run(lab, form="full", listener=told).smaller == ()
    (said,) = (warning for warning in told.warnings if "of training at most" in warning)
    assert re.fullmatch(r"about [\d.]+ m?s of training at most by PyTorch's steps; .*", said)
    with pytest.raises(UsageError, match="trainings of 4 epochs, and this form has 2; give ano"):
        run(lab)


@pytest.mark.slow
def test_what_the_budget_did_not_buy_cannot_be_told_and_goes_on(rows, lab, monkeypatch) -> None:
    told, whole = Told(), app.swept
    asked = []

    def once(subject: Any) -> Any:
        asked.append(subject.question.batch_sizes)
        if len(asked) > 1:
            raise BudgetError("budget 1 s: it ended")
        return whole(subject)

    monkeypatch.setattr(app, "swept", once)
    found = run(lab, listener=told)

    (claim,) = found.claims
    assert (claim.verdict, claim.why.named["arms"]) == ("cannot_tell", "large")
    assert not found.is_finished
    assert "bought 1 of 2 sweeps; left: large; the same command goes on" in " ".join(told.warnings)

    monkeypatch.setattr(app, "swept", whole)
    assert [claim.verdict for claim in run(lab).claims] == ["held"]


@pytest.mark.slow
def test_a_budget_for_nothing_is_refused(rows, lab) -> None:
    with pytest.raises(BudgetError):
        run(lab, budget=0.01)


def test_what_would_take_days_is_refused_with_how_long(rows, lab, monkeypatch) -> None:
    monkeypatch.setattr(app, "training_s", lambda subject: 2 * 86_400.0)

    with pytest.raises(UsageError, match="takes about 96 h of training on this machine; give --b"):
        run(lab, form="full")


@pytest.mark.slow
def test_trainings_of_another_batchlab_are_used_and_said(rows, lab, monkeypatch) -> None:
    run(lab)
    monkeypatch.setattr(app, "__version__", "9.9")
    told = Told()

    assert run(lab, listener=told).is_finished
    assert "were trained by batchlab 0.1.0, this is 9.9" in " ".join(told.warnings)


def test_an_unknown_name_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(UsageError, match="no replication 'kesker'; there are convex, folklore, "):
        paper_of("kesker")
    with pytest.raises(UsageError, match="form 'slow': expected quick or full"):
        replicate("convex", form="slow")  # type: ignore[arg-type]
    assert len(replication_names()) == 9


@pytest.mark.slow
def test_convex_agrees_with_its_closed_forms(lab: Path) -> None:
    found = replicate("convex", store=lab)

    assert found.is_finished
    assert {claim.claim: claim.verdict for claim in found.claims} == {
        claim.claim: "held" for claim in found.claims
    }
    assert len(found.claims) == 9


@pytest.mark.slow
def test_a_sweep_that_the_budget_cut_is_not_judged(rows, lab, monkeypatch) -> None:
    # Trainings that never began have no record: what was asked for is what counts.
    whole = app.swept

    def one_seed(subject: Any) -> Any:
        if subject.question.batch_sizes == (32,):
            subject.question = replace(subject.question, seeds=1)
        return whole(subject)

    monkeypatch.setattr(app, "swept", one_seed)
    told = Told()
    found = run(lab, listener=told)

    assert [(arm.name, arm.trials, arm.finished) for arm in found.arms] == [
        ("small", 3, 3),
        ("large", 3, 1),
    ]
    assert [claim.why.code for claim in found.claims] == ["not_trained_yet"]
    assert "with 2 trainings that are not finished" in " ".join(told.warnings)


def test_where_all_sweeps_count_together_none_is_judged_alone(rows, lab, monkeypatch) -> None:
    seen = []

    def measured(studies: Studies, table: PublishedTable) -> Measured:
        seen.append(set(studies))
        return {}

    paper = replace(PAPER, needs_all=True, measured=measured)
    monkeypatch.setattr(app, "paper_of", lambda name: paper)

    def swept(subject: Any) -> Any:
        if subject.question.batch_sizes == (32,):
            raise BudgetError("budget 1 s: it ended")
        return made_up_study(batch_sizes=(4,), seeds=3, epochs=2)

    monkeypatch.setattr(app, "swept", swept)
    found = run(lab)

    assert not seen
    assert [claim.why.code for claim in found.claims] == ["not_trained_yet"]
