"""Data like those of Hugging Face's `datasets`: columns, read as dicts of Python's numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.reference.small_workloads import points, small_trial
from torch.nn import functional

from batchlab.training.batching import examples_at
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload
from batchlab.workload.loading import live_workload

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


def workload(**fields: Any) -> Workload:
    made = Workload(
        name="table",
        model=lambda: torch.nn.Linear(6, 3),
        loss=lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["label"]),
        **{"train": table(40), "validation": table(20, seed=1)} | fields,
    )
    return live_workload(made, {}).workload


def test_a_batch_has_tensors_of_the_columns_and_the_texts_as_a_list() -> None:
    batch = examples_at(workload(), torch.tensor([7, 2]))

    x, y = points(40)
    assert torch.equal(batch["x"], x[[7, 2]])
    assert torch.equal(batch["label"], y[[7, 2]])
    assert batch["text"] == ["words", "words"]


@pytest.mark.parametrize("validation", ["split", None], ids=["split off", "none"])
def test_it_trains_as_its_tensors_do(validation: Any) -> None:
    named, (x, y) = workload(validation=validation), points(40)
    plain = workload(train={"x": x, "label": y}, validation=validation)

    losses = [
        stepper.steps(stepper.stream(0), 6, first_step=0)[0]
        for each in (named, plain)
        for stepper in [Stepper(each, small_trial(each, batch_size=12), CPU)]
    ]

    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_format_or_a_collate_of_the_users_own_is_left_alone() -> None:
    chosen, plain = table(40).with_format("numpy"), table(40)

    assert workload(train=chosen).train is chosen
    assert workload(train=plain, collate=lambda rows: rows).train is plain
