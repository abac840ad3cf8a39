"""A script whose counters contradict the batch size it was given is never believed, others are."""

import ast
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of

from batchlab.errors import OtherBatchSizeError, ProgressError
from batchlab.script.metric import ProgressPoints
from batchlab.script.output import OutputReader
from batchlab.script.trained_size import TrainedSize


def believed(output: str, *, limit: int | None = None) -> bool:
    """Whether an output does not contradict a batch size of 32, or a limit of this many tokens."""
    batch_size, n_train = (32, 72) if limit is None else (limit, 10 * limit)
    trial = made_up_trial(batch_size=batch_size, n_train=n_train)
    size = TrainedSize(trial, most_examples=n_train, is_limit=limit is not None)
    return not any([size.contradiction(reading) for reading in readings_of(output.encode())])


@pytest.mark.parametrize(
    ("sizes", "is_right"),
    [((32, 32, 8, 32, 32, 8), True), ((8, 32), False), ((32, 8, 8), False), ((32, 64), False)],
)
def test_the_last_batch_of_an_epoch_may_be_told_as_smaller(sizes, is_right):
    lines = (json.dumps({"step": n, "bs": size}) for n, size in enumerate(sizes, start=1))

    assert believed("\n".join(lines)) == is_right


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ("data.batch_size: 256", False),
        ("batch_size=4096\nbatch_size=32", True),  # which it did not fit with before
        ("train loader: batch_size 256", False),
        ("dataloader.val.batch_size: 256", True),
        ("validation: batch_size 256", True),
        ("eval_batch_size 256", True),
        ("epoch 2 step 5 loss 0.5\nepoch 1 step 6 loss 0.5", True),  # epochs that go back
    ],
)
def test_only_the_size_of_the_batches_of_the_training_counts_once_it_began(line, is_right):
    assert believed(line)
    assert believed(f"{line}\nstep 1 loss 0.5") == is_right


def test_batches_up_to_a_limit_may_be_smaller_and_never_larger():
    right = ("epoch 1 step 10/10", "epoch 1 step 17/17", "step 20 consumed samples: 4096")
    wrong = ("epoch 1 step 5/5", "step 20 consumed samples: 40960", "step 20 batch size: 2048")
    for line in (*right, "step 20 batch size: 600", *wrong):
        both = f"{line} loss 1\n{line.replace('epoch 1', 'epoch 2')} loss 1"
        assert believed(both, limit=1024) == (line not in wrong), line


# Made-up scripts


METRIC, DRAWS = "val_loss", 24


class At(NamedTuple):
    epoch: int  # numbered from 0 or 1
    passes: float
    step: int  # of the epoch, counted before or after it is taken
    n_steps: int  # of an epoch
    total: int  # steps of the run
    n_total: int
    samples: int


def bar(at: At) -> str:
    return f"{100 * at.step // at.n_steps}%|## | {at.step}/{at.n_steps} [00:01<00:02, 9.1it/s"


# What each prints before a value. Those with "of_epoch" count steps anew in each epoch.
FORMS: dict[str, Callable[[At], str]] = {
    "words": lambda at: f"epoch {at.epoch} step {at.total}",
    "words, total": lambda at: f"Epoch {at.epoch} | step {at.total}/{at.n_total} |",
    "words, micro-batches": lambda at: f"Epoch {at.epoch} | iter {4 * at.total} step {at.total} |",
    "fractions": lambda at: f"epoch {at.passes:.4f}, step {at.total}",
    "of_epoch, total": lambda at: f"Epoch: {at.epoch}, step: {at.step}/{at.n_steps},",
    "of_epoch, bracket": lambda at: f"[{at.epoch}: {at.step}/{at.n_steps}]",
    "of_epoch, brackets": lambda at: f"Epoch: [{at.epoch}][{at.step}/{at.n_steps}] ",
    "of_epoch, no total": lambda at: f"epoch {at.epoch} step {at.step}",
    # Bars are drawn again from 0 in each epoch.
    "of_epoch, bar": lambda at: f"{bar(at)}]\n",
    "of_epoch, bar with words": lambda at: f"Training {at.epoch}: {bar(at)}]\n",
    "of_epoch, bar with epoch": lambda at: f"Epoch {at.epoch}: {bar(at)}]\n",
    "json": lambda at: json.dumps({"step": at.total, "epoch": at.passes}),
    "json, numbers": lambda at: json.dumps({"step": at.total, "epoch": at.epoch}),
    "texts": lambda at: str({"step": at.total, "epoch": f"{at.passes:.4g}"}),
    "samples": lambda at: json.dumps({"iteration": at.total, "consumed_samples": at.samples}),
}


def with_values(before: str, values: dict[str, float]) -> str:
    if before.startswith("{"):
        told = {**ast.literal_eval(before), **values}
        return json.dumps(told) if '"' in before else str(told)
    return f"{before} {', '.join(f'{name}: {value}' for name, value in values.items())}"


class Script:
    """A made-up training that prints its counters in one form."""

    def __init__(self, random: Random, form: str, *, sizes: list[float]) -> None:
        self.random, self.form = random, form
        self.asked = random.randint(8, 200)
        self.n_train = int(self.asked * random.uniform(6, 40))
        self.sizes = [max(1, min(self.n_train, round(self.asked * size))) for size in sizes]
        whole = random.choice((1, 0))  # the last batch of an epoch may be smaller, or dropped
        self.n_steps = [max(1, (self.n_train - whole) // size + whole) for size in self.sizes]
        self.first = random.choice((0, 1))
        self.off = 0 if "bar" in form else random.choice((0, 0, 1))

    def lines(self) -> Iterator[str]:
        """Yield what it prints; the value of its metric is the number of samples seen."""
        total = samples = 0
        counts_anew = "of_epoch" in self.form
        every = int(1 + self.random.uniform(0, 1 if counts_anew else 1.3) * min(self.n_steps))
        evaluates_inside, logs_inside = self.random.random() < 0.3, self.random.random() < 0.8
        at_ends = counts_anew or not evaluates_inside or self.random.random() < 0.5
        for epoch, (size, n) in enumerate(zip(self.sizes, self.n_steps, strict=True)):
            for step in range(1, n + 1):
                if step == 1 and "bar" in self.form:
                    yield FORMS[self.form](At(epoch + self.first, 0, 0, n, 0, 0, 0))
                samples, total = samples + min(size, self.n_train - (step - 1) * size), total + 1
                counted = step - self.off, n, total - self.off, sum(self.n_steps)
                at = At(epoch + self.first, epoch + step / n, *counted, samples)
                is_log = (step if counts_anew else total) % every == 0
                is_evaluated = (step == n and at_ends) or (is_log and evaluates_inside)
                values = {"loss": 0.5, METRIC: samples} if is_evaluated else {"loss": 0.5}
                if is_evaluated or (is_log and logs_inside):
                    yield with_values(FORMS[self.form](at), values)

    def points(self) -> ProgressPoints:
        trial = made_up_trial(batch_size=self.asked, n_train=self.n_train)
        points = ProgressPoints(METRIC, trial, size=TrainedSize(trial, most_examples=self.n_train))
        reader = OutputReader(metric=METRIC)
        for line in self.lines():
            for reading in reader.feed(f"{line}\n".encode(), 0.0):
                points.add(reading)
        for reading in reader.finish():
            points.add(reading)
        return points


@pytest.mark.parametrize("form", FORMS)
def test_odd_but_consistent_counters_are_believed_and_placed(form):
    for seed in range(DRAWS):
        random = Random(seed)
        script = Script(random, form, sizes=[1.0] * random.randint(1, 7))

        points = script.points().points

        assert len(points) >= len(script.sizes) // 2, seed
        for point in points:
            # Each epoch may end with a smaller batch, which counts as a whole one or not at all.
            off = script.asked * (2 + point.samples / script.n_train)
            assert point.value == pytest.approx(point.samples, abs=off), seed


@pytest.mark.parametrize("form", FORMS)
def test_counters_of_another_batch_size_are_never_believed(form):
    for seed in range(DRAWS):
        random = Random(seed)
        factors = (1 / 8, 1 / 4, 1 / 2, 0.6) if "no total" in form else (1 / 8, 1 / 2, 2, 4)
        # It may begin as asked, and take another size when memory runs out.
        sizes = [1.0] * random.randint(0, 2) + [random.choice(factors)] * 12
        script = Script(random, form, sizes=sizes)

        with pytest.raises(ProgressError if "bar" in form else OtherBatchSizeError):
            script.points()
