"""Data as they are given: arrays, columns, a DataLoader, and what is split off from them."""

from __future__ import annotations

import warnings
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from tests.reference.handed_over import workload
from tests.reference.small_workloads import points, small_trial
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from batchlab.errors import WorkloadError
from batchlab.training.batching import examples_at
from batchlab.training.evaluator import Evaluator
from batchlab.training.stepper import Stepper
from batchlab.workload import given_data
from batchlab.workload.data import Collated, fetched
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.given_data import redraw_validation, with_data_as_read, with_validation
from batchlab.workload.loading import live_workload

ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 2


def loaded(*train: Any) -> tuple[torch.Tensor, ...]:
    found: tuple[torch.Tensor, ...] = live_workload(
        workload(train=train, validation=None), {}
    ).workload.train
    return found


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shown = array.view()
    shown.flags.writeable = False
    return shown


@pytest.mark.parametrize(
    "x",
    [
        *(ROWS, ROWS.astype(">f4"), ROWS[::-1], ROWS[::-1][::-1]),
        *(np.asfortranarray(ROWS), read_only(ROWS)),
        torch.from_numpy(ROWS),
    ],
)
def test_arrays_become_tensors_of_the_same_numbers_without_a_warning(x: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = loaded(x, LABELS)

    assert np.array_equal(train[0].numpy(), np.asarray(x))
    assert train[1].dtype == torch.int64


def test_a_table_is_the_dict_of_its_columns() -> None:
    label = pandas.Series(LABELS, name="label")
    table = pandas.DataFrame({"height": np.linspace(0, 1, 20), "rooms": LABELS, "new": LABELS == 1})

    given, notes = with_data_as_read(workload(train=table, validation=None))
    paired, _ = with_data_as_read(workload(train=(table, label), validation=None))

    batch = examples_at(given, torch.tensor([0, 3]))
    assert {name: (part.dtype, part.tolist()) for name, part in batch.items()} == {
        "height": (torch.float32, pytest.approx([0, 3 / 19])),
        "rooms": (torch.int64, [0, 1]),
        "new": (torch.bool, [False, True]),
    }
    assert notes == ("train is a table, taken as a dict of its columns, floats as float32",)
    columns, labels = examples_at(paired, torch.tensor([0, 3]))
    assert list(columns) == ["height", "rooms", "new"]
    assert labels.tolist() == [0, 1]


def test_a_table_with_words_is_refused_with_what_to_give() -> None:
    table = pandas.DataFrame({"city": ["Rome", "Oslo"], "rooms": [1, 2]})

    with pytest.raises(WorkloadError, match=r"train\['city'\] holds .*turn words into numbers"):
        with_data_as_read(workload(train=table, validation=None))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((ROWS.astype(">f8"), LABELS), "train holds a NumPy array of float64"),
        ((ROWS, LABELS.astype("uint16")), "train holds a NumPy array of uint16"),
        ((np.array(["cat"] * 20), LABELS), "train holds a NumPy array of <U3"),
        (ROWS, "train is one NumPy array"),
        ([ROWS, LABELS], "train is a list of 2 arrays or tensors"),
        ({"x": ROWS, "y": LABELS.astype("f8")}, "train['y'] holds a NumPy array of float64"),
        (
            {"x": ROWS, "y": {"class": LABELS[:19]}},
            "train holds the shapes (20, 3) in ['x'], (19,) in ['y']['class']",
        ),
        ({"x": ROWS, "y": 3}, "train['y'] is of type int"),
        ({}, "train is empty"),
    ],
)
def test_other_data_are_refused_with_what_to_give(data: Any, told: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        live_workload(workload(train=data), {})

    assert str(caught.value).startswith(f"workload 'mine': {told}")


CPU = torch.device("cpu")


class Table:
    """A stand-in with the same protocol: `with_format`, `format`, rows as dicts, many at once."""

    def __init__(self, columns: dict[str, list[Any]], kind: str | None = None) -> None:
        self.columns, self.format = columns, {"type": kind, "columns": list(columns)}
        self.asked: list[list[int]] = []

    def with_format(self, kind: str | None) -> Table:
        return Table(self.columns, kind)

    def __len__(self) -> int:
        return len(self.columns["label"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        assert type(index) is int  # as pyarrow asks for
        row = {name: column[index] for name, column in self.columns.items()}
        if self.format["type"] != "torch":
            return row
        return {
            name: value if isinstance(value, str) else torch.tensor(value)
            for name, value in row.items()
        }

    def __getitems__(self, chosen: list[int]) -> list[dict[str, Any]]:
        self.asked.append(chosen)
        return [self[index] for index in chosen]


def table(n: int, seed: int = 0) -> Table:
    x, y = points(n, seed=seed)
    return Table({"text": ["words"] * n, "x": x.tolist(), "label": y.tolist()})


def tabled(**fields: Any) -> Workload:
    made = Workload(
        name="table",
        model=lambda: torch.nn.Linear(6, 3),
        loss=lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["label"]),
        **{"train": table(40), "validation": table(20, seed=1)} | fields,
    )
    return live_workload(made, {}).workload


def test_a_batch_has_tensors_of_the_columns_and_the_texts_as_a_list() -> None:
    batch = examples_at(tabled(), torch.tensor([7, 2]))

    x, y = points(40)
    assert torch.equal(batch["x"], x[[7, 2]])
    assert torch.equal(batch["label"], y[[7, 2]])
    assert batch["text"] == ["words", "words"]


@pytest.mark.parametrize("validation", ["split", None], ids=["split off", "none"])
def test_it_trains_as_its_tensors_do(validation: Any) -> None:
    named, (x, y) = tabled(validation=validation), points(40)
    plain = tabled(train={"x": x, "label": y}, validation=validation)

    losses = [
        stepper.steps(stepper.stream(0), 6, first_step=0)[0]
        for each in (named, plain)
        for stepper in [Stepper(each, small_trial(each, batch_size=12), CPU)]
    ]

    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_format_or_a_collate_of_the_users_own_is_left_alone() -> None:
    chosen, plain = table(40).with_format("numpy"), table(40)

    assert tabled(train=chosen).train is chosen
    assert tabled(train=plain, collate=lambda rows: rows).train is plain


DATA = TensorDataset(torch.randn(20, 3), torch.zeros(20, dtype=torch.int64))
OTHER = TensorDataset(torch.randn(10, 3), torch.zeros(10, dtype=torch.int64))


def together(examples: list[Any]) -> Any:
    return torch.utils.data.default_collate(examples)


def doubled(examples: list[Any]) -> Any:
    x, y = torch.utils.data.default_collate(examples)
    return 2 * x, y


def test_its_data_set_collate_and_workers_are_taken() -> None:
    loader = DataLoader(DATA, batch_size=7, shuffle=True, collate_fn=together, num_workers=2)
    loaded = live_workload(
        workload(train=loader, validation=DataLoader(OTHER, 5, collate_fn=together)), {}
    )

    taken = loaded.workload

    assert taken.train is DATA
    assert taken.validation is OTHER
    assert (taken.collate, taken.workers) == (together, 2)
    assert loaded.notes == ()


def batch_size_and_notes(**given: Any) -> tuple[int, tuple[str, ...]]:
    loaded = live_workload(workload(**given), {})
    return loaded.workload.batch_size, loaded.notes


def test_its_batch_size_is_taken_where_the_workload_states_none() -> None:
    in_batches = DataLoader(DATA, batch_sampler=BatchSampler(range(20), 5, drop_last=False))

    assert workload(train=DataLoader(DATA, 7)).batch_size == 7
    assert batch_size_and_notes(train=DataLoader(DATA, 7)) == (7, ())
    assert workload(train=in_batches).batch_size == 5
    assert batch_size_and_notes(train=DataLoader(DATA, 7), batch_size=7) == (7, ())
    assert batch_size_and_notes(train=DataLoader(DATA), batch_size=8) == (8, ())
    assert batch_size_and_notes(train=DATA) == (64, ())
    assert batch_size_and_notes(train=DATA, validation=DataLoader(OTHER, 5)) == (64, ())

    # A loader larger than its data makes one batch of all; a tenth is split off.
    assert batch_size_and_notes(train=DataLoader(DATA, 64), validation=None) == (20, ())
    assert batch_size_and_notes(train=DataLoader(DATA, 20)) == (18, ())
    batch_size, (note,) = batch_size_and_notes(train=DataLoader(DATA))
    assert batch_size == 1
    assert "batches of 1" in note


def test_a_validation_loader_keeps_a_collate_of_its_own() -> None:
    """As where only training examples are changed at random in the collate."""
    given = workload(train=DataLoader(DATA, 7, collate_fn=doubled), validation=DataLoader(OTHER, 5))
    taken = live_workload(given, {}).workload
    model = taken.model()

    scores = Evaluator(taken, torch.device("cpu"), batch_size=4).scores(model, ("validation",))

    expected = given.loss(model, OTHER.tensors)
    assert scores[0].value == pytest.approx(float(expected.detach()), rel=1e-6)


def test_what_is_not_taken_is_noted() -> None:
    loader = DataLoader(DATA, 7, drop_last=True, worker_init_fn=print, num_workers=1)

    loaded = live_workload(workload(train=loader), {})

    assert loaded.notes == (
        "worker_init_fn of the DataLoader of train is not called: the random numbers of each step "
        "are seeded anyway",
        "drop_last of the DataLoader of train is not taken: the option --drop-last leaves out a "
        "smaller last batch",
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"train": DataLoader(DATA, 7, sampler=WeightedRandomSampler([1.0] * 20, 20))},
            "train is a DataLoader with a WeightedRandomSampler of its own",
        ),
        (
            {"train": DataLoader(DATA, 7, sampler=RandomSampler(DATA, replacement=True))},
            "train is a DataLoader with a RandomSampler of its own",
        ),
        (
            {
                "train": DataLoader(
                    DATA, batch_sampler=type("Buckets", (BatchSampler,), {})(range(20), 4, False)
                )
            },
            "train is a DataLoader with a Buckets of its own",
        ),
        (
            {"train": DATA, "validation": DataLoader(OTHER, 7, sampler=SubsetRandomSampler([1]))},
            "validation is a DataLoader with a SubsetRandomSampler of its own",
        ),
        (
            {"train": DataLoader(DATA, batch_size=None)},
            "train is a DataLoader with batch_size=None, whose data set makes batches itself",
        ),
        (
            {"train": DataLoader(DATA, 7, collate_fn=together), "collate": doubled},
            "train is a DataLoader with a collate_fn",
        ),
    ],
)
def test_a_loader_that_cannot_be_taken_over_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        live_workload(workload(**given), {})

    assert str(caught.value).startswith(f"workload 'mine': {told}")


X = torch.arange(400.0).reshape(100, 4)
Y = torch.arange(100)


def a_workload(**fields: Any) -> Workload:
    base: dict[str, Any] = {
        "name": "split",
        "model": lambda: nn.Linear(4, 1),
        "train": (X, Y),
        "loss": lambda model, batch: model(batch[0]).mean(),
    }
    return Workload(**(base | fields))


def split_off(workload: Workload) -> Workload:
    return with_validation(with_data_as_read(workload)[0])


def refusal(**fields: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        split_off(a_workload(**fields))
    message = str(caught.value)
    assert "\n" not in message
    assert "'split'" in message
    return message


class Squares(Dataset[Any]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return index, index**2


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(range(3))


# The split


def test_a_tenth_is_held_out_the_same_every_time_and_every_example_is_in_one_of_the_two() -> None:
    torch.manual_seed(1)
    split = split_off(a_workload())
    torch.manual_seed(2)
    again, of_dataset = split_off(a_workload()), split_off(a_workload(train=Squares(100)))

    kept, held = split.train[1], split.validation[1]
    assert (len(kept), len(held)) == (90, 10)
    assert torch.equal(torch.cat([kept, held]).sort().values, Y)
    assert torch.equal(again.validation[1], held)
    assert [of_dataset.validation[k][0] for k in range(10)] == held.tolist()


LARGE = torch.zeros(20_000, 1)


def examples_in(part: Any) -> list[int]:
    """Which of the hundred a split holds; each example is still whole."""
    batch = fetched(part, torch.arange(size_of(part)), None)
    x, y = batch.values() if isinstance(batch, dict) else batch
    assert torch.equal(x, X[y])
    found: list[int] = y.tolist()
    return found


@pytest.mark.parametrize(
    "train", [(X, Y), {"x": X.numpy(), "y": Y}, TensorDataset(X, Y)], ids=["tuple", "dict", "data"]
)
def test_each_seed_draws_its_own_tenth_the_same_every_time(train: Any) -> None:
    first = split_off(a_workload(train=train))
    pool = examples_in(first.validation) + examples_in(first.train)

    def drawn(seed: int) -> tuple[list[int], list[int]]:
        workload = replace(
            first, train=deepcopy(first.train), validation=deepcopy(first.validation)
        )
        redraw_validation(workload, seed)
        return examples_in(workload.validation), examples_in(workload.train)

    validate, train = drawn(3)

    # What it means: of all examples the seed's order says which ten.
    order = torch.randperm(100, generator=torch.Generator().manual_seed(20_170_308 + 3)).tolist()
    assert sorted(validate) == sorted(pool[place] for place in order[:10])
    assert sorted(validate + train) == list(range(100))
    assert drawn(3) == (validate, train)
    assert drawn(4)[0] != validate


@pytest.mark.parametrize(
    ("fields", "draws"),
    [
        ({}, True),
        ({"train": (LARGE[1:],)}, True),
        ({"train": (LARGE,)}, False),  # 2,000 validate
        ({"validation": (X[:10] + 1, Y[:10] + 1)}, False),
        ({"validation": None}, False),
    ],
)
def test_seeds_draw_where_batchlab_splits_off_fewer_than_2000(
    fields: dict[str, Any], draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = live_workload(a_workload(**fields), {})

    assert loaded.draws_by_seed == draws
    # It belongs to who the workload is: trials of another rule are other trials.
    monkeypatch.setattr(given_data, "FEW_EXAMPLES", 0)
    assert (live_workload(a_workload(**fields), {}).workload_id != loaded.workload_id) == draws


# What cannot be used


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"train": (X[:9], Y[:9])}, "9 training examples are too few to split a tenth off"),
        ({"train": Squares(9)}, "9 training examples are too few"),
        ({"validation": "half"}, "validation='half'; expected data"),
        ({"train": Squares(0)}, "train holds no examples"),
        ({"validation": (X[:0],)}, "validation holds no examples"),
        ({"train": X}, "train is one tensor"),
        ({"train": [X, Y]}, "train is a list of 2 arrays or tensors"),
        ({"train": (X, 3)}, "train[1] is of type int"),
        ({"train": (X, Y[:50])}, "train holds the shapes (100, 4) in [0], (50,) in [1]"),
        ({"train": (X, torch.tensor(1.0))}, "train holds the shapes (100, 4) in [0], () in [1]"),
        ({"train": None}, "train is a NoneType"),
        ({"train": Endless()}, "train is of type Endless without a length"),
        ({"test": 5}, "test is a int"),
    ],
)
def test_data_that_cannot_be_used_are_refused_in_one_line(
    fields: dict[str, Any], told: str
) -> None:
    assert told in refusal(**fields)


# Apart
SQUARES = Squares(30)


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ((X, Y), (X, Y)),
        (TensorDataset(X, Y), (X, Y)),
        (SQUARES, SQUARES),
        (SQUARES, Collated(dataset=SQUARES, collate=list)),
    ],
)
def test_the_training_set_is_no_validation_set(train: Any, validation: Any) -> None:
    message = refusal(train=train, validation=validation)

    assert "train and validation are the same data" in message
    assert "give validation examples of its own" in message


def test_the_training_set_is_no_test_set() -> None:
    assert "train and test are the same data" in refusal(test=(X, Y))


@pytest.mark.parametrize(
    ("train", "validation"),
    [((X[90:], Y[90:]), (X[:90], Y[:90])), ((X[::2], Y[::2]), (X[1::2], Y[1::2]))],
)
def test_slices_of_one_tensor_are_fine(train: Any, validation: Any) -> None:
    assert split_off(a_workload(train=train, validation=validation)).train is train
