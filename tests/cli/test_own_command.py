"""A command of one's own on the command line, and the same from a batchlab.toml."""

import json
import sys
from pathlib import Path

import pytest
from tests.reference.training_script import TIMED_SOURCE, training_script

pytestmark = pytest.mark.slow

OWN = ("--", sys.executable, "-I", "-S", "-u", "train.py", "--batch-size", "{batch_size}")
RATE = ("--lr", "{learning_rate}", "--seed", "{seed}")
TOLD = ("--metric", "val_loss", "--examples", "2000", "--batch-size", "16")


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("batchlab.measure.command_time._TIMED_S", 0.3)
    training_script(tmp_path)
    return tmp_path


def test_a_file_says_the_same_as_the_command_line(do, script):
    shorter = (script / "train.py").read_text().replace("default=40", "default=3")
    (script / "train.py").write_text(shorter)
    sweep = ("sweep", *TOLD, "--learning-rate", "0.1", "--batch-sizes", "16,64", "--json")
    command = json.dumps([*OWN[1:], *RATE])
    (script / "batchlab.toml").write_text(
        f'command = {command}\nmetric = "val_loss"\nexamples = 2000\nbatch_size = 16\n'
        "learning_rate = 0.1\nbatch_sizes = [16, 64]\nepochs = 1\n"
    )

    document = do(*sweep, "--report", "page.html", "--epochs", "1", *OWN, *RATE).document
    unnamed = do("sweep", "--json", "--batch-sizes", "64").document
    named = do("sweep", "batchlab.toml", "--json").document
    whole, again = (do(*sweep, *OWN, *RATE).document["trials"] for _ in range(2))

    assert document["workload"]["name"] == "train.py"
    assert document["workload"]["n_validation"] is None
    assert {(trial["engine"], trial["status"]) for trial in document["trials"]} == {
        ("command", "ok")
    }
    assert [trial["steps"] for trial in document["trials"]] == [126, 32]  # told at every second
    assert "train.py" in (script / "page.html").read_text()
    assert named["trials"] == document["trials"]  # nothing was trained again
    assert [trial["batch_size"] for trial in unnamed["trials"]] == [64]
    # Without a length a script trains as long as it does by itself.
    assert [trial["steps"] for trial in whole] == [374, 96]
    assert {trial["status"] for trial in whole} == {"ok"}
    assert again == whole


def test_a_profile_needs_no_metric_and_measures_no_batch_size_that_nobody_named(do, script):
    training_script(script, source=TIMED_SOURCE)
    profile = ("profile", "--examples", "2000", "--batch-sizes", "16,32")

    points = do(*profile, "--budget", "8s", "--json", *OWN).document["points"]

    assert [(point["batch_size"], point["status"]) for point in points] == [(16, "ok"), (32, "ok")]
    assert all(point["peak_bytes"] > 1e6 for point in points)


def test_a_command_is_advised_on_and_again_at_once(do, script):
    training_script(script, source=TIMED_SOURCE)
    advise = ("advise", *TOLD, "--learning-rate", "0.1", "--batch-sizes", "16,64,256")
    advise += ("--target", "val_loss=0.6", "--budget", "12s", "--store", "lab.db", "--json")

    advice, again = (do(*advise, *OWN, *RATE).document for _ in range(2))

    assert advice["verdict"] in ("recommend", "cannot_tell")
    assert advice["trials"]
    assert advice["target"]["metric"] == "val_loss"
    named = advice["recommendation"] or advice["provisional"]
    assert named["batch_size"] in (16, 64, 256)
    assert again == advice
