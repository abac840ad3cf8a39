from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up_advice import advice_study, made_up_advice

from batchlab.advice.advice import RateTried
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_tables import candidates_table, cost_table, expected_table

ADVICE = made_up_advice()


def tried(purpose, *, seed=0, steps=100) -> RateTried:
    return RateTried(
        batch_size=64,
        learning_rate=0.05,
        seed=seed,
        purpose=purpose,
        status="target_reached",
        steps=steps,
        steps_to_target=steps,
    )


def columns(table) -> list[dict]:
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, row, strict=True)) for row in table.rows]


def test_a_run_that_goes_on_for_another_purpose_costs_once():
    runs = (tried("pilot"), tried("tune", steps=150), tried("tune", seed=1))
    advice = replace(ADVICE, tried=runs)

    pilot, tune = columns(cost_table(advice, advice_study(advice)))

    assert (pilot["runs"], pilot["steps"]) == (1, 100)
    assert (tune["runs"], tune["steps"], tune["samples"]) == (1, 100, 6400)


def test_the_seconds_are_those_of_the_records_or_not_known():
    advice = replace(ADVICE, tried=(tried("tune"), tried("tune", seed=1)))
    study = advice_study(advice)

    (whole,) = columns(cost_table(advice, study))
    (partial,) = columns(cost_table(advice, replace(study, records=study.records[:1])))

    assert whole["train_s"] == sum(r.train_s + r.eval_s for r in study.records)
    assert "train_s" not in partial


def test_what_cannot_be_told_of_the_expected_is_left_out():
    expected = replace(
        ADVICE.expected, peak_bytes=Estimate.cannot_tell(Reason.as_written("not reported"))
    )

    labels = [row["quantity"] for row in columns(expected_table(expected))]

    assert labels == ["time to target", "steps", "epochs", "samples"]


def test_the_candidates_have_their_bound_and_whether_they_are_inside():
    rows = {row["batch_size"]: row for row in columns(candidates_table(ADVICE))}

    assert rows[1024]["flat"] == "yes"
    assert rows[64]["flat"] == ""
    assert rows[64]["relative_high"] > 1.1 >= rows[512]["relative_high"]
