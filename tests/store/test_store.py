"""A store: what goes in comes out, whoever writes beside it and whatever is killed."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from batchlab.records.study import StudyName, WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Status, Target, Trial, TrialRecord
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

NAN, INF = float("nan"), float("inf")
BEGUN = replace(RECORD, status=None, evaluations=())


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "lab.db") as opened:
        opened.put_workload(WORKLOAD)
        yield opened


# What goes in comes out

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
reasons = st.one_of(
    texts.map(Reason.as_written),
    st.builds(
        lambda line, said: Reason.of("needs_terminal", line=line, last_line=said), texts, texts
    ),
    st.integers(0, 9).map(lambda step: Reason.of("metric_not_finite", metric="loss", step=step)),
)
st.register_type_strategy(str, texts)
st.register_type_strategy(int, st.integers(0, 2**53 - 1))  # what RFC 8785 can write
st.register_type_strategy(float, floats)
st.register_type_strategy(Reason, reasons)


def unique(items: st.SearchStrategy[Any], key: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    """Some of these in their order, none of them twice."""
    listed = st.lists(items, max_size=3, unique_by=key)
    return listed.map(lambda drawn: tuple(sorted(drawn, key=key)))


records = st.builds(
    TrialRecord,
    # Without `...` a field with a default would always have that.
    trial=st.builds(
        Trial,
        **dict.fromkeys(Trial.__dataclass_fields__.keys() - {"workload_id"}, ...),
        workload_id=st.just(WORKLOAD.workload_id),
    ),
    **dict.fromkeys(("reason", "traceback", "target", "place", "resumed_from_steps"), ...),
    status=st.sampled_from(Status),
    evaluations=unique(st.from_type(Evaluation), lambda evaluation: evaluation.step),
    notes=unique(reasons, repr),
)


@pytest.fixture(scope="module")
def many_records(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("many") / "lab.db") as opened:
        opened.put_workload(WORKLOAD)
        yield opened


@pytest.mark.slow
@given(record=records)
@settings(max_examples=60, deadline=None)
def test_a_record_comes_back_bit_for_bit(many_records, record):
    store = many_records
    trial_id = record.trial.trial_id

    store.put_record(record, keep_until=-1)  # the same trial may be drawn twice

    assert repr(store.record(trial_id)) == repr(record)


@given(
    summary=st.from_type(WorkloadSummary),
    block_s=st.lists(seconds, min_size=1, max_size=3).map(tuple),
)
@settings(max_examples=20, deadline=None)
def test_a_workload_and_its_step_times_come_back_bit_for_bit(many_records, summary, block_s):
    timing = replace(
        made_up_timing(64, step_s=0.1, workload_id=summary.workload_id), block_s=block_s
    )

    many_records.put_workload(summary)
    many_records.put_timing(timing)

    assert repr(many_records.workload(summary.workload_id)) == repr(summary)
    assert repr(many_records.timings(summary.workload_id, "cpu", place=None)) == repr((timing,))


def test_a_whole_study_survives_closing_and_a_name_with_signs_of_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "50% of #1?mode=ro ü.db"
    with Store(name) as store:
        monkeypatch.chdir("/")
        put_study(store, STUDY)
        store.add_spent(STUDY.study_id, STUDY.spent_s)
        created_at = store.study().created_at
        checkpoint = store.checkpoint_path("abc")

    with Store.existing(tmp_path / name) as store:
        assert store.study() == replace(STUDY, created_at=created_at)
    assert checkpoint == tmp_path / f"{name}.checkpoints/abc.safetensors"


# What is put again


def test_evaluations_go_by_their_step_and_a_trial_that_goes_on_keeps_them(store):
    first, second, other = an_evaluation(1), an_evaluation(2), an_evaluation(2, 0.25)
    store.put_record(BEGUN)

    store.put_evaluations(TRIAL_ID, [second])
    store.put_evaluations(TRIAL_ID, [other, first])
    store.put_record(replace(BEGUN, threads=7))
    assert store.record(TRIAL_ID) == replace(BEGUN, threads=7, evaluations=(first, other))
    store.put_record(BEGUN, keep_until=1)
    assert store.record(TRIAL_ID).evaluations == (first,)
    store.put_record(replace(RECORD, evaluations=(other,)))
    assert store.record(TRIAL_ID) == replace(RECORD, evaluations=(first, other))
    store.put_record(replace(BEGUN, evaluations=(second,)), keep_until=-1)
    assert store.record(TRIAL_ID) == replace(BEGUN, evaluations=(second,))
    store.put_evaluations(TRIAL_ID, [an_evaluation(3, np.float64(0.1))])  # a float as others
    assert repr(store.record(TRIAL_ID).evaluations[-1]) == repr(an_evaluation(3, 0.1))


def test_of_several_timings_of_a_batch_size_the_latest_of_its_place_counts(store):
    first = made_up_timing(64, step_s=0.1, workload_id=WORKLOAD.workload_id)
    later, smaller = replace(first, block_s=(2.0,)), replace(first, micro_batch_size=16)
    here, elsewhere = (replace(later, place=place) for place in ("this CPU", "another"))

    for timing in (first, smaller, later, here, elsewhere):
        store.put_timing(timing)

    assert store.timings(WORKLOAD.workload_id, "cpu", place=None) == (smaller, later)
    assert store.timings(WORKLOAD.workload_id, "cpu", place="this CPU") == (smaller, here)


def test_a_size_that_was_not_trained_as_given_has_no_step_time(store):
    wrong = STUDY.records[0]
    reason = Reason.of("other_batch_size", error="it reported another")
    ended = replace(wrong, status=Status.ERROR, reason=reason, evaluations=())
    put_study(store, replace(STUDY, records=(ended, *STUDY.records[1:])))

    sizes = [timing.batch_size for timing in STUDY.timings]
    sizes.remove(wrong.trial.batch_size)
    assert sizes
    assert [timing.batch_size for timing in store.study().timings] == sizes


def test_a_study_asked_for_again_keeps_its_beginning_and_becomes_the_latest(store, monkeypatch):
    with pytest.raises(StoreError, match="holds no study yet"):
        store.study()
    times = iter(["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00", "later"])
    monkeypatch.setattr("batchlab.store.store.now", lambda: next(times))
    for study_id in ("first", "second", "first"):
        name = StudyName(
            study_id=study_id,
            command=f"sweep {study_id}",
            workload_id=WORKLOAD.workload_id,
            environment=(),
        )
        store.put_study(name)

    assert store.studies() == (
        ("second", "2026-01-02T00:00:00+00:00", "sweep second"),
        ("first", "2026-01-01T00:00:00+00:00", "sweep first"),
    )
    assert store.study().study_id == "first"
    with pytest.raises(StoreError, match=r"no study 'x' in .*; it holds second, first"):
        store.study("x")


# What would not come back


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["train_s", "eval_s", "batch_loss", "measured", "scores"])
def test_an_evaluation_that_is_not_finite_is_refused_with_all_that_came_along(store, name, bad):
    store.put_record(BEGUN)
    score = (Score(split="test", metric="loss", value=bad),)
    values = {"scores": score, "measured": (("sharpness", bad),)}
    evaluation = replace(an_evaluation(2), **{name: values.get(name, bad)})

    with pytest.raises(StoreError, match=rf"step 2 of trial {TRIAL_ID}.* None for a"):
        store.put_evaluations(TRIAL_ID, [an_evaluation(1), evaluation])

    assert store.record(TRIAL_ID).evaluations == ()


def test_no_other_record_takes_in_a_number_that_is_not_finite_or_another_type(store):
    timing = made_up_timing(64, step_s=NAN, workload_id=WORKLOAD.workload_id)
    target = Target(metric="loss", value=NAN, better="lower")

    for put, record in (
        (store.put_timing, timing),
        (store.put_workload, replace(WORKLOAD, settings=(("width", NAN),))),
        (store.put_record, replace(RECORD, trial=replace(RECORD.trial, learning_rate=NAN))),
        (store.put_record, replace(RECORD, target=target)),
        (store.put_workload, replace(WORKLOAD, n_train="60000")),
        (store.put_workload, replace(WORKLOAD, settings=(("width", object()),))),
    ):
        with pytest.raises(StoreError, match="would not be read back"):
            put(record)


def test_texts_that_utf_8_cannot_say_are_stored_escaped(store):
    said = Reason.of("as_written", text=(Reason.as_written("caf\udce9"), "\udce9"))

    store.put_record(replace(RECORD, reason=said, traceback="\udce9", notes=(said,)))

    record = store.record(TRIAL_ID)
    assert reason_text(record.reason) == "caf\\udce9, \\udce9"
    assert record.notes == (record.reason,)
    assert record.traceback == "\\udce9"


# Killed at any moment, written by several at once


WRITE_UNTIL_KILLED = """
with Store(sys.argv[1]) as store:
    for step in range(1_000_000):
        store.put_evaluations(TRIAL_ID, [an_evaluation(step, 1 / (step + 1))])
        print(step, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_seen", [1, 400])
def test_what_a_killed_process_had_stored_is_all_there(store, n_seen):
    store.put_record(BEGUN)
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
    store.put_record(record)
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


def test_an_interrupt_inside_a_write_leaves_nothing_of_it(store):
    store.put_record(BEGUN)

    def interrupted_write() -> None:
        with store._writing() as connection:
            connection.execute("UPDATE trials SET record = 'half'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()
    assert store.record(TRIAL_ID).engine == RECORD.engine

    store._connection.execute("BEGIN IMMEDIATE")  # and Ctrl-C before the block was entered
    store.put_evaluations(TRIAL_ID, [an_evaluation(0)])
    store._connection.execute("BEGIN")
    assert store.record(TRIAL_ID).evaluations == (an_evaluation(0),)


# Claims and what lies next to the file


def test_a_claim_excludes_everyone_until_it_ends_or_its_process_is_killed(store):
    code = """
with Store(sys.argv[1]) as store, store.claim("a") as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""
    with Store.existing(store.path) as other:
        with store.claim("a") as mine:
            with store.claim("a") as again, other.claim("a") as theirs, store.claim("b") as free:
                assert (mine, again, theirs, free) == (True, False, False, True)
            with store.claim("a") as after_a_refusal:
                assert not after_a_refusal
        with other.claim("a") as theirs:
            assert theirs
    process = child(code, store.path)
    assert process.stdout.readline() == "True\n"
    with store.claim("a") as while_it_lives:
        assert not while_it_lives

    process.kill()
    process.wait()

    with store.claim("a") as mine:
        assert mine


def test_a_folder_of_checkpoints_that_cannot_be_made_is_a_store_error(store):
    Path(f"{store.path}.checkpoints").write_text("in the way")

    with pytest.raises(StoreError, match=r"lab\.db\.checkpoints cannot be used \(File exists\)"):
        store.checkpoint_path("abc")
    with pytest.raises(StoreError, match="cannot be used"), store.claim("abc"):
        pass


def test_a_closed_store_and_a_forked_child_are_told_to_open_it_again(store):
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
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed; open it again"):
        store.studies()
