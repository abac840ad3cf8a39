"""LiveReport: the page of a study of a store, made anew as the study goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LivePage:
    """A page as it is served.

    Attributes:
        html: the whole page.
        version: another one for another page.
        status: how far the study is, in one line; newer than the page may be.
        is_finished: whether it will not change any more.
    """

    html: str
    version: str
    status: str
    is_finished: bool


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
        self._seen: int | None = None
        self._is_up_to_date = False
        self._next_s = clock()
        self._n_made = 0
        self._page: LivePage | None = None

    def page(self) -> LivePage:
        """The page by now; the same again where nothing was stored since the last.

        Raises:
            UsageError: no study has such an id, or more than one.
            StoreError: the store cannot be read.
        """
        store = self._opened()
        if store is None:
            why = text("There is no store at {path} yet. A study makes it.", path=str(self._path))
            return self._waiting(why)
        seen = store.data_version()
        if self._page is not None and seen == self._seen and self._is_up_to_date:
            return self._page
        if not store.studies():
            why = text("The store {path} holds no study yet.", path=str(self._path))
            return self._waiting(why)
        self._seen, self._is_up_to_date = seen, False
        shown = stored_in(store, self._wanted)
        found = shown.study if isinstance(shown, Advised) else shown
        is_finished = _is_finished(store, shown)
        status = _status(store, found, is_finished=is_finished)
        if self._page is None or is_finished or self._clock() >= self._next_s:
            return self._made(shown, status, is_finished=is_finished)
        self._is_up_to_date = False
        return LivePage(
            html=self._page.html,
            version=self._page.version,
            status=status,
            is_finished=False,
        )

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _forget(self) -> None:
        """What was shown is no longer there."""
        self.close()
        self._page = None

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

    def _made(self, shown: Study | Advised, status: str, *, is_finished: bool) -> LivePage:
        from batchlab.report.live.html import followed_page

        began_s = self._clock()
        page = page_of(shown)
        self._n_made += 1
        version = f'"{self._n_made}"'
        html = followed_page(page, status=status, version=version, follows=not is_finished)
        self._page = LivePage(html=html, version=version, status=status, is_finished=is_finished)
        self._is_up_to_date = True
        now_s = self._clock()
        self._next_s = now_s + min(_MOST_REST_S, self._rest * (now_s - began_s))
        return self._page

    def _waiting(self, why: str) -> LivePage:
        from batchlab.report.live.html import followed_page, waiting_page

        status = text("The page shows the study as soon as there is one.")
        html = followed_page(waiting_page(why), status=status, version='"0"', follows=True)
        return LivePage(html=html, version='"0"', status=status, is_finished=False)


def _is_finished(store: Store, shown: Study | Advised) -> bool:
    """Whether the study has its answer; without a question to be answered, all its trials."""
    if isinstance(shown, Advised):
        return True
    asked = store.trial_ids(shown.study_id)
    if not asked or stored_journal(store, shown.study_id):
        return store.has_advice(shown.study_id)
    ended = {record.trial.trial_id for record in shown.records if _has_ended(record)}
    return set(asked) <= ended


def _has_ended(record: TrialRecord) -> bool:
    """Whether the same command would not go on with it."""
    return record.status is not None and not record.status.may_go_on


def _status(store: Store, study: Study, *, is_finished: bool) -> str:
    n_ended = sum(map(_has_ended, study.records))
    n_asked = len(store.trial_ids(study.study_id))
    if is_finished:
        return plural("Finished: {n} training run.", "Finished: {n} training runs.", n_ended)
    at = time.strftime("%H:%M:%S")
    if not n_asked:
        return text("Not finished: no training run yet, at {at}.", at=at)
    return text(
        "Not finished: {ended} of {n} training runs have ended, at {at}. "
        "It is under way, or was interrupted.",
        ended=n_ended,
        n=n_asked,
        at=at,
    )


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
