"""A sweep in a process of its own, killed and looked at: what the tests of kills are made of."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from batchlab.records.trial import TrialRecord
from batchlab.store.store import Store
from batchlab.training.checkpoint import peek_checkpoint

# A checkpoint is written four times a second, later when the machine is busy; a killed run may
# repeat what it did since.
LONGEST_INTERVAL_S = 5.0
_PATIENCE_S = 120.0


def sweep_command(store: Path, epochs: int) -> list[str]:
    # Adam has state to lose; a replaced order of examples would show at once.
    return [
        *(sys.executable, "-m", "batchlab.cli.main", "sweep", "mnist-softmax"),
        *("--batch-sizes", "50", "--learning-rates", "0.01", "--seeds", "2"),
        *("--epochs", str(epochs), "--store", str(store), "--json"),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """What was there when the sweep was killed.

    Attributes:
        checkpoint_steps: of the trials that this process had brought forward by then.
        checkpoint_ages_s: how long ago those checkpoints had been written.
    """

    checkpoint_steps: tuple[int, ...]
    checkpoint_ages_s: tuple[float, ...]


def killed(store: Path, epochs: int, *, while_starting: bool, delay_s: float) -> Kill | None:
    """Start the sweep and kill it `delay_s` after its start, or after its first checkpoint.

    Returns:
        What was there then; None if the sweep had ended before.
    """
    started_s = time.time()
    process = subprocess.Popen(
        sweep_command(store, epochs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    ends_s = time.monotonic() + _PATIENCE_S
    while not (while_starting or kept_since(store, started_s) or process.poll() is not None):
        assert time.monotonic() < ends_s, "the sweep wrote no checkpoint"
        time.sleep(0.02)
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    else:
        return None
    now_s = time.time()
    wait_for_children_to_notice(process.pid)
    steps, ages_s = [], []
    for path in checkpoints(store):
        progress = peek_checkpoint(path)
        assert progress is not None, "a half-written checkpoint"
        if path.stat().st_mtime >= started_s:  # its trial was under way in this very process
            steps.append(progress.step)
            ages_s.append(now_s - path.stat().st_mtime)
    return Kill(checkpoint_steps=tuple(steps), checkpoint_ages_s=tuple(ages_s))


def checkpoints(store: Path) -> list[Path]:
    return list(Path(f"{store}.checkpoints").glob("*.safetensors"))


def kept_since(store: Path, started_s: float) -> bool:
    """Whether a checkpoint was written since `started_s`."""
    return any(path.stat().st_mtime >= started_s for path in checkpoints(store))


def wait_for_children_to_notice(session: int) -> None:
    """Orphans write nothing after their parent is gone, but let them be gone too."""
    ends_s = time.monotonic() + 30
    while time.monotonic() < ends_s:
        alive = subprocess.run(["pgrep", "-s", str(session)], capture_output=True, check=False)
        if alive.returncode != 0:
            return
        time.sleep(0.05)
    raise AssertionError("children outlived their killed parent")


def records_of(store: Path) -> tuple[TrialRecord, ...]:
    if not store.exists():
        return ()
    with Store.existing(store) as opened:
        if not opened.studies():
            return ()
        return opened.study().records


def numbers(records: tuple[TrialRecord, ...]) -> list[object]:
    """Everything a trial's record holds that must not depend on interruptions."""
    return [
        (
            record.trial,
            record.status,
            [(e.step, e.samples, e.batch_loss, e.measured, e.scores) for e in record.evaluations],
        )
        for record in records
    ]


def assert_killed_often_ends_the_same(
    folder: Path, undisturbed: Path, *, seed: int, epochs: int, kills: int, while_starting: int
) -> None:
    """Kill a sweep at random moments until it may end; its numbers are those of one undisturbed.

    Args:
        folder: an empty one for its store.
        undisturbed: the store of the other.
        seed: of the moments.
        epochs: so many that the sweep outlasts the kills.
        kills: how often it is killed.
        while_starting: how many of them come before its first checkpoint.
    """
    print(f"seed {seed}")
    rng = random.Random(seed)
    disturbed = folder / "disturbed.db"
    starting = [True] * while_starting + [False] * (kills - while_starting)
    rng.shuffle(starting)

    seen: list[Kill] = []
    for is_starting in starting:
        delay_s = rng.uniform(0.0, 6.0) if is_starting else rng.uniform(0.0, 0.7)
        kill = killed(disturbed, epochs, while_starting=is_starting, delay_s=delay_s)
        assert kill is not None, "the sweep ended before it could be killed: give it more epochs"
        seen.append(kill)
    subprocess.run(sweep_command(disturbed, epochs), check=True, capture_output=True)

    records = records_of(disturbed)
    resumed = {step for record in records for step in record.resumed_from_steps}
    inside = [kill for kill in seen if kill.checkpoint_steps]
    assert len(inside) >= kills / 2
    assert all(step > 0 for kill in inside for step in kill.checkpoint_steps)
    assert {step for kill in inside for step in kill.checkpoint_steps} <= resumed
    assert max(age_s for kill in inside for age_s in kill.checkpoint_ages_s) < LONGEST_INTERVAL_S
    assert numbers(records) == numbers(records_of(undisturbed))
