"""The run file, batchlab.toml."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from batchlab.errors import UsageError
from batchlab.script.run_file import read_run_file


def read(folder: Path, text: str) -> dict[str, Any]:
    (folder / "batchlab.toml").write_text(text)
    return read_run_file(folder / "batchlab.toml")


WHOLE = """
command = ["python", "train.py", "--bs", "{batch_size}"]
metric = "val_loss"
better = "lower"
examples = 50000
batch-size = 64
learning_rate = 1
batch_sizes = [32, 128, "full"]
learning_rates = [1e-3, 0.003]
seeds = 2
epochs = 10
steps = 100
target = "val_loss=0.4"
budget = "30m"
pattern = 'loss (?P<val_loss>\\S+)'
config = "conf/c.yaml"
cwd = "."
"""


def test_a_whole_file_is_read(tmp_path):
    found = read(tmp_path, WHOLE)

    assert found == tomllib.loads(WHOLE.replace("batch-size", "batch_size")) | {
        "config": (tmp_path / "conf/c.yaml").resolve(),
        "cwd": tmp_path.resolve(),
    }
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrik = 'a'", "unknown key 'metrik'; there are command, metric, "),
        ("batch_size = 1\nbatch-size = 2", "batch-size is given twice"),
        ("a = 1\nb = [1,\n", r"is not valid TOML: .*\(at "),
        (
            "command = 'python train.py --bs {batch_size}'",
            r"expected a list of texts, as in \['python', 'train.py', '--bs', '\{batch_size\}'\]",
        ),
        ("command = []", "expected a list of texts"),
        ("\udcff", "is not valid TOML: .*utf-8"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "batchlab.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(UsageError, match=said) as refused:
        read_run_file(file)

    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)
