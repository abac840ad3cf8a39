"""What is said of a workload before any training."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reference.told import Told
from tests.reference.user_file import write_user_file

from batchlab.app.budget import Budget
from batchlab.app.subject import PreparedWorkload
from batchlab.processes import packed_workload
from batchlab.workload.loading import load_workload


def test_the_record_says_that_data_are_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_workload, "_MOST_PICKLED_BYTES", 16_000)
    rows = "train=[([k / 7] * 4, k % 3) for k in range(800)], collate=together"
    before = (
        "def together(rows):\n"
        "    return torch.tensor([x for x, _ in rows]), torch.tensor([y for _, y in rows])\n"
    )
    loaded = load_workload(write_user_file(tmp_path, before=before, fields=rows), {})
    told = Told()
    prepared = PreparedWorkload(loaded, device="cpu", budget=Budget(None), listener=told)

    summary = prepared.summary(None)

    said = [text for text in summary.warnings if "each training loads them anew" in text]
    assert len(said) == 1
    assert summary.n_train == 800
