"""BatchSizeSampler: the batches of a whole training, each as large as a plan says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sized
from typing import Any

import msgspec
import torch
from torch.utils.data import Sampler

from batchlab.errors import UsageError
from batchlab.plans.plan import Plan
from batchlab.plans.scheduler import PlanScheduler
from batchlab.workload.data import epoch_order


class BatchSizeSampler(Sampler[list[int]]):
    """A batch sampler for a DataLoader: one pass over the loader is a whole run of a plan.

        sampler = batchlab.BatchSizeSampler(train, plans.steps(64, {0.5: 256}, epochs=10), seed=0)
        rates = sampler.scheduler(optimizer)
        for batch in DataLoader(train, batch_sampler=sampler):
            ...                     # forward, backward
            optimizer.step(); rates.step(); optimizer.zero_grad()

    Every example comes once per epoch (except those that `drop_last` leaves out), in an order that
    depends on the seed and the epoch. No batch has examples of two epochs. The batch size depends
    only on the step, so it changes at the planned step even if workers fetch batches ahead.

    Attributes:
        plan: the batch size of each step for this data.
        n_steps: the number of steps of the whole run.
        first_step: the first step of the next pass: 0, or the step of a loaded state.
    """

    def __init__(
        self,
        data: Sized,
        plan: Plan,
        *,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Convert the plan to batch sizes by step for this data.

        Args:
            data: the map-style dataset that the loader loads.
            plan: the plan of the whole run; a batch size counts the examples of all processes.
            seed: the seed of the order of examples; give every process the same seed.
            drop_last: whether to leave out an epoch's last examples if they don't fill a batch.
            rank: the index of this process, from 0 to `world_size` - 1.
            world_size: the number of processes, which share the examples of every batch.

        Raises:
            UsageError: a batch size above the number of examples, a milestone after the last step,
                or a batch with fewer examples than processes.
        """
        if not 0 <= rank < world_size:
            raise UsageError(f"rank={rank}: expected 0 to {world_size - 1}, for {world_size=}")
        self._planned = plan
        self._n_train = len(data)
        self._seed = seed
        self._drop_last = drop_last
        self._rank, self._world_size = rank, world_size
        self.plan = plan.for_data(self._n_train, drop_last=drop_last)
        self.n_steps = self.plan.steps_in(plan.epochs)
        self.first_step = 0
        self._is_over = False
        self._scheduler: PlanScheduler | None = None
        sizes = list(plan.sizes)
        # Check the last batch of each epoch too, because it may be smaller than planned.
        for epoch in range(1, math.ceil(plan.epochs) + 1):
            sizes.append(self.plan.batch_size_at(self.plan.steps_in(epoch) - 1))
        if min(sizes) < world_size:
            raise UsageError(
                f"a batch of {min(sizes)} examples cannot be shared by {world_size} "
                f"processes; give drop_last=True, or other sizes"
            )

    def __len__(self) -> int:
        """Return the number of batches of the next pass."""
        return self.n_steps - self.first_step

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's example indices, batch by batch, from `first_step` to the run's end.

        Raises:
            UsageError: an earlier pass has already yielded the last batch of the run.
        """
        if self._is_over:
            raise UsageError(
                "one pass of the loader is the whole run, and it is over: leave out the loop over "
                "epochs, set a framework's epochs to 1, or make a new sampler"
            )
        epoch, _ = self.plan.position(self.first_step)
        while (begin := self.plan.steps_in(epoch)) < self.n_steps:
            order = epoch_order(self._n_train, seed=self._seed, epoch=epoch, sampling="reshuffle")
            first = max(begin, self.first_step)
            taken = self.plan.samples_at(first) - self.plan.samples_at(begin)
            for step in range(first, min(self.n_steps, self.plan.steps_in(epoch + 1))):
                size = self.plan.batch_size_at(step)
                yield order[taken : taken + size][self._rank :: self._world_size].tolist()
                taken += size
            epoch += 1
        self._is_over = True

    def scheduler(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        schedule: Callable[[float], float] | None = None,
    ) -> PlanScheduler:
        """Return a scheduler that sets the plan's rates; call its `step` after each optimizer step.

        The scheduler also counts the steps taken, so that `state_dict` can store the count.
        """
        self._scheduler = PlanScheduler(
            optimizer,
            self._planned,
            self.plan,
            first_step=self.first_step,
            schedule=schedule,
        )
        return self._scheduler

    def state_dict(self, *, step: int | None = None) -> dict[str, Any]:
        """Return the state of the run, as plain numbers and texts.

        Args:
            step: the number of optimizer steps taken, or None to use the scheduler's count.

        Raises:
            UsageError: `step` is None, and no scheduler of this sampler counts the steps.
        """
        if step is None:
            if self._scheduler is None:
                raise UsageError(
                    "the number of steps taken is not known here, because a loader fetches ahead; "
                    "give state_dict(step=...), or step the scheduler of this sampler"
                )
            step = self._scheduler.last_epoch
        return {"step": step, **self._identity}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next pass continue from a state that `state_dict` returned.

        The number of processes may have changed: it does not affect the examples of a step.

        Raises:
            UsageError: the state is of a sampler with another plan, seed or number of examples.
        """
        for name, value in self._identity.items():
            if state_dict.get(name) != value:
                raise UsageError(
                    f"this state belongs to another run: its {name} is {state_dict.get(name)!r}, "
                    f"and here it is {value!r}; make the sampler with the same arguments as then"
                )
        self.first_step, self._is_over = int(state_dict["step"]), False
        if self._scheduler is not None:
            self._scheduler.go_to(self.first_step)

    @property
    def _identity(self) -> dict[str, Any]:
        return {
            "plan": msgspec.json.encode(self._planned).decode(),
            "seed": self._seed,
            "n_train": self._n_train,
            "drop_last": self._drop_last,
        }
