"""What an advice says is true of what it names, of what it compares with, and of its objective."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import (
    KINDS,
    made_up_advice,
    tried,
    with_belief,
    with_endings,
)

from batchlab.advice.advice import Advice
from batchlab.report.advice_answer import advice_sentences

ADVICE = made_up_advice()
STUDY = replace(made_up_study(), command="batchlab advise mine.py:f --budget 2m")


def said(advice: Advice) -> dict[str, str]:
    return {sentence.topic: sentence.text for sentence in advice_sentences(advice, None)}


def ends_at(
    named: float, tuned: float, *, n: int = 1, scatter: float = 0.0002, **changes: object
) -> Advice:
    """Whole trainings of what is named and of the user's batch size at its best rate."""
    runs = []
    for at, end, met in ((ADVICE.named, named, 100.0), (ADVICE.reference_tuned, tuned, 400.0)):
        for seed in range(n):
            run = tried(at.batch_size, rate=at.learning_rate, met=met, seed=seed, steps=1000)
            runs.append(replace(run, end=end + scatter * (-1) ** seed))
    return with_belief(replace(ADVICE, tried=tuple(runs), chance=0.9, **changes))


@pytest.mark.parametrize(
    ("n_validation", "topic"), [(None, "ends best"), (500, "still open"), (100, "still open")]
)
def test_few_validation_examples_do_not_tell_ends_apart(n_validation, topic) -> None:
    found = said(ends_at(0.93, 0.95, n_validation=n_validation))

    assert {"ends best", "still open"} & found.keys() == {topic}


def test_what_would_tell_is_the_command_with_room_for_so_many_more_trainings() -> None:
    advice = ends_at(0.9490, 0.9514, n=4, scatter=0.002)
    step_s = [ADVICE.candidate(size).step_s.estimate for size in (64, 1024)]

    (open_,) = [each for each in advice_sentences(advice, STUDY) if each.topic == "still open"]

    minutes = int(re.search(r"--budget (\d+)m$", open_.command)[1])
    budgets_s = [ADVICE.spent_s + more * 1000 * sum(step_s) for more in range(1, 9)]
    assert open_.command.startswith("batchlab advise mine.py:f ")
    assert said(advice)["still open"] == open_.text  # where the command is not known, too
    assert minutes in {math.ceil(budget_s / 60) for budget_s in budgets_s}


# Sentences that must not stand side by side.
CONTRADICT = (
    ("ends as well: sure", "Open: whether 64 at"),
    ("ends best", "Open: whether"),
    ("how it ends was not seen", "ends best"),
    ("how it ends was not seen", "Open: whether"),
    ("Nothing else that was trained is likely to be faster", "As fast within"),
    ("Stay with", "too low"),
    ("There is no answer yet", "× as fast"),
)
ENDS = (None, (0.0004, "no_worse"), (-0.0006, "open"), (-0.01, "worse"), (0.01, "no_worse"))


@pytest.mark.slow
def test_no_two_sentences_of_one_advice_contradict_each_other() -> None:
    """Over 200 advices: every kind with other ends, gains, chances and references."""
    pages = []
    for kind, end, usual, chance in itertools.product(
        KINDS, ENDS, (False, True), (0.55, 0.85, 0.97)
    ):
        advice = KINDS[kind]()
        if end is not None and advice.named is not None and advice.endings is None:
            advice = with_endings(advice, better_by=end[0], verdict=end[1])
        advice = replace(advice, is_usual=usual, chance=chance)
        pages.append(" ".join(map(str, advice_sentences(advice, STUDY))))

    assert len(pages) > 200
    pairs = itertools.product(CONTRADICT, pages)
    assert [(pair, page) for pair, page in pairs if all(each in page for each in pair)] == []
