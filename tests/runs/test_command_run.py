"""A training that is asked for more goes on from {resume_from}; without it, it begins again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.reference.command_engine import asked, command_engine, curve
from tests.reference.living import living
from tests.reference.saving_script import saving_script, starts
from tests.reference.told import Told

from batchlab.errors import StoreError
from batchlab.records.study import StudyName
from batchlab.records.trial import Evaluation, Status
from batchlab.runs.replay import Journal, ReplayingEngine
from batchlab.store.store import Store

Curve = list[tuple[int, float | None]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Curve:
    folder = tmp_path_factory.mktemp("undisturbed")
    engine = command_engine(saving_script(folder, "--pause", "0"), folder)
    return curve(asked(engine, 400))


@pytest.mark.parametrize("tells", ["log", "print"])
def test_a_resumed_curve_is_the_very_curve_of_an_undisturbed_run(
    tmp_path: Path, undisturbed: Curve, tells: str
) -> None:
    engine = command_engine(saving_script(tmp_path, "--tell", tells), tmp_path)
    short = asked(engine, 60)

    long = asked(engine, 400)

    assert engine.capabilities.resumes
    assert curve(short) == undisturbed[:15]
    assert curve(long) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 from"]
    (from_step,) = long.resumed_from_steps
    assert from_step >= 56
    assert [each.train_s for each in long.evaluations] == sorted(
        each.train_s for each in long.evaluations
    )


def test_of_a_run_that_went_on_while_nobody_ended_it_counts_what_was_asked(
    tmp_path: Path, undisturbed: Curve, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_evaluations = Store.put_evaluations

    def killed(store: Store, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        put_evaluations(store, trial_id, [each for each in evaluations if each.step <= 20])
        if evaluations[-1].step >= 100:
            raise RuntimeError("killed before it stored more")

    engine = command_engine(saving_script(tmp_path), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "put_evaluations", killed)
        with pytest.raises(RuntimeError, match="killed before"):
            asked(engine, 400)

    short = asked(command_engine(saving_script(tmp_path), tmp_path), 60)
    long = asked(command_engine(saving_script(tmp_path), tmp_path), 400)

    assert starts(tmp_path)[:2] == ["16 0 anew", "16 0 from"]
    assert curve(short) == undisturbed[:15]
    assert short.resumed_from_steps == ()  # all of it was told by the first run
    assert curve(long) == undisturbed


@pytest.mark.parametrize("fault", ["it has saved nothing", "the checkpoint is broken"])
def test_one_that_cannot_be_taken_up_begins_again_once_and_that_is_said(
    tmp_path: Path, undisturbed: Curve, fault: str
) -> None:
    told = Told()
    is_broken = fault == "the checkpoint is broken"
    more = () if is_broken else ("--last-save", "0")
    engine = command_engine(saving_script(tmp_path, *more), tmp_path, listener=told)
    asked(engine, 60)
    if is_broken:
        (tmp_path / "broken").touch()

    long = asked(engine, 400)

    assert curve(long) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", *["16 0 from"] * is_broken, "16 0 anew"]
    assert len(told.warnings) == is_broken
    for warning in told.warnings:
        assert "did not go on from {resume_from}" in warning
        assert fault in warning


def test_a_run_cut_by_the_budget_goes_on_in_the_next_session(
    tmp_path: Path, undisturbed: Curve
) -> None:
    command = saving_script(tmp_path, "--pause", "0.008")
    cut = asked(command_engine(command, tmp_path, budget_s=2.0), 400)

    whole = asked(command_engine(command, tmp_path), 400)

    assert cut.status is Status.TIMEOUT
    assert 0 < cut.steps < 400
    assert curve(whole) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 from"]


def test_a_run_that_is_begun_again_and_cut_short_loses_nothing_that_was_stored(
    tmp_path: Path,
) -> None:
    quick = saving_script(tmp_path, "--pause", "0", resumes=False)
    first = asked(command_engine(quick, tmp_path), 300)
    slow = saving_script(tmp_path, "--pause", "0.05", resumes=False)

    cut = asked(command_engine(slow, tmp_path, budget_s=1.5), 4000)

    assert cut.status is Status.TIMEOUT
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]
    assert curve(cut) == curve(first)


# Interrupted


class Impatient(Told):
    """Presses Ctrl-C once, when so much of a run is done."""

    def progress(self, *, done_fraction: float, **said: Any) -> None:
        if done_fraction > 0.1 and not self.fractions:
            self.fractions.append(done_fraction)
            raise KeyboardInterrupt


@pytest.mark.parametrize("resumes", [True, False])
def test_interrupted_it_leaves_no_process_stores_all_and_goes_on(
    tmp_path: Path, undisturbed: Curve, resumes: bool
) -> None:
    command = saving_script(tmp_path, "--pause", "0.005", resumes=resumes)
    engine = command_engine(command, tmp_path, listener=Impatient())
    with pytest.raises(KeyboardInterrupt):
        asked(engine, 400)
    assert living(engine.marker) == ()
    with Store.existing(tmp_path / "lab.db") as store:
        stored = store.record(engine.trial(batch_size=16, learning_rate=0.1, seed=0).trial_id)

    whole = asked(command_engine(command, tmp_path), 400)

    assert stored.status is None
    assert len(stored.evaluations) >= 10
    assert curve(stored) == undisturbed[: len(stored.evaluations)]
    assert curve(whole) == undisturbed
    assert starts(tmp_path) == ["16 0 anew", "16 0 from" if resumes else "16 0 anew"]


# Replayed


STUDY = StudyName(
    study_id="study", command="batchlab advise", workload_id="a-command", environment=()
)


def test_what_was_answered_is_replayed_whole_while_its_trial_is_begun_again(tmp_path: Path) -> None:
    def replaying(listener: Told) -> ReplayingEngine:
        command = saving_script(tmp_path, resumes=False)
        engine = command_engine(command, tmp_path, listener=listener)
        journal = Journal(engine._store, STUDY)
        journal.put_study(None)
        return ReplayingEngine(engine, journal)

    first = replaying(Told())
    short = asked(first, 200)
    first_again = replaying(Impatient())
    asked(first_again, 200)
    with pytest.raises(KeyboardInterrupt):  # at a tenth of its way, before it is as far
        asked(first_again, 1000)

    last = replaying(Told())
    replayed = asked(last, 200)

    assert curve(replayed) == curve(short)
    assert (replayed.status, replayed.steps) == (Status.OK, 200)
    assert starts(tmp_path) == ["16 0 anew", "16 0 anew"]


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_script_that_fills_the_disk_leaves_its_trial_open_and_what_was_stored(
    small_disk: Path, undisturbed: Curve
) -> None:
    command = saving_script(small_disk, "--fill", "60")
    engine = command_engine(command, small_disk)

    for _ in range(2):  # the second begins on a full disk
        with pytest.raises(StoreError, match="the disk is full; free some space") as caught:
            asked(engine, 400)
        assert "\n" not in str(caught.value)
    with Store.existing(small_disk / "lab.db") as store:
        stored = store.record(engine.trial(batch_size=16, learning_rate=0.1, seed=0).trial_id)
    (small_disk / "ballast").unlink()
    whole = asked(command_engine(saving_script(small_disk), small_disk), 400)

    assert living(engine.marker) == ()
    assert stored.status is None
    assert curve(stored) == undisturbed[: len(stored.evaluations)]
    assert curve(whole) == undisturbed
