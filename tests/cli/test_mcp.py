"""The commands as tools of an agent: a scripted client over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import click
import psutil
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from batchlab.cli.main import WITH_OWN_COMMAND, batchlab
from batchlab.cli.mcp import TOOLS, arguments_of, input_schema, output_schema
from batchlab.errors import UsageError
from batchlab.store.store import Store

DOCS = Path(__file__).parents[2] / "docs"


def talk(script: Callable[[Client], Awaitable[None]], *arguments: str) -> None:
    """Run a client's script against a server that was started in this folder."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "batchlab.cli.main", "mcp", *arguments],
        cwd=Path.cwd(),
        env=dict(os.environ),
    )

    async def run() -> None:
        async with Client(server) as client:
            await script(client)

    asyncio.run(run())


def said(result: Any) -> str:
    return str(result.content[0].text)


@pytest.mark.slow
def test_an_agent_profiles_sweeps_and_reads_what_is_stored() -> None:
    heard: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def script(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == list(TOOLS)
        assert tools["sweep"].output_schema is not None

        profile = await client.call_tool(
            "profile", {"workload": "least-squares", "batch_sizes": "4,16"}
        )
        assert [each["batch_size"] for each in profile.structured_content["points"]] == [4, 16]
        asked = {"workload": "least-squares", "epochs": 2, "batch_sizes": "4,16", "seeds": 2}
        sweep = await client.call_tool("sweep", asked, progress_callback=progress)
        assert not sweep.is_error
        read = await client.call_tool("report", {})
        assert json.loads(said(read)) == read.structured_content
        assert read.structured_content["study"] == sweep.structured_content["study"]
        wrong = await client.call_tool("profile", {"workload": "nope"})
        assert wrong.is_error
        assert said(wrong).startswith("unknown workload 'nope'; built in are least-squares")

    talk(script)
    assert any("training 4 trials" in str(line) for line in heard)
    assert Path("batchlab.db").exists()


@pytest.mark.slow
def test_a_call_that_is_cancelled_ends_its_command_and_keeps_what_it_has() -> None:
    begun = anyio.Event()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        if message is not None and "training" in message:
            begun.set()

    async def script(client: Client) -> None:
        asked = {"workload": "least-squares", "epochs": 10**6, "batch_sizes": "1", "seeds": 1}

        async def call() -> None:
            await client.call_tool("sweep", asked, progress_callback=progress)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            with anyio.fail_after(60):
                await begun.wait()
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        # The server goes on, and the command has ended as by Ctrl-C.
        with anyio.fail_after(30):
            while sweeps():
                await anyio.sleep(0.1)
        assert not (await client.call_tool("workloads", {})).is_error

    def sweeps() -> list[int]:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                found += [process.pid] if "sweep" in process.cmdline() else []
            except psutil.Error:
                continue
        return found

    talk(script)
    with Store("batchlab.db") as store:
        (record,) = store.study().records
    assert record.evaluations


OUTSIDE = [
    {"store": "/tmp/lab.db"},
    {"store": "../lab.db"},
    {"workload": "../other.py:workload"},
    {"settings": ["data=/etc"]},
    {"batch_sizes": "4", "report": "out/../../page.html"},
    {"command": ["python", "train.py", "--data", "/etc/passwd"]},
    {"command": ["python", "train.py", "--data=../x"]},
]


@pytest.mark.parametrize("given", OUTSIDE)
def test_what_is_outside_of_the_folder_is_refused_unless_told_otherwise(given: Any) -> None:
    Path("train.py").touch()
    name = "sweep"

    with pytest.raises(UsageError, match=r"is outside of .*, where this server was started"):
        arguments_of(name, given, root=Path.cwd())
    assert arguments_of(name, given, root=None)[0] == name


def test_a_link_out_of_the_folder_is_outside(tmp_path_factory: pytest.TempPathFactory) -> None:
    Path("inside").symlink_to(tmp_path_factory.mktemp("elsewhere"))

    with pytest.raises(UsageError, match="is outside of"):
        arguments_of("report", {"store": "inside/lab.db"}, root=Path.cwd())


@pytest.mark.parametrize("name", ["batchlab.db", "batchlab-report.html", "batchlab.toml"])
def test_a_link_with_the_name_of_a_default_is_outside_too(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / name
    elsewhere.write_text("command = ['python', 'train.py']")
    Path("train.py").touch()
    assert arguments_of("advise", {}, root=Path.cwd())[0] == "advise"
    Path(name).symlink_to(elsewhere)

    with pytest.raises(UsageError, match="is outside of"):
        arguments_of("advise", {}, root=Path.cwd())


def test_a_link_in_the_folder_that_a_run_file_runs_in_is_outside(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    Path("sub").mkdir()
    script = tmp_path_factory.mktemp("elsewhere") / "evil.py"
    script.touch()
    Path("sub/train.py").symlink_to(script)
    Path("batchlab.toml").write_text("command = ['python', 'train.py']\ncwd = 'sub'")

    with pytest.raises(UsageError, match="is outside of"):
        arguments_of("profile", {}, root=Path.cwd())


COMMANDS = [["bash", "-c", "ls"], ["python", "-c", "1"], ["python"], ["python", "-m.py"]]


@pytest.mark.parametrize("command", COMMANDS)
def test_only_python_scripts_of_the_folder_are_run(command: list[str]) -> None:
    for name in ("-c", "-m.py"):
        Path(name).touch()
    with pytest.raises(UsageError, match="expected python and a script below"):
        arguments_of("advise", {"command": command}, root=Path.cwd())
    assert arguments_of("advise", {"command": command}, root=None)[-len(command) :] == command


@pytest.mark.parametrize("given", [{}, {"workload": "batchlab.toml"}])
def test_a_run_file_is_held_to_the_same(given: Any) -> None:
    Path("train.py").touch()
    for text in ("command = ['bash', 'x.sh']", "command = ['python', 'train.py']\ncwd = '/'"):
        Path("batchlab.toml").write_text(text)
        with pytest.raises(UsageError, match=r"expected python and a script|is outside of"):
            arguments_of("advise", given, root=Path.cwd())

    Path("batchlab.toml").write_text("command = ['python', 'train.py', '{batch_size}']")
    assert arguments_of("advise", given, root=Path.cwd())[0] == "advise"


def test_a_call_is_a_command_line() -> None:
    assert arguments_of("compare", {"b": "2.db", "a": "1.db"}, root=None)[1:3] == ["1.db", "2.db"]
    Path("train.py").touch()
    given = {"budget": "1m", "settings": ["width=8", "layers=1"], "drop_last": True}

    assert arguments_of("advise", {"workload": "mnist-mlp", **given}, root=Path.cwd()) == [
        *("advise", "mnist-mlp", "--budget=1m", "--set=width=8", "--set=layers=1", "--drop-last"),
        "--json",
    ]
    unset = {"workload": "mnist-mlp", "drop_last": False}
    assert arguments_of("sweep", unset, root=Path.cwd()) == ["sweep", "mnist-mlp", "--json"]
    own = ["python", "train.py", "--batch-size", "{batch_size}"]
    assert arguments_of("advise", {"command": own}, root=Path.cwd())[-5:] == ["--", *own]


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("fit", {}, "no tool 'fit'; there are workloads, check"),
        ("sweep", {"batchsizes": "4"}, "sweep takes no 'batchsizes'; it takes workload"),
        ("compare", {"a": "--store", "b": "x"}, "a '--store': expected a name, not an option"),
        ("compare", {"a": ["x", "--json"]}, "a .*: expected a text or a number"),
        ("sweep", {"store": {"path": "x"}}, "store .*: expected a text or a number"),
        ("sweep", {"store": "lab.db\0"}, "store .*: expected a text or a number"),
        ("sweep", {"drop_last": "true"}, "drop_last 'true': expected true or false"),
        ("sweep", {"command": "python train.py"}, "command .*: expected a list of texts"),
        ("sweep", {"settings": "width=8"}, "settings 'width=8': expected a list of texts"),
    ],
)
def test_a_call_that_cannot_be_is_refused(name: str, given: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        arguments_of(name, given, root=None)


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_takes_what_its_command_takes(name: str) -> None:
    schema = input_schema(name)
    taken = {param.name for param in batchlab.commands[name].params}

    of_a_terminal = {"as_json", "quiet", "explain", "live", "output_format", "path", "require"}
    of_a_cluster = {"engine", "address", "cpus_per_trial", "gpus_per_trial"}
    own = {"command"} if name in WITH_OWN_COMMAND else set()
    assert set(schema["properties"]) == own | taken - of_a_terminal - of_a_cluster
    for param in batchlab.commands[name].params:
        if isinstance(param, click.Argument):
            assert (param.name in schema.get("required", [])) == param.required


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_answers_what_the_documentation_describes(name: str) -> None:
    described = DOCS / "schema" / f"{name}.json"
    expected = json.loads(described.read_text("utf-8")) if described.exists() else None

    assert output_schema(name) == expected


def test_without_the_package_one_line_says_what_to_install(
    do: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    done = do("mcp")

    assert (done.code, done.out) == (2, "")
    assert done.err == "error: mcp needs the package mcp; pip install 'batchlab[mcp]'\n"
