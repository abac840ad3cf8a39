"""The table of wrong calls in Python, wrong_calls.txt: each is told in the line that stands there.

What the command line can be given as wrong is in tests/cli/wrong_inputs.txt; what is wrong in a
workload itself in tests/workload/refused.txt.
"""

import re
from pathlib import Path

import pytest
from tests.reference.tiny_workload import tiny
from torch import nn

import batchlab
from batchlab.errors import BatchlabError

TABLE = Path(__file__).with_name("wrong_calls.txt")
ROWS = re.findall(r"^>>> ((\w+)\((.*)\))\n(.+)$", TABLE.read_text("utf-8"), re.M)


@pytest.mark.parametrize(("call", "name", "given", "told"), ROWS, ids=[row[0] for row in ROWS])
def test_a_wrong_call_is_told_in_this_line_and_leaves_no_file(
    call, name, given, told, tmp_path, monkeypatch, children
):
    monkeypatch.chdir(tmp_path)
    named = {"tiny": tiny, "nn": nn, "batchlab": batchlab}
    arguments = {"workload": tiny()} | eval(f"dict({given})", named)

    with pytest.raises(BatchlabError) as caught:
        getattr(batchlab, name)(**arguments)

    assert str(caught.value) == told
    assert children == []
    assert list(tmp_path.iterdir()) == []


def test_the_table_has_calls_of_every_name():
    names = {name for _, name, _, _ in ROWS}

    assert TABLE.read_text("utf-8").count(">>> ") == len(ROWS) >= 40
    assert names == {"advise", "sweep", "profile", "noise", "check"}
