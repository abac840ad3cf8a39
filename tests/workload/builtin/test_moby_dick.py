"""moby-dick: each character is predicted once, and only from what came before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from batchlab.datasets.embedded import load_moby_dick
from batchlab.errors import WorkloadError
from batchlab.workload.builtin.moby_dick import workload
from batchlab.workload.definition import Workload


@pytest.fixture(scope="module")
def given() -> Workload:
    return workload()


def made(workload: Workload) -> nn.Module:
    torch.manual_seed(0)
    return workload.model().eval()


def test_the_windows_of_a_part_spell_it_without_gap_or_repeat(given: Workload) -> None:
    text = load_moby_dick()
    n = len(text.ids)

    starts = {"train": 0, "test": round(0.8 * n), "validation": round(0.9 * n)}
    for part, start in starts.items():
        windows = getattr(given, part)[0]
        spelled = torch.cat([windows[0, :1], windows[:, 1:].flatten()]).numpy()
        assert windows.shape == (len(windows), 65)
        assert spelled.tobytes() == text.ids[start : start + len(spelled)].tobytes()


def test_no_character_sees_itself_or_what_comes_after_it(given: Workload) -> None:
    model = made(given)
    windows = given.train[0][:2].clone()
    before = model(windows)

    windows[:, 40] = (windows[:, 40] + 1) % 81
    after = model(windows)

    # Row i predicts character i + 1 from those up to i: character 40 is first seen by row 40.
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40], after[:, 40])


def test_the_loss_is_the_mean_over_all_predicted_characters(given: Workload) -> None:
    model = made(given).double()
    windows = given.train[0][:3]
    scores, came = model(windows), windows.tolist()

    loss = given.loss(model, (windows,)).item()

    costs = [
        -scores[i, place].log_softmax(0)[came[i][place + 1]].item()
        for i in range(3)
        for place in range(64)
    ]
    assert loss == pytest.approx(sum(costs) / len(costs), rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 66}, "width=66 with heads=4"),
        ({"context": 10**6}, "context=1000000"),
        ({"layers": 0}, "layers=0; expected a whole number"),
    ],
)
def test_an_impossible_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=f"moby-dick: {message}"):
        workload(**settings)
