"""Term text: single words that records hold as keys, as people read them."""

from __future__ import annotations

from batchlab.report.parts.quantity_text import label_text
from batchlab.words.catalogue import TERMS, text

# What a study compares, beside the keys that all records share.
_OWN = {
    "training": "training",
    "unfinished": "unfinished",
    "epochs": "epochs",
    "steps": "steps",
    "time": "time",
    "mini": "mini",
    "full": "full",
    "stochastic": "stochastic",
    "mean": "mean",
    "recommended": "recommended",
    "reference, tuned": "tuned rate only",
    "reference": "reference",
}


def term_text(key: str) -> str:
    """A key as people read it.

    Args:
        key: a split, a status, what two batch sizes have equal, or a part in an answer.
    """
    return text(_OWN.get(key) or TERMS[key])


def split_label(split: str, metric: str) -> str:
    """A metric of a split, as a column or a panel is called: "train accuracy"."""
    return text("{split} {metric}", split=term_text(split), metric=label_text(metric))
