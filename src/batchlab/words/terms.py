"""Terms: single words that records hold as keys, as people read them."""

from __future__ import annotations

TERMS: dict[str, str] = {
    # How a trial ended.
    "ok": "ok",
    "target_reached": "target_reached",
    "diverged": "diverged",
    "nan": "nan",
    "oom": "oom",
    "timeout": "timeout",
    "killed": "killed",
    "error": "error",
    # Verdicts of an advice.
    "recommend": "recommend",
    "better": "better",
    "indifferent": "indifferent",
    "cannot_tell": "cannot_tell",
    # What is asked to be best.
    "time": "time to target",
    "samples": "examples to target",
    "quality": "remaining error",
    # The parts of the data.
    "train": "train",
    "validation": "validation",
    "test": "test",
    # Other targets.
    "easier": "easier",
    "harder": "harder",
}
