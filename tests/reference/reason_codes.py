"""The codes of a reason: what a test asserts in place of its words."""

from batchlab.records.estimate import Reason, Value


def codes(reason: Value) -> set[str]:
    if isinstance(reason, tuple):
        return {code for part in reason for code in codes(part)}
    if not isinstance(reason, Reason):
        return set()
    return {reason.code}.union(*(codes(value) for _, value in reason.values))
