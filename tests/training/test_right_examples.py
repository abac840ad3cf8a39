"""Which examples a model is right about: found by asking the metric, kept where a trial ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import small_trial, small_workload
from torch import Tensor, nn

from batchlab.records.run import RunLength
from batchlab.training.evaluator import Evaluator
from batchlab.workload.definition import Metric, Workload

CPU = torch.device("cpu")


def right_of(workload: Workload, model: nn.Module, metric: str = "accuracy"):
    return Evaluator(workload, CPU, batch_size=7).right(model, "test", metric)


@pytest.fixture
def trained():
    workload = small_workload()
    torch.manual_seed(0)
    return workload, workload.model()


def test_they_are_those_whose_highest_score_is_that_of_their_label(trained) -> None:
    workload, model = trained
    x, y = workload.test
    with torch.no_grad():
        expected = model.eval()(x).argmax(1) == y

    found = right_of(workload, model)

    assert 0 < expected.sum() < len(y)
    assert found.right.tolist() == expected.tolist()


def test_a_metric_that_adds_up_is_asked_for_its_sums(trained) -> None:
    workload, model = trained

    def hits(m: nn.Module, batch) -> Tensor:
        return (m(batch[0]).argmax(1) == batch[1]).sum()

    summed = replace(workload, metrics={"accuracy": Metric(sum=hits, better="higher")})

    assert right_of(summed, model) == right_of(workload, model)


def refusing(model: nn.Module, batch) -> Tensor:
    if len(batch[1]) == 1:
        raise ValueError("expected more than one example")
    return (model(batch[0]).argmax(1) == batch[1]).float().mean()


@pytest.mark.parametrize(
    "metric",
    [
        pytest.param(refusing, id="needs two examples"),
        pytest.param(lambda m, b: m(b[0]).softmax(1).max(1).values.mean(), id="no count"),
        pytest.param(lambda m, b: torch.tensor(torch.nan), id="no number"),
        pytest.param(
            Metric(
                sum=lambda m, b: (m(b[0]).argmax(1) == b[1]).sum() * 0.5,
                count=lambda b: 0.5 * len(b[1]),
                better="higher",
            ),
            id="counts other units",
        ),
        pytest.param(
            Metric(
                sum=lambda m, b: (m(b[0]).argmax(1) == b[1]).sum(),
                finalise=lambda total, count: float(total / count),
                better="higher",
            ),
            id="finalised",
        ),
    ],
)
def test_a_metric_that_counts_no_single_examples_keeps_none_and_stops_nothing(
    trained, metric
) -> None:
    workload, model = trained

    assert right_of(replace(workload, metrics={"accuracy": metric}), model) is None


def test_an_example_that_is_judged_by_its_company_is_not_kept(trained) -> None:
    """As in contrastive learning: an example is right if its score is above the batch's mean."""
    workload, model = trained

    def above(m: nn.Module, batch) -> Tensor:
        scores = m(batch[0])[:, 0]
        return (scores > scores.mean()).float().mean()

    assert right_of(replace(workload, metrics={"accuracy": above}), model) is None


def test_they_are_kept_where_a_trial_ends_and_agree_with_its_score() -> None:
    workload = small_workload()

    run = run_engine(workload, small_trial(workload, batch_size=4), RunLength(epochs=3))

    kept = [[s.split for s in each.scores if s.right is not None] for each in run.evaluations]
    assert kept[-1] == ["test"]
    assert not any(kept[:-1])
    for score in run.evaluations[-1].scores:
        if score.right is not None:
            assert score.right.right.mean() == pytest.approx(score.value)


def test_a_trial_that_ended_without_them_gets_them_when_it_is_asked_for_again(tmp_path) -> None:
    workload = small_workload()
    trial, kept = small_trial(workload, batch_size=4), tmp_path / "checkpoint"
    run_engine(workload, trial, RunLength(epochs=2, all_splits="at_end"), checkpoint=kept)

    again = run_engine(workload, trial, RunLength(epochs=2), checkpoint=kept)

    assert any(score.right is not None for score in again.evaluations[-1].scores)
