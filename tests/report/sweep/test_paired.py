"""How many more of the same held-out examples the best batch size is right about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.records.trial import RightExamples
from batchlab.report.sweep_claims import sentences
from batchlab.report.sweep_evidence import Evidence
from batchlab.report.sweep_tables import paired_table

N = 1000


def with_right(study, right_of, *, split="test"):
    """The study whose trials end with these examples right: of batch size and seed."""
    records = []
    for record in study.records:
        last = record.evaluations[-1]
        right = RightExamples.of(right_of(record.trial.batch_size, record.trial.seed))
        scores = tuple(
            replace(score, right=right)
            if (score.split, score.metric) == (split, "accuracy")
            else score
            for score in last.scores
        )
        last = replace(last, scores=scores)
        records.append(replace(record, evaluations=(*record.evaluations[:-1], last)))
    return replace(study, records=tuple(records))


def study(*, seeds: int = 3, **settings):
    """64 is the best on validation data, 32 and 256 are behind it."""
    behind = {32: 0.001, 64: 0.0, 256: 0.02}
    return made_up_study(
        batch_sizes=tuple(behind),
        seeds=seeds,
        curves=lambda b, rate, seed: made_up_curves(validation=0.97 - behind[b], rate=2.0),
        **settings,
    )


def right_of(batch_size: int, seed: int) -> np.ndarray:
    """All are wrong about the same 20; 32 changes two for two others, 256 misses 30 more."""
    right = np.ones(N, dtype=bool)
    right[:20] = False
    if batch_size == 32:
        right[:2], right[20:22] = True, False
    if batch_size == 256:
        right[500 : 530 + seed] = False
    return right


def said(study) -> str:
    return " ".join(s.text for s in sentences(study) if s.topic == "held-out examples")


def differences(study) -> dict[str, tuple[float, float, float]]:
    """Of each batch size beside the best how many more are right, at least and at most, in %."""
    table = paired_table(Evidence.of(study))
    return {row[0]: tuple(float(cell.removesuffix(" %")) for cell in row[1:]) for row in table.rows}


def test_the_best_on_validation_data_is_held_against_each_other_on_the_same_examples() -> None:
    found = with_right(study(), right_of)

    assert said(found) == (
        "On the same 1,000 test examples, batch size 64 (the best on validation data) is right "
        "more often than batch size 256; cannot be told from batch size 32."
    )
    assert differences(found)["batch size 256"][0] == 3.1
    assert differences(found)["batch size 32"][0] == 0


def test_where_another_is_right_more_often_the_best_on_validation_data_is_behind() -> None:
    behind = with_right(study(), lambda b, s: np.arange(N) >= {32: 0, 64: 200, 256: 100}[b] + s)

    assert "is right less often than batch sizes 32 and 256." in said(behind)


def test_what_may_be_none_is_said_not_to_be_told_apart() -> None:
    assert said(with_right(study(), right_of)).endswith("; cannot be told from batch size 32.")


def test_where_all_are_told_apart_nothing_of_that_is_said() -> None:
    far = with_right(study(), lambda b, s: np.arange(N) >= {32: 100, 64: 0, 256: 200}[b] + s)

    assert "cannot be told" not in said(far)
    assert "is right more often than batch sizes 32 and 256." in said(far)


def test_one_seed_tells_nothing() -> None:
    assert said(with_right(study(seeds=1), right_of)) == ""


def test_without_the_examples_nothing_is_said() -> None:
    assert said(study()) == ""


def test_one_batch_size_is_held_against_nothing() -> None:
    assert said(with_right(made_up_study(batch_sizes=(64,), seeds=3), right_of)) == ""


def test_trials_that_were_asked_about_unlike_examples_are_not_compared() -> None:
    mixed = with_right(study(), lambda b, s: right_of(b, s)[: N - (b == 256)])

    assert [*differences(mixed)] == ["batch size 32"]
    assert "256" not in said(mixed)


def test_of_several_the_intervals_are_wide_enough_for_all_of_them() -> None:
    three = with_right(study(), right_of)
    two = replace(three, records=tuple(r for r in three.records if r.trial.batch_size != 32))

    def width(study) -> float:
        _, low, high = differences(study)["batch size 256"]
        return high - low

    assert width(three) > width(two)


def test_without_test_data_nothing_is_said_for_the_best_was_chosen_on_the_others() -> None:
    assert said(with_right(study(n_test=0), right_of, split="validation")) == ""
