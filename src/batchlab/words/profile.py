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
    # Why a batch size has no predicted memory.
    "no_dry_run": N_("batch size {size} had no dry run; name it in --batch-sizes"),
    "no_peak_measured": N_("no batch size has both a dry run and a measured peak"),
    "dry_run_needs_cpu": N_("memory is predicted only for the CPU, not for {device}"),
    "heap_not_told": N_(
        "the C library does not tell how much it holds: it is not glibc 2.33 or newer, or another "
        "allocator stands in for it (LD_PRELOAD)"
    ),
    "step_needs_values": N_(
        "the training step uses values that only computing gives ({error}: {text})"
    ),
    "step_not_followed": N_(
        "the training step cannot be followed without computing it ({error}: {text})"
    ),
    "steps_differ": N_(
        "training steps differ from each other, or PyTorch cannot tell what one makes without "
        "running it ({text})"
    ),
}
