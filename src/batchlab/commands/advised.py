"""Advised: an advice with the runs and the profile that it rests on, as a store keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.commands.stored_advice import stored_advice
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
    """The advice of a stored study; None: it asked for none, or has none that reads.

    An answer that does not read is asked anew from its trials: by the same command.
    """
    advice = stored_advice(store, study.study_id)
    entries = () if advice is None else stored_journal(store, study.study_id)
    if advice is None or not entries or entries[0].profile is None:
        return None
    profile = Profile.from_json(entries[0].elsewhere or entries[0].profile)
    return Advised(advice=advice, study=study, profile=profile)
