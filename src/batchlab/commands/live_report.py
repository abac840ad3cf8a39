"""LiveReport: the page of a study of a store, made anew as the study goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from batchlab.commands.advised import Advised
from batchlab.commands.report import page_of, stored_in
from batchlab.engines.journal import stored_journal
from batchlab.errors import NoStoreError
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.store.store import Store
from batchlab.words.catalogue import plural, text

# Making a page takes seconds of a core that the study could have: so long it is left alone after
# each, in times of what the last one took, and at most so many seconds. The first one loads much.
_REST = 5.0
_MOST_REST_S = 20.0
# A browser asks so often while a study may change, and so often where only another one may begin.
_LOOK_AGAIN_S = 3.0
_LOOK_AGAIN_FINISHED_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LivePage:
    """A page as it is served.

    Attributes:
        html: the whole page.
        version: another one for another page.
        status: how far the study is, in one line; newer than the page may be.
        is_finished: whether it stays as it is unless somebody asks for more or for something else.
    """

    html: str
    version: str
    status: str
    is_finished: bool

    @property
    def look_again_s(self) -> float:
        """After how many seconds to ask again whether it has changed."""
        return _LOOK_AGAIN_FINISHED_S if self.is_finished else _LOOK_AGAIN_S


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What was read of the study.

    Attributes:
        shown: the study, with its answer where it has one.
        is_finished: whether it has its answer; without a question, all its trials.
        is_worked_on: whether a process works on it; of a finished one not asked.
    """

    shown: Study | Advised
    is_finished: bool
    is_worked_on: bool

    @property
    def study(self) -> Study:
        return self.shown.study if isinstance(self.shown, Advised) else self.shown


class LiveReport:
    """The page of a study of a store, made anew as the study goes on.

    It belongs to the thread that asks for the first page, and only reads.
    """

    def __init__(
        self,
        store: Path,
        study: str | None,
        *,
        rest: float = _REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show a study of `store`.

        Args:
            store: the SQLite file; it may not be there yet.
            study: the start of the study's id; None: the one asked for last, whichever it is then.
            rest: so many times the seconds that a page took pass before the next is made.
            clock: a monotonic clock, in seconds.
        """
        self._path = store
        self._wanted = study
        self._rest = rest
        self._clock = clock
        self._store: Store | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None
        self._seen: _Seen | None = None
        self._made: _Seen | None = None
        self._body = ""
        self._next_s = clock()
        self._n_made = 0
        self._page: LivePage | None = None

    def page(self) -> LivePage:
        """The page by now; the same again where nothing has changed since the last.

        Raises:
            UsageError: no study has such an id, or more than one.
            StoreError: the store cannot be read.
        """
        store = self._opened()
        if store is None:
            why = text("There is no store at {path} yet. A study makes it.", path=str(self._path))
            return self._waiting(why)
        version = store.data_version()
        if self._page is not None and not self._has_changed(store, version):
            return self._page
        if not store.studies():
            why = text(
                "The store {path} holds no study yet. A sweep is shown once its steps are timed.",
                path=str(self._path),
            )
            return self._waiting(why)
        self._version, self._seen = version, None
        seen = _seen(store, self._wanted)
        if self._is_time_to_make(seen):
            self._make(seen)
        self._seen = seen
        self._page = self._followed(_status(store, seen), is_finished=seen.is_finished)
        return self._page

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _forget(self) -> None:
        """What was shown is no longer there."""
        self.close()
        self._page = self._made = None

    def _opened(self) -> Store | None:
        """The store that lies there now; None: none does."""
        try:
            stat = self._path.stat()
        except OSError:
            self._forget()
            return None
        if not stat.st_size:  # its first table is about to be written
            return None
        file = (stat.st_dev, stat.st_ino)
        if self._store is not None and file != self._file:
            self._forget()
        if self._store is None:
            try:
                self._store = Store.existing(self._path)
            except NoStoreError:
                return None
            self._file = file
        return self._store

    def _has_changed(self, store: Store, version: int) -> bool:
        """Whether something was stored, the page is behind, or a process came or went."""
        seen = self._seen
        if seen is None or version != self._version or not self._shows(seen):
            return True
        # Asked at every look: a process that is killed stores nothing.
        return not seen.is_finished and store.is_worked_on(seen.study.study_id) != seen.is_worked_on

    def _shows(self, seen: _Seen) -> bool:
        return self._made is not None and self._made.shown == seen.shown

    def _is_time_to_make(self, seen: _Seen) -> bool:
        if self._made is None or self._made.study.study_id != seen.study.study_id:
            return True
        if self._shows(seen):
            return False
        # A stopped study leaves the machine free, so nothing has to wait.
        return not seen.is_worked_on or self._clock() >= self._next_s

    def _make(self, seen: _Seen) -> None:
        began_s = self._clock()
        self._body = page_of(seen.shown)
        self._made = seen
        self._n_made += 1
        now_s = self._clock()
        self._next_s = now_s + min(_MOST_REST_S, self._rest * (now_s - began_s))

    def _followed(self, status: str, *, is_finished: bool) -> LivePage:
        from batchlab.report.live.html import followed_page

        version = f'"{self._n_made}"'
        html = followed_page(self._body, status=status, version=version)
        return LivePage(html=html, version=version, status=status, is_finished=is_finished)

    def _waiting(self, why: str) -> LivePage:
        from batchlab.report.live.html import followed_page, waiting_page

        status = text("The page shows the study as soon as there is one.")
        html = followed_page(waiting_page(why), status=status, version='"0"')
        return LivePage(html=html, version='"0"', status=status, is_finished=False)


def _seen(store: Store, wanted: str | None) -> _Seen:
    """The study as it is now."""
    for _ in range(2):
        shown = stored_in(store, wanted)
        seen = _Seen(shown=shown, is_finished=_is_finished(store, shown), is_worked_on=False)
        if seen.is_finished:
            return seen
        if store.is_worked_on(seen.study.study_id):
            return replace(seen, is_worked_on=True)
        # Its process may have ended after it was read: what that stored is there now.
    return seen


def _is_finished(store: Store, shown: Study | Advised) -> bool:
    """Whether the study has its answer; without a question to be answered, all its trials."""
    if isinstance(shown, Advised):
        return True
    asked = store.trial_ids(shown.study_id)
    if not asked or _is_advice(store, shown):
        return store.has_advice(shown.study_id)
    ended = {record.trial.trial_id for record in shown.records if _has_ended(record)}
    return set(asked) <= ended


def _is_advice(store: Store, study: Study) -> bool:
    """Whether an answer was asked for; of one that is being profiled it is not known yet."""
    return bool(stored_journal(store, study.study_id))


def _has_ended(record: TrialRecord) -> bool:
    """Whether the same command would not go on with it."""
    return record.status is not None and not record.status.may_go_on


def _status(store: Store, seen: _Seen) -> str:
    """How far it is, and whether it goes on, in a line."""
    n_ended = sum(map(_has_ended, seen.study.records))
    if seen.is_finished:
        return plural("Finished: {n} training run.", "Finished: {n} training runs.", n_ended)
    so_far = _so_far(store, seen.study, n_ended)
    if seen.is_worked_on:
        return text("Under way at {at}: {so_far}.", so_far=so_far, at=time.strftime("%H:%M:%S"))
    return text(
        "Stopped: {so_far}. No process works on it now. To go on, give the same command: {command}",
        so_far=so_far,
        command=seen.study.command,
    )


def _so_far(store: Store, study: Study, n_ended: int) -> str:
    from batchlab.report.parts.best_so_far_text import best_so_far_text

    n_asked = len(store.trial_ids(study.study_id))
    if not n_asked:
        return text("no training run has begun yet")
    if not _is_advice(store, study):
        return text("{ended} of {n} training runs have ended", ended=n_ended, n=n_asked)
    # How many an advice will need is not known before it is there.
    ended = plural("{n} training run has ended", "{n} training runs have ended", n_ended)
    if study.best_so_far is None:
        return ended
    return text("{ended}; {best}", ended=ended, best=best_so_far_text(study.best_so_far))


def refuse_unreadable(store: Path, study: str | None) -> None:
    """Refuse at once what no page could be made of later either.

    Args:
        store: the SQLite file; it may not be there yet, and may hold no study.
        study: the start of a study's id; None: any.

    Raises:
        UsageError: the store has studies, but none or more than one whose id begins so.
        StoreError: the file is no store, or cannot be read.
    """
    try:
        with Store.existing(store) as opened:
            if opened.studies():
                stored_in(opened, study)
    except NoStoreError:
        return
