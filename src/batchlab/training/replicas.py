"""Replicas: one trial on several devices of this machine, each with its part of every batch.

The gradient of a step is the sum, over the devices, of each one's share of the mean over the whole
batch: what one device would compute of it, but for rounding. The devices are processes that meet as
those of torchrun do (gloo on processors, NCCL on GPUs), over the loopback interface.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.processes.children import Line, end_of, served
from batchlab.processes.memory import kills_for_memory
from batchlab.random_state import RandomState, derived_seed, seed_everything
from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial

# They wait for one another while the first evaluates; a death is told by a pipe, not by a wait.
_WAIT = timedelta(days=7)
# Whatever ends one of them may end the first too: its own reason is the better one.
_OWN_END_S = 1.0
_LOST_S = 30.0
_LOOPBACK = "lo"
_MOST_STEPS = 1000  # that a noise scale is of

_FORK = multiprocessing.get_context("fork")

Command = Literal["end", "steps", "saw", "tell_state", "take_state"]
_COMMANDS: tuple[Command, ...] = ("end", "steps", "saw", "tell_state", "take_state")


class Replicas:
    """The devices of one trial, as one of them sees them.

    The first (rank 0) evaluates, decides and writes checkpoints; the others do as it commands. It
    is also what a checkpoint keeps of what is theirs alone (a `Stateful`): random streams, buffers.
    Nothing of it is PyTorch's default group: who asks for that (a metric, a sampler) is alone.
    """

    def __init__(self, rank: int, n: int, meeting: str, device: torch.device) -> None:
        """Meet the others, by a file that is made for it; each waits until all are there."""
        self.rank = rank
        self.n = n
        self.device = device
        # What the last steps say of the gradient's noise, with their batch sizes.
        self._spread: deque[tuple[float, Tensor]] = deque(maxlen=_MOST_STEPS)
        self._model: nn.Module | None = None
        if os.path.exists(f"/sys/class/net/{_LOOPBACK}"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
        store: Any = dist.FileStore(meeting, n)  # type: ignore[attr-defined]
        self._groups: dict[str, Any] = {"cpu": dist.ProcessGroupGloo(store, rank, n, _WAIT)}
        if device.type == "cuda":
            torch.cuda.set_device(device)
            of_gpus = dist.PrefixStore("gpus", store)  # type: ignore[attr-defined]
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = _WAIT
            self._groups["cuda"] = dist.ProcessGroupNCCL(of_gpus, rank, n, options)
        self._reduced(torch.zeros((), device=device))  # all have met, on the device too

    def part_of(self, n_examples: int) -> slice:
        """Which of so many examples, that go through the model at once, are this device's."""
        begin, end = (n_examples * rank // self.n for rank in (self.rank, self.rank + 1))
        return slice(begin, end)

    def share(self, model: nn.Module, seed: int) -> None:
        """Begin with the weights and buffers of the first, and with random streams of its own."""
        self._model = model
        with torch.no_grad():
            for held in (*model.parameters(), *model.buffers()):
                whole = held.detach().contiguous()
                self._broadcast(whole.reshape(-1).view(torch.uint8), 0)  # of any type
                held.copy_(whole)
        if self.rank:
            seed_everything(derived_seed("replica", seed, self.rank))

    # ---- what they compute together

    def total(self, value: float) -> float:
        """The sum of a number over the devices."""
        held = torch.tensor([value], dtype=torch.float64)
        self._reduced(held)
        return held.item()

    def summed(
        self, parameters: Sequence[nn.Parameter], loss: Tensor, share: float, n_examples: float
    ) -> Tensor:
        """Put sums over the devices in place of the gradients; returns that of the losses.

        A parameter that no device's loss depends on in this step keeps none. `share` is this
        device's part of the `n_examples` of the batch; nan: its loss is a mean of something else.

        Raises:
            WorkloadError: a gradient is sparse.
        """
        used = torch.tensor([float(each.grad is not None) for each in parameters])
        self._reduced(used)
        by_type: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter, count in zip(parameters, used.tolist(), strict=True):
            if parameter.grad is not None and parameter.grad.layout != torch.strided:
                raise WorkloadError(
                    "the model has a gradient that is sparse, which several devices do not add "
                    "up; train it on one, or make its embedding without sparse=True"
                )
            if count:
                by_type.setdefault(parameter.dtype, []).append(parameter)
        own_sq, whole_sq = (torch.zeros((), dtype=torch.float64, device=self.device) for _ in "12")
        for of_type in by_type.values():
            own = (torch.zeros_like(each) if each.grad is None else each.grad for each in of_type)
            flat = torch.cat([gradient.reshape(-1) for gradient in own])
            own_sq += torch.linalg.vector_norm(flat).double() ** 2
            self._reduced(flat)
            whole_sq += torch.linalg.vector_norm(flat).double() ** 2
            parts = flat.split([each.numel() for each in of_type])
            for parameter, part in zip(of_type, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        # Of one type on all devices; beside it the mean square of their gradients.
        whole = torch.stack([loss.to(self.device, torch.float64), own_sq / share])
        self._reduced(whole)
        self._spread.append((n_examples, torch.stack([whole[1], whole_sq])))
        return whole[0].to(loss.dtype)

    def gradient_pairs(self, trial: Trial) -> list[tuple[float, float]]:
        """Of each step that is not forgotten, of the last thousand, tr Sigma and |G|^2, unbiased.

        With n devices, of which each has a part w of a batch of B, the mean of |G_w|^2 weighted by
        w lies above |G_B|^2 by (n - 1) tr Sigma / B on average; where batches are drawn without
        replacement from N, by N / (N - 1) times as much. A step in which a device has no example
        is left out.

        Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1, for parts of any size.
        """
        n_train, is_without = trial.n_train, trial.sampling == "reshuffle" and trial.n_train > 1
        pairs = []
        told = torch.stack([each for _, each in self._spread]).tolist() if self._spread else []
        for (n_examples, _), (mean_sq, whole_sq) in zip(self._spread, told, strict=True):
            trace, drawn = n_examples * (mean_sq - whole_sq) / (self.n - 1), 1 / n_examples
            if is_without:
                trace *= (n_train - 1) / n_train
                drawn = (n_train / n_examples - 1) / (n_train - 1)
            if math.isfinite(trace):
                pairs.append((trace, whole_sq - drawn * trace))
        return pairs

    def forget_gradients(self) -> None:
        """Have the next pairs be of steps from here on."""
        self._spread.clear()

    def _reduced(self, held: Tensor) -> None:
        with _told_of_deaths():
            self._groups[held.device.type].allreduce(held).wait()

    def _broadcast(self, held: Tensor, rank: int) -> None:
        with _told_of_deaths():
            self._groups[held.device.type].broadcast(held, rank).wait()

    # ---- what the first commands

    def command(self, name: Command, value: float = 0.0) -> None:
        """Have all others do something; the first calls this, and then does it too."""
        self._broadcast(torch.tensor([_COMMANDS.index(name), value], dtype=torch.float64), 0)

    def commanded(self) -> tuple[Command, float]:
        """What the first commands next."""
        held = torch.zeros(2, dtype=torch.float64)
        self._broadcast(held, 0)
        return _COMMANDS[int(held[0])], held[1].item()

    # ---- what a checkpoint keeps of them

    def state_dict(self) -> dict[str, Any]:
        """The random streams and the buffers of the others, and the noise that was seen."""
        self.command("tell_state")
        sizes, told = [n for n, _ in self._spread], [each.cpu() for _, each in self._spread]
        return {"others": self.told_states()[1:], "sizes": sizes, "spread": told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the others theirs back."""
        self.command("take_state")
        self._sent([{}, *state["others"]], 0)
        told = [each.to(self.device) for each in state["spread"]]
        self._spread.extend(zip(state["sizes"], told, strict=True))

    def told_states(self) -> list[dict[str, Any]]:
        """What is theirs alone, of all of them."""
        own = {"random": asdict(RandomState.now()), "buffers": _buffers(self._model)}
        return [self._sent(own, rank) for rank in range(self.n)]

    def take_state(self) -> None:
        """Go on with what the first has kept of this one."""
        state = self._sent(None, 0)[self.rank]
        RandomState(**state["random"]).restore()
        assert self._model is not None
        for name, held in state["buffers"].items():
            owner, _, leaf = name.rpartition(".")
            buffers = self._model.get_submodule(owner)._buffers
            now = buffers[leaf]
            if now is not None and now.shape == held.shape:
                now.copy_(held)  # several modules may hold it
            else:
                buffers[leaf] = held.to(self.device)

    def _sent(self, value: Any, rank: int) -> Any:
        """A value of one of them, to all; between processes of one trial, over the loopback."""
        content = pickle.dumps(value) if self.rank == rank else b""
        n_bytes = torch.tensor([len(content)])
        self._broadcast(n_bytes, rank)
        held = torch.zeros(int(n_bytes), dtype=torch.uint8)
        if self.rank == rank:
            held = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        self._broadcast(held, rank)
        return pickle.loads(held.numpy().tobytes())


def _buffers(model: nn.Module | None) -> dict[str, Tensor]:
    return {} if model is None else {name: b.detach().cpu() for name, b in model.named_buffers()}


class DeviceLostError(WorkloadError):
    """Another device of the trial is gone."""


@contextmanager
def _told_of_deaths() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # Who watches its process knows why, and ends this one with that.
        time.sleep(_LOST_S)
        raise DeviceLostError(f"another device of the trial is gone ({error})") from error


@contextmanager
def replicated(
    line: Line, n: int, device: str, follow: Callable[[Replicas], object]
) -> Iterator[Replicas | None]:
    """Context: this process is the first of `n` devices, the others `follow`; None: it is alone.

    It has to be entered before anything is computed here, for the others are forked from it. Where
    one of them ends badly, this process tells that as its own end.
    """
    if n == 1:
        yield None
        return
    first, is_over = torch.device(device), threading.Event()
    folder = tempfile.mkdtemp(prefix="batchlab-meeting-")

    def met(rank: int) -> Replicas:
        return Replicas(rank, n, os.path.join(folder, "file"), _device_of(first, rank))

    others: list[_Follower] = []
    for rank in range(1, n):
        others.append(_Follower(rank))
        others[-1].start(line, partial(lambda rank: follow(met(rank)), rank), others)
    for other in others:
        threading.Thread(target=other.watch, args=(line, n, is_over), daemon=True).start()
    try:
        try:
            replicas = met(0)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # now: this process may end at any moment
        yield replicas
        replicas.command("end")
        for other in others:
            other.join()
    finally:
        is_over.set()
        for other in others:
            other.kill()


def _device_of(first: torch.device, rank: int) -> torch.device:
    return first if first.type == "cpu" else torch.device("cuda", (first.index or 0) + rank)


class _Follower:
    """The process of a device beside the first, as that sees it."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self._kills_before = kills_for_memory()
        self._connection, self._theirs = _FORK.Pipe()
        self._process: Any = None

    def start(self, line: Line, follow: Callable[[], object], opened: Sequence[_Follower]) -> None:
        """Fork it; of those that are `opened`, itself among them, it closes the ends here."""

        def forked() -> None:
            # Held here too, they would hide from whoever waits at them that the first is gone.
            line.leave()
            for other in opened:
                other._connection.close()
            served(self._theirs, lambda _: follow(), ())

        self._process = _FORK.Process(target=forked, name=f"device-{self.rank + 1}")
        self._process.start()
        self._theirs.close()

    def watch(self, line: Line, n: int, is_over: threading.Event) -> None:
        """Wait for its end; where that is a bad one, end this process with its reason."""
        try:
            _, ended = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            ended = end_of(self._process.exitcode, self._kills_before)
        if ended.status is None or is_over.wait(_OWN_END_S):
            return
        reason = Reason.of("device_ended", place=self.rank + 1, n=n, why=ended.reason)
        line.give_up(replace(ended, reason=reason))

    def join(self) -> None:
        """Leave it a moment to end by itself."""
        self._process.join(_OWN_END_S)

    def kill(self) -> None:
        """End it, if it has not."""
        self._process.kill()
        self._process.join()
