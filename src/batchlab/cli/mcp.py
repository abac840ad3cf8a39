"""`batchlab mcp`: a server that offers the commands as tools, by the Model Context Protocol."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
import tempfile
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from batchlab.cli.measure import advise, check, noise, profile, sweep
from batchlab.cli.stored import compare, report, workloads
from batchlab.errors import BatchlabError, UsageError
from batchlab.version import __version__

_COMMANDS = (workloads, check, profile, noise, advise, sweep, report, compare)
TOOLS = {str(command.name): command for command in _COMMANDS}
# Options that tools do not offer, because these options are only for terminals, are set by this
# server, or could run other code.
_LEFT_OUT = {"as_json", "quiet", "explain", "output_format", "path", "require"}
_LEFT_OUT |= {"engine", "address", "cpus_per_trial", "gpus_per_trial", "pattern"}


@click.command()
def mcp() -> None:
    """Serve the commands to an agent over MCP, on stdin and stdout.

    An agent first calls profile, which takes seconds, then advise with a budget. A repeated call
    continues the study in the store. All files that a call names must lie below the folder in which
    the server was started.
    """
    if importlib.util.find_spec("mcp") is None:
        raise UsageError("mcp needs the package mcp; pip install 'batchlab[mcp]'")
    import asyncio  # imported only here, because this import takes 50 ms

    # On Ctrl-C, asyncio would wait for another line of stdin, so handle SIGINT like SIGTERM.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    asyncio.run(_serve())


async def _serve() -> None:
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server

    async def tools(*_: Any) -> types.ListToolsResult:
        listed = []
        for name, command in TOOLS.items():
            does = cleandoc(command.help or "")
            listed.append(types.Tool(name=name, description=does, input_schema=input_schema(name)))
        return types.ListToolsResult(tools=listed)

    async def call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            output, failed = await _run(params.name, params.arguments or {}, context), False
        # A malformed path raises a ValueError.
        except (BatchlabError, OSError, RuntimeError, ValueError) as error:
            output, failed = str(error), True
        content = types.TextContent(type="text", text=output)
        return types.CallToolResult(content=[content], is_error=failed)

    server = Server(
        "batchlab",
        version=__version__,
        instructions=cleandoc(mcp.help or ""),
        on_list_tools=tools,
        on_call_tool=call,
    )
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _params(name: str) -> list[click.Parameter]:
    return [param for param in TOOLS[name].params if param.name not in _LEFT_OUT]


def input_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a tool's input, made from its command's arguments and options."""
    properties: dict[str, Any] = {}
    for param in _params(name):
        kind: dict[str, Any] = {"type": ["string", "number"]}  # numbers are converted to text
        if not isinstance(param, click.Option):
            kind = {"type": "string", "pattern": "^[^-]"}  # click would read -TEXT as an option
        elif param.is_flag:
            kind = {"type": "boolean"}
        elif param.multiple:
            kind = {"type": "array", "items": {"type": "string"}}
        elif isinstance(param.type, click.Choice):
            kind = {"enum": list(param.type.choices)}
        properties[str(param.name)] = kind | {"description": getattr(param, "help", None) or ""}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": [str(param.name) for param in _params(name) if param.required]}


def arguments_of(name: str, given: dict[str, Any]) -> list[str]:
    """Return a tool call as command-line arguments, or refuse input that is not allowed."""
    import jsonschema  # imported here, because only the optional package mcp installs it

    if name not in TOOLS:
        raise UsageError(f"no tool {name!r}; there are {', '.join(TOOLS)}")
    values = {argument: value for argument, value in given.items() if value is not None}
    try:
        jsonschema.validate(values, input_schema(name))
    except jsonschema.ValidationError as error:
        raise UsageError(f"{name}, {error.json_path}: {error.message}") from None
    line = [name, "--format=json" if name == "report" else "--json"]
    for param in _params(name):
        value, option = values.get(str(param.name), False), param.opts[0]
        if isinstance(value, bool):
            line += [option] * value
            continue
        if not isinstance(value, list):
            value = [value]
        for text in map(str, value):
            _check_is_below(Path.cwd().resolve(), text)
            if isinstance(param, click.Option):
                text = f"{option}={text}"
            line.append(text)
    return line


def _check_is_below(root: Path, text: str) -> None:
    for path in (text, *re.split(r"[=:,\s]", text)):
        if not (root / path).resolve().is_relative_to(root):
            raise UsageError(f"{text!r} is outside of {root}, where this server was started")


async def _run(name: str, given: dict[str, Any], context: Any) -> str:
    """Run a tool's command in a new process and return its output."""
    import asyncio
    from subprocess import DEVNULL, PIPE

    import anyio

    # Python's option -P prevents imports of files in the working folder.
    command = sys.executable, "-P", "-m", "batchlab", *arguments_of(name, given)
    with tempfile.TemporaryFile() as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=out, stderr=PIPE, start_new_session=True, limit=2**24
        )
        assert process.stderr is not None
        n_lines, last = 0, ""
        try:
            async for line in process.stderr:
                n_lines, last = n_lines + 1, line.decode(errors="replace").strip() or last
                await context.session.report_progress(n_lines, None, last)
            code = await process.wait()
        finally:
            if process.returncode is None:  # The call was cancelled.
                process.terminate()  # The command handles SIGTERM as Ctrl-C.
                with anyio.CancelScope(shield=True):
                    await process.wait()
        if code:
            raise UsageError(last.removeprefix("error: ") or f"it ended with code {code}")
        out.seek(0)
        return out.read().decode()
