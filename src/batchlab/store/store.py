"""Store: one SQLite file that holds studies, trials, evaluations and measured step times.

Whatever a call stored is there after it returned, also when the process is killed right then.
`docs/store.md` describes the tables and the guarantees.
"""

from __future__ import annotations

from batchlab.store.advices import Advices
from batchlab.store.folder import StoreFolder


class Store(Advices, StoreFolder):
    """A store, opened or made; a context manager that closes it.

    It belongs to the process and thread that opened it; another opens its own. Several processes
    can write to one file at the same time.

    Args:
        path: the file; a missing or empty one becomes a new store.

    Attributes:
        path: the file, absolute.

    Raises:
        StoreError: from here and from every method: one line that says what is wrong with the
            file (or with what was to be stored) and what to do. Nothing is ever stored half.
    """
