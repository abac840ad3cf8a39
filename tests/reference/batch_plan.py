"""A batch plan found by walking: every step of a run is taken in turn and its examples counted.

It follows any rule for the batch size of a step: with one size at every step it is the slow twin of
the constant plan, with others that of a staged one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from typing import NamedTuple

# The step, the examples before it -> the batch size that is wanted there.
Rule = Callable[[int, int], int]


class Walked(NamedTuple):
    """One step on the way: what came before it, and how many examples it takes."""

    step: int
    samples: int
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
        step = samples = 0
        for epoch in count():
            taken = step_of_epoch = 0
            while taken < self.n_train:
                wanted = self.wanted(step, samples)
                size = min(wanted, self.n_train - taken)
                if size < wanted and self.drop_last:
                    break
                yield Walked(step, samples, epoch, step_of_epoch, taken, size)
                taken += size
                samples += size
                step += 1
                step_of_epoch += 1

    def at(self, step: int) -> Walked:
        return next(walked for walked in self.walk() if walked.step == step)

    def samples_at(self, step: int) -> int:
        return self.at(step).samples

    def step_at(self, samples: float) -> int:
        return next(walked.step for walked in self.walk() if walked.samples >= samples)

    def epoch_at(self, step: int) -> float:
        here = self.at(step)
        until_next = takewhile(lambda walked: walked.epoch <= here.epoch, self.walk())
        in_epoch = sum(each.batch_size for each in until_next if each.epoch == here.epoch)
        return here.epoch + here.example_of_epoch / in_epoch

    def steps_in(self, epochs: float) -> int:
        return next(step for step in count() if self.epoch_at(step) >= epochs)

    def position(self, step: int) -> tuple[int, int]:
        here = self.at(step)
        return here.epoch, here.step_of_epoch
