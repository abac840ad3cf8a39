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
from tests.reference.recorded_grid import TARGET, made_up_rows, write_grid
from tests.reference.told import Told

from batchlab.app.advise import advised_about
from batchlab.app.question import Request, asked
from batchlab.app.report import Advised, stored, write_page
from batchlab.app.subject import Subject
from batchlab.app.sweep import swept_about
from batchlab.errors import UsageError
from batchlab.measure.profile import Profile
from batchlab.processes.children import Ended
from batchlab.records.run import RunEnd
from batchlab.records.study import MetricSummary, Study
from batchlab.records.trial import Target, Trial
from batchlab.report.sweep_answer import conclusion
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import RunPlan
from batchlab.store.store import Store

STEP_S = {16: 0.001, 32: 0.001, 64: 0.002}
WORKLOAD_ID = "recorded-made-up"


class GridSubject(Subject):
    """Trainings that were recorded before; it notes what this machine does itself."""

    def __init__(self, grid: RecordedGrid, question: Request, *, devices: int) -> None:
        super().__init__(question)
        self._grid = grid
        self._devices = devices  # each of as many processes takes a part of every batch
        self.profiled: list[tuple[int, ...]] = []
        self.n_engines_here = 0
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

    def look(self, refuse: Callable[[], object]) -> None:
        pass

    def checked_target(self, target: tuple[str, float]) -> Target:
        return TARGET

    def trial(self, batch_size: int, learning_rate: float, *, seed: int) -> Trial:
        trial = super().trial(batch_size, learning_rate, seed=seed)
        return replace(trial, world_size=self._devices)

    def profile(self, batch_sizes: Sequence[int], **_: object) -> Profile:
        self.profiled.append(tuple(batch_sizes))
        return told_profile(self.summary, STEP_S.__getitem__, batch_sizes)

    def timed(self, trial: Trial, *, timeout_s: float) -> Ended:
        step_s = STEP_S[trial.batch_size]
        return Ended(value=made_up_timing(trial.batch_size, step_s=step_s, workload_id=WORKLOAD_ID))

    def engine(self, store: Store, plan: RunPlan, *, is_here: bool = False) -> RecordedEngine:
        self.n_engines_here += is_here
        return RecordedEngine(self._grid, seeds=self._grid.seeds, step_s=STEP_S)


def grid_subject(
    grid: RecordedGrid, lab: Path, name: str, *, devices: int = 1, **given: Any
) -> GridSubject:
    question = asked(name, workload="a grid", store=lab, command=f"batchlab {name} a grid", **given)
    return GridSubject(grid, question, devices=devices)


def to_advise(grid: RecordedGrid, lab: Path, **given: Any) -> GridSubject:
    target, sizes = (TARGET.metric, TARGET.value), grid.batch_sizes
    return grid_subject(grid, lab, "advise", target=target, batch_sizes=sizes, budget=60.0, **given)


def to_sweep(grid: RecordedGrid, lab: Path) -> GridSubject:
    cells: Any = {"batch_sizes": (16, 32), "learning_rates": (0.2,), "seeds": 2, "steps": 70}
    return grid_subject(grid, lab, "sweep", budget=None, **cells)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> RecordedGrid:
    folder = tmp_path_factory.mktemp("grid")
    return RecordedGrid.read(write_grid(folder, made_up_rows(more_a_seed=1)))


def is_worked_on(lab: Path) -> bool:
    with Store.existing(lab) as store:
        return store.is_worked_on(store.study().study_id)


def test_an_interrupted_advice_is_shown_without_an_answer(
    grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    whole = RecordedEngine.next_finished

    def interrupted(engine: RecordedEngine) -> RunEnd:
        assert is_worked_on(lab)
        if any(told.leads):
            raise KeyboardInterrupt
        return whole(engine)

    monkeypatch.setattr(RecordedEngine, "next_finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        advised_about(to_advise(grid, lab, listener=told))

    shown = stored(lab, None)
    assert not is_worked_on(lab)
    assert isinstance(shown, Study)
    assert conclusion(shown) == ("There is no answer yet.", "")


@pytest.mark.slow
def test_a_subject_without_a_workload_here_is_advised_on_stored_and_shown(
    grid: RecordedGrid, lab: Path, children: list[str]
) -> None:
    page, told = lab.with_name("page.html"), Told()

    advised = advised_about(to_advise(grid, lab, devices=2, listener=told))
    again = advised_about(to_advise(grid, lab, devices=2))
    shown = stored(lab, None)
    write_page(shown, page)

    advice = advised.advice
    assert children == []
    assert advice.verdict == "recommend"
    # 60 steps of 1 ms at batch size 32 against 100 of 1 ms at 16 and 40 of 2 ms at 64.
    assert advice.recommendation is not None
    assert advice.recommendation.batch_size == 32
    assert told.leads[-1] is not None
    assert told.leads[-1].batch_size == 32
    assert again.advice == advice
    codes = {caveat.code for caveat in advice.caveats}
    assert "devices_share_batches" in codes
    assert not codes & {"times_of_machine", "profile_from_elsewhere"}
    assert isinstance(shown, Advised)
    assert shown.advice == advice
    assert {record.engine for record in shown.study.records} == {"recorded"}
    assert "made-up" in page.read_text()


def test_a_subject_without_a_workload_here_is_swept(
    grid: RecordedGrid, lab: Path, children: list[str]
) -> None:
    study = swept_about(to_sweep(grid, lab))

    assert children == []
    assert not is_worked_on(lab)
    cells = [(record.trial.seed, record.trial.batch_size) for record in study.records]
    assert cells == [(0, 16), (0, 32), (1, 16), (1, 32)]
    assert [record.steps for record in study.records] == [70] * 4
    assert {timing.batch_size for timing in study.timings} == {16, 32}


def test_a_device_of_the_nodes_alone_needs_a_profile(grid: RecordedGrid, lab: Path) -> None:
    given: dict[str, Any] = {"cluster": Cluster(), "device": "cuda:99"}
    with pytest.raises(
        UsageError, match=r"steps are timed on this machine, which has no .*; give --profile"
    ):
        to_advise(grid, lab, **given)
    profile = to_advise(grid, lab).profile(grid.batch_sizes)
    subject = to_advise(grid, lab, profile=replace(profile, device_name="a GPU"), **given)

    advised = advised_about(subject)

    assert (subject.profiled, subject.n_engines_here) == ([], 0)
    assert advised.advice.recommendation is not None
    # A sweep needs none.
    given |= {"workload": "a grid", "budget": None}
    assert not asked("sweep", **given).is_device_here
    with pytest.raises(UsageError, match=r"device 'cuda:99': PyTorch .* sees"):
        asked("sweep", **(given | {"cluster": None}))
    # But for that it is the same question as here.
    here, there = to_advise(grid, lab), to_advise(grid, lab, cluster=Cluster())
    ids = {advised_about(subject).study.study_id for subject in (here, there)}
    assert len(ids) == 1
    assert (here.profiled, there.profiled) == ([grid.batch_sizes], [])
