"""Live report: the page of a running study, written to a file every 20 s."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from batchlab.app.output_file import write_output_file
from batchlab.app.report import page_of, stored_in, study_of
from batchlab.report.page import with_status
from batchlab.store.store import Store
from batchlab.words.catalogue import text

# Seconds between two updates of the page. More frequent updates would slow down the study, because
# making a page occupies a CPU core for seconds.
EVERY_S = 20


def write_live_page(
    store: Path, study: str | None, path: Path, *, show: Callable[[Path], None]
) -> None:
    """Write the page of a study every 20 s while a process works on the study, or until Ctrl-C.

    `show` is called with `path` after the first writing. The page reloads itself in the browser,
    except for the last version.

    Raises:
        BatchlabError: there is no such study, or the page cannot be written.
    """
    with Store.existing(store) as opened:
        study_id = study_of(stored_in(opened, study)).study_id
        is_shown = False
        try:
            while opened.is_worked_on(study_id):
                _write_page(opened, study_id, path, reload_s=EVERY_S)
                if not is_shown:
                    show(path)
                is_shown = True
                time.sleep(EVERY_S)
        except KeyboardInterrupt:
            # Ctrl-C ends this command, not the study. The page is written once more below, without
            # the instruction that makes the browser reload it.
            pass
        _write_page(opened, study_id, path, reload_s=None)
        if not is_shown:
            show(path)


def _write_page(store: Store, study_id: str, path: Path, *, reload_s: int | None) -> None:
    shown = stored_in(store, study_id)
    n_ended = sum(record.status is not None for record in study_of(shown).records)
    status = text(
        "As of {at}: {n:1 training run has|# training runs have} ended.",
        at=time.strftime("%H:%M:%S"),
        n=n_ended,
    )
    write_output_file(path, with_status(page_of(shown), status, reload_s=reload_s).encode())
