"""Plans beside an advice: does growing the batch pay, from what it names?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from batchlab.app.question import DEFAULT_BUDGET_S, PLANS, Question
from batchlab.app.report import Advised, write_page
from batchlab.app.subjects import subject_of
from batchlab.app.sweep import swept
from batchlab.errors import BatchlabError, UsageError
from batchlab.records.study import Study
from batchlab.report.advice_commands import StoredCommand
from batchlab.report.cells import trial_counts
from batchlab.report.sweep_growth import growth_document, growth_of
from batchlab.report.sweep_page import answer_section
from batchlab.report.table import Section, sections_text
from batchlab.script.command import TrainingCommand
from batchlab.words.catalogue import text
from batchlab.words.document import document_text, plain

_PLANS_SHARE = 0.5  # of a budget, what the advice leaves to the plans
# The large size is so many times the small one, as far as such sizes are among the candidates.
_MOST_TIMES, _FEWEST_TIMES = 16, 4
_FEWEST_STEPS = 8  # an epoch, with the large size: fewer leave no place for a plan's milestones
_SEEDS = 3
# Where a candidate was never tuned its rate is taken to follow the root of its size.
_EXPONENT = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class PlansBeside:
    """What came of it.

    Attributes:
        study: the sweep of plans; None: there was none, or it did not begin.
        command: that goes on with it, or begins it; None: nothing can.
        missing: why there is no study; None: there is one.
        page: where its page is; None: it has none.
    """

    study: Study | None
    command: str | None
    missing: str | None
    page: Path | None = None

    def with_page(self, path: Path) -> PlansBeside:
        """With its page written there."""
        assert self.study is not None
        write_page(self.study, path)
        return replace(self, page=path)

    def text(self) -> str:
        """For a terminal: the verdict and a row a plan, or why there is none."""
        title, table = text("Does growing the batch pay?"), None
        facts = [text("Not compared: {why}.", why=(self.missing or "").rstrip("."))]
        if self.study is not None:
            answer = answer_section(self.study)
            facts, table = [answer.title, *answer.facts, trial_counts(self.study)], answer.table
        facts += [] if self.page is None else [text("Its page: {page}", page=self.page)]
        sections = [Section(title=title, facts=tuple(facts)), Section(table=table)]
        sections += [] if self.command is None else [Section(drawing=(self.command,))]
        return sections_text(sections)

    def in_document(self, advice: str) -> str:
        """The JSON of an advice with `growth`, null where growing was not compared, and why."""
        growth = None if self.study is None else growth_of(self.study)
        missing = self.missing
        if growth is None and missing is None:
            missing = text("no plan came to its end")
        told = {
            "growth": None if growth is None else plain(growth_document(growth)),
            "growth_missing": missing,
            "growth_command": self.command,
        }
        return document_text(json.loads(advice) | told)


def reserved_for_plans_s(
    workload: object, budget_s: float | None, trainings: float | None, profile: Path | None
) -> float:
    """What of a budget is left to the plans; of one in trainings nothing, which takes longer.

    Raises:
        UsageError: of a training command, which sizes its own batches, or for another machine.
    """
    if profile is not None:
        raise UsageError(
            "--plans with --profile: plans are compared in equal time, on this machine; ask there"
        )
    if isinstance(workload, TrainingCommand):
        raise UsageError(
            "--plans with a training command: it sizes its own batches; give a workload, or let "
            "the script follow a plan (docs/during-training.md)"
        )
    return 0.0 if trainings is not None else _PLANS_SHARE * (budget_s or DEFAULT_BUDGET_S)


def plans_beside(found: Advised, question: Question, *, reserved_s: float) -> PlansBeside:
    """Compare small, large, growing and decayed, with the size that the advice names among them.

    Each is trained at the rates of both sizes, on three seeds, for as many epochs as the advice
    trained the named one, in what is left of the budget but for `reserved_s` of it.
    """
    sizes = _small_and_large(found)
    if sizes is None:
        return PlansBeside(study=None, command=None, missing=_NO_OTHER)
    rates, epochs = sorted({_rate(found, size) for size in sizes}), _epochs(found)
    given = {
        "--plan": ",".join(PLANS),
        "--batch-sizes": ",".join(map(str, sizes)),
        "--learning-rates": ",".join(f"{rate:.6g}" for rate in rates),
        "--seeds": str(_SEEDS),
        "--epochs": str(epochs),
    }
    asked_by = StoredCommand.of(question.command or "")
    kept = ("--set", "--sampling", "--drop-last", "--device", "--devices", "--trainer", "--store")
    command = None if asked_by is None else asked_by.varied(name="sweep", keep=kept, options=given)
    sweep = replace(
        question,
        name="sweep",
        plans=PLANS,
        batch_sizes=sizes,
        learning_rates=tuple(float(f"{rate:.6g}") for rate in rates),
        seeds=_SEEDS,
        epochs=epochs,
        objective="time",
        target=None,
        trainings=None,
        train_s=None,
        profile=None,
        budget=question.budget.reserving(reserved_s),
        command=command,
    )
    try:
        return PlansBeside(study=swept(subject_of(sweep)), command=command, missing=None)
    except BatchlabError as error:  # there is an answer already, which it must not take along
        return PlansBeside(study=None, command=command, missing=str(error))


_NO_OTHER = (
    "no batch size that fits is four times as large as the named one or a quarter of it, and "
    "leaves eight steps an epoch"
)


def _small_and_large(found: Advised) -> tuple[int, int] | None:
    """The named batch size with the largest beyond it, or the smallest below; None: none is far."""
    advice = found.advice
    named = (advice.named or advice.reference).batch_size
    fitting = [
        each.batch_size
        for each in advice.candidates
        if each.fits
        and each.micro_batch_size == each.batch_size
        and each.batch_size * _FEWEST_STEPS <= advice.n_train
    ]
    larger = [n for n in fitting if _FEWEST_TIMES * named <= n <= _MOST_TIMES * named]
    if larger:
        return named, max(larger)
    smaller = [n for n in fitting if _FEWEST_TIMES * n <= named <= _MOST_TIMES * n]
    return (min(smaller), named) if smaller else None


def _rate(found: Advised, batch_size: int) -> float:
    """The rate that the advice has for a size: named, tuned, or by that of the named size."""
    named = found.advice.named or found.advice.reference
    if batch_size == named.batch_size:
        return named.learning_rate
    candidate = found.advice.candidate(batch_size)
    if candidate is not None and candidate.learning_rate is not None:
        return candidate.learning_rate
    return float(named.learning_rate * (batch_size / named.batch_size) ** _EXPONENT)


def _epochs(found: Advised) -> int:
    """As many as the advice's longest training of the named size has."""
    named = (found.advice.named or found.advice.reference).batch_size
    well = [record for record in found.study.records if record.ended_well]
    of_named = [record.epochs for record in well if record.trial.batch_size == named]
    return max(2, math.ceil(max(of_named or [record.epochs for record in well], default=2.0)))
