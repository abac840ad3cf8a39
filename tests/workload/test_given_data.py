"""Data as they are given: arrays, columns, a DataLoader, and what is split off from them."""

import warnings
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from tests.reference.small_workloads import points, small_trial
from tests.reference.tiny_workload import workload
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, TensorDataset, default_collate

from batchlab.training.batching import examples_at
from batchlab.training.evaluator import Evaluator
from batchlab.training.stepper import Stepper
from batchlab.workload import given_data
from batchlab.workload.data import fetched
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.given_data import redraw_validation
from batchlab.workload.loading import LoadedWorkload, load_workload

CPU = torch.device("cpu")
ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = np.arange(20) % 2


def loaded(**fields: Any) -> LoadedWorkload:
    return load_workload(workload(**fields), {})


@pytest.mark.parametrize(
    "x",
    [
        *(ROWS, ROWS.astype(">f4"), ROWS[::-1], ROWS[::-1][::-1]),
        # What is broadcast is read-only.
        *(np.asfortranarray(ROWS), np.broadcast_to(ROWS, (20, 3)), torch.from_numpy(ROWS)),
    ],
)
def test_arrays_become_tensors_of_the_same_numbers_without_a_warning(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = loaded(train=(x, LABELS), validation=None).workload.train

    assert np.array_equal(train[0].numpy(), np.asarray(x))
    assert train[1].dtype == torch.int64


def test_a_table_is_the_dict_of_its_columns():
    label = pandas.Series(LABELS, name="label")
    table = pandas.DataFrame({"height": np.linspace(0, 1, 20), "rooms": LABELS, "new": LABELS == 1})

    given = loaded(train=table, validation=None)
    paired = loaded(train=(table, label), validation=None)

    batch = examples_at(given.workload, torch.tensor([0, 3]))
    assert {name: (part.dtype, part.tolist()) for name, part in batch.items()} == {
        "height": (torch.float32, pytest.approx([0, 3 / 19])),
        "rooms": (torch.int64, [0, 1]),
        "new": (torch.bool, [False, True]),
    }
    columns, labels = examples_at(paired.workload, torch.tensor([0, 3]))
    assert list(columns) == ["height", "rooms", "new"]
    assert labels.tolist() == [0, 1]


class Table:
    """A stand-in with the same protocol: `with_format`, `format`, rows as dicts, many at once."""

    def __init__(self, columns: dict[str, list[Any]], kind: str | None = None) -> None:
        self.columns, self.format = columns, {"type": kind, "columns": list(columns)}

    def with_format(self, kind):
        return Table(self.columns, kind)

    def __len__(self) -> int:
        return len(self.columns["label"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        assert type(index) is int  # as pyarrow asks for
        tensors = ("x", "label") if self.format["type"] == "torch" else ()
        row = {name: column[index] for name, column in self.columns.items()}
        return row | {name: torch.tensor(row[name]) for name in tensors}

    def __getitems__(self, chosen: list[int]) -> list[dict[str, Any]]:
        return [self[index] for index in chosen]


def tabled(**fields: Any) -> Workload:
    def loss(model: Any, batch: Any) -> Any:
        return functional.cross_entropy(model(batch["x"]), batch["label"])

    made = Workload(name="table", model=lambda: torch.nn.Linear(6, 3), loss=loss, **fields)
    return load_workload(made, {}).workload


@pytest.mark.parametrize("validation", ["split", None], ids=["split off", "none"])
def test_a_column_data_set_trains_as_its_tensors_do(validation):
    x, y = points(40)
    table = Table({"text": ["words"] * 40, "x": x.tolist(), "label": y.tolist()})
    both = [tabled(train=each, validation=validation) for each in (table, {"x": x, "label": y})]
    losses = []
    for each in both:
        stepper = Stepper(each, small_trial(each, batch_size=12), CPU)
        losses.append(stepper.steps(stepper.stream(0), 6, first_step=0))

    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    batch, other = (examples_at(each, torch.tensor([7, 2])) for each in both)
    assert batch.pop("text") == ["words", "words"]
    torch.testing.assert_close(batch, other, rtol=0, atol=0)
    chosen = table.with_format("numpy")
    assert tabled(train=chosen, validation=None).train is chosen
    assert tabled(train=table, validation=None, collate=lambda rows: rows).train is table


DATA = TensorDataset(torch.randn(20, 3), torch.zeros(20, dtype=torch.int64))
OTHER = TensorDataset(torch.randn(10, 3), torch.zeros(10, dtype=torch.int64))


def doubled(examples: list[Any]) -> Any:
    x, y = default_collate(examples)
    return 2 * x, y


def test_a_loaders_data_set_collate_and_workers_are_taken_and_what_is_not_is_noted():
    loader = DataLoader(DATA, batch_size=7, shuffle=True, collate_fn=doubled, num_workers=2)
    taken = loaded(train=loader, validation=DataLoader(OTHER, 5, collate_fn=doubled))
    odd = loaded(train=DataLoader(DATA, 7, drop_last=True, worker_init_fn=print, num_workers=1))

    assert taken.workload.train is DATA
    assert taken.workload.validation is OTHER
    assert (taken.workload.collate, taken.workload.workers, taken.notes) == (doubled, 2, ())
    assert odd.notes == ("of train's DataLoader these are not taken: drop_last, worker_init_fn",)


@pytest.mark.parametrize(
    ("fields", "batch_size", "note"),
    [
        ({"train": DataLoader(DATA, 7)}, 7, ""),
        ({"train": DataLoader(DATA, batch_sampler=BatchSampler(range(20), 5, False))}, 5, ""),
        ({"train": DataLoader(DATA, 7), "batch_size": 7}, 7, ""),
        ({"train": DataLoader(DATA), "batch_size": 8}, 8, ""),
        ({"train": DATA}, 64, ""),
        ({"train": DATA, "validation": DataLoader(OTHER, 5)}, 64, ""),
        # A loader larger than its data makes one batch of all; a tenth is split off.
        ({"train": DataLoader(DATA, 64), "validation": None}, 20, ""),
        ({"train": DataLoader(DATA, 20)}, 18, ""),
        ({"train": DataLoader(DATA)}, 1, ""),
        ({"train": DataLoader(DATA, 7), "batch_size": 5}, 5, "are not taken: batch_size"),
    ],
)
def test_a_loaders_batch_size_is_taken_where_the_workload_states_none(fields, batch_size, note):
    taken = loaded(**fields)

    assert taken.workload.batch_size == batch_size
    assert len(taken.notes) == bool(note)
    assert note in "".join(taken.notes)


def test_a_validation_loader_keeps_a_collate_of_its_own():
    """As where only training examples are changed at random in the collate."""
    given = workload(train=DataLoader(DATA, 7, collate_fn=doubled), validation=DataLoader(OTHER, 5))
    taken = load_workload(given, {}).workload
    model = taken.model()

    (score,) = Evaluator(taken, CPU, batch_size=4).scores(model, ("validation",))

    expected = given.loss(model, OTHER.tensors)
    assert score.value == pytest.approx(float(expected.detach()), rel=1e-6)


X, Y = torch.arange(300.0).reshape(100, 3), torch.arange(100)


def test_slices_of_one_tensor_are_fine():
    for part, rest in ((slice(90, None), slice(90)), (slice(0, None, 2), slice(1, None, 2))):
        given = loaded(train=(X[part], Y[part]), validation=(X[rest], Y[rest]))
        assert given.workload.train[0].data_ptr() == X[part].data_ptr()


# The split


def examples_in(part: Any) -> list[int]:
    """Which of the hundred a split holds; each example is still whole."""
    batch = fetched(part, torch.arange(size_of(part)), None)
    x, y = batch.values() if isinstance(batch, dict) else batch
    assert torch.equal(x, X[y])
    return y.tolist()


@pytest.mark.parametrize(
    "train", [(X, Y), {"x": X.numpy(), "y": Y}, TensorDataset(X, Y)], ids=["tuple", "dict", "data"]
)
def test_a_tenth_is_held_out_and_each_seed_draws_its_own_the_same_every_time(train):
    first = loaded(train=train).workload
    torch.manual_seed(2)
    again = loaded(train=train).workload
    pool = examples_in(first.validation) + examples_in(first.train)

    def drawn(seed: int) -> tuple[list[int], list[int]]:
        own = replace(first, train=deepcopy(first.train), validation=deepcopy(first.validation))
        redraw_validation(own, seed)
        return examples_in(own.validation), examples_in(own.train)

    validate, kept = drawn(3)

    assert sorted(pool) == list(range(100))
    assert (size_of(first.validation), pool[:10]) == (10, examples_in(again.validation))
    assert list(loaded(train=range(100)).workload.validation) == pool[:10]
    # What it means: of all examples the seed's order says which ten.
    order = torch.randperm(100, generator=torch.Generator().manual_seed(20_170_308 + 3)).tolist()
    assert sorted(validate) == sorted(pool[place] for place in order[:10])
    assert sorted(validate + kept) == list(range(100))
    assert drawn(3) == (validate, kept)
    assert drawn(4)[0] != validate


@pytest.mark.parametrize(
    ("fields", "draws"),
    [
        ({"train": (X, Y)}, True),
        ({"train": (torch.zeros(19_999, 1),)}, True),
        ({"train": (torch.zeros(20_000, 1),)}, False),  # 2,000 validate
        ({"train": (X, Y), "validation": (X[:10] + 1, Y[:10] + 1)}, False),
        ({"train": (X, Y), "validation": None}, False),
    ],
)
def test_seeds_draw_where_batchlab_splits_off_fewer_than_2000(fields, draws, monkeypatch):
    known = loaded(**fields)

    assert known.draws_by_seed == draws
    # It belongs to who the workload is: trials of another rule are other trials.
    monkeypatch.setattr(given_data, "FEW_EXAMPLES", 0)
    assert (loaded(**fields).workload_id != known.workload_id) == draws
