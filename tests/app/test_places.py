"""Several kinds of machines: each has an answer of its own, from the trainings of all."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.app.test_subject import STEP_S, GridSubject
from tests.reference.made_up_profile import told_profile
from tests.reference.recorded_grid import made_up_rows, write_grid
from tests.reference.told import Told

from batchlab.advice.advice import Advice, PlaceAnswer, Verdict
from batchlab.app.advice_session import AdviceSession
from batchlab.app.advise import advised_about
from batchlab.app.budget import Budget
from batchlab.app.places import with_places
from batchlab.app.prices import read_price
from batchlab.app.question import Question, asked
from batchlab.app.report import Advised, put_advice, stored
from batchlab.errors import UsageError, WorkloadError
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import RunEnd
from batchlab.records.trial import Status
from batchlab.report.advice_claims import advice_sentences
from batchlab.report.advice_page import advice_files, render_advice_html
from batchlab.report.advice_rows import ShownCost
from batchlab.report.advice_tables import place_table
from batchlab.report.advice_text import advice_text
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import RunPlan
from batchlab.runs.replay import stored_journal
from batchlab.store.store import Store

FAST, SLOW, THIRD = "a server, 2 cores", "a laptop, 2 cores", "a board, 2 cores"
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
    allowed_s: list[float] = field(default_factory=list)  # for measuring each
    tried_here: int = 0  # engines of this machine, not of these
    plans: list[RunPlan] = field(default_factory=list)


class PlacedSubject(GridSubject):
    """Trained on these machines."""

    def __init__(self, machines: Machines, grid: RecordedGrid, question: Question) -> None:
        super().__init__(grid, question)
        self._machines = machines

    def places(self) -> tuple[str | None, ...]:
        return tuple(self._machines.step_s)

    def profile(
        self,
        batch_sizes: Sequence[int],
        *,
        deadline_s: float,
        place: str | None = None,
        **_: object,
    ) -> Profile:
        assert place is not None
        assert tuple(batch_sizes) == self.candidates
        self._machines.measured.append(place)
        self._machines.allowed_s.append(deadline_s - time.monotonic())
        if place in self._machines.busy:
            raise WorkloadError(f"none of the nodes of {place} had all its cores free in time")
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
        self._machines.tried_here += is_here
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
    usual = {
        "budget": 60.0,
        "command": "batchlab advise a grid",
        "listener": told or Told(),
        "target": (grid.target.metric, grid.target.value),
    }
    question = asked(
        "advise",
        workload="a grid",
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
        f"no answer for {FAST}: none of the nodes of {FAST} had all its cores free in time"
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


def test_of_three_kinds_each_has_its_part_of_the_time_and_knows_the_others(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_spent = Store.add_spent
    # In recorded time nothing passes: as if each had taken 12 s.
    monkeypatch.setattr(Store, "add_spent", lambda kept, study, _: add_spent(kept, study, 12.0))
    machines.step_s = {FAST: STEP_S, SLOW: SOON_FULL, THIRD: THREEFOLD}
    found = advised(machines, grid, lab)
    places = found.advice.places
    with Store(lab) as store:
        begun = [stored_journal(store, each.study)[0] for each in places]

    assert [each.place for each in places] == [FAST, SLOW, THIRD]
    assert len({each.study for each in places}) == 3
    # Half of 60 s, half of the 48 s that are left, and then all.
    assert [entry.budget_s for entry in begun] == pytest.approx([30.0, 24.0, 36.0], rel=0.1)
    assert [[Profile.from_json(other).place for other in entry.others] for entry in begun] == [
        [SLOW, THIRD],
        [FAST, THIRD],
        [FAST, SLOW],
    ]
    # Of what is left each time two fifths for all profiles to come, at most ten seconds.
    assert machines.allowed_s == pytest.approx([8.0, 10.0, 10.0], abs=0.5)


def test_taken_up_between_two_kinds_the_second_has_what_the_first_left(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    told = Told()
    with monkeypatch.context() as patch:
        patch.setattr("batchlab.app.advise._for_other_places", interrupted)
        with pytest.raises(KeyboardInterrupt):
            advised(machines, grid, lab)
    with Store(lab) as store:
        ((first, _, _),) = store.studies()
        store.add_spent(first, 40.0)
    found = advised(machines, grid, lab, told)
    with Store(lab) as store:
        begun = stored_journal(store, found.advice.places[1].study)[0]

    assert begun.budget_s == pytest.approx(20.0, rel=0.1)
    assert told.budgets[-1] == (pytest.approx(40.0, rel=0.1), 60.0)
    second = stored(lab, found.advice.places[1].study)
    assert isinstance(second, Advised)
    assert second.study.spent_s < 20.0  # its own


def test_what_killed_sessions_and_a_failed_kind_took_is_missing_from_what_is_left(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.step_s = {FAST: STEP_S, SLOW: SOON_FULL, THIRD: THREEFOLD}
    monkeypatch.setattr(Store, "add_spent", lambda *_: None)  # as where each was killed
    carried_out = AdviceSession.carried_out

    def put(store: Store, study_id: str, advice: Advice) -> None:
        put_advice(store, study_id, replace(advice, spent_s=12.0))

    def failing(session: AdviceSession) -> Advised:
        if session._known is not None and session._known.place == SLOW:
            monkeypatch.setattr(Budget, "elapsed_s", lambda _: 8.0)
            raise WorkloadError("it is not there any more")
        return carried_out(session)

    monkeypatch.setattr("batchlab.app.advice_session.put_advice", put)
    monkeypatch.setattr(AdviceSession, "carried_out", failing)
    found = advised(machines, grid, lab)
    with Store(lab) as store:
        begun = stored_journal(store, found.advice.places[1].study)[0]

    assert [each.place for each in found.advice.places] == [FAST, THIRD]
    assert begun.budget_s == pytest.approx(60 - 12 - 8, rel=0.1)


def test_a_kind_for_which_no_time_is_left_is_said_and_not_stored(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_spent, told = Store.add_spent, Told()
    monkeypatch.setattr(Store, "add_spent", lambda kept, study, _: add_spent(kept, study, 61.0))
    found = advised(machines, grid, lab, told)

    assert told.warnings == [
        f"no answer for {SLOW}: budget 60 s: it ended before the answer for the machines before "
        f"it; give a larger --budget"
    ]
    assert found.advice.places == ()


def test_taken_up_between_two_kinds_trainings_allow_what_they_did(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.step_s = {FAST: STEP_S, SLOW: THREEFOLD}
    given: dict[str, Any] = {"budget": None, "trainings": 400.0, "epochs": 6}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("batchlab.app.advise._for_other_places", interrupted)
        with pytest.raises(KeyboardInterrupt):
            advised(machines, grid, lab, **given)
    taken_up = advised(machines, grid, lab, **given)
    second = stored(lab, taken_up.advice.places[1].study)

    assert isinstance(second, Advised)
    assert second.advice.budget_s == taken_up.advice.budget_s


def test_no_one_of_this_machine_is_asked_and_no_part_is_measured_before_the_rest(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    advised(machines, grid, lab, cluster=Cluster(), device="cuda:99")
    assert machines.tried_here == 0
    advised(machines, grid, lab, cluster=Cluster())
    assert machines.tried_here == 1  # the untrained model
    machines.measured.clear()
    found = advised(machines, grid, lab, cluster=Cluster(), target=None)

    assert machines.measured == [FAST, SLOW]  # for the pilot too
    assert found.advice.target_origin != "given"


def test_for_a_profile_of_another_machine_one_kind_is_enough_and_the_answer_is_for_that(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    elsewhere = advised(machines, grid, lab).profile
    machines.measured.clear()
    machines.step_s = {SLOW: SOON_FULL, THIRD: THREEFOLD}
    found = advised(machines, grid, lab, profile=elsewhere)

    assert machines.measured == [SLOW]
    assert found.advice.places == ()


def test_two_clusters_are_two_questions(machines: Machines, grid: RecordedGrid, lab: Path) -> None:
    one, other = (
        advised(machines, grid, lab, cluster=Cluster(address=address))
        for address in ("here:6379", "there:6379")
    )

    assert one.study.study_id != other.study.study_id


def test_where_no_kind_can_be_measured_the_first_says_why(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.busy = (FAST, SLOW)

    with pytest.raises(WorkloadError, match=f"nodes of {FAST} had all its cores"):
        advised(machines, grid, lab)


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
    prices = {"": 1.0, " LAPTOP": 0.125, "a lap": 9.0, "H100": 5.0}
    found = advised(machines, grid, lab, told, price=prices, objective="cost")
    fast, slow = by_place(found)[FAST], by_place(found)[SLOW]

    assert [fast.price_per_h, slow.price_per_h] == [1.0, 0.125]
    for each in (fast, slow):
        assert each.price_per_h is not None
        assert each.cost_to_target == each.time_to_target_s.times(each.price_per_h / 3600)
    assert told.warnings == [f"price of 'H100' fits none of the machines ({FAST}, {SLOW})"]
    said = {each.topic: each.text for each in advice_sentences(found.advice, found.study)}
    shown = advice_text(found.advice, study=found.study, report=None)
    assert re.search(r"a laptop, 2 cores +16 +best +0\.2 +\d+ ms ± \d+ % +0\.125 ", shown)
    assert said["answer"].endswith(" This is for a server, 2 cores; the table has the others.")
    assert said["by machine"].endswith(
        "Least time of these: a server, 2 cores. Least cost of these: a laptop, 2 cores."
    )
    caption = "What to use on each kind of machine, and what it takes to the target"
    page = render_advice_html(found.advice, found.study, found.profile)
    for form in (page, found.advice._repr_html_()):
        assert form.count(caption) == 1
        assert form.count("a laptop, 2 cores") >= 2
    tables = advice_files(found.advice, found.study)
    assert [next(iter(tables)), list(tables)[-1]] == ["candidates", "places"]
    assert '"a laptop, 2 cores",16,best,0.2' in tables["places"][1].to_csv()


def test_least_is_told_as_sure_only_where_every_machine_has_its_figure(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    machines.step_s = {FAST: STEP_S, SLOW: THREEFOLD, THIRD: THREEFOLD}
    found = advised(machines, grid, lab, price={"server": 1.0, "laptop": 0.1})
    fast, slow, third = found.advice.places
    unknown = Estimate.cannot_tell(Reason.of("no_run_to_target"))
    third = replace(third, time_to_target_s=unknown, price_per_h=1.0, cost_to_target=unknown)
    wide = replace(slow, time_to_target_s=replace(slow.time_to_target_s, low=1e-6))

    def said(*places: PlaceAnswer) -> str | None:
        shown = replace(found.advice, places=places)
        topics = {each.topic: each.text for each in advice_sentences(shown, found.study)}
        return topics.get("by machine")

    assert "Least time of these: a server, 2 cores." in str(said(fast, slow))
    assert "Least time of these: a server, 2 cores, as far as is known." in str(said(fast, wide))
    of_three = str(said(fast, slow, third))
    assert "Least time of these: a server, 2 cores, as far as is known." in of_three
    assert "Least cost of these: a laptop, 2 cores, as far as is known." in of_three
    assert "What it costs on a board, 2 cores can't be told: " in of_three
    assert said(fast) is None


def test_how_sure_each_answer_is_stands_in_its_row(
    machines: Machines, grid: RecordedGrid, lab: Path
) -> None:
    found = advised(machines, grid, lab)
    fast, slow = found.advice.places
    verdicts: list[Verdict] = ["recommend", "better", "indifferent", "cannot_tell"]
    rows = tuple(replace(fast, verdict=verdict) for verdict in verdicts)
    nothing = replace(slow, target=None, named=None)
    table = place_table(replace(found.advice, places=rows))
    untargeted = place_table(replace(found.advice, places=(nothing, nothing)))

    assert table is not None
    assert untargeted is not None
    sure = ("best", "better than yours", "hardly matters", "for now")
    assert tuple(table.by_key()["sure"]) == sure
    assert untargeted.caption == "What to use on each kind of machine"


def test_a_bound_is_no_time(
    machines: Machines, grid: RecordedGrid, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = ShownCost(estimate=Estimate.of(3.0, n=1), is_bound=True)
    monkeypatch.setattr("batchlab.app.places.named_cost", lambda _: bound)
    (fast, _) = advised(machines, grid, lab, price=1.0).advice.places

    assert fast.time_to_target_s.estimate is None
    assert (
        fast.cost_to_target.reason == fast.time_to_target_s.reason == Reason.of("no_run_to_target")
    )


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
    assert time_s.high is not None
    assert joules.estimate == pytest.approx(200.0 * time_s.estimate)
    assert joules.low == pytest.approx(200.0 * time_s.low * (1 - off))
    table = place_table(found.advice)
    assert table is not None
    assert table.by_key()["energy_to_target_j"] == [joules.estimate]
    assert joules.high == pytest.approx(200.0 * time_s.high * (1 + off))


@pytest.mark.parametrize(("device", "off"), [("cpu", 0.001), ("cuda", 0.1), ("2 x cuda", 0.1)])
def test_a_counter_that_moves_on_seldom_says_less(
    machines: Machines, grid: RecordedGrid, lab: Path, device: str, off: float
) -> None:
    machines.step_s, machines.watts = {FAST: STEP_S}, 200.0
    found = advised(machines, grid, lab)

    def told(block_s: tuple[float, ...]) -> Estimate:
        points = []
        for each in found.profile.points:
            assert each.timing is not None
            made = replace(each.timing, block_s=block_s, block_steps=1, step_j=1.0)
            points.append(replace(each, timing=made, again=(made,)))
        profile = replace(found.profile, device=device, points=tuple(points))
        with Store(lab) as store:
            asked_again = replace(found, profile=profile)
            made = with_places(store, asked_again, (), prices={}, listener=Told())
        return made.advice.places[0].energy_to_target_j

    (time_s,) = (each.time_to_target_s for each in found.advice.places)
    long, short = told((2.0, 2.0)), told((1e-4, 1e-4))
    assert time_s.low is not None
    assert long.low == pytest.approx(0.5 * time_s.low * (1 - off / 4))
    assert short.low == 0.0  # a tick is longer than what was timed


@pytest.mark.parametrize(
    ("given", "price"),
    [("2.5/h", ("", 2.5)), ("H100=2/h", ("H100", 2.0)), ("a b = .5 /h", ("a b", 0.5))],
)
def test_a_price_is_read(given: str, price: tuple[str, float]) -> None:
    assert read_price(given) == price


@pytest.mark.parametrize(
    "given", ["0/h", "-1/h", "2.5", "x/h", "=/h", "=2/h", " =2/h", "nan/h", "inf/h", "1/d"]
)
def test_what_is_no_price_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"expected the price of an hour, above 0, such as 2\.5/h"):
        read_price(given)


def test_prices_of_python_are_read_like_those_of_the_command() -> None:
    question = asked("advise", workload="a grid", budget=None, price={" H100 ": np.float32(2.5)})

    assert dict(question.price) == {"H100": 2.5}
    for given in (10**400, {"H100": 10**400}):
        with pytest.raises(
            UsageError, match=r"^price (H100=)?10+: expected the price of an hour, above 0"
        ):
            asked("advise", workload="a grid", budget=None, price=given)
    with pytest.raises(UsageError, match="prices of 'H100', 'h100': two are of the same name"):
        asked("advise", workload="a grid", budget=None, price={"H100": 1, "h100": 2})


@pytest.mark.parametrize("given", [0, -1.0, True, "2.5/h", [1], {"H100": 0.0}, {"H100": "2"}])
def test_what_is_no_price_in_python_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="expected the price of an hour, above 0"):
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
