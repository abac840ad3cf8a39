"""ResearcherTerms: what the terms of the folded sentences mean, one plain sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from batchlab.report.parts.sentence import Sentence
from batchlab.words.catalogue import text

# The same terms, at more length, are in docs/glossary.md.
TERMS: dict[str, str] = {
    "critical batch size": (
        "The batch size at which the target takes twice the fewest steps. Beyond it, larger "
        "batches save few steps."
    ),
    "B_crit": "The critical batch size, in formulas.",
    "B": "The batch size.",
    "S": "The steps to the target.",
    "S_min": "The fewest steps to the target, with very large batches.",
    "E_min": "The fewest examples to the target, with very small batches.",
    "p": (
        "How often chance alone would put the runs this far from the law, if the law were true. "
        "Below 0.05 the law is rejected."
    ),
    "exponent": "How sharply the steps level off as batches grow. In the usual law it is 1.",
    "tuned rate": "The learning rate that was best for a batch size in the search.",
    "scaling rule": (
        "A rule of thumb that guesses the learning rate for another batch size: none keeps it, "
        "linear grows it with the batch size, sqrt with its square root."
    ),
}


def researcher_terms(said: Iterable[Sentence]) -> tuple[tuple[str, str], ...]:
    """The terms that stand in these sentences, each with what it means.

    Args:
        said: the sentences that are shown together with the terms.

    Returns:
        Pairs of a term and one or two plain sentences, in the order of a reader's questions.
    """
    words = " ".join(str(sentence) for sentence in said)
    return tuple(
        (text(term), text(meaning)) for term, meaning in TERMS.items() if _stands_in(term, words)
    )


def _stands_in(term: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(text(term))}s?(?!\w)", words) is not None
