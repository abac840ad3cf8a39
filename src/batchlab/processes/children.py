"""Child: a function in a process of its own, forked from a server that has imported torch."""

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

_SERVER_GONE = 255  # multiprocessing's exit code if the server ended, perhaps with all others
OWN_END_S = 0.25
"""Whoever kills every process of a job has killed this one too after this many seconds. Waiting for
that long keeps the death of a child from being taken for a result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The way in which a child ended."""

    value: Any = None  # what its function returned; None if it did not return
    status: Status | None = None  # None if it returned, else oom, killed, error, ...
    reason: Reason | None = None  # why it did not return; None if it did
    traceback: str | None = None  # the whole report of an exception
    error: str | None = None  # the exception's class name; callers may map it to their own


class Line:
    """The child's end of the connection: sends messages, and receives the request to stop."""

    def __init__(self, connection: Connection) -> None:
        """Listen for the parent in the background."""
        self._connection = connection
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, message: Any) -> None:
        """Send a message to the parent."""
        self._connection.send(("said", message))

    def asked_to_stop(self) -> bool:
        """Return whether the parent asked the child to stop."""
        return self._stop.is_set()

    def _listen(self) -> None:
        try:
            while True:
                self._connection.recv()
                self._stop.set()
        except (EOFError, OSError):
            # The parent is gone (perhaps by kill -9), so nobody needs the result.
            os._exit(1)


class Child:
    """A running child process; `receive` returns its messages and, in the end, an `Ended`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start `function(line, *arguments)` in a new process; both are pickled through a pipe."""
        self.connection: Connection  # ready when there is something to receive
        self.connection, theirs = context().Pipe()
        self._kills_before = kills_for_memory()
        # It is not a daemon, because a daemon may not start a DataLoader's workers.
        self._process = context().Process(target=_serve, args=(theirs, function, arguments))
        with sheltered():
            self._process.start()
        theirs.close()
        self._ended: Ended | None = None

    def receive(self) -> Any | Ended:
        """Wait for the next message and return it, or return how the child ended."""
        if self._ended is None:
            try:
                kind, payload = self.connection.recv()
            except (EOFError, OSError):
                return self._died()
            if kind == "said":
                return payload
            # Keep the end at once, so that an interrupt below does not lose it.
            self._ended = payload
        self._process.join()
        self.connection.close()
        return self._ended

    def ask_to_stop(self) -> None:
        """Ask the child to stop; the child checks for this request from time to time."""
        with suppress(OSError):  # it has just ended: `receive` returns how
            self.connection.send("stop")

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()

    def wait(self) -> Ended:
        """Wait for the end of the child, and drop its messages until then."""
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
    """Call `function(line, *arguments)` in a child for at most `timeout_s`; return how it ended.

    Raises:
        EditedError: as in `refuse_edited`.
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
    """Raise the error of a child that found edited files, as every next child would find them.

    Raises:
        EditedError: the error of the child.
    """
    if ended.error == EditedError.__name__ and ended.reason is not None:
        raise EditedError(reason_text(ended.reason))


def _serve(connection: Connection, function: Callable[..., Any], arguments: Any) -> None:
    """Call the function and send how it ended. This is the main function of a child."""
    # Ctrl-C reaches every process of the terminal. The parent decides, so the child goes on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    line = Line(connection)
    try:
        ended = Ended(value=function(line, *arguments))
    except BaseException as error:
        ended = _failed(error)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(("ended", ended))


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
