"""Terms: single words that records hold as keys, as people read them."""

from __future__ import annotations

from batchlab.words.message import N_

TERMS: dict[str, str] = {
    # How a trial ended.
    "ok": N_("ok"),
    "target_reached": N_("target_reached"),
    "diverged": N_("diverged"),
    "nan": N_("nan"),
    "oom": N_("oom"),
    "timeout": N_("timeout"),
    "killed": N_("killed"),
    "error": N_("error"),
    # Verdicts of an advice.
    "recommend": N_("recommend"),
    "better": N_("better"),
    "indifferent": N_("indifferent"),
    "cannot_tell": N_("cannot_tell"),
    # What is asked to be best.
    "time": N_("time to target"),
    "samples": N_("examples to target"),
    "quality": N_("remaining error"),
    # The parts of the data.
    "train": N_("train"),
    "validation": N_("validation"),
    "test": N_("test"),
    # Other targets.
    "easier": N_("easier"),
    "harder": N_("harder"),
}
