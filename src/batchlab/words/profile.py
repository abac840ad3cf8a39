"""Profile: why a batch size has no step time or did not run."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    "size_did_not_run": "batch size {size} did not run: {why}",
    "ended_as": "{status:term}",
    "no_size_ran": "no batch size of the profile ran",
    "outside_profile": (
        "batch size {size} lies outside the measured {smallest} to {largest}; profile it"
    ),
    "beyond_memory_limit": (
        "it needs {peak_bytes:limit_bytes}, the memory limit is {limit_bytes:limit_bytes}; use a "
        "smaller micro-batch or batch size"
    ),
    # Why a batch size has no predicted memory.
    "no_dry_run": "batch size {size} had no dry run; name it in --batch-sizes",
    "no_peak_measured": "no batch size has both a dry run and a measured peak",
    "dry_run_needs_cpu": "memory is predicted only for the CPU, not for {device}",
    "heap_not_told": (
        "the C library does not tell how much it holds: it is not glibc 2.33 or newer, or another "
        "allocator stands in for it (LD_PRELOAD)"
    ),
    "step_needs_values": (
        "the training step uses values that only computing gives ({error}: {text})"
    ),
    "step_not_followed": (
        "the training step cannot be followed without computing it ({error}: {text})"
    ),
    "steps_differ": (
        "training steps differ from each other, or PyTorch cannot tell what one makes without "
        "running it ({text})"
    ),
}
