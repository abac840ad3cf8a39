"""A batch plan found by walking: every step of a run is taken in turn and its examples counted.

It follows any rule for the batch size of a step: with one size at every step it is the slow twin of
the constant plan, with others that of a staged one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
