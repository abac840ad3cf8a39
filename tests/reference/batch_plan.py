"""A batch plan found by walking: every step of a run is taken in turn and its examples counted.

It follows any rule for the batch size of a step. With one size at every step it is the slow twin of
the constant plan; with sizes that grow it is a plan that src knows nothing of.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

from batchlab.records.batch_plan import BatchPlan
from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial

# The step, the examples before it -> the batch size that is wanted there.
Rule = Callable[[int, int], int]


@dataclass(frozen=True, kw_only=True)
class Walked:
    """One step on the way: where its epoch's examples are, and how many of them it takes."""

    step: int
    epoch: int
    step_of_epoch: int
    example_of_epoch: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class WalkedBatchPlan:
    """Whatever is asked, it starts at step 0 and counts."""

    n_train: int
    wanted: Rule
    drop_last: bool

    def walk(self) -> Iterator[Walked]:
        """All steps of an endless run."""
        step = epoch = samples = 0
        while True:
            taken = step_of_epoch = 0
            while taken < self.n_train:
                wanted = self.wanted(step, samples)
                size = min(wanted, self.n_train - taken)
                if size < wanted and self.drop_last:
                    break
                yield Walked(
                    step=step,
                    epoch=epoch,
                    step_of_epoch=step_of_epoch,
                    example_of_epoch=taken,
                    batch_size=size,
                )
                taken += size
                samples += size
                step += 1
                step_of_epoch += 1
            epoch += 1

    def at(self, step: int) -> Walked:
        return next(walked for walked in self.walk() if walked.step == step)

    def batch_size_at(self, step: int) -> int:
        return self.at(step).batch_size

    def samples_at(self, step: int) -> int:
        samples = 0
        for walked in self.walk():
            if walked.step == step:
                return samples
            samples += walked.batch_size
        raise AssertionError("the walk has no end")

    def step_at(self, samples: float) -> int:
        done = 0
        for walked in self.walk():
            if done >= samples:
                return walked.step
            done += walked.batch_size
        raise AssertionError("the walk has no end")

    def epoch_at(self, step: int) -> float:
        here = self.at(step)
        in_epoch = 0
        for walked in self.walk():
            if walked.epoch > here.epoch:
                break
            in_epoch += walked.batch_size * (walked.epoch == here.epoch)
        return here.epoch + here.example_of_epoch / in_epoch

    def steps_in(self, epochs: float) -> int:
        step = 0
        while self.epoch_at(step) < epochs:
            step += 1
        return step

    def position(self, step: int) -> tuple[int, int]:
        here = self.at(step)
        return here.epoch, here.step_of_epoch

    def notes(self, micro_batch_size: int) -> tuple[Reason, ...]:
        text = f"the batch size changes along the run; micro-batches of {micro_batch_size}"
        return (Reason.as_written(text),)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowingTrial(Trial):
    """A trial whose batch size doubles every `doubled_every` steps, up to the whole training set.

    `batch_size` is that of its first step; no pass takes more than `micro_batch_size` examples.
    """

    doubled_every: int

    @property
    def plan(self) -> BatchPlan:
        return WalkedBatchPlan(n_train=self.n_train, wanted=self._wanted, drop_last=self.drop_last)

    def _wanted(self, step: int, samples: int) -> int:
        return min(self.n_train, self.batch_size * 2 ** (step // self.doubled_every))


def growing(trial: Trial, *, doubled_every: int) -> GrowingTrial:
    given = {field.name: getattr(trial, field.name) for field in fields(trial)}
    return GrowingTrial(**given, doubled_every=doubled_every)
