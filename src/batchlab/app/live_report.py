"""Live report: the page of a running study, written to a file again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from batchlab.app.output_file import write_output_file
from batchlab.app.report import Advised, page_of, stored_in, study_of
from batchlab.errors import NoStoreError
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.page import with_status
from batchlab.store.store import Store
from batchlab.words.catalogue import sentence, text

# Not more often, because making a page takes seconds on a core that the study could use.
EVERY_S = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Moment:
    """The state of a study at one moment, with its answer if there is one."""

    shown: Study | Advised
    status: str  # progress, and whether a process is working, in one line
    is_finished: bool


def write_live_page(
    store: Path,
    study: str | None,
    path: Path,
    *,
    say: Callable[[str], None],
    show: Callable[[Path], None],
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Write the page of a study every 20 s until the study has finished, or until Ctrl-C.

    If the store does not exist yet, or holds no study, `say` is called with a line about that. If
    `study` is None, the latest study is taken each time. `show` is called with `path` after the
    page was first written. The page reloads itself until it is written for the last time.

    Raises:
        UsageError: no study has such an id, or more than one.
        StoreError: the store cannot be read.
        OutputFileError: the page cannot be written.
    """
    last: _Moment | None = None
    page = ""
    try:
        for now in _looks(store, study, say=say, wait=wait):
            before, last = last, now
            if before is None or before.shown != now.shown:
                page = page_of(now.shown)
            reload_s = None if now.is_finished else EVERY_S
            write_output_file(path, with_status(page, now.status, reload_s=reload_s).encode())
            if before is None:
                show(path)
    except KeyboardInterrupt:
        return
    finally:
        if page and last is not None and not last.is_finished:  # or it would reload forever
            write_output_file(path, with_status(page, last.status, reload_s=None).encode())


def _looks(
    store: Path, study: str | None, *, say: Callable[[str], None], wait: Callable[[float], None]
) -> Iterator[_Moment]:
    """Yield the state of the study every 20 s, from when it exists until it has finished."""
    is_told = False
    while True:
        moment = _moment(store, study)
        if moment is not None:
            yield moment
            if moment.is_finished:
                return
        elif not is_told:
            is_told = True
            say(sentence("no_study_yet", path=str(store)))
        wait(EVERY_S)


def _moment(path: Path, wanted: str | None) -> _Moment | None:
    """Return the present state of the study, or None if there is no study yet."""
    try:
        with Store.existing(path) as store:
            if not store.studies():
                return None
            study_id = study_of(stored_in(store, wanted)).study_id
            is_worked_on = store.is_worked_on(study_id)
            # Read the study after that, to include what a process stored last.
            shown = stored_in(store, study_id)
            # Check both: between two parts of a study, all requested runs have ended.
            is_finished = not is_worked_on and _is_finished(store, shown)
            status = _status(
                store, study_of(shown), is_finished=is_finished, is_worked_on=is_worked_on
            )
            return _Moment(shown=shown, status=status, is_finished=is_finished)
    except NoStoreError:
        return None


def _is_finished(store: Store, shown: Study | Advised) -> bool:
    """Return whether an advice has its answer, or a sweep has ended all its trials."""
    if isinstance(shown, Advised):
        return True
    trial_ids = store.trial_ids(shown.study_id)
    if not trial_ids or shown.awaits_answer:
        return store.advice(shown.study_id) is not None
    ended = {record.trial.trial_id for record in shown.records if _has_ended(record)}
    return set(trial_ids) <= ended


def _has_ended(record: TrialRecord) -> bool:
    """Return whether a trial has ended, so that the same command would not continue it."""
    return record.status is not None and not record.status.may_go_on


def _status(store: Store, study: Study, *, is_finished: bool, is_worked_on: bool) -> str:
    n_ended = sum(map(_has_ended, study.records))
    if is_finished:
        return text("Finished: {n:1 training run|# training runs}.", n=n_ended)
    so_far = _so_far(store, study, n_ended)
    if is_worked_on:
        return text("Under way at {at}: {so_far}.", so_far=so_far, at=time.strftime("%H:%M:%S"))
    return sentence("study_stopped", so_far=so_far, command=study.command)


def _so_far(store: Store, study: Study, n_ended: int) -> str:
    n_asked = len(store.trial_ids(study.study_id))
    if n_asked and not study.awaits_answer:
        words = "{ended} of {n:1 training run has|# training runs have} ended"
        return text(words, ended=n_ended, n=n_asked)
    # For an advice, give no total: the number of runs is unknown before there is an answer.
    return text("{n:one training run has|# training runs have} ended", n=n_ended)
