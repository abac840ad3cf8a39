"""A large study, which takes minutes."""

import csv
import time

import pytest

from batchlab.app.sweep import sweep
from batchlab.report.sweep_page import html_page, sweep_files, text_report

pytestmark = pytest.mark.nightly


BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, "full")
LEARNING_RATES = tuple(0.002 * 2**octave for octave in range(8))
SEEDS = 5
LARGEST_PAGE_BYTES = 25_000_000


def test_a_sweep_of_360_trials_has_all_of_them_in_its_report_and_its_files(tmp_path):
    study = sweep(
        "least-squares",
        batch_sizes=BATCH_SIZES,
        learning_rates=LEARNING_RATES,
        seeds=SEEDS,
        epochs=3,
        store=tmp_path / "large.db",
    )
    n_trials = len(BATCH_SIZES) * len(LEARNING_RATES) * SEEDS
    page = tmp_path / "large.html"

    started_s = time.monotonic()
    page.write_text(html_page(study))
    files = {name: table.to_csv() for name, table in sweep_files(study).items()}
    print(f"written in {time.monotonic() - started_s:.1f} s, page {page.stat().st_size} bytes")

    assert len(study.records) == n_trials
    assert page.stat().st_size < LARGEST_PAGE_BYTES
    assert str(n_trials) in text_report(study)
    trials = {row["trial_id"] for row in csv.DictReader(files["trials"].splitlines())}
    assert trials == {record.trial.trial_id for record in study.records}
