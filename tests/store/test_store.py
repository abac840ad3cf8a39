"""A store: what goes in comes out, whoever writes beside it and whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.made_up import made_up_timing
from tests.reference.stored_study import (
    RECORD,
    STUDY,
    TRIAL_ID,
    WORKLOAD,
    an_evaluation,
    child,
    put_study,
    run_at_once,
)

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.run import Outcome
from batchlab.records.study import MetricSummary, StudyName, WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Status, Target, Trial, TrialRecord
from batchlab.store.schema import kept_reason, reason_kept
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

written = Reason.as_written
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
counts = st.integers(0, 2**53 - 1)  # what RFC 8785 can write
floats = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
reals = floats.map(lambda x: x + 0.0)  # an SQLite column keeps no sign of a zero
metrics = st.sampled_from(["accuracy", "loss"])
betters = st.sampled_from(["higher", "lower"])
pairs = st.lists(st.tuples(texts, texts), max_size=2).map(tuple)
warnings = st.lists(texts, max_size=2, unique=True).map(tuple)
reasons = st.one_of(
    texts.map(Reason.as_written),
    st.builds(
        lambda line, said: Reason.of("wants_terminal", line=line, last_line=said), texts, texts
    ),
    st.integers(0, 9).map(lambda step: Reason.of("metric_not_finite", metric="loss", step=step)),
)
notes = st.lists(reasons, max_size=2, unique=True).map(tuple)
setting_values = st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | floats | texts
setting_pairs = st.lists(st.tuples(texts, setting_values), max_size=3).map(tuple)
targets = st.builds(Target, metric=metrics, value=floats, better=betters)
scores = st.builds(
    Score,
    split=st.sampled_from(["train", "validation", "test"]),
    metric=metrics,
    value=st.none() | floats,
)
trials = st.builds(
    Trial,
    workload_id=st.just(WORKLOAD.workload_id),
    workload=texts,
    settings=st.dictionaries(texts, setting_values, max_size=3).map(lambda d: tuple(d.items())),
    n_train=counts,
    batch_size=counts,
    micro_batch_size=st.integers(1, 2**53 - 1),  # without one it is the batch
    sampling=st.sampled_from(["reshuffle", "replacement"]),
    drop_last=st.booleans(),
    learning_rate=floats,
    scaling_rule=texts,
    horizon_steps=st.none() | counts,
    device=st.sampled_from(["cpu", "cuda"]),
    seed=counts,
)

measured = st.dictionaries(texts, st.none() | floats, max_size=3).map(lambda d: tuple(d.items()))


def evaluations_at(steps: st.SearchStrategy[int]) -> st.SearchStrategy[Evaluation]:
    return st.builds(
        Evaluation,
        step=steps,
        samples=counts,
        train_s=reals,
        eval_s=reals,
        batch_loss=st.none() | reals,
        measured=measured,
        scores=st.lists(scores, max_size=3).map(tuple),
    )


def evaluation_lists(steps: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Evaluation, ...]]:
    return st.lists(evaluations_at(steps), max_size=4, unique_by=lambda e: e.step).map(
        lambda found: tuple(sorted(found, key=lambda e: e.step))
    )


def records_of(trial: st.SearchStrategy[Trial]) -> st.SearchStrategy[TrialRecord]:
    return st.builds(
        TrialRecord,
        trial=trial,
        status=st.sampled_from(Status),
        reason=st.none() | reasons,
        traceback=st.none() | texts,
        engine=texts,
        threads=counts,
        versions=pairs,
        target=st.none() | targets,
        evaluations=evaluation_lists(counts),
        peak_bytes=st.none() | counts,
        resumed_from_steps=st.lists(counts, max_size=2).map(tuple),
        notes=notes,
    )


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "lab.db") as opened:
        opened.put_workload(WORKLOAD)
        yield opened


# What goes in comes out


@pytest.fixture(scope="module")
def many_records(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("many") / "lab.db") as opened:
        opened.put_workload(WORKLOAD)
        yield opened


@pytest.mark.slow
@given(record=records_of(trials))
@settings(max_examples=60, deadline=None)
def test_a_record_comes_back_bit_for_bit(many_records, record):
    store = many_records
    trial_id = record.trial.trial_id
    store.begin_trial(record)
    store.restart_trial(trial_id)  # the same trial may be drawn twice

    store.put_record(record)

    assert repr(store.record(trial_id)) == repr(record)


@given(
    summary=st.builds(
        WorkloadSummary,
        workload_id=texts,
        name=texts,
        reference=texts,
        settings=setting_pairs,
        n_train=counts,
        n_validation=counts,
        n_test=counts,
        n_train_evaluated=counts,
        n_parameters=counts,
        metrics=st.lists(st.builds(MetricSummary, name=texts, better=betters), max_size=2).map(
            tuple
        ),
        batch_size=counts,
        learning_rate=floats,
        warnings=warnings,
    ),
    block_s=st.lists(seconds, min_size=1, max_size=3).map(tuple),
)
@settings(max_examples=40, deadline=None)
def test_a_workload_and_its_step_times_come_back_bit_for_bit(many_records, summary, block_s):
    timing = replace(
        made_up_timing(64, step_s=0.1, workload_id=summary.workload_id), block_s=block_s
    )

    many_records.put_workload(summary)
    many_records.put_timing(timing)

    assert repr(many_records.workload(summary.workload_id)) == repr(summary)
    assert repr(many_records.timings(summary.workload_id, "cpu", place=None)) == repr((timing,))


def test_a_whole_study_survives_closing_and_opening(tmp_path):
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
        store.add_spent(STUDY.study_id, STUDY.spent_s)
        created_at = store.study().created_at

    with Store.existing(tmp_path / "lab.db") as store:
        assert store.study() == replace(STUDY, created_at=created_at)


def test_a_name_with_signs_that_mean_something_in_an_address_is_just_a_name(tmp_path):
    path = tmp_path / "50% of #1?mode=ro ü.db"

    with Store(path) as store:
        put_study(store, STUDY)

    assert path.is_file()
    with Store.existing(path) as store:
        assert store.study().records == STUDY.records


def test_a_store_is_found_again_after_the_working_folder_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store("lab.db") as store:
        monkeypatch.chdir("/")
        put_study(store, STUDY)

        assert store.checkpoint_path("abc") == tmp_path / "lab.db.checkpoints/abc.safetensors"
        assert store.path == tmp_path / "lab.db"


# What is put again


def test_evaluations_go_by_their_step_and_a_trial_that_goes_on_keeps_them(store):
    first, second, other = an_evaluation(1), an_evaluation(2), an_evaluation(2, 0.25)
    store.begin_trial(RECORD)

    store.put_evaluations(TRIAL_ID, [second])
    store.put_evaluations(TRIAL_ID, [other, first])
    store.begin_trial(replace(RECORD, threads=7))

    found = store.record(TRIAL_ID)
    assert (found.status, found.threads, found.evaluations) == (None, 7, (first, other))
    store.drop_evaluations_after(TRIAL_ID, 1)
    assert store.record(TRIAL_ID).evaluations == (first,)
    store.put_record(replace(RECORD, evaluations=(other,)))
    assert store.record(TRIAL_ID) == replace(RECORD, evaluations=(first, other))


def test_an_end_is_told_once_and_a_trial_that_begins_anew_has_nothing(store):
    told = [written("a"), written("b")]
    store.begin_trial(replace(RECORD, notes=(told[0],)))
    store.put_evaluations(TRIAL_ID, [an_evaluation(1)])

    end = Outcome(status=Status.NAN, reason=told[1], traceback="t", peak_bytes=9, notes=tuple(told))
    store.finish_trial(TRIAL_ID, end)

    found = store.record(TRIAL_ID)
    assert (found.status, found.reason, found.traceback) == (Status.NAN, told[1], "t")
    assert (found.peak_bytes, found.notes) == (9, tuple(told))
    store.restart_trial(TRIAL_ID)
    anew = store.record(TRIAL_ID)
    assert (anew.status, anew.reason, anew.peak_bytes, anew.evaluations) == (None, None, None, ())


def test_of_several_timings_of_a_batch_size_the_latest_counts(store):
    first = made_up_timing(64, step_s=0.1, workload_id=WORKLOAD.workload_id)
    later, smaller = replace(first, block_s=(2.0,)), replace(first, micro_batch_size=16)

    for timing in (first, smaller, later):
        store.put_timing(timing)

    assert store.timings(WORKLOAD.workload_id, "cpu", place=None) == (smaller, later)


# Studies, trials, measurements


def test_a_study_asked_for_again_keeps_its_beginning_and_becomes_the_latest(store, monkeypatch):
    times = iter(["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00", "later"])
    monkeypatch.setattr("batchlab.store.store.now", lambda: next(times))
    for study_id in ("first", "second", "first"):
        name = StudyName(
            study_id=study_id,
            command=f"sweep {study_id}",
            workload_id=WORKLOAD.workload_id,
            environment=(),
        )
        store.put_study(name, trial_ids=())

    assert store.studies() == (
        ("second", "2026-01-02T00:00:00+00:00", "sweep second"),
        ("first", "2026-01-01T00:00:00+00:00", "sweep first"),
    )
    assert store.study().study_id == "first"


def test_an_unknown_study_is_answered_with_those_there_are(store):
    with pytest.raises(StoreError, match="holds no study yet"):
        store.study()
    put_study(store, STUDY)

    with pytest.raises(StoreError, match=f"no study 'x' in .*; it holds {STUDY.study_id}"):
        store.study("x")


def test_the_curve_of_another_run_takes_the_place_of_the_stored_one_whole(store):
    store.put_record(RECORD)
    (last,) = RECORD.evaluations[-1:]
    other = replace(last, step=last.step + 5, samples=last.samples + 5)

    store.replace_evaluations(TRIAL_ID, (other,), resumed_from_steps=(3,))

    assert store.record(TRIAL_ID) == replace(RECORD, evaluations=(other,), resumed_from_steps=(3,))


# Numbers that are not numbers


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["train_s", "eval_s", "batch_loss", "measured", "scores"])
def test_an_evaluation_that_is_not_finite_is_refused_with_all_that_came_along(store, name, bad):
    store.begin_trial(RECORD)
    score = (Score(split="test", metric="loss", value=bad),)
    values = {"scores": score, "measured": (("sharpness", bad),)}
    evaluation = replace(an_evaluation(2), **{name: values.get(name, bad)})

    with pytest.raises(StoreError, match=rf"step 2 of trial {TRIAL_ID}.* None for a"):
        store.put_evaluations(TRIAL_ID, [an_evaluation(1), evaluation])

    assert store.record(TRIAL_ID).evaluations == ()


def test_no_other_record_takes_in_a_number_that_is_not_finite_or_another_type(store):
    nan = float("nan")
    timing = made_up_timing(64, step_s=nan, workload_id=WORKLOAD.workload_id)
    target = Target(metric="loss", value=nan, better="lower")

    for put in (
        lambda: store.put_timing(timing),
        lambda: store.put_workload(replace(WORKLOAD, settings=(("width", nan),))),
        lambda: store.begin_trial(replace(RECORD, trial=replace(RECORD.trial, learning_rate=nan))),
        lambda: store.begin_trial(replace(RECORD, target=target)),
        lambda: store.put_workload(replace(WORKLOAD, n_train="60000")),
        lambda: store.put_workload(replace(WORKLOAD, settings=(("width", object()),))),
    ):
        with pytest.raises(StoreError, match="would not read back"):
            put()
    with pytest.raises(StoreError, match="spent nan s"):
        store.add_spent("s", nan)


def test_a_float_of_numpy_is_a_float(store):
    store.begin_trial(RECORD)
    store.put_evaluations(TRIAL_ID, [an_evaluation(1, np.float64(0.1))])

    assert repr(store.record(TRIAL_ID).evaluations) == repr((an_evaluation(1, 0.1),))


# Killed at any moment, written by several at once


WRITE_UNTIL_KILLED = """
with Store(sys.argv[1]) as store:
    for step in range(1_000_000):
        store.put_evaluations(TRIAL_ID, [an_evaluation(step, 1 / (step + 1))])
        print(step, flush=True)
"""


@pytest.mark.parametrize("n_seen", [1, 40, 700])
def test_what_a_killed_process_had_stored_is_all_there(store, n_seen):
    store.begin_trial(RECORD)
    store.close()
    process = child(WRITE_UNTIL_KILLED, store.path)
    for _ in range(n_seen):
        process.stdout.readline()

    process.send_signal(signal.SIGKILL)
    n_seen += len(process.stdout.read().split("\n")) - 1
    process.wait()

    with Store.existing(store.path) as reopened:
        found = reopened.record(TRIAL_ID).evaluations
    assert len(found) in (n_seen, n_seen + 1)  # one may be stored and not told
    assert found == tuple(an_evaluation(step, 1 / (step + 1)) for step in range(len(found)))


@pytest.mark.slow
def test_processes_that_write_one_store_at_once_lose_nothing(store):
    code = """
with Store(sys.argv[1]) as store:
    record = STUDY.records[int(sys.argv[2])]
    store.begin_trial(record)
    print("ready", flush=True)
    sys.stdin.readline()
    for step in range(200):
        store.put_evaluations(record.trial.trial_id, [an_evaluation(step)])
    store.put_record(record)
"""
    exits = run_at_once([child(code, store.path, index) for index in (0, 1)])

    assert exits == [0, 0]
    for record in STUDY.records:
        by_step = {step: an_evaluation(step) for step in range(200)}
        by_step |= {e.step: e for e in record.evaluations}
        expected = tuple(by_step[step] for step in sorted(by_step))
        assert store.record(record.trial.trial_id) == replace(record, evaluations=expected)


def test_a_finished_trial_waits_for_the_disk_and_an_evaluation_does_not(store):
    def waits() -> bool:
        return store._connection.execute("PRAGMA synchronous").fetchone() == (2,)

    store.begin_trial(RECORD)
    store.put_evaluations(TRIAL_ID, [an_evaluation(0)])
    assert not waits()

    store.put_record(RECORD)

    assert waits()


def test_an_interrupt_inside_a_write_leaves_nothing_of_it(store):
    store.begin_trial(RECORD)

    def interrupted_write() -> None:
        with store._writing() as connection:
            connection.execute("UPDATE trials SET engine = 'half'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()

    assert store.record(TRIAL_ID).engine == RECORD.engine
    store.put_evaluations(TRIAL_ID, [an_evaluation(0)])  # and it can still be used


def test_an_interrupt_while_a_write_waits_for_its_turn_leaves_the_store_usable(store):
    store.begin_trial(RECORD)
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    # Both act while BEGIN waits in SQLite, so Ctrl-C is seen right after it: as early as can be.
    ctrl_c = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    free = threading.Timer(0.3, other.execute, ["ROLLBACK"])

    with pytest.raises(KeyboardInterrupt):
        begin_write_while(store, ctrl_c, free)

    store.put_evaluations(TRIAL_ID, [an_evaluation(0)])
    assert store.record(TRIAL_ID).evaluations == (an_evaluation(0),)


def begin_write_while(store: Store, *timers: threading.Timer) -> None:
    for timer in timers:
        timer.start()
    try:
        store.put_evaluations(TRIAL_ID, [an_evaluation(0)])
    finally:
        for timer in timers:
            timer.join()


def test_what_an_interrupt_left_open_does_not_stop_the_next_write(store):
    store._connection.execute("BEGIN IMMEDIATE")  # and Ctrl-C before the block was entered

    store.begin_trial(RECORD)

    store._connection.execute("BEGIN")
    assert store.record(TRIAL_ID).engine == RECORD.engine


# Claims and checkpoints


def test_a_claim_excludes_everyone_until_it_ends(store):
    with Store.existing(store.path) as other:
        with store.claim("a") as mine:
            with store.claim("a") as again, other.claim("a") as theirs, store.claim("b") as free:
                assert (mine, again, theirs, free) == (True, False, False, True)
            with store.claim("a") as after_a_refusal:
                assert not after_a_refusal
        with other.claim("a") as theirs:
            assert theirs


def test_a_claim_ends_when_its_process_is_killed(store):
    code = """
with Store(sys.argv[1]) as store, store.claim("a") as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""
    process = child(code, store.path)
    assert process.stdout.readline() == "True\n"
    with store.claim("a") as while_it_lives:
        assert not while_it_lives

    process.kill()
    process.wait()

    with store.claim("a") as mine:
        assert mine


def test_a_study_is_worked_on_until_the_last_process_that_does_ends(store):
    before = {file.name for file in store.path.parent.iterdir()}
    with Store.existing(store.path) as other:
        assert not other.is_worked_on("s")
        assert {file.name for file in store.path.parent.iterdir()} == before  # who asks makes none
        with ExitStack() as later:
            with store.working_on("s"):
                later.enter_context(other.working_on("s"))
                assert store.is_worked_on("s")
                assert not store.is_worked_on("another")
            assert store.is_worked_on("s")
        assert not store.is_worked_on("s")


def test_a_folder_of_checkpoints_that_cannot_be_made_is_a_store_error(store):
    Path(f"{store.path}.checkpoints").write_text("in the way")

    with pytest.raises(StoreError, match=r"lab\.db\.checkpoints cannot be made \(File exists\)"):
        store.checkpoint_path("abc")
    with pytest.raises(StoreError, match="cannot be made"), store.claim("abc"):
        pass


# Used wrongly


def test_a_closed_store_says_that_it_is_closed(store):
    store.close()
    store.close()

    with pytest.raises(StoreError, match="is closed; open it again"):
        store.studies()


def test_a_forked_child_is_told_to_open_its_own(store):
    read_end, write_end = os.pipe()
    child_id = os.fork()
    if child_id == 0:
        try:
            store.put_workload(WORKLOAD)
        except StoreError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        said = pipe.read()
    os.waitpid(child_id, 0)

    assert "another process or thread" in said


GREW = Reason.of("losses_far_above_untrained", n=3, factor=10.0, first=2.0)


@pytest.mark.parametrize("text", ["", "no such file", "12", '{"code":"out_of_time"}', "[1]"])
def test_a_text_that_another_program_wrote_is_as_written(text: str) -> None:
    assert reason_kept(text) == Reason.as_written(text)


def test_what_this_version_cannot_say_is_read_as_its_text() -> None:
    later = json.dumps(json.loads(kept_reason(GREW)) | {"code": "of a later version"})

    assert reason_kept(later) == Reason.as_written(reason_text(GREW))


def test_text_that_utf_8_cannot_hold_is_spelled_out_at_every_depth() -> None:
    inner = Reason.as_written("caf\udce9")
    kept = kept_reason(Reason.of("as_written", text=(inner, "\udce9")))

    assert reason_text(reason_kept(kept)) == "caf\\udce9, \\udce9"


def test_a_size_that_was_not_trained_as_given_has_no_step_time(store):
    wrong = STUDY.records[0]
    reason = Reason.of("other_batch_size", error="it reported another")
    ended = replace(wrong, status=Status.ERROR, reason=reason, evaluations=())
    put_study(store, replace(STUDY, records=(ended, *STUDY.records[1:])))

    study = store.study()

    assert study.timing(wrong.trial.batch_size) is None
    assert [timing.batch_size for timing in study.timings] == [
        timing.batch_size for timing in STUDY.timings if timing.batch_size != wrong.trial.batch_size
    ]
    assert study.timings
