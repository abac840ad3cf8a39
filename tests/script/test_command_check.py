"""The check of a command: does it train, and do its flags act, before the budget goes."""

import io
import re
import sys
import traceback
import uuid
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reference.living import living
from tests.reference.training_script import training_script, with_own_rate

from batchlab.errors import BatchlabError
from batchlab.records.study import WorkloadSummary
from batchlab.script.check import CommandCheck
from batchlab.script.command import TrainingCommand
from batchlab.script.look import Look, LookComparison
from batchlab.script.output import OutputReader
from batchlab.script.process import CommandEnd, status_and_reason
from batchlab.script.reading import Reading

_START_S, _TICK_S = 0.02, 0.25


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class InProcess(io.StringIO):
    """Stands in for FollowedTraining: `train.py`, whose lines come when its sleeps are over."""

    def __init__(self, clock: Clock, command: TrainingCommand, values: dict, **_: object) -> None:
        super().__init__()
        arguments = command.filled(values, folder=command.place, output_dir=command.place)
        self._clock, self._ended_s = clock, clock.now_s
        self._reader = OutputReader(pattern=command.pattern, metric=command.metric)
        self._printed: dict[float, str] = defaultdict(str)
        self._error: list[str] = []
        clock.sleep(_START_S)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(self):
            patch.setattr(sys, "argv", arguments[arguments.index("train.py") :])
            patch.setattr(sys, "stdin", io.StringIO())
            patch.setattr("time.sleep", clock.sleep)
            try:
                exec((command.place / "train.py").read_text(), {"__name__": "__main__"})
            except Exception as error:
                self._error = [traceback.format_exception_only(error)[-1].strip()]
        clock.now_s, self._ended_s = self._ended_s, clock.now_s

    def write(self, text: str) -> int:
        self._printed[self._clock.now_s] += text
        return len(text)

    stop_reading = staticmethod(lambda: None)

    def follow(self, take: Callable[[list[Reading]], bool]) -> CommandEnd:
        while self._clock.now_s < self._ended_s:
            now_s = min([*self._printed, self._ended_s, self._clock.now_s + _TICK_S])
            self._clock.now_s = now_s
            piece = self._printed.pop(now_s, "").encode()
            if take(self._reader.feed(piece, now_s)) and now_s < self._ended_s:
                return self._end(was_asked=True)
        take(self._reader.finish())
        return self._end(was_asked=False)

    def _end(self, *, was_asked: bool) -> CommandEnd:
        status, reason = status_and_reason(
            ("python", "train.py"),
            exit_code=len(self._error),
            was_asked=was_asked,
            kernel_killed=False,
            last_lines=self._error,
        )
        return CommandEnd(
            status=status,
            reason=reason,
            last_lines=tuple(self._error),
            duration_s=self._clock.now_s,
            peak_bytes=None,
            gpu_peak_bytes=None,
            was_asked=was_asked,
        )


def checked(
    command: TrainingCommand, folder: Path, *, limit_s=60.0, proves=True, workload_id="check"
) -> WorkloadSummary:
    check = CommandCheck(
        command,
        workload_id=workload_id,
        folder=folder / "looks",
        limit_s=limit_s,
        tell=lambda text: None,
    )
    return check.summary(proves=proves)


@pytest.fixture
def clock(monkeypatch):
    """The clock of looks, which run their scripts in this process."""
    clock = Clock()
    now = SimpleNamespace(monotonic=lambda: clock.now_s)
    monkeypatch.setattr("batchlab.script.look.time", now)
    monkeypatch.setattr("batchlab.script.look.FollowedTraining", partial(InProcess, clock))
    return clock


@pytest.mark.slow
def test_processes_that_train_are_checked_and_ended(tmp_path):
    workload_id = f"check-{uuid.uuid4().hex}"
    facts = checked(training_script(tmp_path), tmp_path, workload_id=workload_id)

    assert living(workload_id) == ()
    assert (facts.warnings, facts.n_train, facts.takes_rate) == ((), 2000, True)
    assert 0 < (facts.start_s or 0) < 30


@pytest.mark.usefixtures("clock")
def test_a_command_with_a_rate_of_its_own_takes_none(tmp_path):
    assert not checked(with_own_rate(training_script(tmp_path)), tmp_path, proves=False).takes_rate


TEXT = (Path(__file__).parent / "checked_scripts.txt").read_text("utf-8")
HEAD, *ENTRIES = TEXT.partition("\n\n")[2].split("\n## ")
ROWS: dict[str, tuple[str, str]] = {}  # by name and row, the row and the source
for entry in ENTRIES:
    name, *lines = entry.split("\n")
    source = "\n".join((HEAD, *(line for line in lines if not line.startswith("> "))))
    ROWS |= {f"{name}, {row}": (row, source) for row in lines if row.startswith("> ")}


def entry_of(name: str) -> str:
    return name.partition(", > ")[0]


def check_of(row: str, source: str, folder: Path) -> tuple[Callable[[], WorkloadSummary], str, str]:
    """Return the check of a row, what it finds or the kind of its error, and what that says."""
    special, examples, found, said = (cell.strip() for cell in row.strip("> ").split("|"))
    options: dict[str, Any] = {"examples": None if examples == "-" else int(examples)}
    what, _, number = special.partition(" ")
    limit_s, more = 60.0, []
    if special.startswith("--"):
        more = special.split()
    elif what == "limit":
        limit_s = float(number)
    elif what == "batch":
        options["batch_size"] = int(number)
    elif number == "accuracy":
        source = source.replace("val_loss", "accuracy")
        options |= {"metric": "accuracy", "better": "lower"}
    command = training_script(folder, *more, source=source, seed=special != "no seed", **options)
    check = partial(checked, command, folder, limit_s=limit_s, proves=what != "unproven")
    return check, found, said.replace("{", r"\{")


@pytest.mark.parametrize("name", [name for name in ROWS if "Error |" not in name], ids=entry_of)
@pytest.mark.usefixtures("clock")
def test_what_is_found_or_could_not_be_proven_is_said(name, tmp_path):
    check, n_train, warned = check_of(*ROWS[name], tmp_path)

    facts = check()

    assert facts.n_train == int(n_train)
    patterns = list(filter(None, warned.split("; ")))
    for pattern, text in zip(patterns, facts.warnings, strict=True):
        assert re.search(pattern.replace("(the default)", ".the default."), text), text


@pytest.mark.parametrize("name", [name for name in ROWS if "Error |" in name], ids=entry_of)
@pytest.mark.usefixtures("clock")
def test_a_command_that_cannot_be_followed_or_believed_is_refused_in_one_line(name, tmp_path):
    check, kind, said = check_of(*ROWS[name], tmp_path)

    with pytest.raises(BatchlabError, match=said) as refused:
        check()

    assert type(refused.value).__name__ == kind
    assert "\n" not in str(refused.value)


def test_a_proof_ends_when_it_is_one(clock, tmp_path):
    """Of looks of 2.5 s, the first and that of another batch size, with its epochs, are whole."""
    (name,) = (name for name in ROWS if name.startswith("its metric comes once, at the end, > | "))

    check_of(*ROWS[name], tmp_path)[0]()

    assert 5.0 < clock.now_s < 5 * 2.5 - 2.0


@pytest.mark.parametrize(
    ("losses", "acts"), [([3.0, 2.0, 1.0], False), ([3.0, 1.9, 1.0], True), ([3.0, 2.0, 0.9], None)]
)
def test_what_differs_after_two_equal_runs_proves_nothing(losses, acts, tmp_path):
    command = training_script(tmp_path)

    def look(losses: list[float]) -> Look:
        made = Look(command, command.own_trial())
        made.readings = [
            Reading(at_s=0.0, shape="words", step=step, values=(("loss", loss),))
            for step, loss in enumerate(losses)
        ]
        return made

    compared = LookComparison(look([3.0, 2.0, 1.0]), look([3.0, 2.0]))

    assert compared.acts(look(losses)) is acts
