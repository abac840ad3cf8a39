"""Engine: who answers with training runs; the contract knows nothing of torch or of workloads."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchlab.engines.cost_model import CostModel
from batchlab.records.run import RunEnd, RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Trial, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What an engine can do.

    Attributes:
        resumes: a trial asked for again with a longer run goes on from where it ended, so that
            only what is new costs; else it begins again.
        any_learning_rate: it trains at whatever rate is asked for; else at those it has.
        any_seed: it has as many seeds as are asked for.
        side_by_side: it does several runs at a time where the machine lets it.
        in_process_metrics: a quantity may be measured inside the training process.
        keeps_cadence: runs are evaluated at the marks of `batchlab.planning.cadence`.
        cools_down: the rate of a run may fall to zero over its last part.
    """

    resumes: bool
    any_learning_rate: bool
    any_seed: bool
    side_by_side: bool
    in_process_metrics: bool
    keeps_cadence: bool
    cools_down: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What all runs of one question share.

    Attributes:
        trial: what all trials share; its batch size, rate and seed are replaced.
        micro_batch_sizes: how each batch size in question fits into memory.
        step_s: seconds per step of each batch size in question, measured alone.
        horizon_epochs: the passes that the workload's learning-rate shape spans; None: the rate
            is constant.
        device: the PyTorch device, such as "cpu" or "cuda:1".
        threads: for each run; more than one where a run has the machine to itself.
        measures: what to measure of each run beside what is always measured, by name.
    """

    trial: Trial
    micro_batch_sizes: Mapping[int, int]
    step_s: Mapping[int, float]
    horizon_epochs: int | None
    device: str
    threads: int = 1
    measures: tuple[str, ...] = ()


class Engine(Protocol):
    """Who answers with training runs: a machine, or a recorded grid.

    Runs are submitted, and come back one by one as they finish. A run that the engine ended before
    its length, for want of time, comes back with the status TIMEOUT and what was seen until then.
    """

    cost_model: CostModel
    """What it has learned of how long runs take; given back to it when a study is replayed."""

    @property
    def name(self) -> str:
        """Its name in the registry, and in the records of its runs."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def n_workers(self) -> int:
        """How many runs it does at a time: asking for fewer wastes it."""
        ...

    @property
    def n_seeds(self) -> int | None:
        """How many seeds it has (0 to n_seeds - 1); None: as many as are asked for."""
        ...

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """The rates it has at `batch_size`, ascending; None: any."""
        ...

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        ...

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """About how many seconds of the budget a run costs, with its evaluations.

        Args:
            batch_size: examples per step.
            length: its new steps, and when it is evaluated; a target does not shorten it.
        """
        ...

    def evaluation_steps(self, batch_size: int) -> float:
        """How many steps of a batch size take as long as an evaluation on validation data.

        0.0: it takes no time, or is not known yet.
        """
        ...

    def submit(self, request: RunRequest) -> None:
        """Ask for a run; it begins when a place is free, and comes back by `next_finished`."""
        ...

    def next_finished(self) -> RunEnd:
        """Wait for the next of the submitted runs to end; at least one is submitted."""
        ...

    def cancel(self) -> None:
        """End everything submitted that has not come back; what can go on later can do so."""
        ...

    def spent_s(self) -> float:
        """Seconds of the budget spent so far."""
        ...


class AnswersAtOnce:
    """Submit and next-finished of an engine that needs no time: runs end in the order asked."""

    cost_model = CostModel()

    def __init__(self) -> None:
        """Nothing is submitted yet."""
        self._submitted: deque[RunRequest] = deque()

    def answer(self, request: RunRequest) -> TrialRecord:
        """The record of one run.

        Args:
            request: the run asked for.
        """
        raise NotImplementedError

    def submit(self, request: RunRequest) -> None:
        """Put it last."""
        self._submitted.append(request)

    def next_finished(self) -> RunEnd:
        """Answer the first."""
        request = self._submitted.popleft()
        return RunEnd(request=request, record=self.answer(request))

    def cancel(self) -> None:
        """Forget those that wait."""
        self._submitted.clear()


def run_all(engine: Engine, requests: Sequence[RunRequest]) -> list[TrialRecord]:
    """Run all of them, with nothing else under way, and wait for the last.

    Args:
        engine: asked for the runs.
        requests: each another run.

    Returns:
        The whole records, in the order of the requests.
    """
    for request in requests:
        engine.submit(request)
    ends = [engine.next_finished() for _ in requests]
    records = {end.request: end.record for end in ends}
    return [records[request] for request in requests]
