from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice
from tests.reference.made_up_profile import made_up_profile
from tests.reference.user_file import write_user_file
from tests.store.test_store import put_study

from batchlab.cli import main as cli
from batchlab.commands import advise as advising
from batchlab.commands.advised import Advised
from batchlab.engines.journal import Journal
from batchlab.profiling.profile import Profile
from batchlab.store.store import Store
from batchlab.version import __version__

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schema" / "sweep.json"
PROFILE_SCHEMA = ROOT / "docs" / "schema" / "profile.json"

# A frozen list: a new option is a decision, taken here.
HELP = {"--help", "-h"}
OPTIONS = {
    "advise": {
        *("--objective", "--target", "--budget", "--batch-sizes", "--epochs", "--train-time"),
        *(
            "--memory-limit",
            "--profile",
            "--set",
            "--sampling",
            "--drop-last",
            "--device",
            "--store",
            "--report",
        ),
        *("--json", "--explain"),
    },
    "sweep": {
        *("--batch-sizes", "--learning-rates", "--seeds", "--epochs", "--steps", "--target"),
        *("--set", "--scaling-rule", "--sampling", "--drop-last", "--micro-batch-size"),
        *("--budget", "--store", "--report", "--json", "--device"),
    },
    "profile": {
        *("--batch-sizes", "--set", "--memory-limit", "--budget", "--store", "--json", "--device"),
    },
    "fit": {"--group-by", "--across", "--overhead", "--reference-batch-size", "--json"},
    "report": {"--store", "--study", "--format", "--report"},
    "workloads": {"--json"},
    "completion": set(),
}
EPOCH = ["--epochs", "1"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("mine", None)


class Done:
    """What a command line did in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def do(*arguments: str) -> Done:
        capsys.readouterr()
        # A budget counts from the start of the process, which here ran other tests before.
        monkeypatch.setattr(cli, "_STARTED_S", time.monotonic())
        code = cli._exit_code(list(arguments))
        return Done(code, *capsys.readouterr())

    return do


@pytest.fixture
def stored() -> Path:
    with Store("lab.db") as store:
        put_study(store, made_up_study(batch_sizes=(64, 256)))
    return Path("lab.db")


# The surface


def test_the_commands_are_these() -> None:
    assert set(cli.batchlab.commands) == set(OPTIONS)


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_has_exactly_these_options(command: str) -> None:
    context = click.Context(cli.batchlab.commands[command], info_name=command)
    context.help_option_names = ["-h", "--help"]

    options = {
        name
        for parameter in context.command.get_params(context)
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }

    assert options == OPTIONS[command] | HELP


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_and_default_is_explained(command: str, do: Any) -> None:
    done = do(command, "--help")

    assert (done.code, done.err) == (0, "")
    assert OPTIONS[command] <= set(re.findall(r"--[a-z-]+", done.out))


def test_without_arguments_the_commands_are_shown(do: Any) -> None:
    done = do()

    assert done.code == 0
    assert all(command in done.out for command in OPTIONS)


def test_the_version_is_told(do: Any) -> None:
    assert do("--version").out == f"batchlab {__version__}\n"


def test_help_loads_neither_torch_nor_a_plotting_library() -> None:
    code = (
        "import sys; from batchlab.cli import main as cli\n"
        "code = cli._exit_code(['sweep', '--help']); "
        "print(code, [m for m in ('torch', 'numpy', 'altair', 'rich') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []"


def test_help_takes_less_than_300_ms() -> None:
    def help_s() -> float:
        started_s = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "batchlab.cli.main", "--help"], capture_output=True, check=True
        )
        return time.perf_counter() - started_s

    assert min(help_s() for _ in range(5)) < 0.3  # the best: the machine may be busy


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_completion_script_that_calls_batchlab(shell: str, do: Any) -> None:
    done = do("completion", shell)

    assert done.code == 0
    assert f"_BATCHLAB_COMPLETE={shell}_complete" in done.out
    assert "batchlab" in done.out


def test_the_completion_of_bash_knows_commands_and_options() -> None:
    def completed(words: str, position: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from batchlab.cli.main import main; main()"],
            env=os.environ
            | {
                "_BATCHLAB_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": position,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("batchlab sw", "1") == ["sweep"]
    assert completed("batchlab sweep --batch", "2") == ["--batch-sizes"]
    assert completed("batchlab sweep --sampling re", "3") == ["reshuffle", "replacement"]


# Wrong usage: one line, exit code 2, nothing stored


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("swep", "No such command 'swep'. Did you mean 'sweep'?"),
        ("sweep mine.py:workload --epoch 3", "No such option '--epoch'"),
        ("sweep mine.py:workload extra", "unexpected extra argument (extra)"),
        ("sweep mine.py:workload --batch-sizes 0", "batch size '0': expected whole numbers"),
        ("sweep mine.py:workload --batch-sizes=-64", "batch size '-64': expected whole numbers"),
        ("sweep mine.py:workload --batch-sizes 6.5", "batch size '6.5': expected whole numbers"),
        ("sweep mine.py:workload --batch-sizes 201", "batch size 201 for workload 'mine'"),
        ("sweep mine.py:workload --learning-rates 0", "learning rate '0': expected finite"),
        ("sweep mine.py:workload --learning-rates=-1", "learning rate '-1': expected finite"),
        ("sweep mine.py:workload --learning-rates nan", "learning rate 'nan': expected finite"),
        ("sweep mine.py:workload --learning-rates inf", "learning rate 'inf': expected finite"),
        ("sweep mine.py:workload --epochs 0", "'--epochs': 0 is not in the range x>=1"),
        ("sweep mine.py:workload --epochs two", "'--epochs': 'two' is not a valid integer"),
        ("sweep mine.py:workload --steps 0", "'--steps': 0 is not in the range x>=1"),
        ("sweep mine.py:workload --seeds 0", "'--seeds': 0 is not in the range x>=1"),
        ("sweep mine.py:workload --micro-batch-size 0", "'--micro-batch-size': 0 is not in"),
        (
            "sweep mine.py:workload --batch-sizes 20 --micro-batch-size 21",
            "micro-batch size 21 with batch size 20: expected 1 to 20",
        ),
        ("sweep mine.py:workload --target f1=0.9", "no metric 'f1'; it has accuracy, loss"),
        ("sweep mine.py:workload --target accuracy", "expected METRIC=VALUE"),
        ("sweep mine.py:workload --set momentum", "expected KEY=VALUE"),
        ("sweep mine.py:workload --set momentum=fast", "setting momentum=fast: expected a finite"),
        ("sweep mine.py:workload --set momentun=0.9", "did you mean 'momentum'? it has momentum"),
        (
            "sweep mine.py:workload --set momentum=0.1 --set momentum=0.2",
            "setting 'momentum' was given twice, as 0.1 and as 0.2",
        ),
        ("sweep mine.py:workload --sampling shuffle", "'shuffle' is not one of 'reshuffle'"),
        ("sweep mine.py:workload --scaling-rule cubic", "'cubic' is not one of 'none', 'linear'"),
        ("sweep mine.py:workload --budget 5", "budget '5': expected a time above 0"),
        ("sweep mine.py:workload --device cuda:99", "device 'cuda:99': PyTorch"),
        ("sweep mine.py:workload --device tpu", "device 'tpu': expected cpu, cuda or cuda:N"),
        ("sweep mine.py:workload --report none/page.html", "there is no folder"),
        ("sweep mine.py:workload --report .", "--report . is a folder"),
        ("sweep mine.py:workload --report lab.db", "--report lab.db is the store"),
        ("sweep mnist-mpl", "unknown workload 'mnist-mpl'; did you mean 'mnist-mlp'?"),
        ("sweep mine.py", "give mine.py:NAME"),
        ("profile mine.py:workload --batch-sizes 201", "batch size 201 for workload 'mine'"),
        ("profile mine.py:workload --memory-limit 2", "memory limit '2': expected a size above 0"),
        ("profile mine.py:workload --memory-limit 0GB", "memory limit '0GB': expected a size"),
        ("profile mine.py:workload --budget 5", "budget '5': expected a time above 0"),
        ("profile mine.py:workload --device tpu", "device 'tpu': expected cpu, cuda or cuda:N"),
        ("profile mine.py:workload --set momentun=0.9", "did you mean 'momentum'?"),
        ("profile mnist-mpl", "unknown workload 'mnist-mpl'; did you mean 'mnist-mlp'?"),
        ("advise mine.py:workload --objective speed", "'speed' is not one of 'time', 'samples'"),
        ("advise mine.py:workload --budget 5", "budget '5': expected a time above 0"),
        ("advise mine.py:workload --batch-sizes 201", "batch size 201 for workload 'mine'"),
        ("advise mine.py:workload --target f1=0.9", "no metric 'f1'; it has accuracy, loss"),
        ("advise mine.py:workload --epochs 0", "'--epochs': 0 is not in the range x>=1"),
        ("advise mine.py:workload --memory-limit 2", "memory limit '2': expected a size"),
        ("advise mine.py:workload --report lab.db", "--report lab.db is the store"),
        (
            "advise mine.py:workload --objective quality --target accuracy=0.9",
            "target accuracy=0.9 with objective quality",
        ),
        ("report --format pdf", "'pdf' is not one of 'html', 'text'"),
        ("completion ksh", "'ksh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_is_told_in_one_line_and_stores_nothing(
    arguments: str, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)
    given = arguments.split()
    if given[0] in ("advise", "profile", "sweep"):
        given += ["--store", "lab.db"]

    done = do(*given)

    assert done.code == 2
    assert told in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert {file.name for file in tmp_path.iterdir()} <= {"mine.py", "__pycache__"}


# What could not be done: one line, exit code 1, nothing stored half


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "mine.py: there is no such file"),
        ("x = 1\n", "mine.py has no 'workload'; it holds nothing that could be one"),
        ("def workload(:\n", "mine.py, line 1: invalid syntax"),
        ("raise OSError('no disk')\n", "running it raised OSError: no disk (mine.py, line 1)"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_told_in_one_line(
    text: str | None, told: str, do: Any, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "mine.py").write_text(text)

    done = do("sweep", "mine.py:workload", *EPOCH)

    assert done.code == 1
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not Path("batchlab.db").exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("loss=lambda m, b: 9 * len(b[0]) * cross_entropy(m, b)", "its loss is a sum"),
        ("model=nn.Identity", "no trainable parameters"),
        ("validation=(examples(200, 0)[0], torch.full((200,), 7))", "label 7 at position 0 of val"),
        ("metrics={'f1': accuracy}", "metric 'f1' has no known direction"),
        ("train=(torch.zeros(0, 4), torch.zeros(0).long())", "train holds no examples"),
    ],
)
def test_a_workload_that_cannot_be_trained_is_told_in_one_line(
    fields: str, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path, fields=fields)

    done = do("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH)

    lines = [line for line in done.err.splitlines() if line != "checking the workload"]
    assert done.code == 1
    assert len(lines) == 1
    assert told in lines[0]
    assert not Path("batchlab.db").exists()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"something else"), "is not a batchlab store"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "is damaged: it ends after 16 bytes"),
    ],
)
@pytest.mark.parametrize("command", ["sweep mine.py:workload --epochs 1", "report --format text"])
def test_a_store_that_is_none_is_told_in_one_line(
    command: str, make: Any, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)
    make(Path("lab.db"))

    done = do(*command.split(), "--store", "lab.db")

    assert done.code == 1
    assert told in done.err
    assert done.err.count("\n") == 1


def test_a_report_of_no_store_is_told_in_one_line_and_makes_none(do: Any) -> None:
    done = do("report", "--store", "none.db")

    assert done.code == 1
    assert "no store at none.db" in done.err
    assert not Path("none.db").exists()


def test_a_message_of_many_lines_is_cut_to_its_first(do: Any, monkeypatch: Any) -> None:
    def fail(*_: object, **__: object) -> None:
        raise cli.BatchlabError("what happened\nand much more")

    monkeypatch.setattr(cli.batchlab, "main", fail)

    assert do("workloads").err == "error: what happened\n"


# advise


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `advise` was called with; nothing is trained, the answer is made up."""
    asked: dict[str, Any] = {}

    def answered(workload: str, **named: Any) -> Advised:
        asked.update(named, workload=workload)
        advice = made_up_advice()
        return Advised(advice=advice, study=advice_study(advice), profile=made_up_profile())

    monkeypatch.setattr(advising, "advise_with_evidence", answered)
    return asked


def test_advise_answers_on_one_screen_and_writes_its_report(
    do: Any, advised: dict[str, Any], tmp_path: Path
) -> None:
    done = do("advise")

    assert done.code == 0
    assert len(done.out.splitlines()) <= 40
    assert "batch size" in done.out
    assert "batchlab-report.html" in done.out
    assert (tmp_path / "batchlab-report.html").read_text().startswith("<!")
    assert (advised["workload"], advised["objective"]) == ("mnist-mlp", "time")
    assert advised["budget_s"] == 175.0


def test_advise_hands_on_what_was_asked(do: Any, advised: dict[str, Any]) -> None:
    do(
        *("advise", "mine.py:workload", "--objective", "samples", "--target", "accuracy=0.97"),
        *("--budget", "5m", "--batch-sizes", "16,full", "--epochs", "3", "--memory-limit", "2GiB"),
        *("--profile", "gpu.json", "--set", "width=64", "--sampling", "replacement"),
        *("--drop-last", "--device", "cuda:1", "--store", "lab.db", "--report", "page.html"),
    )

    assert (advised["workload"], advised["objective"]) == ("mine.py:workload", "samples")
    assert (advised["target"], advised["budget_s"]) == (("accuracy", 0.97), 300.0)
    assert (advised["batch_sizes"], advised["epochs"]) == ((16, "full"), 3)
    assert (advised["memory_limit_bytes"], advised["profile"]) == (2 * 2**30, Path("gpu.json"))
    assert (advised["settings"], advised["sampling"]) == ({"width": "64"}, "replacement")
    assert (advised["drop_last"], advised["device"]) == (True, "cuda:1")
    assert advised["store"] == Path("lab.db")
    assert advised["command"].startswith("batchlab advise mine.py:workload --objective samples")
    assert 12.0 <= advised["reserved_s"] < 60.0  # the report's own time, and what is gone


def test_advise_prints_one_json_document_and_nothing_else(do: Any, advised: dict[str, Any]) -> None:
    done = do("advise", "--json")

    document = json.loads(done.out)
    assert (document["command"], document["verdict"]) == ("advise", "recommend")
    assert document["report"] == "batchlab-report.html"


def test_advise_explains_its_steps_where_asked(do: Any, advised: dict[str, Any]) -> None:
    first = made_up_advice().steps[0]

    assert f"{first.did}: {first.why}" in do("advise", "--explain").out
    assert f"{first.did}: {first.why}" not in do("advise").out


@pytest.mark.parametrize("output_format", ["text", "json", "html"])
def test_the_report_of_an_advise_study_is_its_advice(
    output_format: str, do: Any, tmp_path: Path
) -> None:
    advice = made_up_advice()
    study = advice_study(advice)
    with Store(tmp_path / "batchlab.db") as store:
        store.put_workload(study.workload)
        store.put_study(
            study_id="advised",
            command=study.command,
            workload_id=study.workload.workload_id,
            environment=(),
            trial_ids=(),
        )
        journal = Journal(store, "advised")
        journal.begin(profile=made_up_profile().to_json(), budget_s=100.0, spent_s=1.0)
        journal.put_advice(advice)

    done = do("report", "--format", output_format)

    said = done.out
    if output_format == "html":
        said = (tmp_path / "batchlab-report.html").read_text()
    assert done.code == 0, done.err
    assert advice.recommendation is not None
    assert str(advice.recommendation.batch_size) in said
    assert "steps_to_target" in said if output_format == "json" else "learning rate" in said


def test_an_interrupt_says_how_to_go_on(do: Any, monkeypatch: Any) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.batchlab, "main", interrupt)

    done = do("sweep", "my train.py:workload", "--epochs", "3")

    assert done.code == 130
    assert done.err == (
        "interrupted; everything so far is stored. To go on: "
        "batchlab sweep 'my train.py:workload' --epochs 3\n"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--memory-limit 1MB", "memory limit 1 MB: workload 'mine' needs"),
        ("--budget 0.1s", "give a larger --budget"),
    ],
)
def test_a_profile_that_cannot_be_made_is_told_in_one_line(
    options: str, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)

    done = do("profile", "mine.py:workload", *options.split())

    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 1
    assert done.out == ""
    assert len(lines) == 1
    assert told in lines[0]


# Results


@pytest.fixture
def quick_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    from batchlab.profiling import search as profile_search

    monkeypatch.setattr(profile_search, "_TIMED_S", (0.02,))


@pytest.mark.usefixtures("quick_profile")
def test_a_profile_as_json_is_one_document_that_can_be_read_elsewhere(
    do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)

    done = do("profile", "mine.py:workload", "--batch-sizes", "8,full", "--json")

    assert done.code == 0
    jsonschema.validate(json.loads(done.out), json.loads(PROFILE_SCHEMA.read_text()))
    made = Profile.from_json(done.out)
    assert [point.batch_size for point in made.points] == [8, 200]
    assert not Path("batchlab.db").exists()


@pytest.mark.usefixtures("quick_profile")
def test_a_profile_as_text_has_a_table_and_says_what_fits(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)

    done = do("profile", "mine.py:workload", "--batch-sizes", "8,64,full", "--memory-limit", "2GiB")

    assert done.code == 0
    assert "200 (full)" in done.out
    assert "All 200 training examples fit in one batch within 2.15 GB" in done.out


def test_an_interrupted_profile_does_not_claim_to_be_stored(do: Any, monkeypatch: Any) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.batchlab, "main", interrupt)

    done = do("profile", "mine.py:workload")

    assert done.code == 130
    assert done.err == "interrupted. To go on: batchlab profile mine.py:workload\n"


def test_the_workloads_are_listed_with_their_settings(do: Any) -> None:
    done = do("workloads")

    assert done.code == 0
    assert "mnist-mlp" in done.out
    assert "--set width=128" in done.out
    assert "--set nesterov=false" in done.out


def test_the_workloads_as_json_hold_the_same(do: Any) -> None:
    document = json.loads(do("workloads", "--json").out)

    settings = {entry["name"]: entry["settings"] for entry in document["workloads"]}
    assert (document["schema"], document["command"]) == (1, "workloads")
    assert settings["mnist-mlp"]["width"] == 128


def test_a_report_as_text_goes_to_stdout(stored: Path, do: Any) -> None:
    done = do("report", "--store", str(stored), "--format", "text")

    assert (done.code, done.err) == (0, "")
    assert "batch size" in done.out


def test_a_report_as_json_is_the_document_of_a_sweep(stored: Path, do: Any) -> None:
    done = do("report", "--store", str(stored), "--format", "json")

    document = json.loads(done.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert [trial["batch_size"] for trial in document["trials"]] == [64, 256]


def test_a_report_into_files_prints_where_they_are(stored: Path, do: Any) -> None:
    done = do("report", "--store", str(stored), "--format", "csv")

    assert done.code == 0
    files = [Path(line) for line in done.out.splitlines()]
    assert files
    assert all(file.stat().st_size > 0 for file in files)


def test_a_report_never_overwrites_the_store(stored: Path, do: Any) -> None:
    before = stored.read_bytes()

    done = do("report", "--store", "lab.db", "--report", "./lab.db")

    assert done.code == 2
    assert stored.read_bytes() == before


def test_a_study_is_chosen_by_the_start_of_its_id(stored: Path, do: Any) -> None:
    assert do("report", "--store", "lab.db", "--study", "made", "--format", "text").code == 0

    done = do("report", "--store", "lab.db", "--study", "other", "--format", "text")

    assert done.code == 2
    assert "no study whose id begins with 'other'; it has made-up-study (" in done.err
    assert done.err.count("\n") == 1


# Whole sweeps in this process


@pytest.mark.slow
def test_a_sweep_prints_the_answer_and_where_everything_lies(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)

    done = do(
        *("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH),
        *("--store", "lab.db", "--report", "page.html"),
    )

    assert done.code == 0, done.err
    assert "The store: lab.db\nThe report: page.html\n" in done.out
    assert Path("page.html").stat().st_size > 0
    with Store.existing("lab.db") as store:
        command = store.study().command
    assert command.startswith("batchlab sweep mine.py:workload --batch-sizes 20 --epochs 1")


def test_trials_that_ended_in_an_error_end_the_command_in_one_after_its_results(
    do: Any, tmp_path: Path
) -> None:
    write_user_file(
        tmp_path, fields="loss=lambda m, b: 1 / 0 if m.training else cross_entropy(m, b)"
    )

    done = do("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH, "--json")

    assert done.code == 1
    assert json.loads(done.out)["trials"][0]["status"] == "error"
    assert "1 of 1 trials ended in an error, first ZeroDivisionError" in done.err.splitlines()[-1]


def test_what_the_users_code_prints_stays_out_of_the_json_document(do: Any, tmp_path: Path) -> None:
    write_user_file(
        tmp_path,
        before="print('loading')",
        fields="model=lambda: print('building') or nn.Linear(4, 3)",
    )

    done = do("sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH, "--json")

    document = json.loads(done.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["trials"][0]["status"] == "ok"
    assert document["command_line"].endswith("--json")
    assert "loading" in done.err


# Real processes


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "batchlab.cli.main", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal gives to a command
    )


def statuses(store: Path) -> list[str | None]:
    with closing(sqlite3.connect(store)) as connection:
        return [status for (status,) in connection.execute("SELECT status FROM trials")]


def n_evaluations(store: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            found: int = connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]
            return found
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.slow
def test_json_is_the_only_thing_on_the_stdout_of_a_process(tmp_path: Path) -> None:
    write_user_file(
        tmp_path,
        before="print('loading')",
        fields="model=lambda: print('building', flush=True) or nn.Linear(4, 3)",
    )

    out, err = start(
        "sweep", "mine.py:workload", "--batch-sizes", "20", *EPOCH, "--json", folder=tmp_path
    ).communicate(timeout=120)

    jsonschema.validate(json.loads(out), json.loads(SCHEMA.read_text()))
    assert "loading" in err
    assert "building" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "interrupt",
    [
        lambda process: os.killpg(process.pid, signal.SIGINT),  # as Ctrl-C reaches all processes
        lambda process: process.send_signal(signal.SIGTERM),
    ],
    ids=["Ctrl-C", "kill"],
)
def test_an_interrupted_process_stores_everything_and_says_how_to_go_on(
    interrupt: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)
    store = tmp_path / "batchlab.db"
    request = ["sweep", "mine.py:workload", "--batch-sizes", "1,2"]
    process = start(*request, "--epochs", "100000", folder=tmp_path)
    deadline_s = time.monotonic() + 60
    while n_evaluations(store) < 20 and time.monotonic() < deadline_s:
        time.sleep(0.1)

    interrupt(process)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert out == ""
    last_line = err.splitlines()[-1]
    assert last_line.startswith("interrupted; everything so far is stored. To go on: batchlab ")
    assert last_line.endswith(f"batchlab {' '.join(request)} --epochs 100000")
    assert "Traceback" not in err
    assert None in statuses(store)
    with Store.existing(store) as opened:
        before = {r.trial.trial_id: r.steps for r in opened.study().records}
    out, err = start(*request, "--steps", "500", folder=tmp_path).communicate(timeout=120)
    with Store.existing(store) as opened:
        after = opened.study().records
    assert any(record.resumed_from_steps for record in after), (before, err)
    assert all(record.steps >= 500 for record in after)


@pytest.mark.slow
def test_a_budget_is_a_ceiling_on_the_whole_command(tmp_path: Path) -> None:
    write_user_file(tmp_path)
    arguments = [
        *("sweep", "mine.py:workload", "--batch-sizes", "1,2", "--epochs", "1000000"),
        *("--target", "loss=0", "--report", "page.html"),
    ]

    started_s = time.monotonic()
    process = start(*arguments, "--budget", "30s", folder=tmp_path)
    _, err = process.communicate(timeout=120)
    spent_s = time.monotonic() - started_s

    assert process.returncode == 0, err
    assert spent_s < 31
    assert set(statuses(tmp_path / "batchlab.db")) == {"timeout"}
    assert (tmp_path / "page.html").exists()
