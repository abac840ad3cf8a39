"""The command line: parses arguments, calls one command, and exits with a code.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 success, 1 failure, 2 wrong
usage, 3 an answer that is less sure than `--require` demands, 130 interrupted after storing all.
"""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import stat
import sys
import time
from contextlib import suppress
from typing import NoReturn

import click

from batchlab.cli.mcp import mcp
from batchlab.cli.measure import advise, check, noise, profile, sweep
from batchlab.cli.options import Invocation
from batchlab.cli.stored import compare, fit, report, weights, workloads
from batchlab.errors import BatchlabError, UsageError
from batchlab.version import __version__

# A budget limits the whole command, so count the time from when Python loaded this file.
_STARTED_S = time.monotonic()

_COMMANDS = (
    *(advise, sweep, profile, noise, check),
    *(fit, report, compare, weights, workloads, mcp),
)
COMMANDS = {str(command.name): command for command in _COMMANDS}

# The commands that accept a user's training command after `--`.
WITH_OWN_COMMAND = ("advise", "sweep", "profile")

# These commands store no intermediate results, so Ctrl-C must not say that results are stored.
_IN_ONE_GO = ("profile", "noise", "check", "mcp")


@click.group(
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(__version__, message="batchlab %(version)s")
def batchlab() -> None:
    """Which batch size should I use? Measured on your own model and machine."""


def _interrupt(number: int, _frame: object) -> NoReturn:
    """Handle a signal as Ctrl-C: raise KeyboardInterrupt, and ignore the signal from now on."""
    signal.signal(number, signal.SIG_IGN)
    if number == signal.SIGHUP:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            if stat.S_ISCHR(os.fstat(stream).st_mode):  # drop output to a closed terminal
                os.dup2(nowhere, stream)
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup must stay in effect
        signal.signal(signal.SIGHUP, _interrupt)
    if arguments is not None:
        sys.exit(_exit_code(arguments))
    code = _exit_code(sys.argv[1:])
    # Skip Python's shutdown, which takes half a second to unload torch, but not its exit hooks.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the program that reads this output may have ended
            stream.flush()
    os._exit(code)


def _exit_code(arguments: list[str], *, started_s: float = _STARTED_S) -> int:
    options, own_command = _apart(arguments)
    invocation = Invocation(
        command_line=shlex.join(["batchlab", *arguments]),
        started_s=started_s,
        own_command=own_command,
    )
    try:
        code = batchlab.main(
            options or ["--help"], prog_name="batchlab", standalone_mode=False, obj=invocation
        )
        sys.stdout.flush()
    except click.ClickException as error:
        # Join the lines of a message, because click writes each choice on a separate line.
        told = " ".join(error.format_message().split())
        return _refused(f"{told} (see {_help_of(error, arguments)} --help)", 2)
    except UsageError as error:
        return _refused(_one_line(str(error)), 2)
    except BatchlabError as error:
        return _refused(_one_line(str(error)), 1)
    except (KeyboardInterrupt, click.Abort):
        interrupted = "interrupted; everything so far is stored"
        if arguments[:1] and arguments[0] in _IN_ONE_GO:
            interrupted = "interrupted"
        print(f"{interrupted}. To go on: {invocation.command_line}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader ended, as in `batchlab ... | head`: drop further output
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    if isinstance(code, int):
        return code
    return 0


def _apart(arguments: list[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """Split off the training command after `--`; None if `--` is missing or not accepted."""
    if "--" not in arguments or arguments[0] not in WITH_OWN_COMMAND:
        return arguments, None
    place = arguments.index("--")
    return arguments[:place], tuple(arguments[place + 1 :])


def _refused(line: str, code: int) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code


def _one_line(message: str) -> str:
    return next((line for line in message.strip().splitlines() if line), "no reason was given")


def _help_of(error: click.ClickException, arguments: list[str]) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return error.ctx.command_path
    return " ".join(["batchlab", *(name for name in arguments[:1] if name in COMMANDS)])
