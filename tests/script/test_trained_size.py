"""A script whose own counters contradict the batch size that it was given is never believed."""

from __future__ import annotations

import json

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of, sample

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
def test_the_last_batch_of_an_epoch_may_be_told_as_smaller(
    sizes: tuple[int, ...], is_right: bool
) -> None:
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
def test_only_the_size_of_the_batches_of_the_training_counts_once_it_has_begun(
    line: str, is_right: bool
) -> None:
    assert believed(line)
    assert believed(f"{line}\nstep 1 loss 0.5") == is_right


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        ("epoch 1 step 10/10 loss 1", True),
        ("epoch 1 step 17/17 loss 1", True),
        ("epoch 1 step 5/5 loss 1", False),
        ("step 20 consumed samples: 4096 loss 1", True),
        ("step 20 consumed samples: 40960 loss 1", False),
        ("step 20 batch size: 600 loss 1", True),
        ("step 20 batch size: 2048 loss 1", False),
    ],
)
def test_batches_up_to_a_limit_may_be_smaller_and_never_larger(line: str, is_right: bool) -> None:
    assert believed(f"{line}\n{line.replace('epoch 1', 'epoch 2')}", limit=1024) == is_right


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *(("huggingface", 20), ("keras", 10), ("keras_tty", 10), ("keras_verbose_2", 10)),
        *(("lightning_rich_forced", 12), ("lightning_tqdm", 12), ("lightning_tqdm_half", 12)),
        *(("pytorch_mnist", 938), ("pytorch_quickstart", 938), ("timm", 1251)),
        *(("torchvision", 1251), ("tqdm_again", 31), ("tqdm_train_val", 40), ("yunjey", 600)),
    ],
)
def test_what_real_trainings_printed_fits_the_steps_that_an_epoch_had(
    name: str, steps: int
) -> None:
    readings = readings_of(sample(f"{name}.txt"))
    for n_batches, is_right in ((steps, True), (3 * steps, False)):
        trial = made_up_trial(batch_size=64, n_train=64 * n_batches)
        size = TrainedSize(trial, most_examples=trial.n_train)

        assert (not any(map(size.contradiction, readings))) == is_right
