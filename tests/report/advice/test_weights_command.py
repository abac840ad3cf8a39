from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study

from batchlab.report.advice_commands import weights_command


@pytest.mark.parametrize(
    ("command", "store"),
    [
        ("batchlab advise mine.py:workload --budget 5m", []),
        ("batchlab advise mine --store 'my lab.db' --budget 5m", ["--store", "my lab.db"]),
        ("batchlab advise mine --store=lab.db", ["--store", "lab.db"]),
        ("batchlab.advise('mine', ...)", []),
    ],
)
def test_the_command_names_the_store_and_the_study_that_were_asked(
    command: str, store: list[str]
) -> None:
    study = replace(made_up_study(), command=command, study_id="0123456789abcdef")

    words = shlex.split(weights_command(study))

    assert words == ["batchlab", "weights", *store, "--study", "01234567"]
