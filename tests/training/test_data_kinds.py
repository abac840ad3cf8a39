"""Whatever the kind of data, a sampler or a stream: the same examples train the same model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.data_kinds import Streamed, kinds, workload_of
from tests.reference.small_workloads import points, small_trial
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, WeightedRandomSampler

from batchlab.errors import UsageError, WorkloadError
from batchlab.training.batching import check_streams, order_of, training_batches
from batchlab.training.evaluator import Evaluator
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload
from batchlab.workload.given_data import check_sampling
from batchlab.workload.loading import live_workload

CPU = torch.device("cpu")
KINDS = ("dict", "dict of arrays", "nested", "mapped", "mapped dict", "examples as dicts", "loader")


def trained(workload: Workload, *, batch_size: int, micro: int | None, first: int = 0) -> Any:
    """The losses of two and a half epochs, and the scores after them."""
    trial = small_trial(workload, batch_size=batch_size, micro_batch_size=micro)
    stepper = Stepper(workload, trial, CPU)
    n_steps = trial.plan.steps_in(2.5) - first
    losses, _ = stepper.steps(stepper.stream(first), n_steps, first_step=first)
    evaluator = Evaluator(workload, CPU, batch_size=7, most_train_examples=30)
    scores = evaluator.scores(stepper.model, ("train", "validation"))
    return losses, [(score.split, score.metric, score.value) for score in scores]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batch_size", "micro"), [(1, None), (7, None), (12, 5), (40, None), (40, 16)]
)
def test_it_trains_as_a_tuple_of_the_same_tensors(
    kind: str, batch_size: int, micro: int | None, tmp_path: Path
) -> None:
    given = kinds(tmp_path)

    found = trained(workload_of(given[kind]), batch_size=batch_size, micro=micro)

    expected = trained(workload_of(given["tuple"]), batch_size=batch_size, micro=micro)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert [key[:2] for key in found[1]] == [key[:2] for key in expected[1]]
    assert [key[2] for key in found[1]] == pytest.approx([key[2] for key in expected[1]], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_taken_up_in_the_middle_of_an_epoch_it_meets_the_same_examples(
    kind: str, tmp_path: Path
) -> None:
    workload = workload_of(kinds(tmp_path)[kind])
    trial = small_trial(workload, batch_size=12, micro_batch_size=5)

    def seen(first: int, n: int) -> list[Any]:
        stream = Stepper(workload, trial, CPU).stream(first)
        return [next(stream) for _ in range(n)]

    assert_same(seen(0, 9)[6:], seen(6, 3))


def leaves_of(batch: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        yield batch
        return
    for part in batch.values() if isinstance(batch, dict) else batch:
        yield from leaves_of(part)


def assert_same(some: list[Any], others: list[Any]) -> None:
    one, other = list(leaves_of(some)), list(leaves_of(others))
    assert len(one) == len(other) > 0
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


N = 40


def with_sampler(make_sampler: Any, tmp_path: Any, kind: str = "tuple") -> Workload:
    return workload_of(kinds(tmp_path)[kind], make_sampler=make_sampler)


def weighted(batch_size: int, seed: int) -> Iterable[int]:
    draw = torch.Generator().manual_seed(seed)
    return WeightedRandomSampler([0.0] * 30 + [1.0] * 10, N, generator=draw)


def bucketed(batch_size: int, seed: int) -> Iterable[list[int]]:
    """Neighbours together, the full batches in a random order, what is left at the end."""
    groups = [list(range(at, min(at + batch_size, N))) for at in range(0, N, batch_size)]
    full = [group for group in groups if len(group) == batch_size]
    order = np.random.permutation(len(full))
    return [*(full[place] for place in order), *groups[len(full) :]]


@pytest.mark.parametrize("kind", ["tuple", "dict", "mapped", "examples as dicts"])
def test_a_weighted_sampler_decides_which_examples_are_met(kind: str, tmp_path: Any) -> None:
    workload = with_sampler(weighted, tmp_path, kind)
    stream = Stepper(workload, small_trial(workload, batch_size=12), CPU).stream(0)

    batches = [next(stream)[0] for _ in range(4)]

    met = torch.cat([batch["x"] if isinstance(batch, dict) else batch[0] for batch in batches])
    x = kinds(tmp_path)["tuple"]["train"][0]
    assert len(met) == N
    places = (met[:, None] == x[None]).all(2).int().argmax(1)
    assert int(places.min()) >= 30


def test_batches_of_buckets_stay_together_in_every_micro_batch(tmp_path: Any) -> None:
    workload = with_sampler(bucketed, tmp_path)
    trial = small_trial(workload, batch_size=12, micro_batch_size=5)

    order = order_of(workload, trial, 0)

    for batch in order.split(12):
        assert batch.tolist() == list(range(int(batch[0]), int(batch[0]) + len(batch)))
    steps = [next(Stepper(workload, trial, CPU).stream(k)) for k in range(4)]
    assert [[len(part[1]) for part in step] for step in steps] == [[5, 5, 2]] * 3 + [[4]]


def test_each_epoch_and_seed_has_an_order_of_its_own_whatever_was_drawn_before(
    tmp_path: Any,
) -> None:
    workload = with_sampler(bucketed, tmp_path)
    trial = small_trial(workload, batch_size=5)
    others = [order_of(workload, trial, 1), order_of(workload, replace(trial, seed=1), 0)]

    first = order_of(workload, trial, 0)
    np.random.seed(3)
    again = order_of(workload, trial, 0)

    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("make_sampler", "told"),
    [
        (lambda batch_size, seed: range(30), "gave 30 indices for an epoch"),
        (lambda batch_size, seed: range(1, 41), "gave the index 40"),
        (lambda batch_size, seed: BatchSampler(range(40), 7, False), "gave a batch of 7 examples"),
        (lambda batch_size, seed: ["a", "b"], "gave something that is no index"),
    ],
)
def test_what_makes_no_epoch_is_said_in_one_line(
    make_sampler: Any, told: str, tmp_path: Any
) -> None:
    workload = with_sampler(make_sampler, tmp_path)

    with pytest.raises(WorkloadError) as caught:
        order_of(workload, small_trial(workload, batch_size=12), 0)

    assert str(caught.value).startswith(f"workload 'kinds': make_sampler(batch_size=12) {told}")


def test_the_record_says_that_a_sampler_chose_and_a_workload_without_one_is_as_ever(
    tmp_path: Any,
) -> None:
    plain = workload_of(kinds(tmp_path)["tuple"])

    sampled = live_workload(replace(plain, make_sampler=weighted), {})

    assert sampled.notes == ("its make_sampler chooses the examples of each epoch and their order",)
    assert live_workload(plain, {}).workload_id != sampled.workload_id


def streamed(train: Any = None, **fields: Any) -> Workload:
    train = Streamed(*points(N)) if train is None else train
    return workload_of({"train": train, "validation": points(20, seed=1)}, **fields)


def seen(workload: Workload, epoch: int, *, first_step: int = 0, micro: int = 5) -> list[Tensor]:
    """The labels and inputs of each micro-batch of an epoch in steps of 12."""
    trial = small_trial(workload, batch_size=12, micro_batch_size=micro)
    batches = training_batches(workload, trial, CPU)
    steps = batches(epoch, first_step)
    return [torch.cat([x, y[:, None]], 1) for step in steps for x, y in step]


def test_every_epoch_gives_all_examples_once_in_an_order_of_its_own() -> None:
    workload = streamed()

    first, second = (torch.cat(seen(workload, epoch)) for epoch in (0, 1))

    labels = points(N)[1].sort().values
    assert [len(part) for part in seen(workload, 0)] == [5, 5, 2, 5, 5, 2, 5, 5, 2, 4]
    assert torch.equal(first[:, -1].sort().values, labels.float())
    assert not torch.equal(first[:, -1], second[:, -1])
    # Each epoch shifts the points by a hundredth: the sums differ by that much for each number.
    shift = float((second[:, :-1].sum() - first[:, :-1].sum()) / first[:, :-1].numel())
    assert 0.005 < shift < 0.015


@pytest.mark.parametrize("first_step", [1, 3])
def test_taken_up_in_the_middle_it_goes_on_with_the_same_examples(first_step: int) -> None:
    workload = streamed()

    whole, rest = seen(workload, 2), seen(workload, 2, first_step=first_step)

    assert all(torch.equal(a, b) for a, b in zip(whole[3 * first_step :], rest, strict=True))


def test_what_a_collate_draws_belongs_to_its_step_wherever_a_run_is_taken_up() -> None:
    def drawn(examples: list[Any]) -> tuple[Tensor, Tensor]:
        return torch.rand(len(examples), 1), torch.zeros(len(examples))

    workload = streamed(collate=drawn)

    whole, rest = seen(workload, 0, micro=12), seen(workload, 0, first_step=2, micro=12)

    assert not torch.equal(whole[0], whole[1])
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_the_random_numbers_of_the_run_and_of_the_stream_do_not_meet() -> None:
    workload = streamed()
    trial = small_trial(workload, batch_size=12)

    torch.manual_seed(5)
    undisturbed = torch.rand(4)
    torch.manual_seed(5)
    between, batches = [], []
    for (batch,) in training_batches(workload, trial, CPU)(0, 0):
        batches.append(batch[0])
        between.append(torch.rand(()))

    assert torch.equal(torch.stack(between), undisturbed)
    (expected,) = next(training_batches(workload, trial, CPU)(0, 0))
    assert torch.equal(batches[0], expected[0])


@pytest.mark.parametrize("length", [35, 45])
def test_a_wrong_length_is_said(length: int) -> None:
    with pytest.raises(WorkloadError, match="workload 'kinds': "):  # where the epoch ends
        seen(streamed(Streamed(*points(N), length=length)), 0)


@pytest.mark.parametrize("length", [85, 95])
def test_a_wrong_length_is_said_before_anything_is_spent(length: int) -> None:
    workload = streamed(Streamed(*points(90), length=length))

    with pytest.raises(WorkloadError, match=f"length says {length};|the {length} examples that"):
        check_streams(workload)
    check_streams(streamed(Streamed(*points(90))))


class Counting(IterableDataset[Any]):
    """Reads its examples in an order of each pass, which it counts itself."""

    def __init__(self, n: int, *, at_the_end: bool = False, matters: bool = True) -> None:
        self.x, self.labels = points(n)
        self.passes = 0
        self.at_the_end, self.matters = at_the_end, matters

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[Any]:
        seed = self.passes if self.matters else 0
        self.passes += not self.at_the_end
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        for place in order.tolist():
            yield {"x": self.x[place], "y": [self.labels[place], place]}
        self.passes += self.at_the_end


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_stream_that_counts_its_own_passes_is_refused(at_the_end: bool) -> None:
    with pytest.raises(WorkloadError, match="'kinds': train counts its passes itself") as caught:
        check_streams(streamed(Counting(N, at_the_end=at_the_end)))

    assert "give it a set_epoch(epoch)" in str(caught.value)
    assert "\n" not in str(caught.value)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from zip(*points(N), strict=True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"train": Endless()}, "train is of type Endless without a length"),
        ({"validation": "split"}, "train is read in its own order"),
        (
            {"workers": 2},
            "workers is given and train is read in its own order, by the training itself",
        ),
        (
            {"make_sampler": lambda batch_size, seed: range(N)},
            "make_sampler is given and train is read in its own order, by the training itself",
        ),
    ],
)
def test_what_a_stream_cannot_do_is_refused(fields: dict[str, Any], told: str) -> None:
    data = {"train": Streamed(*points(N)), "validation": points(20, seed=1)}

    with pytest.raises(WorkloadError) as caught:
        workload_of(data | fields)

    assert str(caught.value).startswith(f"workload 'kinds': {told}")


def test_the_record_says_that_the_order_is_the_streams_own() -> None:
    plain = replace(streamed(), name="mine")
    loader = DataLoader(Streamed(*points(N)), batch_size=4, num_workers=2)

    loaded = live_workload(replace(plain, train=loader, batch_size=4), {})

    assert loaded.notes == (
        "train is an IterableDataset, which the training itself reads in its order: the "
        "DataLoader's 2 workers are not taken",
        "its training examples come in the order that its own data set gives them",
    )
    with pytest.raises(UsageError, match="sampling replacement: workload 'mine' chooses the order"):
        check_sampling(loaded.workload, "replacement")
