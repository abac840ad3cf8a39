"""Compare: `batchlab.compare` finds which differences between two studies exceed noise."""

from __future__ import annotations

from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.app.argument_values import read_profile
from batchlab.app.comparison import Side, compared
from batchlab.app.report import Advised, stored_in, study_of
from batchlab.errors import UsageError
from batchlab.measure.profile import Profile
from batchlab.records.study import Study
from batchlab.report.short_reports import Comparison
from batchlab.store.store import Store

Comparable = Study | Advice | Profile | str | Path


def compare(a: Comparable, b: Comparable, *, store: str | Path = "batchlab.db") -> Comparison:
    """Compare two studies; return differences, with intervals that show which exceed noise.

    Args:
        a: a study, an advice or a profile; or the path of a store (its last study is used) or of
            a .json file by `batchlab profile --json`; or the start of a study's id in `store`.
        b: the other study, in any form that `a` may have.
        store: the SQLite file in which ids are looked up.

    Raises:
        BatchlabError: `a` and `b` are the same, or one of them has no study, answer or profile.
    """
    one, other = _side(a, Path(store)), _side(b, Path(store))
    if (one.study, one.profile) == (other.study, other.profile):
        raise UsageError(f"A and B are both {one.name}; give another study to compare it with")
    return compared(one, other)


def _side(given: Comparable, store: Path) -> Side:
    """Return a side of the comparison; an advice, a path or an id is looked up on disk."""
    study = None
    if isinstance(given, Study):
        return Side(name=f"study {given.study_id}", study=given)
    if isinstance(given, Profile):
        return Side(name=f"a profile of {given.workload.name}", profile=given)
    if isinstance(given, Advice):
        if given.kept_in is None:
            raise UsageError("this advice does not know where its runs are; give its store instead")
        store, study = Path(given.kept_in[0]), given.kept_in[1]
    elif (path := Path(given)).suffix == ".json":
        return Side(name=str(path), profile=read_profile(path))
    elif path.exists() or path.suffix or len(path.parts) > 1:
        store = path
    elif store.exists():
        study = str(given)
    else:
        raise UsageError(
            f"{given}: no file, and no store at {store} to look such a study up in; give --store"
        )
    with Store.existing(store) as opened:
        shown = stored_in(opened, study)
        name = f"study {study_of(shown).study_id} of {store}"
        if isinstance(shown, Advised):
            return Side(name=name, study=shown.study, profile=shown.profile, advice=shown.advice)
        if shown.awaits_answer:
            raise UsageError(f"{name} has no answer yet; to go on: {shown.command}")
    return Side(name=name, study=shown)
