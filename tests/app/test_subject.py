"""A subject that is no workload of this process: what was recorded elsewhere is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.reference.made_up import made_up_timing
from tests.reference.recorded_grid import made_up_rows, write_grid
from tests.reference.told import Told

from batchlab.app.advice_session import Advised
from batchlab.app.advise import advised_about
from batchlab.app.question import Question, asked
from batchlab.app.report import stored, write_page
from batchlab.app.subject import Subject
from batchlab.app.sweep import swept as swept_about
from batchlab.measure.profile import Profile, ProfiledWorkload, ProfilePoint
from batchlab.processes.children import Ended
from batchlab.records.progress_listener import ProgressListener, Silent
from batchlab.records.run import RunEnd
from batchlab.records.study import MetricSummary, Study, WorkloadSummary
from batchlab.records.trial import Status, Target, Trial
from batchlab.report.advice_text import advice_text
from batchlab.report.sweep_claims import conclusion
from batchlab.report.text import best_so_far_text
from batchlab.runs.contract import RunPlan
from batchlab.store.store import Store

STEP_S = {16: 0.001, 32: 0.001, 64: 0.002}
WORKLOAD_ID = "recorded-made-up"


class GridSubject(Subject):
    """Trainings that were recorded before; nothing of what was trained is in this process."""

    def __init__(self, grid: RecordedGrid, question: Question) -> None:
        super().__init__(question)
        self._grid = grid
        header = grid.header
        self.name = header.workload
        self.summary = WorkloadSummary(
            workload_id=WORKLOAD_ID,
            name=header.workload,
            reference="a grid",
            settings=(),
            n_train=header.n_train,
            n_validation=100,
            n_test=0,
            n_train_evaluated=100,
            n_parameters=10,
            metrics=(MetricSummary(name=header.metric, better=header.better),),
            batch_size=header.reference_batch_size,
            learning_rate=header.reference_learning_rate,
        )

    def look(self) -> None:
        pass

    def checked_target(self, target: tuple[str, float]) -> Target:
        return self._grid.target

    def profile(self, batch_sizes: Sequence[int], **_: object) -> Profile:
        return Profile(
            workload=ProfiledWorkload(
                workload_id=WORKLOAD_ID,
                name=self.summary.name,
                n_train=self.summary.n_train,
                batch_size=self.summary.batch_size,
            ),
            device="cpu",
            device_name="elsewhere",
            memory_limit_bytes=None,
            environment=(),
            created_at="2026-01-01T00:00:00+00:00",
            points=tuple(
                ProfilePoint(
                    batch_size=size,
                    micro_batch_size=size,
                    status=Status.OK,
                    timing=made_up_timing(size, step_s=STEP_S[size], workload_id=WORKLOAD_ID),
                    peak_bytes=1_000_000 * size,
                )
                for size in batch_sizes
            ),
        )

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        return Ended(
            value=made_up_timing(
                trial.batch_size, step_s=STEP_S[trial.batch_size], workload_id=WORKLOAD_ID
            )
        )

    def engine(self, store: Store, plan: RunPlan) -> RecordedEngine:
        return RecordedEngine(self._grid, seeds=self._grid.seeds, step_s=STEP_S)


def advised(grid: RecordedGrid, lab: Path, listener: ProgressListener | None = None) -> Advised:
    target = grid.target
    question = asked(
        "advise",
        workload="a grid",
        target=(target.metric, target.value),
        batch_sizes=grid.batch_sizes,
        budget=60.0,
        store=lab,
        command="batchlab advise a grid",
        listener=listener or Silent(),
    )
    return advised_about(GridSubject(grid, question))


def test_an_interrupted_advice_is_shown_with_what_led_as_it_was_told(
    tmp_path: Path, children: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))
    lab, told = tmp_path / "lab.db", Told()
    whole = RecordedEngine.next_finished

    def interrupted(engine: RecordedEngine) -> RunEnd:
        if any(told.leads):
            raise KeyboardInterrupt
        return whole(engine)

    monkeypatch.setattr(RecordedEngine, "next_finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        advised(grid, lab, told)

    shown = stored(lab, None)

    assert isinstance(shown, Study)
    assert shown.best_so_far == told.leads[-1]
    assert shown.best_so_far is not None
    best = best_so_far_text(shown.best_so_far)
    found = conclusion(shown)
    assert found.headline == f"B{best[1:]}."
    assert found.lead == "It is not certain yet: this question has no answer so far."


@pytest.mark.slow
def test_a_subject_without_a_workload_here_is_advised_on_stored_and_shown(
    tmp_path: Path, children: list[str]
) -> None:
    grid = RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))
    lab, page = tmp_path / "lab.db", tmp_path / "page.html"

    found = advised(grid, lab)
    again = advised(grid, lab)
    shown = stored(lab, None)
    write_page(shown, page)

    advice = found.advice
    assert children == []
    assert advice.verdict == "recommend"
    # 60 steps of 1 ms at batch size 32 against 100 of 1 ms at 16 and 40 of 2 ms at 64.
    assert advice.recommendation is not None
    assert advice.recommendation.batch_size == 32
    assert again.advice == advice
    assert isinstance(shown, Advised)
    assert shown.advice == advice
    assert {record.engine for record in shown.study.records} == {"recorded"}
    text = advice_text(advice, study=shown.study, report=None)
    assert "32" in text
    assert "made-up" in page.read_text()


def swept(grid: RecordedGrid, lab: Path) -> Study:
    question = asked(
        "sweep",
        workload="a grid",
        batch_sizes=(16, 32),
        learning_rates=(0.2,),
        seeds=2,
        steps=70,
        budget=None,
        store=lab,
        command="batchlab sweep a grid",
        listener=Silent(),
    )
    return swept_about(GridSubject(grid, question))


def test_a_subject_without_a_workload_here_is_swept(tmp_path: Path, children: list[str]) -> None:
    grid = RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))

    study = swept(grid, tmp_path / "lab.db")

    assert children == []
    assert [(r.trial.seed, r.trial.batch_size) for r in study.records] == [
        (0, 16),
        (0, 32),
        (1, 16),
        (1, 32),
    ]
    assert [record.steps for record in study.records] == [70] * 4
    assert {timing.batch_size for timing in study.timings} == {16, 32}


@pytest.mark.parametrize("ask", [advised, swept])
def test_a_study_is_worked_on_while_it_is_carried_out_and_not_after(
    ask: Callable[[RecordedGrid, Path], object],
    tmp_path: Path,
    children: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid = RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))
    lab = tmp_path / "lab.db"

    def is_worked_on() -> bool:
        with Store.existing(lab) as store:
            return store.is_worked_on(store.study().study_id)

    def interrupted(engine: RecordedEngine) -> RunEnd:
        assert is_worked_on()
        raise KeyboardInterrupt

    monkeypatch.setattr(RecordedEngine, "next_finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(grid, lab)

    assert not is_worked_on()
