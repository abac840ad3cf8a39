"""Replicate: `batchlab.replicate`, a published experiment run here, its numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

from batchlab.app.public_call import public_call
from batchlab.app.question import Question, asked
from batchlab.app.subjects import subject_of
from batchlab.app.sweep import swept, training_s
from batchlab.errors import BatchlabError, BudgetError, UsageError
from batchlab.machine import environment
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.replication import Arm, Form, Replication
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar, Study
from batchlab.records.trial import TrialRecord
from batchlab.registry import row_module, row_names
from batchlab.replications import papers
from batchlab.replications.claims import judged
from batchlab.replications.experiment import Experiment, Paper
from batchlab.replications.tables import PublishedTable
from batchlab.version import __version__
from batchlab.words.catalogue import listing, number_text, text

_DAY_S = 86_400.0


def replication_names() -> list[str]:
    """What can be replicated; nothing is imported for it."""
    return row_names(papers)


def paper_of(name: str) -> Paper:
    """What a replication consists of.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in replication_names():
        raise UsageError(
            f"no replication {name!r}; there are {', '.join(replication_names())}, or --all"
        )
    return Paper.of(row_module(papers, name))


@public_call
def replicate(
    name: str,
    *,
    form: Form = "quick",
    budget: str | float | None = None,
    reserved_s: float = 0.0,
    device: str = "cpu",
    store: str | Path = "batchlab.db",
    command: str | None = None,
    listener: ProgressListener | None = None,
) -> Replication:
    """Run a published experiment on this machine, and hold its claims against what comes of it.

    It is a few sweeps in one store. What the store holds is not trained again, so an interrupted
    one goes on, and one that is there answers at once.

    Args:
        name: of the replication; `batchlab replicate --help` has them all.
        form: "quick", which says what it has less of, or "full" with the paper's sizes.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; what is not done by then can go on. None: there is none.
        reserved_s: the part of the budget that the caller needs for what it does around the call.
        device: "cpu", "cuda" or "cuda:1".
        store: the SQLite file; made if missing.
        command: the command line to be stored with it; None: a description of the call.
        listener: told how it gets on; None: the cell of the notebook that asks, if one does.

    Returns:
        Its claims with their verdicts; what was not trained yet cannot be told.

    Raises:
        UsageError: an unknown name, or a full form that would take days and has no budget.
        StoreError: the store cannot be used.
        BudgetError: the budget is too small for one trial.
        KeyboardInterrupt: after everything has been stored.
    """
    paper = paper_of(name)
    if form not in ("quick", "full"):
        raise UsageError(f"form {form!r}: expected quick or full")
    said = command or f"batchlab.replicate({name!r}, form={form!r})"
    whole = asked(
        "sweep",
        workload="least-squares",
        budget=budget,
        reserved_s=reserved_s,
        listener=listener,
        device=device,
        store=store,
    )
    experiments = paper.experiments(form)
    telling = _Arms(whole.listener, name, [each.name for each in experiments])
    questions = {each.name: _question(whole, each, telling, said) for each in experiments}
    if form == "full":
        _say_how_long(questions, telling)
    studies = _swept(experiments, questions, telling)
    return _held_against(name, paper, form, experiments, studies, said, whole)


def _question(whole: Question, of: Experiment, telling: _Arms, command: str) -> Question:
    """A sweep within the budget of all of them."""
    given = {field.name: getattr(of, field.name) for field in fields(of) if field.name != "name"}
    of_question = {field: given.pop(field) for field in ("timed", "cuts", "cut")}
    made = asked(
        "sweep",
        **given,
        budget=None,
        listener=telling,
        device=whole.device,
        store=whole.store,
        command=command,
    )
    return replace(made, budget=whole.budget, **of_question)


def _say_how_long(questions: Mapping[str, Question], telling: _Arms) -> None:
    """The estimate first; what would take days is refused without a budget."""
    left_s = 0.0
    for name, question in questions.items():
        telling.arm(name)
        left_s += training_s(subject_of(question))
    telling.whole()
    if not left_s:
        return
    about = number_text(left_s, "train_s")
    budget = next(iter(questions.values())).budget
    if left_s > _DAY_S and budget.seconds is None:
        raise UsageError(
            f"the full form takes about {about} of training on this machine; give --budget, such "
            f"as 8h, to do it in parts, --device cuda where there is one, or leave --full out"
        )
    telling.warning(
        f"about {about} of training at most by PyTorch's steps; small models are trained in C, "
        f"which takes less"
    )


def _swept(
    experiments: tuple[Experiment, ...], questions: Mapping[str, Question], telling: _Arms
) -> dict[str, Study]:
    """The sweeps one after the other, as far as the budget goes."""
    studies: dict[str, Study] = {}
    for each in experiments:
        telling.arm(each.name)
        try:
            question = questions[each.name]
            study = swept(subject_of(replace(question, budget=question.budget.from_now())))
        except BudgetError:
            if not studies:
                raise
            break
        _refuse_errors(each.name, study)
        _refuse_longer(each, study, question.store)
        studies[each.name] = study
    left = [name for name in questions if name not in studies]
    done = sum(is_done(r) for study in studies.values() for r in study.records)
    n_open = sum(each.n_trainings for each in experiments if each.name in studies) - done
    if left or n_open:
        said = f"the budget bought {len(studies)} of {len(questions)} sweeps"
        said += f", with {n_open} trainings that are not finished" if n_open else ""
        said += f"; left: {', '.join(left)}" if left else ""
        telling.warning(f"{said}; the same command goes on")
    return studies


def is_done(record: TrialRecord) -> bool:
    """Whether a training came to its end, good or bad: asked again it would not go on."""
    return record.status is not None and not record.status.may_go_on


def _refuse_errors(name: str, study: Study) -> None:
    failed = [record for record in study.records if record.status == "error"]
    if failed:
        raise BatchlabError(
            f"{name}: {len(failed)} of {len(study.records)} trials ended in an error; "
            f"batchlab report says which, then the same command goes on"
        )


def _refuse_longer(of: Experiment, study: Study, store: Path | None) -> None:
    """Refuse trainings that another form has trained on: their ends are not those asked for."""
    if of.target is not None:
        return
    asked, unit = (of.steps, "steps") if of.epochs is None else (of.epochs, "epochs")
    ends = (getattr(record, unit) for record in study.records if record.ended_well)
    longest = max(ends, default=0.0)
    if asked is not None and longest > asked * (1 + 1e-9):
        raise UsageError(
            f"{of.name}: {store} holds these trainings of {longest:g} {unit}, and this form has "
            f"{asked}; give another --store"
        )


def _held_against(
    name: str,
    paper: Paper,
    form: Form,
    experiments: tuple[Experiment, ...],
    studies: Mapping[str, Study],
    command: str,
    whole: Question,
) -> Replication:
    _warn_of_other_versions(studies, whole.listener)
    arms = tuple(_arm(each, studies.get(each.name)) for each in experiments)
    done = {arm.name: studies[arm.name] for arm in arms if arm.is_finished}
    table = PublishedTable.of(name)
    is_judged = len(done) == len(arms) or not paper.needs_all
    measured = paper.measured(done, table) if is_judged else {}
    missing = Reason.of("not_measured")
    if unfinished := [arm.name for arm in arms if not arm.is_finished]:
        missing = Reason.of("not_trained_yet", arms=listing(unfinished))
    claims = [judged(each, table, measured, form=form, missing=missing) for each in paper.claims]
    return Replication(
        name=name,
        title=paper.title,
        paper=paper.paper,
        form=form,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        environment=environment(),
        protocol=paper.protocol,
        left_open=paper.left_open,
        smaller=paper.smaller() if form == "quick" else (),
        claims=tuple(claims),
        drawings=paper.drawings(done, table) if is_judged else (),
        arms=arms,
        spent_s=sum(study.spent_s for study in studies.values()),
        store=str(whole.store),
    )


def _arm(of: Experiment, study: Study | None) -> Arm:
    records = () if study is None else study.records
    return Arm(
        name=of.name,
        asked=of.words,
        study=None if study is None else study.study_id,
        trials=of.n_trainings,
        finished=sum(map(is_done, records)),
    )


def _warn_of_other_versions(studies: Mapping[str, Study], listener: ProgressListener) -> None:
    """Say so where trials were trained by another batchlab: they count, for the same they are."""
    others = {
        version
        for study in studies.values()
        for record in study.records
        for library, version in record.versions
        if library == "batchlab" and version != __version__
    }
    if others:
        listener.warning(
            f"some of these trials were trained by batchlab {', '.join(sorted(others))}, this is "
            f"{__version__}; they are used as they are, another --store trains all anew"
        )


class _Arms(ProgressListener):
    """Tells who listens to the whole of the sweep that is under way."""

    def __init__(self, told: ProgressListener, name: str, arms: list[str]) -> None:
        self._told, self._arm = told, ""
        self._warned: set[str] = set()  # what is odd of a workload is said once
        told.begins(command="replicate", subject=name, stages=arms)

    def arm(self, name: str) -> None:
        self._arm = name
        self._told.phase(name)

    def whole(self) -> None:
        """What follows is about all of them."""
        self._arm = ""

    def phase(self, text_: str) -> None:
        self._told.phase(text("{arm}: {doing}", arm=self._arm, doing=text_))

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        self._told.budget(spent_s=spent_s, budget_s=budget_s)

    def asked(self, runs: RunsAsked) -> None:
        self._told.asked(runs)

    def best(self, best: BestSoFar | None) -> None:
        self._told.best(best)

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        self._told.progress(done_fraction=done_fraction, left_s=left_s, text=text)

    def warning(self, text: str) -> None:
        if text not in self._warned:
            self._told.warning(f"{self._arm}: {text}" if self._arm else text)
        self._warned.add(text)
