from __future__ import annotations

from tests.reference.made_up import made_up_study

from batchlab.records.trial import Status
from batchlab.report import text_report


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_a_batch_size_has_its_rate_metrics_gap_step_time_and_memory_in_one_line():
    study = made_up_study(batch_sizes=(64, 256), step_s=lambda batch_size: 0.002)
    record = study.records[0]
    finals = [record.final(split, "accuracy") for split in ("train", "validation", "test")]

    words = line_of(text_report(study), "64").split()

    assert words[:3] == ["64", "0.01", "1"]
    assert [float(word) for word in words[3:6]] == [round(final, 4) for final in finals]
    assert words[7:] == ["2", "ms", "32", "k/s", "30.1", "MB"]


def test_curves_of_all_batch_sizes_share_one_scale():
    text = text_report(made_up_study(batch_sizes=(64, 1024)))

    bars = {line.split()[0]: line.split()[1] for line in text.splitlines() if "█" in line[4:]}
    worst = [line for line in text.splitlines() if line.strip().startswith("1024  ▁")]

    assert bars["64"].endswith("█")
    assert worst


def test_trials_that_ended_badly_are_listed_with_their_reason():
    study = made_up_study(
        batch_sizes=(64,), seeds=2, endings={(64, 0.01, 1): (Status.OOM, "needed 9 GB of 8", 2)}
    )

    text = text_report(study)

    assert "2 trials: 1 ok, 1 oom." in text
    assert "seed 1: oom at epoch 2: needed 9 GB of 8" in " ".join(text.split())


def test_several_rates_have_a_table_of_their_own():
    one, two = made_up_study(), made_up_study(learning_rates=(0.01, 0.1))

    assert "by batch size and learning rate" not in text_report(one)
    assert "by batch size and learning rate" in text_report(two)


def test_a_study_without_trials_says_so():
    assert "No trial has been run." in text_report(made_up_study(batch_sizes=()))
