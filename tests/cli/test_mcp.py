"""The commands as tools of an agent: a scripted client over stdio."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from batchlab.cli.mcp import TOOLS, arguments_of
from batchlab.errors import UsageError
from batchlab.store.store import Store

OF_A_TERMINAL = {"output_format", "path"}


def talk(script: Callable[[Client], Awaitable[None]]) -> None:
    """Run a client's script against a server that was started in this folder."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "batchlab", "mcp"],
        cwd=Path.cwd(),
        env=dict(os.environ),
    )

    async def run() -> None:
        async with Client(server) as client:
            await script(client)

    asyncio.run(run())


def document(result: Any) -> Any:
    assert not result.is_error, result.content[0].text
    return json.loads(result.content[0].text)


@pytest.mark.slow
def test_an_agent_profiles_sweeps_and_reads_what_is_stored():
    heard: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def script(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == list(TOOLS)
        taken = {param.name for param in TOOLS["report"].params}
        assert set(tools["report"].input_schema["properties"]) == taken - OF_A_TERMINAL
        assert "\n  " not in f"{tools['sweep'].description}"  # not as it is indented in the code

        wrong = await client.call_tool("report", {"store": "nowhere.db"})
        assert wrong.is_error
        assert wrong.content[0].text.startswith("no store at nowhere.db")
        one_size = {"workload": "least-squares", "batch_sizes": "4"}
        profile = await client.call_tool("profile", one_size)
        assert [each["batch_size"] for each in document(profile)["points"]] == [4]
        asked = {"workload": "least-squares", "epochs": 2, "batch_sizes": "4,16", "seeds": 2}
        sweep = await client.call_tool("sweep", asked, progress_callback=progress)
        read = await client.call_tool("report", {})
        assert document(read)["study"] == document(sweep)["study"]

    talk(script)
    assert any("training 4 trials" in str(line) for line in heard)
    assert Path("batchlab.db").exists()


@pytest.mark.slow
def test_a_call_that_is_cancelled_ends_its_command_and_keeps_what_it_has():
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


OUTSIDE = r"is outside of .*, where this server was started"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"store": "/tmp/lab.db"}, OUTSIDE),
        ({"store": "../lab.db"}, OUTSIDE),
        ({"workload": "../other.py:workload"}, OUTSIDE),
        ({"settings": ["data=/etc"]}, OUTSIDE),
        ({"batch_sizes": "4", "report": "out/../../page.html"}, OUTSIDE),
        ({"store": "link/lab.db"}, OUTSIDE),
        ({"batchsizes": "4"}, "'batchsizes' was unexpected"),
        ({"store": {"path": "x"}}, "store: .*is not of type 'string', 'number'"),
        ({"drop_last": "true"}, "drop_last: 'true' is not of type 'boolean'"),
        ({"settings": "width=8"}, "settings: 'width=8' is not of type 'array'"),
    ],
)
def test_what_is_outside_of_the_folder_or_no_call_is_refused(given, says, tmp_path_factory):
    Path("link").symlink_to(tmp_path_factory.mktemp("elsewhere"))

    with pytest.raises(UsageError, match=says):
        arguments_of("sweep", given)


def test_a_call_is_a_command_line():
    given = {"budget": "1m", "settings": ["width=8", "layers=1"], "drop_last": True, "store": None}
    settings = ("--set=width=8", "--set=layers=1", "--drop-last")

    advise = arguments_of("advise", {"workload": "mnist-mlp", **given})
    sweep = arguments_of("sweep", {"workload": "mnist-mlp", "drop_last": False})

    assert advise == ["advise", "--json", "mnist-mlp", "--budget=1m", *settings]
    assert sweep == ["sweep", "--json", "mnist-mlp"]
    with pytest.raises(UsageError, match="no tool 'fit'; there are workloads, check"):
        arguments_of("fit", {})
    pair = {"b": "2.db", "a": "1.db"}
    assert arguments_of("compare", pair) == ["compare", "--json", "1.db", "2.db"]
    wrong: dict[str, Any] = {
        "--store": r"compare, \$.a: '--store' does not match",
        ("x", "--json"): "is not of type 'string'",
    }
    for a, says in wrong.items():
        with pytest.raises(UsageError, match=says):
            arguments_of("compare", pair | {"a": a})
    with pytest.raises(UsageError, match="'b' is a required property"):
        arguments_of("compare", {"a": "x"})


def test_without_the_package_one_line_says_what_to_install(do, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    done = do("mcp")

    told = "error: mcp needs the package mcp; pip install 'batchlab[mcp]'\n"
    assert (done.code, done.out, done.err) == (2, "", told)
