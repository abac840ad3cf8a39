"""`batchlab mcp`: the commands as tools of an agent, over the Model Context Protocol."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from batchlab.cli import main as command_line
from batchlab.errors import BatchlabError, UsageError
from batchlab.version import __version__

# What is read from these as JSON; each is a process of its own, so that it can be interrupted.
TOOLS = ("workloads", "check", "profile", "noise", "advise", "sweep", "report", "compare")
_JSON = {"report": ("--format=json",)}
# What a person's terminal or a pipeline needs, what is settled here, and what runs code elsewhere.
_LEFT_OUT = {"as_json", "quiet", "explain", "live", "output_format", "path", "help", "require"}
_LEFT_OUT |= {"engine", "address", "cpus_per_trial", "gpus_per_trial"}
_PYTHONS = {"python", "python3"}
_INSTRUCTIONS = (
    "batchlab measures which batch size to train a PyTorch model or training command with. First "
    "profile (seconds), then advise with a budget; sweep trains exactly what you name. Every call "
    "continues what the store holds: asked again, it answers at once. Believe a verdict of "
    "recommend, indifferent or better; cannot_tell says what is missing. A call that is cancelled "
    "keeps what it has."
)

Told = Callable[[str], Awaitable[None]]


@click.command()
@click.option(
    "--anywhere",
    is_flag=True,
    help="Let the agent name files outside of this folder, and run any command.",
)
def mcp(anywhere: bool) -> None:
    """Serve the commands to an agent, over the Model Context Protocol on stdin and stdout.

    It reads, writes and runs only below the folder that it is started in.
    """
    if importlib.util.find_spec("mcp") is None:
        raise UsageError("mcp needs the package mcp; pip install 'batchlab[mcp]'")
    # asyncio would end its task and wait for a line that never comes.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    asyncio.run(_serve(None if anywhere else Path.cwd().resolve()))


async def _serve(root: Path | None) -> None:
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server

    async def tools(*_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=str(command_line.batchlab.commands[name].help),
                    input_schema=input_schema(name),
                    output_schema=output_schema(name),
                )
                for name in TOOLS
            ]
        )

    async def call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        lines = 0

        async def told(line: str) -> None:
            nonlocal lines
            lines += 1
            await context.session.report_progress(lines, None, line)

        try:
            line = arguments_of(params.name, params.arguments or {}, root=root)
            out = await _run(line, told)
        except (BatchlabError, OSError, RuntimeError) as error:  # of paths: too long, a loop
            content = types.TextContent(type="text", text=str(error))
            return types.CallToolResult(content=[content], is_error=True)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=out)], structured_content=json.loads(out)
        )

    server = Server(
        "batchlab",
        version=__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=tools,
        on_call_tool=call,
    )
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def input_schema(name: str) -> dict[str, Any]:
    """What a tool takes: the arguments and options of its command, as JSON Schema."""
    properties: dict[str, Any] = {}
    required = []
    for param in _params(name):
        properties[str(param.name)] = _described(param)
        if param.required:
            required.append(str(param.name))
    if name in command_line.WITH_OWN_COMMAND:
        properties["command"] = {
            "type": "array",
            "items": {"type": "string"},
            "description": "Your training command in place of a workload, with {batch_size} where "
            "it takes one, such as python train.py --batch-size {batch_size}.",
        }
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def output_schema(name: str) -> dict[str, Any] | None:
    """What a tool answers, made from the records; None: it has no schema."""
    from batchlab.advice.advice import advice_schema
    from batchlab.measure.noise import Noise
    from batchlab.measure.profile import Profile
    from batchlab.report.check import CheckDocument
    from batchlab.report.comparison import Comparison
    from batchlab.report.sweep_page import SweepDocument
    from batchlab.words.document import schema_text

    kinds = {
        "check": CheckDocument,
        "profile": Profile,
        "noise": Noise,
        "sweep": SweepDocument,
        "compare": Comparison,
    }
    if name == "advise":
        return dict(json.loads(advice_schema()))
    return dict(json.loads(schema_text(kinds[name]))) if name in kinds else None


def _params(name: str) -> Iterator[click.Parameter]:
    command = command_line.batchlab.commands[name]
    yield from (param for param in command.params if param.name not in _LEFT_OUT)


def _described(param: click.Parameter) -> dict[str, Any]:
    said = {"description": param.help} if isinstance(param, click.Option) and param.help else {}
    if isinstance(param, click.Option) and param.is_flag:
        return {"type": "boolean", **said}
    if isinstance(param.type, click.Choice):
        return {"type": "string", "enum": list(param.type.choices), **said}
    if param.multiple:
        return {"type": "array", "items": {"type": "string"}, **said}
    # A number may be given as one; the command reads the text of either.
    return {"type": ["string", "number"], **said}


def arguments_of(name: str, given: Mapping[str, Any], *, root: Path | None) -> list[str]:
    """A call as a command line.

    Raises:
        UsageError: no such tool or argument, or something outside of `root`.
    """
    if name not in TOOLS:
        raise UsageError(f"no tool {name!r}; there are {', '.join(TOOLS)}")
    params = {str(param.name): param for param in _params(name)}
    own = name in command_line.WITH_OWN_COMMAND
    known = [*params, *(["command"] if own else [])]
    if unknown := [argument for argument in given if argument not in known]:
        raise UsageError(f"{name} takes no {unknown[0]!r}; it takes {', '.join(known)}")
    line, options = [], []
    for argument in known:
        value, param = given.get(argument), params.get(argument)
        if value is None:  # as good as not given
            if root is not None and param is not None and isinstance(param.default, str | Path):
                _check_within(root, [str(param.default)])
            continue
        if isinstance(param, click.Option) and param.is_flag:
            if not isinstance(value, bool):
                raise UsageError(f"{argument} {value!r}: expected true or false")
            options += [param.opts[0]] if value else []
            continue
        texts = _texts(argument, value, is_list=param is None or param.multiple)
        if root is not None and argument != "pattern":  # a regular expression may have a slash
            _check_within(root, texts)
        if isinstance(param, click.Option):
            options += [f"{param.opts[0]}={text}" for text in texts]
        elif param is not None:
            if texts[0].startswith("-"):
                raise UsageError(f"{argument} {texts[0]!r}: expected a name, not an option")
            line += texts
    command = _texts("command", given.get("command") or [], is_list=True)
    if root is not None and own:
        _check_runs_within(root, command, str(given.get("workload") or ""))
    end = ["--", *command] if command else []
    return [name, *line, *options, *_JSON.get(name, ("--json",)), *end]


def _texts(argument: str, value: object, *, is_list: bool) -> list[str]:
    """The parts of a list, or a single value, as texts."""
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, list) != is_list or not all(
        isinstance(part, str | int | float) and "\0" not in str(part) for part in parts
    ):
        expected = "a list of texts" if is_list else "a text or a number"
        raise UsageError(f"{argument} {value!r}: expected {expected}")
    return [str(part) for part in parts]


def _check_within(root: Path, texts: Sequence[str], *, seen_from: Path | None = None) -> None:
    """Refuse a text that names, whole or in part, a place outside of `root`."""
    for text in texts:
        for part in (text, *re.split(r"[=:,\s]", text)):
            if not ((seen_from or root) / part).resolve().is_relative_to(root):
                raise UsageError(
                    f"{text!r} is outside of {root}, where this server was started; name what is "
                    f"below it, or start it with --anywhere"
                )


def _check_runs_within(root: Path, command: Sequence[str], workload: str) -> None:
    """Refuse a command, given or of a run file, that is no script of Python below `root`."""
    from batchlab.script.run_file import RUN_FILE_NAME, read_run_file

    where = root
    if not command:
        file = Path(workload or RUN_FILE_NAME)
        if file.suffix != ".toml" or not (root / file).is_file():
            return
        _check_within(root, [str(file)])
        read = read_run_file(root / file)
        command, where = read.command or (), root / (read.cwd or "")
        _check_within(root, [str(where), str(read.config or "")])
        _check_within(root, command, seen_from=where)
    script = "".join(command[1:2])
    is_script = script.endswith(".py") and script[0] != "-" and (where / script).is_file()
    if command and not (command[0] in _PYTHONS and is_script):
        raise UsageError(
            f"command {command[0]!r}: expected python and a script below {root}, such as python "
            f"train.py; start the server with --anywhere to run others"
        )


async def _run(line: list[str], told: Told) -> str:
    """What a command prints; what it says on its way is told. Cancelled, it ends as by Ctrl-C.

    Raises:
        UsageError: the command's own error, in its words.
    """
    import anyio

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "batchlab.cli.main", *line),  # what lies here is no module
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=2**24,  # of a line, in bytes
    )
    assert process.stdout is not None
    assert process.stderr is not None
    out = asyncio.ensure_future(process.stdout.read())
    last = ""
    try:
        async for each in process.stderr:
            last = each.decode(errors="replace").strip() or last
            await told(last)
        said = await out
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()  # as by Ctrl-C, also where that is ignored
            with anyio.CancelScope(shield=True):
                await process.wait()
    if code:
        raise UsageError(last.removeprefix("error: ") or f"it ended with code {code}")
    return said.decode()
