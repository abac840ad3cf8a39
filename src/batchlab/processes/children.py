"""Child processes that each call one function, forked from a server that has imported torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from batchlab.errors import BatchlabError, EditedError
from batchlab.processes.memory import is_out_of_memory, kills_for_memory
from batchlab.processes.server import context, sheltered
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

_SERVER_GONE = 255  # the exit code that multiprocessing reports for a child if the fork server died
OWN_END_S = 0.25
"""Seconds to wait after the death of a child before reporting it. If the whole job is being killed,
this process is dead by then, so it does not report the child's death as a result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a child process ended: with its function's result or with an error."""

    value: Any = None  # The result of the child's function; None if the function failed.
    status: Status | None = None  # For example oom or killed; None if the function returned.
    reason: Reason | None = None  # Why the function failed; None if the function returned.
    traceback: str | None = None  # The full traceback of the exception that the function raised.
    error: str | None = None  # The class name of the exception that the function raised.


class Line:
    """The child's connection to its parent: sends messages, and receives the request to stop."""

    def __init__(self, connection: Connection) -> None:
        """Start a thread that waits for the parent's request to stop."""
        self._connection = connection
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, message: Any) -> None:
        """Send a message to the parent."""
        self._connection.send(message)

    def asked_to_stop(self) -> bool:
        """Return whether the parent has requested that the child stop."""
        return self._stop.is_set()

    def _listen(self) -> None:
        try:
            while True:
                self._connection.recv()
                self._stop.set()
        except (EOFError, OSError):
            # The parent has died (perhaps by kill -9), so end: nobody needs the result.
            os._exit(1)


class Child:
    """A running child process; `receive` returns its messages and, finally, an `Ended`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start `function(line, *arguments)` in a child; `line` is its connection to the parent."""
        self.connection: Connection  # The connection is readable when `receive` has a message.
        self.connection, theirs = context().Pipe()
        self._kills_before = kills_for_memory()
        # The process is no daemon, because a daemon may not start the workers of a DataLoader.
        self._process = context().Process(target=_serve, args=(theirs, function, arguments))
        with sheltered():
            self._process.start()
        theirs.close()
        self._ended: Ended | None = None

    def receive(self) -> Any | Ended:
        """Wait for and return the child's next message, or an `Ended` when the child has ended."""
        if self._ended is None:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):
                return self._died()
            if not isinstance(message, Ended):
                return message
            # Store the result before joining, so that an interrupt does not lose the result.
            self._ended = message
        self._process.join()
        self.connection.close()
        return self._ended

    def ask_to_stop(self) -> None:
        """Request that the child stop; the child checks for this request from time to time."""
        with suppress(OSError):  # the child has ended already, which `receive` reports
            self.connection.send("stop")

    def kill(self) -> None:
        """Kill the child process immediately (SIGKILL)."""
        self._process.kill()

    def wait(self) -> Ended:
        """Wait until the child ends, discard its messages, and return how the child ended."""
        while True:
            message = self.receive()
            if isinstance(message, Ended):
                return message

    def _died(self) -> Ended:
        self._process.join()
        time.sleep(OWN_END_S)
        self.connection.close()
        code, kills = self._process.exitcode, kills_for_memory()
        if code == -signal.SIGKILL and kills is not None and kills != self._kills_before:
            killed = Reason.of("memory_ran_out", error="the kernel ended the process")
            return Ended(status=Status.OOM, reason=killed)
        if code is not None and code < 0:
            died = Reason.of("process_died", how=signal.Signals(-code).name)
            return Ended(status=Status.KILLED, reason=died)
        status = Status.KILLED if code == _SERVER_GONE else Status.ERROR
        return Ended(status=status, reason=Reason.of("process_died", how=f"exit code {code}"))


def run_in_child(function: Callable[..., Any], *arguments: Any, timeout_s: float) -> Ended:
    """Call `function(line, *arguments)` in a child; kill the child after `timeout_s` seconds.

    The `line` is the child's connection to this process.

    Raises:
        EditedError: the child found that a file of the workload was edited.
    """
    child = Child(function, *arguments)
    try:
        if not child.connection.poll(timeout_s):
            child.kill()
            child.wait()
            late = Reason.of("not_ended_in_time", timeout_s=timeout_s)
            return Ended(status=Status.TIMEOUT, reason=late)
        ended = child.wait()
    except BaseException:
        child.kill()
        raise
    refuse_edited(ended)
    return ended


def refuse_edited(ended: Ended) -> None:
    """Raise `EditedError` if a child ended with that error, since all later children would fail.

    Raises:
        EditedError: the child found that a file of the workload was edited.
    """
    if ended.error == EditedError.__name__ and ended.reason is not None:
        raise EditedError(reason_text(ended.reason))


def _serve(connection: Connection, function: Callable[..., Any], arguments: Any) -> None:
    """Run the child process: call the function, and send the parent its result or error."""
    # Ignore Ctrl-C, which reaches every process of a terminal: the parent decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    line = Line(connection)
    try:
        ended = Ended(value=function(line, *arguments))
    except BaseException as error:
        ended = _failed(error)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(ended)


def _failed(error: BaseException) -> Ended:
    text = "".join(traceback.format_exception(error))
    first_line = (str(error).strip().splitlines() or [""])[0]
    name = type(error).__name__
    status, reason = Status.ERROR, Reason.as_written(f"{name}: {first_line}")
    if is_out_of_memory(error):
        status, reason = Status.OOM, Reason.of("memory_ran_out", error=first_line)
    elif isinstance(error, BatchlabError):
        reason = Reason.as_written(first_line)
    return Ended(status=status, reason=reason, traceback=text, error=name)
