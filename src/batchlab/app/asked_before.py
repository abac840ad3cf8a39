"""Asked before: the answer to the same question with another budget, and what has changed since."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress

from batchlab.advice.advice import Advice, Configuration, Step
from batchlab.app.report import stored_advice
from batchlab.errors import BatchlabError
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Reason
from batchlab.runs.replay import stored_journal
from batchlab.store.store import Store

SAME = 8
"""So many characters at the end of a study's id are its question's, whatever the budget."""


def earlier_answer(store: Store, study_id: str, place: str | None) -> Advice | None:
    """The last answer to the same question with another budget, for the same kind of machine."""
    asked = [other for other, _, _ in store.studies() if other[-SAME:] == study_id[-SAME:]]
    for other in reversed(asked):
        found = None if other == study_id else stored_advice(store, other)
        if found is not None and _place_of(store, other) == place:
            return found
    return None


def _place_of(store: Store, study_id: str) -> str | None:
    """The machine that its step times are of; None: it is not told, or does not read any more."""
    with suppress(BatchlabError):
        for entry in stored_journal(store, study_id):
            if made := entry.elsewhere or entry.profile:
                return Profile.from_json(made).place
    return None


def kept_from(earlier: Advice | None) -> Configuration | None:
    """What it named, where that is not the user's own."""
    if earlier is None or earlier.named is None or earlier.named.is_same(earlier.reference):
        return None
    return earlier.named


def another_is_named(advice: Advice, earlier: Advice | None) -> Iterator[Step]:
    """That something else is named than before, and why."""
    now, was = advice.named, None if earlier is None else earlier.named
    if earlier is None or was is None or now is None or now.is_same(was):
        return
    before, times = advice.candidate(was.batch_size), _times_sooner(advice, now, was)
    why = Reason.of("more_runs_since", now=_called(now))
    if times > 1:
        why = Reason.of("takes_less", now=_called(now), times=times)
    elif before is not None and before.cost.estimate is None:
        why = before.note or why
    did = Reason.of("name_another", now=_called(now))
    why = Reason.of("named_before", budget_s=earlier.budget_s, was=_called(was), why=why)
    yield Step(spent_s=advice.spent_s, did=did, why=why)


def _called(found: Configuration) -> Reason:
    return Reason.of("a_configuration", size=found.batch_size, rate=found.learning_rate)


def _times_sooner(advice: Advice, now: Configuration, was: Configuration) -> float:
    """How many times less it takes to the target on the seeds that both met it on; nan: none."""
    steps_s = {each.batch_size: each.step_s.estimate or math.nan for each in advice.candidates}
    of_now, of_was = (
        {
            run.seed: run.steps_to_target * steps_s[run.batch_size]
            for run in advice.tried
            if run.steps_to_target
            and (run.batch_size, run.learning_rate) == (found.batch_size, found.learning_rate)
        }
        for found in (now, was)
    )
    both = of_now.keys() & of_was.keys() if advice.objective == "time" else ()
    if not both:
        return math.nan
    return sum(of_was[seed] for seed in both) / sum(of_now[seed] for seed in both)
