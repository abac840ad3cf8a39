"""StudyNames: the studies of a store at a glance, for completion: nothing is made or changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_WAIT_S = 0.2


def study_names(path: Path) -> list[tuple[str, str]]:
    """The id and command of every study, the one asked for last first.

    Args:
        path: the store; what is no store, or is busy, has none.
    """
    try:
        # Read-only, SQLite would leave files beside a store that nobody has open.
        access = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
        uri = f"{path.absolute().as_uri()}?{access}"
        with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S)) as connection:
            rows = connection.execute("SELECT study_id, command FROM studies ORDER BY asked DESC")
            return [(str(study_id), str(command)) for study_id, command in rows]
    except sqlite3.Error:
        return []
