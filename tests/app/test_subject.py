"""A subject that is no workload of this process: what was recorded elsewhere is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.reference.made_up import made_up_timing
from tests.reference.made_up_profile import told_profile
from tests.reference.made_up_study import made_up_summary
from tests.reference.recorded_grid import made_up_rows, write_grid
from tests.reference.told import Told

from batchlab.app.advise import advised_about
from batchlab.app.question import Request, asked
from batchlab.app.report import Advised, stored, write_page
from batchlab.app.subject import Subject
from batchlab.app.sweep import swept as swept_about
from batchlab.measure.profile import Profile
from batchlab.processes.children import Ended
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunEnd
from batchlab.records.study import MetricSummary, Study
from batchlab.records.trial import Target, Trial
from batchlab.report.sweep_answer import conclusion
from batchlab.report.text import best_so_far_text
from batchlab.runs.contract import RunPlan
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

STEP_S = {16: 0.001, 32: 0.001, 64: 0.002}
WORKLOAD_ID = "recorded-made-up"


class GridSubject(Subject):
    """Trainings that were recorded before; nothing of what was trained is in this process."""

    def __init__(self, grid: RecordedGrid, question: Request) -> None:
        super().__init__(question)
        self._grid = grid
        header = grid.header
        self.name = header.workload
        self.summary = replace(
            made_up_summary(),
            workload_id=WORKLOAD_ID,
            name=header.workload,
            n_train=header.n_train,
            metrics=(MetricSummary(name=header.metric, better=header.better),),
            batch_size=header.reference_batch_size,
            learning_rate=header.reference_learning_rate,
        )

    def look(self) -> None:
        pass

    def checked_target(self, target: tuple[str, float]) -> Target:
        return self._grid.target

    def profile(self, batch_sizes: Sequence[int], **_: object) -> Profile:
        return told_profile(self.summary, STEP_S.__getitem__, batch_sizes)

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        return Ended(
            value=made_up_timing(
                trial.batch_size, step_s=STEP_S[trial.batch_size], workload_id=WORKLOAD_ID
            )
        )

    def engine(self, store: Store, plan: RunPlan, *, is_here: bool = False) -> RecordedEngine:
        return RecordedEngine(self._grid, seeds=self._grid.seeds, step_s=STEP_S)


def advised(
    grid: RecordedGrid,
    lab: Path,
    listener: ProgressListener | None = None,
    *,
    kind: type[GridSubject] = GridSubject,
) -> Advised:
    target = grid.target
    question = asked(
        "advise",
        workload="a grid",
        target=(target.metric, target.value),
        batch_sizes=grid.batch_sizes,
        budget=60.0,
        store=lab,
        command="batchlab advise a grid",
        listener=listener or ProgressListener(),
    )
    return advised_about(kind(grid, question))


@pytest.fixture
def grid(tmp_path: Path) -> RecordedGrid:
    return RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))


def test_an_interrupted_advice_is_shown_with_what_led_as_it_was_told(
    grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
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
    assert found.lead == "There is no answer yet."


@pytest.mark.slow
def test_a_subject_without_a_workload_here_is_advised_on_stored_and_shown(
    grid: RecordedGrid, lab: Path, children: list[str]
) -> None:
    page = lab.with_name("page.html")

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
    assert "made-up" in page.read_text()


def swept(grid: RecordedGrid, lab: Path) -> Study:
    cells: Any = {"batch_sizes": (16, 32), "learning_rates": (0.2,), "seeds": 2, "steps": 70}
    question = asked("sweep", workload="a grid", budget=None, store=lab, **cells)
    return swept_about(GridSubject(grid, question))


def test_a_subject_without_a_workload_here_is_swept(
    grid: RecordedGrid, lab: Path, children: list[str]
) -> None:
    study = swept(grid, lab)

    assert children == []
    cells = [(record.trial.seed, record.trial.batch_size) for record in study.records]
    assert cells == [(0, 16), (0, 32), (1, 16), (1, 32)]
    assert [record.steps for record in study.records] == [70] * 4
    assert {timing.batch_size for timing in study.timings} == {16, 32}


@pytest.mark.parametrize("ask", [advised, swept])
def test_a_study_is_worked_on_while_it_is_carried_out_and_not_after(
    ask: Callable[[RecordedGrid, Path], object],
    grid: RecordedGrid,
    lab: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


class SharedSubject(GridSubject):
    """Each of two processes takes half of every batch."""

    def trial(self, batch_size: int, learning_rate: float, *, seed: int) -> Trial:
        return replace(super().trial(batch_size, learning_rate, seed=seed), world_size=2)


def test_an_advice_for_two_devices_says_so(grid: RecordedGrid, lab: Path) -> None:
    advice = advised(grid, lab, kind=SharedSubject).advice

    said = [reason_text(caveat) for caveat in advice.caveats]
    assert any("those of 2 devices together" in text for text in said)
