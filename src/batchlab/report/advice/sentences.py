"""Advice sentences: the answer and what it rests on, in words that follow the numbers.

A ratio is called larger or smaller only where its whole 95 % interval is.
"""

from __future__ import annotations

from collections.abc import Callable

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice.told import Told
from batchlab.report.advice.topics.answer import answer, flat_set, how_sure, missing
from batchlab.report.advice.topics.ending import ending, trained_model
from batchlab.report.advice.topics.gain import break_even, gain, gain_from_batch_size
from batchlab.report.advice.topics.laws import critical_batch_size, law_of_steps, rules
from batchlab.report.advice.topics.reason import why
from batchlab.report.advice.topics.targets import other_targets, when_to_stop
from batchlab.report.advice.topics.usual_sizes import usual_sizes
from batchlab.report.parts.sentence import Sentence


def advice_sentences(advice: Advice, study: Study) -> tuple[Sentence, ...]:
    """Everything that can be said of an advice, the answer first; caveats are not among them.

    Args:
        advice: the advice.
        study: what it is about, and the command that asked.

    Returns:
        The sentences in reading order, each with its topic.
    """
    told = Told(advice=advice, study=study)
    said = (tell(told) for tell in TOLD)
    return tuple(sentence for sentence in said if sentence is not None)


# In the words of researchers: the page folds them away, with what their terms mean.
RESEARCH_TOPICS = frozenset({"critical batch size", "law of the steps", "scaling rules"})

TOLD: tuple[Callable[[Told], Sentence | None], ...] = (
    answer,
    why,
    how_sure,
    missing,
    flat_set,
    ending,
    gain,
    gain_from_batch_size,
    usual_sizes,
    when_to_stop,
    trained_model,
    other_targets,
    break_even,
    critical_batch_size,
    law_of_steps,
    rules,
)
