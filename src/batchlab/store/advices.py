"""Advices: the answers that a store keeps, apart from the facts that they were drawn from."""

from __future__ import annotations

from batchlab.store.studies import Studies


class Advices(Studies):
    """The answers of a store's studies, as text; `commands/stored_advice.py` says of what."""

    def put_advice(self, study_id: str, advice: str) -> None:
        """Store the answer of a study; it replaces the one before.

        Args:
            study_id: a study in the store.
            advice: the answer as JSON.

        Raises:
            StoreError: there is no such study.
        """
        with self._writing() as connection:
            known = connection.execute("SELECT 1 FROM studies WHERE study_id = ?", (study_id,))
            if known.fetchone() is None:
                raise self._no_study(connection, study_id)
            connection.execute(
                "INSERT OR REPLACE INTO advices (study_id, payload) VALUES (?, ?)",
                (study_id, advice),
            )

    def advice(self, study_id: str) -> str | None:
        """The answer of a study, None if there is none."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT payload FROM advices WHERE study_id = ?", (study_id,)
            ).fetchone()
            return None if row is None else str(row[0])

    def has_advice(self, study_id: str) -> bool:
        """Whether there is an answer of the study, also one that does not read."""
        with self._reading() as connection:
            found = connection.execute("SELECT 1 FROM advices WHERE study_id = ?", (study_id,))
            return found.fetchone() is not None
