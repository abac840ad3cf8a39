"""Profile: why a batch size has no step time or did not run."""

from __future__ import annotations

from batchlab.words.message import N_, Message

MESSAGES: dict[str, Message] = {
    "size_did_not_run": N_("batch size {size} did not run: {why}"),
    "ended_as": N_("{status:term}"),
    "no_size_ran": N_("no batch size of the profile ran"),
    "outside_profile": N_(
        "batch size {size} lies outside the measured {smallest} to {largest}; profile it"
    ),
    "beyond_memory_limit": N_(
        "it needs {peak_bytes:limit_bytes}, the memory limit is {limit_bytes:limit_bytes}; use a "
        "smaller micro-batch or batch size"
    ),
}
