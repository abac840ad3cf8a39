"""PredictedText: in words, what dry runs predict of the memory, and how near they came."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.profiling.profile import Profile
from batchlab.words.catalogue import number_text, text
from batchlab.words.reasons import reason_text


def predicted_text(profile: Profile) -> Iterator[str]:
    """A sentence or more; nothing where no memory was to be predicted."""
    if not profile.dry_runs:
        return
    start = profile.predicted_from
    if start is not None:
        said = text(
            "Predicted memory starts from what batch size {start} took. Dry runs tell how much "
            "more or less the others ask for.",
            start=start,
        )
        yield " ".join([said, *_off_text(profile, start)])
    yield from _of_those_that_did_not_run(profile)
    yield from _unknown_text(profile)


def _off_text(profile: Profile, start: int) -> Iterator[str]:
    """How far it is off where it can be compared."""
    off = [
        abs(predicted / point.peak_bytes - 1)
        for point in profile.points
        if point.in_one_piece and point.peak_bytes and point.batch_size != start
        if (predicted := profile.predicted_bytes(point.batch_size).estimate) is not None
    ]
    if off:
        yield text("It is at most {off:.0f} % off what was measured.", off=100 * max(off))


def _of_those_that_did_not_run(profile: Profile) -> Iterator[str]:
    measured = {
        point.batch_size
        for point in profile.points
        if point.in_one_piece and point.peak_bytes is not None
    }
    told = [
        text("{predicted:peak_bytes} at {size}", predicted=predicted, size=dry.batch_size)
        for dry in profile.dry_runs
        if dry.batch_size not in measured
        if (predicted := profile.predicted_bytes(dry.batch_size).estimate) is not None
    ]
    if told:
        yield text("Those that did not run would take {told} in one piece.", told=", ".join(told))


def _unknown_text(profile: Profile) -> Iterator[str]:
    """Each reason once, with the batch sizes that it is of."""
    sizes: dict[str, list[str]] = {}
    for dry in profile.dry_runs:
        reason = profile.predicted_bytes(dry.batch_size).reason
        if reason is not None:
            sizes.setdefault(reason_text(reason), []).append(number_text(dry.batch_size, ""))
    for why, those in sizes.items():
        yield text(
            "Memory of batch size {sizes} without running it: cannot tell ({reason}).",
            sizes=", ".join(those),
            reason=why,
        )
