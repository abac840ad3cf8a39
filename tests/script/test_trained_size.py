"""A script whose own counters contradict the batch size that it was given is never believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of, sample

from batchlab.errors import ProgressError
from batchlab.script.metric import ProgressPoints
from batchlab.script.output import OutputReader
from batchlab.script.trained_size import TrainedSize

METRIC = "val_loss"


class Script:
    """A made-up training: its steps, in epochs, and the examples of each."""

    def __init__(
        self, n_train: int, sizes: list[int], *, drop_last: bool, random: np.random.Generator
    ) -> None:
        self.n_train, self.sizes = n_train, sizes  # one batch size an epoch
        self.steps = [
            max(1, n_train // size if drop_last else -(-n_train // size)) for size in sizes
        ]
        self.every = int(random.integers(1, max(2, min(self.steps))))
        self.first = int(random.integers(2))  # the number of the first epoch

    def told(self) -> Iterator[tuple[int, int, int, int, bool]]:
        """Where it says something: epoch from 0, step in it, steps of it, steps so far, at end."""
        before = 0
        for epoch, steps in enumerate(self.steps):
            for step in range(1, steps + 1):
                if step == steps or step % self.every == 0:
                    yield epoch, step, steps, before + step, step == steps
            before += steps


def loss_of(total: int) -> str:
    return f"{3 / (1 + total):.4f}"


def ends_of_epochs(script: Script) -> Iterator[str]:
    for epoch, _, _, total, at_end in script.told():
        if at_end:
            yield f"epoch {epoch + script.first} step {total} val_loss {loss_of(total)}"


def inside_epochs(script: Script) -> Iterator[str]:
    for epoch, _, _, total, _ in script.told():
        yield f"Epoch {epoch + script.first}, step {total}: val_loss = {loss_of(total)}"


def seldom(script: Script) -> Iterator[str]:
    every = max(1, int(1.3 * min(script.steps)))  # the first line may be of the second epoch
    for epoch, steps in enumerate(script.steps):
        before = sum(script.steps[:epoch])
        for total in range(before + 1, before + steps + 1):
            if total % every == 0:
                yield f"epoch {epoch + script.first} step {total} val_loss {loss_of(total)}"


def json_fractions(script: Script) -> Iterator[str]:
    for epoch, step, steps, total, _ in script.told():
        told = {"step": total, "epoch": round(epoch + step / steps, 4), METRIC: 3 / (1 + total)}
        yield json.dumps(told)


def json_whole_epochs(script: Script) -> Iterator[str]:
    for epoch, _, _, total, at_end in script.told():
        if at_end:
            yield json.dumps({"step": total, "epoch": float(epoch + 1), METRIC: 3 / (1 + total)})


def json_samples(script: Script) -> Iterator[str]:
    samples = 0
    for epoch, step, _, total, at_end in script.told():
        size = script.sizes[epoch]
        here = samples + min(script.n_train, step * size)
        yield json.dumps({"step": total, "samples": here, METRIC: 3 / (1 + total)})
        samples = here if at_end else samples


def steps_start_again(script: Script) -> Iterator[str]:
    script.every = max(1, min(script.steps) // 5)  # what it does not tell may be of any length
    for epoch, step, _, total, _ in script.told():
        yield f"epoch {epoch + script.first} step {step} val_loss {loss_of(total)}"


def steps_of_an_epoch(script: Script) -> Iterator[str]:
    for epoch, step, steps, total, _ in script.told():
        yield f"Epoch {epoch + script.first} Step {step}/{steps} val_loss: {loss_of(total)}"


def bracketed(script: Script) -> Iterator[str]:
    for epoch, step, steps, total, at_end in script.told():
        yield f"Epoch: [{epoch + script.first}][{step}/{steps}]  Loss {loss_of(total)}"
        if at_end:
            yield f"val_loss: {loss_of(total)}"


def keras(script: Script) -> Iterator[str]:
    for epoch, step, steps, total, _ in script.told():
        if step == min(script.every, steps):
            yield f"Epoch {epoch + 1}/{len(script.steps)}"
        yield f"{step}/{steps} ━━━━━━━━ 1s 8ms/step - loss: 0.3 - val_loss: {loss_of(total)}"


def lightning(script: Script) -> Iterator[str]:
    for epoch, step, steps, total, _ in script.told():
        bar = f"{100 * step // steps}%|███| {step}/{steps} [00:01<00:00, 9.1it/s"
        yield f"Epoch {epoch}: {bar}, val_loss={loss_of(total)}]"


def trainer(script: Script) -> Iterator[str]:
    n = sum(script.steps)
    for epoch, step, steps, total, at_end in script.told():
        bar = f" {100 * total // n}%|███| {total}/{n} [00:01<00:09, 9.1it/s]"
        yield bar
        if at_end:
            told = {"eval_loss": 3 / (1 + total), "eval_runtime": 0.1, "epoch": epoch + 1.0}
            yield str(told)
            yield bar
        else:
            yield str({"loss": 0.3, "learning_rate": 0.1, "epoch": round(epoch + step / steps, 2)})
            yield bar


def falls_back(script: Script) -> Iterator[str]:
    yield "batch_size=4096"  # which it did not fit with
    for epoch, _, _, total, at_end in script.told():
        if at_end:
            yield f"batch_size={script.sizes[epoch]}"
            yield f"step {total} val_loss {loss_of(total)}"


def tells_its_size(script: Script) -> Iterator[str]:
    for epoch, _, _, total, at_end in script.told():
        if at_end:
            size = script.sizes[epoch]
            yield json.dumps({"step": total, "batch_size": size, METRIC: 3 / (1 + total)})


WAYS: list[Callable[[Script], Iterator[str]]] = [
    ends_of_epochs,
    inside_epochs,
    seldom,
    json_fractions,
    json_whole_epochs,
    json_samples,
    steps_start_again,
    steps_of_an_epoch,
    bracketed,
    keras,
    lightning,
    trainer,
    tells_its_size,
    falls_back,
]


def is_believed(script: Script, way: Callable[[Script], Iterator[str]], asked: int) -> bool:
    trial = made_up_trial(batch_size=asked, n_train=script.n_train)
    metric = "eval_loss" if way is trainer else METRIC
    points = ProgressPoints(metric, trial, most_examples=script.n_train)
    reader = OutputReader(metric=metric)
    lines = "".join(f"{line}\n" for line in way(script)).encode()
    try:
        for reading in (*reader.feed(lines, 0.0), *reader.finish()):
            points.add(reading)
    except ProgressError:
        return False
    return True


def drawn(seed: int) -> tuple[np.random.Generator, int, int, bool]:
    random = np.random.default_rng(seed)
    asked = int(2 ** random.uniform(3, 10))
    n_train = int(asked * random.uniform(4, 40))
    return random, n_train, asked, bool(random.integers(2))


@pytest.mark.parametrize("way", WAYS)
def test_counters_that_contradict_the_batch_size_are_never_believed(
    way: Callable[[Script], Iterator[str]],
) -> None:
    for seed in range(60):
        random, n_train, asked, drop_last = drawn(seed)
        factor = float(random.choice([1 / 8, 1 / 4, 1 / 2, 0.6, 1.6, 2, 4]))
        trained = max(1, min(n_train, round(asked * factor)))
        if way is steps_start_again and trained > asked:
            continue  # how far an epoch goes beyond its last line is not known
        # It may begin as asked, and take another size when memory runs out.
        n_right = int(random.integers(0, 3))
        sizes = [asked] * n_right + [trained] * 12
        script = Script(n_train, sizes, drop_last=drop_last, random=random)

        assert not is_believed(script, way, asked), (seed, n_train, asked, trained, n_right)


@pytest.mark.parametrize("way", WAYS)
def test_a_script_that_trains_as_asked_is_believed(
    way: Callable[[Script], Iterator[str]],
) -> None:
    for seed in range(60):
        random, n_train, asked, drop_last = drawn(seed)
        script = Script(n_train, [asked] * 14, drop_last=drop_last, random=random)

        assert is_believed(script, way, asked), (seed, n_train, asked, drop_last)


@pytest.mark.parametrize(
    ("sizes", "is_right"),
    [((32, 32, 8, 32, 32, 8), True), ((8, 32), False), ((32, 8, 8), False), ((32, 64), False)],
)
def test_the_last_batch_of_an_epoch_may_be_told_as_smaller(
    sizes: tuple[int, ...], is_right: bool
) -> None:
    lines = (json.dumps({"step": n, "bs": size}) for n, size in enumerate(sizes, start=1))
    size = TrainedSize(made_up_trial(batch_size=32, n_train=72), most_examples=72)

    readings = readings_of("\n".join(lines).encode())

    assert (not any(map(size.contradiction, readings))) == is_right


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ("data.batch_size: 256", False),
        ("train loader: batch_size 256", False),
        ("dataloader.val.batch_size: 256", True),
        ("validation: batch_size 256", True),
        ("eval_batch_size 256", True),
    ],
)
def test_the_size_of_the_batches_of_an_evaluation_is_none_of_the_training(
    line: str, is_right: bool
) -> None:
    size = TrainedSize(made_up_trial(batch_size=32, n_train=72), most_examples=72)
    told, begun = readings_of(f"{line}\nstep 1 loss 0.5".encode())

    assert size.contradiction(told) is None
    assert (size.contradiction(begun) is None) == is_right


def test_epochs_that_go_back_tell_no_size() -> None:
    size = TrainedSize(made_up_trial(batch_size=32, n_train=72), most_examples=72)
    lines = b"epoch 2 step 5 loss 0.5\nepoch 1 step 6 loss 0.5"

    assert [size.contradiction(each) for each in readings_of(lines)] == [None, None]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("huggingface.txt", 20),
        ("keras.txt", 10),
        ("keras_tty.txt", 10),
        ("keras_verbose_2.txt", 10),
        ("lightning_rich_forced.txt", 12),
        ("lightning_tqdm.txt", 12),
        ("lightning_tqdm_half.txt", 12),
        ("pytorch_mnist.txt", 938),
        ("pytorch_quickstart.txt", 938),
        ("timm.txt", 1251),
        ("torchvision.txt", 1251),
        ("tqdm_again.txt", 31),
        ("tqdm_train_val.txt", 40),
        ("yunjey.txt", 600),
    ],
)
def test_what_real_trainings_printed_fits_the_steps_that_an_epoch_had(
    name: str, steps: int
) -> None:
    readings = readings_of(sample(name))
    for n_batches, is_right in ((steps, True), (3 * steps, False)):
        trial = made_up_trial(batch_size=64, n_train=64 * n_batches)
        size = TrainedSize(trial, most_examples=trial.n_train)

        assert (not any(map(size.contradiction, readings))) == is_right
