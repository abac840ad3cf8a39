"""`batchlab init`: a draft from a script that was never imported, and what it trains with now."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from tests.reference.living import is_running

from batchlab.app.init import init, trained_with_now
from batchlab.errors import BatchlabError, UsageError
from batchlab.script.command import placeholders_of
from batchlab.script.flags import MULTIPLIERS, ScriptCode
from batchlab.script.run_file import read_run_file

SCRIPT = """
import argparse
p = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
p.add_argument("-b", "--batch-size", type=int, default=48, help="examples in a batch")
p.add_argument("--lr", type=float, default=3e-4, help="rate")
p.add_argument("--epochs", type=int, default=5, help="passes")
p.add_argument("--resume", action="store_true")
p.add_argument("--seed", type=int, help="none")
p.parse_args()
open("trained", "w")
"""
BOTH = {"batch_size", "learning_rate"}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(SCRIPT)
    return [sys.executable, "-S", "train.py"]


def test_the_draft_is_a_file_that_can_be_read_and_run(script: list[str], tmp_path: Path) -> None:
    done = init([*script, "--lr", "0.5"], folder=tmp_path)

    path = tmp_path / "batchlab.toml"
    drafted = read_run_file(path)
    drawn = {"--batch-size={batch_size}", "--lr={learning_rate}", "--epochs={epochs}"}
    assert drawn | {"--seed={seed}"} == set(drafted["command"][3:])
    assert (drafted["batch_size"], drafted["learning_rate"], drafted["epochs"]) == (48, 0.5, 5)
    assert placeholders_of(drafted["command"], None) >= {"batch_size", "learning_rate"}
    assert (done.missing, done.trouble) == (("output_dir", "resume_from"), None)
    # Placeholders may be given already.
    path.unlink()
    init([*script, "--batch-size", "{batch_size}", "--lr={learning_rate}"], folder=tmp_path)
    assert read_run_file(path)["command"] == drafted["command"]
    # Texts with quotes survive it.
    path.unlink()
    quoted = [sys.executable, "-c", "pass", 'a "b" \\ c', "ü 'x'", "{{kept}}", '{"a": 1}']
    init(quoted, folder=tmp_path)
    assert read_run_file(path)["command"] == quoted
    # A file that is there is left as it is, and a link is not followed.
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already, and is left as it is"):
        init(script, folder=tmp_path)
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BatchlabError, match="can't be written: File exists"):
        init(script, folder=tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_what_was_not_found_stands_in_the_draft_as_what_to_add(tmp_path: Path) -> None:
    failed = "raise SystemExit('no module named lightning')"
    (tmp_path / "other").mkdir()
    ended = init([sys.executable, "-c", failed], folder=tmp_path / "other")
    assert str(ended.trouble).endswith("ended with exit code 1: no module named lightning")

    done = init([sys.executable, "-c", "print('no help here')"], folder=tmp_path)

    text = (tmp_path / "batchlab.toml").read_text()
    assert '# "--...={batch_size}",  # needed: nothing can be compared without it' in text
    assert "shows no flags" in str(done.trouble)
    assert "batch_size" not in read_run_file(tmp_path / "batchlab.toml")


@pytest.mark.slow
def test_a_script_that_goes_on_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "pid = os.fork()\n"
        f"open({str(tmp_path)!r} + '/' + str(os.getpid()), 'w')\n"
        "time.sleep(60)"
    )
    started_s = time.monotonic()

    done = init([sys.executable, "-c", code], folder=tmp_path, limit_s=0.5)

    assert time.monotonic() - started_s < 10
    assert "did not end within 0.5 s" in str(done.trouble)
    pids = [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]
    ended_s = time.monotonic()
    while any(map(is_running, pids)):
        assert time.monotonic() - ended_s < 1
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "typed", "expected"),
    [
        ("p.add_argument('-l', '--lr', default=3e-4, type=float)", "-l", 3e-4),
        ("p.add_argument('--batch-size', nargs=2, default=[32, 256])", "--batch-size", 32),
        ("@click.option('--lr', default=0.5)\ndef main(lr=None): ...", "--lr", 0.5),
        ("def main(lr: float = typer.Option(0.5, '--lr')): ...", "--lr", 0.5),
        ("flags.DEFINE_float('lr', 0.25, 'rate', 1.0)", "--lr", 0.25),
        ("p.add_argument('--lr', type=float)\np.set_defaults(lr=0.5)", "--lr", None),
        ("class Config:\n    learning_rate: float = 1e-3", "--learning-rate", 1e-3),
        ("def main(*, data='x', lr=0.1, wd): ...", "--lr", 0.1),
        ("learning_rate = 6e-4", "--learning_rate", 6e-4),
        ("config = {'optim.lr': 2e-2}", "optim.lr", 2e-2),
        ("b = 4", "-b", None),
        ("print('batch-size', 3), getattr(given, 'batch_size', 1)", "--batch-size", None),
        ("p.add_argument('--lr', default=BASE * 2)\nlr = 3", "--lr", None),
        ("p.add_argument('--lr', default=1)\np.add_argument('--lr', default=2)", "--lr", None),
        ("p.add_argument('--lr', default=1)\ndef cosine(lr=1.0): ...", "--lr", 1),
        ("p.add_argument('--lr', default=1", "--lr", None),
    ],
)
def test_a_default_is_read_in_the_code_if_only_one_stands_there(
    code: str, typed: str, expected: float | None, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(code)

    assert ScriptCode(["python", "train.py"], tmp_path).default(typed) == expected


def test_a_parser_beside_the_script_counts_before_names_in_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import options\ndef sgd(lr=0.5, gpus=8): ...")
    (tmp_path / "options.py").write_text("p.add_argument('--lr', default=0.02)")
    (tmp_path / "other.py").write_text("p.add_argument('--lr', default=3)")

    code = ScriptCode(["python", "train.py"], tmp_path)

    assert (code.default("--lr"), code.flags_set(MULTIPLIERS)) == (0.02, ())


def trained_with(
    arguments: list[str], wanted: set[str], place: Path = Path(), limit_s: float = 30.0
) -> dict[str, float]:
    return trained_with_now(ScriptCode(arguments, place), wanted, limit_s)


def test_the_defaults_of_its_flags_are_what_it_trains_with(
    script: list[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, place = {"batch_size": 48, "learning_rate": 3e-4}, Path.cwd()
    aliased = SCRIPT.replace('"--lr"', '"--lr", "--learning-rate"')
    Path("train.py").write_text(aliased)
    for given in (
        ("--batch-size", "{batch_size}", "--lr={learning_rate}", "--seed", "{seed}"),
        # Under any of its names.
        ("-b", "{batch_size}", "--lr", "{learning_rate}"),
        ("--batch-size={batch_size}", "--learning-rate={learning_rate}"),
    ):
        command = [*script, *given]
        assert trained_with(command, BOTH) == own
    assert trained_with(command, {"learning_rate"}) == {"learning_rate": 3e-4}
    # Nothing is run where its code has the default.
    Path("train.py").write_text("open('trained', 'w')\n" + aliased)
    assert trained_with(command, BOTH) == own
    assert not Path("trained").exists()
    Path("train.py").write_text(aliased.replace("default=48", "default=48.5"))
    assert trained_with(command, {"batch_size"}) == {}
    # The help is that of the folder where the command runs.
    Path("train.py").write_text(aliased)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert trained_with(command, BOTH, place) == own
    assert trained_with(command, BOTH) == {}


def test_what_is_not_wanted_or_follows_no_flag_runs_nothing(script: list[str]) -> None:
    assert trained_with([*script, "{batch_size}"], {"learning_rate"}) == {}
    assert trained_with(["no-such-program", "--bs", "{batch_size}"], set()) == {}
    Path("train.py").write_text("open('trained', 'w')")
    assert trained_with([*script, "{batch_size}", "{learning_rate}"], BOTH, limit_s=2.0) == {}
    assert not Path("trained").exists()
    # One that does not know --help is stopped within the budget.
    Path("train.py").write_text("import time; time.sleep(60)")
    began_s = time.monotonic()
    assert trained_with([*script, "--bs", "{batch_size}"], BOTH, limit_s=0.3) == {}
    assert time.monotonic() - began_s < 10.0
