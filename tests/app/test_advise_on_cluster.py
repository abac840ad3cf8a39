"""Advice on a cluster: its nodes train, and step times are of this machine or of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.app.test_subject import GridSubject
from tests.reference.recorded_grid import made_up_rows, write_grid
from tests.reference.told import Told

from batchlab.app.advise import advised_about
from batchlab.app.question import Request, asked
from batchlab.app.report import Advised
from batchlab.errors import UsageError
from batchlab.measure.profile import Profile
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import RunPlan
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

HERE = "made-up processor"


class NodesSubject(GridSubject):
    """Notes what this machine does itself."""

    def __init__(self, grid: RecordedGrid, question: Request) -> None:
        super().__init__(grid, question)
        self.profiled: list[tuple[int, ...]] = []
        self.n_engines_here = 0

    def profile(self, batch_sizes: Sequence[int], **given: Any) -> Profile:
        self.profiled.append(tuple(batch_sizes))
        return replace(super().profile(batch_sizes, **given), device_name=HERE)

    def engine(self, store: Store, plan: RunPlan, *, is_here: bool = False) -> RecordedEngine:
        self.n_engines_here += is_here
        return super().engine(store, plan, is_here=is_here)


@pytest.fixture
def grid(tmp_path: Path) -> RecordedGrid:
    return RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))


@pytest.fixture
def elsewhere(grid: RecordedGrid, lab: Path) -> Profile:
    """A profile of another machine, with a GPU."""
    _, found = advised(grid, lab.with_name("elsewhere.db"))
    return replace(found.profile, device_name="a GPU", created_at="2026-01-01T00:00:00")


def advised(grid: RecordedGrid, lab: Path, **given: Any) -> tuple[NodesSubject, Advised]:
    question = asked(
        "advise",
        workload="a grid",
        batch_sizes=grid.batch_sizes,
        target=(grid.target.metric, grid.target.value),
        budget=60.0,
        command="batchlab advise a grid",
        store=lab,
        listener=Told(),
        **given,
    )
    subject = NodesSubject(grid, question)
    return subject, advised_about(subject)


def sentences(found: Advised) -> list[str]:
    return [reason_text(caveat) for caveat in found.advice.caveats]


def test_the_answer_says_that_its_times_are_of_this_machine(grid: RecordedGrid, lab: Path) -> None:
    subject, found = advised(grid, lab, cluster=Cluster())

    assert subject.profiled == [grid.batch_sizes]
    assert sentences(found)[0] == (
        f"step times and memory are those of {HERE}, so times are for it, wherever "
        "the trainings ran"
    )


@pytest.mark.parametrize("cluster", [Cluster(), None])
def test_the_answer_says_that_its_times_are_of_the_profile(
    grid: RecordedGrid, lab: Path, elsewhere: Profile, cluster: Cluster | None
) -> None:
    _, found = advised(grid, lab, profile=elsewhere, cluster=cluster)

    said = sentences(found)[0]
    assert said.startswith("step times and memory are those of a GPU")
    assert said.endswith(", so times are for it, wherever the trainings ran") is bool(cluster)
    assert (f"Steps were counted here, on {HERE}" in said) is not bool(cluster)
    assert found.profile.device_name == "a GPU"


def test_without_a_cluster_nothing_is_said(grid: RecordedGrid, lab: Path) -> None:
    _, found = advised(grid, lab)

    assert not any("step times" in each for each in sentences(found))


def test_a_device_of_the_nodes_alone_needs_a_profile(
    grid: RecordedGrid, lab: Path, elsewhere: Profile
) -> None:
    given: dict[str, Any] = {"cluster": Cluster(), "device": "cuda:99"}
    with pytest.raises(
        UsageError, match=r"steps are timed on this machine, which has no .*; give --profile"
    ):
        advised(grid, lab, **given)
    subject, found = advised(grid, lab, profile=elsewhere, **given)

    assert (subject.profiled, subject.n_engines_here) == ([], 0)
    assert found.advice.recommendation is not None


def test_a_sweep_takes_a_device_of_the_nodes_alone() -> None:
    given: Any = {"workload": "a grid", "budget": None, "device": "cuda:99"}
    question = asked("sweep", cluster=Cluster(), **given)

    assert not question.is_device_here
    with pytest.raises(UsageError, match=r"device 'cuda:99': PyTorch .* sees"):
        asked("sweep", **given)


def test_a_cluster_is_asked_the_same_question_as_this_machine(
    grid: RecordedGrid, lab: Path
) -> None:
    _, here = advised(grid, lab)
    subject, there = advised(grid, lab, cluster=Cluster())

    assert here.study.study_id == there.study.study_id
    assert subject.profiled == []
