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
from queue import SimpleQueue
from typing import Any, Final

from batchlab.errors import BatchlabError, EditedError, StoreError
from batchlab.processes.memory import is_out_of_memory, kills_for_memory
from batchlab.processes.server import context, sheltered
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

_SERVER_GONE = 255  # the exit code that multiprocessing reports for a child if the fork server died
OWN_END_S = 0.25
"""Seconds to wait after the death of a child before reporting it. If the whole job is being killed,
this process is dead by then, so it does not report the child's death as a result."""

_STOP: Final = "stop"  # The message that requests that a child stop.

HOPELESS: Final = {"EditedError": EditedError, "StoreError": StoreError}
"""The errors, by class name, after which all later children would fail in the same way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a child process ended: with its function's result or with an error."""

    value: Any = None  # The result of the child's function; None if the function failed.
    status: Status | None = None  # For example oom or killed; None if the function returned.
    reason: Reason | None = None  # Why the function failed; None if the function returned.
    traceback: str | None = None  # The full traceback of the exception that the function raised.
    error: str | None = None  # The class name of the exception that the function raised.


class Line:
    """The child's connection to its parent: sends and receives messages and requests to stop."""

    def __init__(self, connection: Connection) -> None:
        """Start a thread that receives what the parent sends."""
        self._connection = connection
        self._stop = threading.Event()
        self._received: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, message: Any) -> None:
        """Send a message to the parent."""
        self._connection.send(message)

    def asked_to_stop(self) -> bool:
        """Return whether the parent has requested a stop; its next task cancels the request."""
        return self._stop.is_set()

    def receive(self) -> Any:
        """Wait for and return the next message that the parent sent with `Child.send`."""
        return self._received.get()

    def _listen(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if message == _STOP:
                    self._stop.set()
                else:
                    self._stop.clear()
                    self._received.put(message)
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

    def send(self, message: Any) -> None:
        """Send a message, which the child's function gets from `Line.receive`.

        If the child has ended already, the message is lost, and `receive` reports the end.
        """
        with suppress(OSError):
            self.connection.send(message)

    def ask_to_stop(self) -> None:
        """Request that the child stop; the child checks for this request from time to time."""
        self.send(_STOP)

    def is_alive(self) -> bool:
        """Return whether the child process has not ended."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill the child process immediately (SIGKILL)."""
        self._process.kill()

    def end(self) -> None:
        """Kill the child process and wait for its end; its messages and its result are lost."""
        self._process.kill()
        self._process.join()
        self.connection.close()

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
            child.end()
            late = Reason.of("not_ended_in_time", timeout_s=timeout_s)
            return Ended(status=Status.TIMEOUT, reason=late)
        ended = child.wait()
    except BaseException:
        child.kill()
        raise
    raise_if_hopeless(ended)
    return ended


def raise_if_hopeless(ended: Ended) -> None:
    """Raise the error with which a child ended, if all later children would fail in the same way.

    Raises:
        EditedError: the child found that a file of the workload was edited.
        StoreError: the child could not write or read its checkpoint.
    """
    if ended.error in HOPELESS:
        raise HOPELESS[ended.error](reason_text(ended.reason))


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
