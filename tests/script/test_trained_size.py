"""A script whose own counters contradict the batch size that it was given is never believed."""

from __future__ import annotations

import json

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.sampled_output import readings_of, sample

from batchlab.script.trained_size import TrainedSize


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
        ("batch_size=4096\nbatch_size=32", True),  # which it did not fit with before
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
    *told, begun = readings_of(f"{line}\nstep 1 loss 0.5".encode())

    assert not any(map(size.contradiction, told))
    assert (size.contradiction(begun) is None) == is_right


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
    trial = made_up_trial(batch_size=1024, n_train=10240)
    size = TrainedSize(trial, most_examples=10240, is_limit=True)

    (found,) = readings_of(f"{line}\n{line.replace('epoch 1', 'epoch 2')}".encode())[1:]

    assert (size.contradiction(found) is None) == is_right


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
