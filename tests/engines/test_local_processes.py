from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.small_workloads import small_trial, small_workload
from tests.reference.told import Told

from batchlab.engines import local_processes as live_engine
from batchlab.engines.contract import Ask
from batchlab.engines.cost_model import CostModel
from batchlab.engines.journal import Journal, stored_journal
from batchlab.engines.local_processes import LiveEngine, LiveWork, StudyName
from batchlab.errors import StoreError
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import RunLength, Status, Target, Trial, TrialRecord
from batchlab.store.store import Store

STUDY = StudyName(study_id="study", command="batchlab advise small")
STEP_S = 0.001
EASY = Target(metric="accuracy", value=0.5, better="higher")
OUT_OF_REACH = Target(metric="accuracy", value=1.1, better="higher")


class Clock:
    """A clock that goes on by a second at each look, or by as much as it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture(scope="module")
def packed() -> PackedWorkload:
    return PackedWorkload(small_workload(n=40))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.db"
    with Store(path) as store:
        store.put_workload(made_up_summary())
    return path


def made_up_summary() -> WorkloadSummary:
    return WorkloadSummary(
        workload_id="made-up-id",
        name="small",
        reference="small",
        settings=(),
        n_train=40,
        n_validation=20,
        n_test=20,
        n_train_evaluated=40,
        n_parameters=83,
        metrics=(MetricSummary(name="accuracy", better="higher"),),
        batch_size=10,
        learning_rate=0.05,
    )


def engine_on(
    store: Store,
    packed: PackedWorkload,
    *,
    budget_s: float = 1e6,
    clock: Callable[[], float] | None = None,
) -> LiveEngine:
    sizes = (1, 5, 10, 20, 40)
    engine = LiveEngine(
        store,
        LiveWork(
            packed=packed,
            trial=small_trial(small_workload(n=40), batch_size=10),
            micro_batch_sizes={size: min(size, 20) for size in sizes},
            step_s=dict.fromkeys(sizes, STEP_S),
            horizon_epochs=None,
            device="cpu",
        ),
        Journal(store, STUDY.study_id),
        STUDY,
        Told(),
        started_s=0.0,
        budget_s=budget_s,
        clock=clock or Clock(),
    )
    engine.put_study(None)
    return engine


def ask(
    engine: LiveEngine, *, batch_size: int = 10, steps: int = 12, until: Target | None = None
) -> Ask:
    trial = engine.trial(batch_size=batch_size, learning_rate=0.05, seed=0)
    return Ask(trial=trial, length=RunLength(steps=steps, until=until))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials that were really begun, in order."""
    begun: list[Trial] = []
    begin = live_engine.TrialRecorder.begin

    def counted(self: Any, trial: Trial) -> Any:
        begun.append(trial)
        return begin(self, trial)

    monkeypatch.setattr(live_engine.TrialRecorder, "begin", counted)
    return begun


def shape(record: TrialRecord) -> list[tuple[int, float | None]]:
    return [(seen.step, seen.score("validation", "accuracy")) for seen in record.evaluations]


def test_asks_come_back_in_their_order_each_as_far_as_it_was_asked(
    lab: Path, packed: PackedWorkload
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        records = engine.run(
            [ask(engine, batch_size=5, steps=4), ask(engine, steps=30), ask(engine, batch_size=20)]
        )

    assert [record.trial.batch_size for record in records] == [5, 10, 20]
    assert [record.steps for record in records] == [4, 30, 12]
    assert {record.status for record in records} == {Status.OK}


def test_a_trial_asked_for_more_goes_on_from_its_checkpoint_to_the_same_numbers(
    lab: Path, packed: PackedWorkload, tmp_path: Path
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        engine.run([ask(engine, steps=12)])
        (longer,) = engine.run([ask(engine, steps=40)])
    other = tmp_path / "other.db"
    with Store(other) as store:
        store.put_workload(made_up_summary())
        engine = engine_on(store, packed)
        (at_once,) = engine.run([ask(engine, steps=40)])

    assert longer.resumed_from_steps == (12,)
    assert longer.final("train", "loss") == at_once.final("train", "loss")


def test_a_trial_that_met_its_target_before_is_answered_without_training(
    lab: Path, packed: PackedWorkload, trained: list[Trial]
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        (first,) = engine.run([ask(engine, steps=400, until=EASY)])
        trained.clear()
        (again,) = engine.run([ask(engine, steps=400, until=EASY)])

    assert first.status is Status.TARGET_REACHED
    assert again == first
    assert trained == []


def test_a_longer_stored_run_answers_whole_and_with_the_status_of_what_is_asked(
    lab: Path, packed: PackedWorkload, trained: list[Trial]
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        (whole,) = engine.run([ask(engine, steps=400)])
        trained.clear()
        (met,) = engine.run([ask(engine, steps=300, until=EASY)])
        (missed,) = engine.run([ask(engine, steps=300, until=OUT_OF_REACH)])

    assert trained == []
    assert shape(met) == shape(missed) == shape(whole)
    assert (whole.status, met.status, missed.status) == ("ok", "target_reached", "ok")
    assert (met.target, missed.target) == (EASY, OUT_OF_REACH)


def test_runs_that_the_budget_ends_come_back_as_timeouts_with_what_was_seen(
    lab: Path, packed: PackedWorkload
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed, budget_s=0.0)
        (never_begun,) = engine.run([ask(engine, batch_size=5)])
        engine = engine_on(store, packed)
        engine.run([ask(engine)])
        engine = engine_on(store, packed, budget_s=0.0)
        (begun,) = engine.run([ask(engine, steps=500)])

    assert (never_begun.status, never_begun.evaluations) == (Status.TIMEOUT, ())
    assert (begun.status, begun.steps) == (Status.TIMEOUT, 12)


def test_a_run_under_way_at_the_end_of_the_budget_is_stopped_in_time(
    lab: Path, packed: PackedWorkload
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed, budget_s=3.0)  # the fake clock takes a second of it
        (record,) = engine.run([ask(engine, steps=10**7)])

    assert record.status is Status.TIMEOUT
    assert 0 < record.steps < 10**7


def test_replayed_runs_are_what_they_were_and_train_nothing(
    lab: Path, packed: PackedWorkload, trained: list[Trial]
) -> None:
    def study(engine: LiveEngine) -> list[tuple[Any, ...]]:
        seen: list[tuple[Any, ...]] = []
        for steps in (8, 24):
            seen.append((engine.spent_s(), engine.expected_s(10, 100)))
            records = engine.run([ask(engine, steps=steps), ask(engine, batch_size=20, steps=8)])
            seen += [(record.status, record.steps, shape(record)) for record in records]
        return [*seen, (engine.spent_s(),)]

    with Store(lab) as store:
        first = study(engine_on(store, packed))
        trained.clear()
        again = study(engine_on(store, packed, clock=Clock()))

    # The last reading was not stored: nothing was done after it.
    assert again[:-1] == first[:-1]
    assert trained == []


def test_a_run_ended_by_the_budget_is_replayed_as_such_and_not_trained_on(
    lab: Path, packed: PackedWorkload, trained: list[Trial]
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed, budget_s=0.0)
        (first,) = engine.run([ask(engine)])
        engine = engine_on(store, packed)
        trained.clear()
        (again,) = engine.run([ask(engine)])

    assert again == first
    assert trained == []


def test_after_the_replay_the_clock_goes_on_from_where_it_was(
    lab: Path, packed: PackedWorkload
) -> None:
    clock = Clock()
    clock.now_s = 50.0
    with Store(lab) as store:
        engine = engine_on(store, packed, clock=clock)
        before_s = engine.spent_s()
        engine.run([ask(engine)])
        after_s = clock.now_s
        engine = engine_on(store, packed)

        assert engine.spent_s() == before_s
        assert engine.spent_s() == after_s + 1.0


def test_other_asks_than_before_end_the_replay_and_are_run(
    lab: Path, packed: PackedWorkload, trained: list[Trial]
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        for steps in (8, 16):
            engine.spent_s()
            engine.run([ask(engine, steps=steps)])
        engine = engine_on(store, packed)
        engine.spent_s()
        trained.clear()
        (record,) = engine.run([ask(engine, batch_size=5, steps=8)])
        runs = [run.length.steps for entry in stored_journal(store, "study") for run in entry.runs]

    assert [trial.batch_size for trial in trained] == [5]
    assert record.steps == 8
    assert runs == [8]


def test_an_interrupted_round_is_stored_and_goes_on(
    lab: Path, packed: PackedWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = live_engine.run_side_by_side

    def interrupted(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        raise KeyboardInterrupt

    with Store(lab) as store:
        monkeypatch.setattr(live_engine, "run_side_by_side", interrupted)
        engine = engine_on(store, packed)
        with pytest.raises(KeyboardInterrupt):
            engine.run([ask(engine)])
        monkeypatch.setattr(live_engine, "run_side_by_side", real)
        engine = engine_on(store, packed)
        (record,) = engine.run([ask(engine)])

    assert record.resumed_from_steps == ()  # it had ended, and was answered from the store
    assert record.steps == 12


def test_the_expected_time_follows_what_runs_really_took(lab: Path, packed: PackedWorkload) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        before_s = engine.expected_s(10, 1)
        (record,) = engine.run([ask(engine, batch_size=10, steps=40)])
        cost_model = stored_journal(store, "study")[-1].cost_model

    assert before_s == CostModel().expected_s(record.trial, 1, step_s=STEP_S)
    assert cost_model.slowness(10) == pytest.approx(record.train_s / (40 * STEP_S))
    assert cost_model.starts[0] == 1
    assert engine.expected_s(10, 8) == cost_model.expected_s(record.trial, 8, step_s=STEP_S)


def test_a_batch_that_does_not_fit_is_trained_in_its_micro_batches(
    lab: Path, packed: PackedWorkload
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        trial = engine.trial(batch_size=40, learning_rate=0.05, seed=0)

    assert (trial.micro_batch_size, trial.accumulation_steps) == (20, 2)


def test_the_rates_shape_spans_the_same_epochs_at_every_batch_size(
    lab: Path, packed: PackedWorkload
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        engine._work = replace(engine._work, horizon_epochs=3)
        trials = [engine.trial(batch_size=b, learning_rate=0.05, seed=0) for b in (5, 10, 40)]

    assert [trial.horizon_steps for trial in trials] == [24, 12, 3]


def test_a_finished_trial_without_its_checkpoint_is_not_trained_over(
    lab: Path, packed: PackedWorkload
) -> None:
    with Store(lab) as store:
        engine = engine_on(store, packed)
        engine.run([ask(engine)])
        store.checkpoint_path(ask(engine).trial.trial_id).unlink()

        with pytest.raises(StoreError, match="another --store"):
            engine.run([ask(engine, steps=50)])


def test_a_run_that_was_not_watched_where_it_met_a_target_is_done_again(
    lab: Path, tmp_path: Path, packed: PackedWorkload, trained: list[Trial]
) -> None:
    with Store(tmp_path / "other.db") as store:
        store.put_workload(made_up_summary())
        engine = engine_on(store, packed)
        (whole,) = engine.run([ask(engine, batch_size=1, steps=160)])
    early = whole.evaluations[12]  # of 64 marks in the first epoch of 40 steps
    value = early.score("validation", "loss")
    assert value is not None
    target = Target(metric="loss", value=value, better="lower")
    trained.clear()

    with Store(lab) as store:
        engine = engine_on(store, packed)
        seldom = ask(engine, batch_size=1, steps=160)
        seldom = replace(seldom, length=replace(seldom.length, watched_from_samples=80))
        (first,) = engine.run([seldom])
        seldom_until = replace(seldom, length=replace(seldom.length, until=target))
        (same,) = engine.run([seldom_until])
        assert len(trained) == 1
        (again,) = engine.run([ask(engine, batch_size=1, steps=160, until=target)])
        (once_more,) = engine.run([ask(engine, batch_size=1, steps=160, until=target)])

    assert len(first.evaluations) < len(whole.evaluations)
    wide, exact, expected = (run.crossing(target) for run in (same, again, whole))
    assert wide is not None
    assert exact == expected
    assert wide.step - wide.after_step > exact.step - exact.after_step
    assert len(trained) == 2
    assert shape(once_more) == shape(again) == shape(whole)[: len(again.evaluations)]
