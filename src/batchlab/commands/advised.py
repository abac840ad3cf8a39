"""Advised: an advice with the runs and the profile that it rests on, as a store keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.engines.journal import stored_journal
from batchlab.profiling.profile import Profile
from batchlab.records.study import Study
from batchlab.store.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Advised:
    """An advice with its evidence.

    Attributes:
        advice: the answer.
        study: the training runs behind it, and what was trained.
        profile: the step times and memory behind it, of this machine or of another.
    """

    advice: Advice
    study: Study
    profile: Profile


def advice_of(store: Store, study: Study) -> Advised | None:
    """The advice that a stored study ended with; None: it did not, or it asked for none."""
    decisions = stored_journal(store, study.study_id)
    if not decisions or decisions[-1].advice is None or decisions[0].profile is None:
        return None
    profile = Profile.from_json(decisions[0].elsewhere or decisions[0].profile)
    return Advised(advice=decisions[-1].advice, study=study, profile=profile)
