"""FewTrainings: a study whose budget has a handful of whole trainings ends with a race.

There is nothing in it to value a batch size with on seeds of its own. What wins a race of single
runs is followed on fresh seeds with what is left, and named for now: nothing is certain.
"""

from __future__ import annotations

from dataclasses import replace

from batchlab.advice.conclusion import Conclusion, take_out
from batchlab.advice.end_level import EndLevel, end_so_far
from batchlab.advice.endings import endings_of
from batchlab.advice.lattice import Lattice
from batchlab.advice.race import Race
from batchlab.advice.race_gain import race_gain
from batchlab.advice.run_log import CellKey, steps_to
from batchlab.advice.study_state import StudyState
from batchlab.advice.tuning import RateSearch
from batchlab.advice.verification import Verification, nothing_verified
from batchlab.advice.verification_runs import reference_cell
from batchlab.advice.verify import verify
from batchlab.advice.whole_training import has_fewer_left
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

# With so many whole trainings of the reference left after the pilot, more can be shown than by a
# race.
_ENOUGH = 8.0
# What is soonest to the level at which a pilot was cut in this first part of a planned training, or
# anywhere if no end is planned, often has a rate too high for the end: so many octaves lower is
# named (docs/regret.md).
_EARLY = 0.15
_OCTAVES_LOWER = 1


def end_to_race_to(state: StudyState, *, at_once: int) -> EndLevel | None:
    """What the pilot ended with, or was at when it was cut.

    Args:
        state: the runs; the target is set.
        at_once: how many single runs go side by side.

    Returns:
        None where the budget has trainings for more than a race, or a target was given.
    """
    question, run_log = state.question, state.run_log
    record = run_log.records.get((*reference_cell(state), state.seeds.tune[0]))
    is_asked = question.target is None and question.objective == "time"
    if not is_asked or run_log.until is None or record is None or record.has_failed:
        return None
    if state.end is None:
        return end_so_far(question, record)
    return state.end if has_fewer_left(state, _ENOUGH, at_once=at_once) else None


def concluded_by_race(state: StudyState, end: EndLevel) -> Conclusion:
    """The winner of a race, if it does not seem to end worse on fresh seeds; else the next.

    Where the pilot was cut far from the end, half of the rate that was soonest is named.
    """
    reference = reference_cell(state)
    # Of what the exact comparison needs later nothing is needed here.
    state.run_log.needed_later = tuple
    why = Reason.of("single_runs")
    race = Race(state=state, end=end)
    for cell in race.run():
        if cell == reference:
            break
        verification = _followed(state, cell)
        endings = verification.endings
        if endings is None or not endings.gives_way:
            state.ruled_out.pop(cell[0], None)  # another rate of it was
            named = _lower(state, cell) if _is_early(state) else cell
            return Conclusion(
                raced=named,
                soonest=cell,
                gain=_gain(state, race, named),
                verification=verification,
                reason=why,
            )
        take_out(state, endings)
        del state.tuned[cell[0]]
    return Conclusion(raced=reference, reason=why)


def _gain(state: StudyState, race: Race, named: CellKey) -> Estimate | None:
    """How many times as long the reference takes, as far as single runs say so."""
    seen = race.times_as_long(named)
    return None if seen is None else race_gain(seen, end_was_seen=state.end is not None)


def _is_early(state: StudyState) -> bool:
    """Whether the level is one that a training meets long before its end."""
    if state.end is not None:
        return False
    pilot = state.run_log.records[(*reference_cell(state), state.seeds.tune[0])]
    return pilot.steps < _EARLY * state.run_log.longest_steps(pilot.trial.batch_size)


def _lower(state: StudyState, cell: CellKey) -> CellKey:
    size, rate = cell
    lattice = Lattice.of(state.run_log)
    octave = lattice.nearest(size, lattice.octave_of(rate) - _OCTAVES_LOWER)
    return size, min(rate, lattice.rate(octave))


def _followed(state: StudyState, cell: CellKey) -> Verification:
    """What fresh seeds say, as far as the budget reaches; else how it ended on the race's seed."""
    (size, rate), seed = cell, state.seeds.tune[0]
    assert state.run_log.until is not None
    cost = steps_to(state.run_log.records[*cell, seed], state.run_log.until)
    state.tuned[size] = RateSearch(
        run_log=state.run_log, batch_size=size, learning_rate=rate, learning_cost=cost
    )
    if state.end is None:
        return nothing_verified(size)
    found = verify(state, size)
    if found.endings is not None:
        return found
    return replace(
        found,
        endings=endings_of(
            state,
            (seed,),
            recommended=cell,
            reference=reference_cell(state),
            tuned=None,
            n_looks=1,
        ),
    )
