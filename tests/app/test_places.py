"""Several kinds of machines: each has an answer of its own, from the trainings of all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.app.test_subject import STEP_S, GridSubject
from tests.reference.made_up_profile import told_profile
from tests.reference.recorded_grid import made_up_rows, write_grid
from tests.reference.told import Told

from batchlab.advice.advice import PlaceAnswer
from batchlab.app.advise import advised_about
from batchlab.app.places import with_places
from batchlab.app.prices import read_price
from batchlab.app.question import Question, asked
from batchlab.app.report import Advised, stored
from batchlab.errors import UsageError, WorkloadError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.run import RunEnd
from batchlab.records.trial import Status
from batchlab.report.advice_claims import advice_sentences
from batchlab.report.advice_tables import place_table
from batchlab.report.advice_text import advice_text
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import RunPlan
from batchlab.runs.replay import stored_journal
from batchlab.store.store import Store

FAST, SLOW = "a server, 2 cores", "a laptop, 2 cores"
THREEFOLD = {size: 3 * step_s for size, step_s in STEP_S.items()}
SOON_FULL = {16: 0.001, 32: 0.004, 64: 0.016}


@dataclass
class Machines:
    """Two kinds, each with step times of its own, and what was done with them."""

    step_s: dict[str, dict[int, float]] = field(
        default_factory=lambda: {FAST: STEP_S, SLOW: SOON_FULL}
    )
    # Of which a batch of 64 has to be made there; 0: it does not fit at all.
    pieces: dict[str, int] = field(default_factory=dict)
    busy: tuple[str, ...] = ()
    hurried: tuple[str, ...] = ()  # where there was no time for a second batch size
    watts: float | None = None  # that each takes while it steps; None: it does not tell
    measured: list[str] = field(default_factory=list)
    plans: list[RunPlan] = field(default_factory=list)


class PlacedSubject(GridSubject):
    """Trained on these machines."""

    def __init__(self, machines: Machines, grid: RecordedGrid, question: Question) -> None:
        super().__init__(grid, question)
        self._machines = machines

    def places(self) -> tuple[str | None, ...]:
        return tuple(self._machines.step_s)

    def profile(
        self, batch_sizes: Sequence[int], *, place: str | None = None, **_: object
    ) -> Profile:
        assert place is not None
        self._machines.measured.append(place)
        if place in self._machines.busy:
            raise WorkloadError("none of its nodes had all its cores free in time")
        made = told_profile(self.summary, self._machines.step_s[place].__getitem__, batch_sizes)
        if self._machines.watts is not None:
            made = replace(made, points=tuple(map(self._with_energy, made.points)))
        *smaller, largest = made.points
        micro = self._machines.pieces.get(place, largest.batch_size)
        assert largest.timing is not None
        timing = replace(largest.timing, micro_batch_size=micro)
        largest = replace(largest, micro_batch_size=micro, timing=timing)
        if micro == 0:
            size = largest.batch_size
            largest = ProfilePoint(batch_size=size, micro_batch_size=size, status=Status.OOM)
        if place in self._machines.hurried:
            made, smaller, largest = replace(made, stopped="time"), [], smaller[0]
        processor = ("processor", place.partition(",")[0])
        environment = (*made.environment, processor)
        return replace(made, points=(*smaller, largest), environment=environment)

    def _with_energy(self, point: ProfilePoint) -> ProfilePoint:
        assert point.timing is not None
        assert self._machines.watts is not None
        step_j = self._machines.watts * point.timing.step_s
        return replace(point, timing=replace(point.timing, step_j=step_j))

    def engine(self, store: Store, plan: RunPlan, *, is_here: bool = False) -> RecordedEngine:
        self._machines.plans += [] if is_here else [plan]
        return super().engine(store, plan, is_here=is_here)


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def grid(tmp_path: Path) -> RecordedGrid:
    return RecordedGrid.read(write_grid(tmp_path, made_up_rows(more_a_seed=1)))


def advised(
    machines: Machines, grid: RecordedGrid, lab: Path, told: Told | None = None, **given: Any
) -> Advised:
    usual = {"budget": 60.0, "command": "batchlab advise a grid", "listener": told or Told()}
    question = asked(
        "advise",
        workload="a grid",
        target=(grid.target.metric, grid.target.value),
        batch_sizes=grid.batch_sizes,
        store=lab,
        **(usual | given),
    )
    return advised_about(PlacedSubject(machines, grid, question))


def by_place(found: Advised) -> dict[str, PlaceAnswer]:
    return {each.place: each for each in found.advice.places}


def test_each_kind_of_machine_has_an_answer_of_its_own(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    found = advised(machines, grid, lab)
    fast, slow = by_place(found)[FAST], by_place(found)[SLOW]

    assert found.advice.recommendation == fast.named
    assert machines.measured == [FAST, SLOW]
    # 60 steps of 1 ms at 32 there; here 100 of 1 ms at 16 take less than 60 of 4 ms.
    assert [each.named.batch_size for each in (fast, slow) if each.named] == [32, 16]
    assert {each.verdict for each in (fast, slow)} == {"recommend"}
    assert slow.time_to_target_s.estimate == pytest.approx(0.1, rel=0.15)
    own = stored(lab, slow.study)
    assert isinstance(own, Advised)
    assert own.advice.named == slow.named
    assert own.profile.place == SLOW


def test_one_that_is_three_times_as_slow_takes_three_times_as_long(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.step_s = {FAST: STEP_S, SLOW: THREEFOLD}
    fast, slow = advised(machines, grid, lab).advice.places

    assert fast.named == slow.named
    assert fast.target == slow.target
    assert fast.time_to_target_s.estimate is not None
    assert slow.time_to_target_s.estimate == pytest.approx(3 * fast.time_to_target_s.estimate)


def test_asked_again_both_are_answered_at_once_and_the_first_is_what_is_shown(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    found = advised(machines, grid, lab)
    machines.measured.clear()
    again = advised(machines, grid, lab)

    assert machines.measured == []
    assert again.advice == found.advice
    shown = stored(lab, None)
    assert isinstance(shown, Advised)
    assert shown.advice == found.advice


def test_taken_up_in_the_middle_of_the_second_it_ends_with_the_same_answers(
    machines: Machines,
    grid: RecordedGrid,
    lab: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, told = RecordedEngine.next_finished, Told()

    def interrupted(engine: RecordedEngine) -> RunEnd:
        if any("laptop" in phase for phase in told.phases) and len(told.runs) % 7 == 0:
            raise KeyboardInterrupt
        return whole(engine)

    with monkeypatch.context() as patch:
        patch.setattr(RecordedEngine, "next_finished", interrupted)
        with pytest.raises(KeyboardInterrupt):
            advised(machines, grid, lab, told)
    taken_up = advised(machines, grid, lab)
    uninterrupted = advised(machines, grid, lab.with_name("other.db"))

    assert machines.measured == [FAST, SLOW] * 2  # once in either store
    shown = [
        [(each.place, each.verdict, each.named) for each in found.advice.places]
        for found in (taken_up, uninterrupted)
    ]
    assert shown[0] == shown[1]


def test_a_kind_that_cannot_be_measured_is_left_out_and_said(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.busy, told = (FAST,), Told()
    found = advised(machines, grid, lab, told)

    assert told.warnings == [
        f"no answer for {FAST}: none of its nodes had all its cores free in time"
    ]
    assert found.profile.place == SLOW
    assert found.advice.places == ()  # it is the only one


def test_a_kind_that_was_measured_too_shortly_is_left_out_and_said(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.hurried, told = (SLOW,), Told()
    found = advised(machines, grid, lab, told)

    assert [text.partition(":")[0] for text in told.warnings] == [f"no answer for {SLOW}"]
    assert "and another are needed; give a larger --budget" in told.warnings[0]
    assert (found.profile.place, found.advice.places) == (FAST, ())


def test_a_size_that_does_not_fit_on_one_kind_is_trained_on_none(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.pieces = {SLOW: 0}
    candidate = advised(machines, grid, lab).advice.candidate(64)

    assert candidate is not None
    assert candidate.note is not None
    assert candidate.note.code == "does_not_fit_everywhere"


def test_what_trainings_allow_is_by_the_first_kind(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.step_s = {FAST: STEP_S, SLOW: THREEFOLD}
    found = advised(machines, grid, lab, budget=None, trainings=400.0, epochs=6)
    with Store(lab) as store:
        first, second = (
            stored_journal(store, each.study)[0].budget_s for each in found.advice.places
        )

    assert first is not None
    assert second is not None
    assert first < second < 2.2 * first


def test_a_cluster_is_asked_another_question_than_this_machine(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    here = advised(machines, grid, lab)
    there = advised(machines, grid, lab, cluster=Cluster())

    assert here.study.study_id != there.study.study_id


def test_the_first_leaves_half_of_the_time_for_runs_to_the_others(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    found = advised(machines, grid, lab)
    with Store(lab) as store:
        first, second = (
            stored_journal(store, each.study)[0].budget_s for each in found.advice.places
        )

    assert first == pytest.approx(30.0, rel=0.1)
    assert second == pytest.approx(60.0, rel=0.1)


def test_trainings_are_cut_as_the_machine_with_the_least_memory_needs_it(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.pieces = {SLOW: 16}
    advised(machines, grid, lab)

    assert [dict(plan.micro_batch_sizes) for plan in machines.plans] == [
        {16: 16, 32: 32, 64: 16}
    ] * 2


def test_what_it_costs_is_the_price_of_its_time(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    told = Told()
    prices = {"": 1.0, "laptop": 0.25, "a lap": 9.0, "H100": 5.0}
    found = advised(machines, grid, lab, told, price=prices, objective="cost")
    fast, slow = by_place(found)[FAST], by_place(found)[SLOW]

    assert [fast.price_per_h, slow.price_per_h] == [1.0, 0.25]
    for each in (fast, slow):
        assert each.price_per_h is not None
        assert each.cost_to_target == each.time_to_target_s.times(each.price_per_h / 3600)
    assert told.warnings == [
        f"price of 'H100': none of the machines has that name ({FAST}, {SLOW})"
    ]
    said = {each.topic: each.text for each in advice_sentences(found.advice, found.study)}
    shown = advice_text(found.advice, study=found.study, report=None)
    assert re.search(r"a laptop, 2 cores +16 +best +0\.2 +\d+ ms ± \d+ % +0\.25 ", shown)
    assert "Least time: a server, 2 cores. Least cost: a laptop, 2 cores." in said["by machine"]


def test_one_machine_with_a_price_says_what_it_costs_and_asked_with_another_at_once(
    grid: RecordedGrid, lab: Path, machines: Machines
) -> None:
    machines.step_s = {FAST: STEP_S}
    (one,) = advised(machines, grid, lab, price=2.0).advice.places
    (other,) = advised(machines, grid, lab, price=4.0).advice.places

    assert machines.measured == [FAST]
    assert advised(machines, grid, lab).advice.places == ()
    assert one.cost_to_target.estimate is not None
    assert other.cost_to_target.estimate == pytest.approx(2 * one.cost_to_target.estimate)


def test_energy_is_the_power_of_the_named_size_times_its_time(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.step_s, machines.watts = {FAST: STEP_S}, 200.0
    found = advised(machines, grid, lab)
    (one,) = found.advice.places
    joules, time_s = one.energy_to_target_j, one.time_to_target_s
    (timing,) = next(p for p in found.profile.points if p.batch_size == 32).timings
    off = 0.001 / sum(timing.block_s)  # a tick of the counter

    assert one.price_per_h is None
    assert time_s.estimate is not None
    assert time_s.low is not None
    assert joules.estimate == pytest.approx(200.0 * time_s.estimate)
    assert joules.low == pytest.approx(200.0 * time_s.low * (1 - off))
    table = place_table(found.advice)
    assert table is not None
    assert table.by_key()["energy_to_target_j"] == [joules.estimate]


@pytest.mark.parametrize(
    ("given", "price"),
    [("2.5/h", ("", 2.5)), ("H100=2/h", ("H100", 2.0)), ("a b = .5 /h", ("a b", 0.5))],
)
def test_a_price_is_read(given: str, price: tuple[str, float]) -> None:
    assert read_price(given) == price


@pytest.mark.parametrize("given", ["0/h", "-1/h", "2.5", "x/h", "=/h", "nan/h", "inf/h", "1/d"])
def test_what_is_no_price_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"expected more than 0 an hour, such as 2\.5/h"):
        read_price(given)


@pytest.mark.parametrize("given", [0, -1.0, True, "2.5/h", {"H100": 0.0}, {"H100": "2"}])
def test_what_is_no_price_in_python_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="expected more than 0 an hour"):
        asked("advise", workload="a grid", budget=None, price=given)


def test_least_cost_needs_a_price() -> None:
    with pytest.raises(UsageError, match="objective cost needs a price; give --price"):
        asked("advise", workload="a grid", budget=None, objective="cost")


def test_taken_up_in_the_middle_of_the_first_trainings_are_cut_as_before(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.pieces, whole = {SLOW: 16}, RecordedEngine.next_finished

    def interrupted(engine: RecordedEngine) -> RunEnd:
        if machines.plans:
            raise KeyboardInterrupt
        return whole(engine)

    with monkeypatch.context() as patch:
        patch.setattr(RecordedEngine, "next_finished", interrupted)
        with pytest.raises(KeyboardInterrupt):
            advised(machines, grid, lab)
    advised(machines, grid, lab)

    assert machines.measured == [FAST, SLOW]
    assert [plan.micro_batch_sizes[64] for plan in machines.plans] == [16, 16, 16]


def test_times_to_two_targets_are_not_compared(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    found = advised(machines, grid, lab)
    fast, slow = found.advice.places
    other = replace(slow, target=replace(grid.target, value=0.6))
    shown = replace(found.advice, places=(fast, other))
    table = place_table(shown)

    assert table is not None
    assert table.by_key()["target"] == ("validation loss ≤ 0.5", "validation loss ≤ 0.6")
    assert "by machine" not in {each.topic for each in advice_sentences(shown, found.study)}


def test_no_time_is_told_of_a_rate_that_did_not_run(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    found = advised(machines, grid, lab, objective="samples")
    assert found.advice.recommendation is not None
    named = replace(found.advice.recommendation, learning_rate=0.07)
    other = replace(found, advice=replace(found.advice, recommendation=named))
    with Store(lab) as store:
        of_run, of_none = (
            with_places(store, each, (each,), prices={}, listener=Told()).advice.places[0]
            for each in (found, other)
        )

    assert of_run.time_to_target_s.estimate is not None
    assert of_none.time_to_target_s.reason is not None
    assert of_none.time_to_target_s.reason.code == "no_run_to_target"


def test_a_device_that_the_nodes_have_need_not_be_here() -> None:
    given: Any = {"workload": "a grid", "budget": None, "device": "cuda:99"}
    question = asked("sweep", cluster=Cluster(), **given)

    assert (question.is_device_here, question.timed) == (False, False)
    with pytest.raises(UsageError, match=r"device 'cuda:99': PyTorch .* sees"):
        asked("sweep", **given)
