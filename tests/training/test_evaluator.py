"""Evaluator: exact means over whatever batches, and no trace of it in the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    Everything,
    accuracy,
    cross_entropy,
    small_trial,
    small_workload,
)
from torch import Tensor, nn
from torch.nn import functional

from batchlab.errors import WorkloadError
from batchlab.records.run import RunLength
from batchlab.records.trial import Split
from batchlab.training.evaluator import Evaluator, evaluation_batch, n_train_evaluated
from batchlab.workload.definition import Metric, Workload

ALL: tuple[Split, ...] = ("train", "validation", "test")
CPU = torch.device("cpu")


AT_ONCE = 7  # 20 examples are then evaluated as 7, 7 and 6


def model_of(workload: Workload) -> nn.Module:
    torch.manual_seed(0)
    return workload.model()


def scores_of(
    workload: Workload,
    model: nn.Module | None = None,
    splits: tuple[Split, ...] = ALL,
    **given: int,
) -> dict[tuple[str, str], float | None]:
    model = model_of(workload) if model is None else model
    scores = Evaluator(workload, CPU, batch_size=AT_ONCE, **given).scores(model, splits)
    return {(score.split, score.metric): score.value for score in scores}


def with_metric(metric: Any, **changes: Any) -> Workload:
    workload = small_workload(dtype=torch.float64)
    return replace(workload, metrics={"measured": metric}, **changes)


def measured(workload: Workload) -> float | None:
    return scores_of(workload, splits=("validation",))["validation", "measured"]


class TestMeans:
    def test_ragged_batches_give_the_mean_over_all_examples(self) -> None:
        workload = small_workload(dtype=torch.float64)
        model = model_of(workload)

        found = scores_of(workload, model)

        for split in ALL:
            x, labels = getattr(workload, split)
            with torch.no_grad():
                logits = model(x)
            right = [int(logits[i].argmax()) == int(labels[i]) for i in range(len(x))]
            losses = [-float(logits[i].log_softmax(0)[labels[i]]) for i in range(len(x))]
            assert found[split, "accuracy"] == pytest.approx(sum(right) / len(x), rel=1e-14)
            assert found[split, "loss"] == pytest.approx(sum(losses) / len(x), rel=1e-14)

    def test_tokens_and_not_sequences_weigh(self) -> None:
        """Padded sequences: the mean over a batch is one over its tokens."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, 5, FEATURES, dtype=torch.float64, generator=generator)
        labels = torch.randint(CLASSES, (20, 5), generator=generator)
        labels[torch.arange(5) >= torch.randint(0, 6, (20, 1), generator=generator)] = -1
        labels[14:] = -1  # the last batch is nothing but padding

        def token_loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            return functional.cross_entropy(
                model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-1
            )

        workload = replace(
            small_workload(dtype=torch.float64),
            validation=(x, labels),
            loss=token_loss,
            metrics={},
            weight=lambda batch: (batch[1] != -1).sum(),
        )
        model = model_of(workload)

        found = scores_of(workload, model, ("validation",))

        with torch.no_grad():
            expected = float(token_loss(model, (x, labels)))
        assert found == {("validation", "loss"): pytest.approx(expected, rel=1e-14)}

    def test_a_metric_of_sums_is_finalised_once_over_all(self) -> None:
        """F1 of class 2: it is no mean over batches."""

        def counts(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            said, true = model(batch[0]).argmax(1) == 2, batch[1] == 2
            return torch.stack([(said & true).sum(), said.sum(), true.sum()])

        workload = with_metric(
            Metric(
                sum=counts,
                finalise=lambda total, count: 2 * float(total[0]) / float(total[1] + total[2]),
                better="higher",
            )
        )

        found = measured(workload)

        x, labels = workload.validation
        said = model_of(workload)(x).argmax(1)
        hits = sum(int(a) == int(b) == 2 for a, b in zip(said, labels, strict=True))
        precision = hits / int((said == 2).sum())
        recall = hits / int((labels == 2).sum())
        assert found == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-14)

    def test_a_metric_of_sums_counts_in_its_own_units(self) -> None:
        """Perplexity by character where an example has two of them."""
        workload = with_metric(
            Metric(
                sum=lambda model, batch: functional.cross_entropy(
                    model(batch[0]), batch[1], reduction="sum"
                ),
                count=lambda batch: 2 * len(batch[1]),
                finalise=lambda total, count: float(torch.exp(total / count)),
                better="lower",
            )
        )

        found = measured(workload)

        loss = float(cross_entropy(model_of(workload), workload.validation).detach())
        assert found == pytest.approx(np.exp(loss / 2), rel=1e-14)

    def test_sums_of_small_floats_lose_nothing(self) -> None:
        """3.5 more make no difference to 7 x 2^24 in float32, where steps are 8 wide."""
        numbers = torch.tensor([2.0**24] * 7 + [0.5] * 14)
        workload = with_metric(
            Metric(sum=lambda model, batch: batch[0].sum(), better="lower"),
            validation=(numbers,),
            loss=lambda model, batch: batch[0].mean(),
        )

        assert measured(workload) == (7 * 2.0**24 + 7) / 21

    @pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32])
    def test_narrow_numbers_are_added_as_whole_ones(self, dtype: torch.dtype) -> None:
        largest = 1 if dtype == torch.bool else torch.iinfo(dtype).max
        workload = with_metric(
            Metric(
                sum=lambda model, batch: torch.tensor([largest], dtype=dtype),
                count=lambda batch: 1,
                better="higher",
            )
        )

        assert measured(workload) == largest  # the mean of three batches

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_what_is_not_a_finite_number_is_none(self, value: float) -> None:
        workload = with_metric(
            Metric(sum=lambda model, batch: torch.tensor(value), better="higher")
        )

        found = scores_of(workload, splits=("validation",))

        assert found["validation", "measured"] is None
        assert found["validation", "loss"] is not None

    def test_a_validation_set_that_is_only_a_word_is_refused(self) -> None:
        with pytest.raises(WorkloadError, match="validation='split' stands for data that are not"):
            Evaluator(replace(small_workload(), validation="split"), CPU, batch_size=AT_ONCE)


class TestTrainSubset:
    def test_of_a_large_training_set_a_fixed_part_is_evaluated(self) -> None:
        numbers = torch.arange(40, dtype=torch.float64)
        seen: list[list[float]] = []

        def watch(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            seen.append(batch[0].tolist())
            return batch[0].mean()

        workload = replace(small_workload(), train=(numbers,), loss=watch, metrics={})

        for _ in range(2):
            scores_of(workload, splits=("train",), most_train_examples=10)

        assert n_train_evaluated(40, most=10) == 10
        assert seen[:2] == seen[2:]
        seen = [seen[0] + seen[1]]
        assert len(set(seen[0])) == 10
        assert max(seen[0]) > 10  # not simply the first ones


class TestNoTrace:
    def test_it_leaves_parameters_buffers_gradients_and_modes_alone(self) -> None:
        workload = replace(small_workload(), model=Everything)
        model = model_of(workload)
        cross_entropy(model, workload.train).backward()
        model.norm.eval()  # a layer that the user keeps frozen
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        centre = model.centre.clone()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]

        scores_of(workload, model)

        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert torch.equal(model.centre, centre)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            assert torch.equal(parameter.grad, gradient)
        assert model.training
        assert model.dropout.training
        assert not model.norm.training
        assert "forward" not in vars(model)

    def test_it_evaluates_in_eval_mode_without_gradients(self) -> None:
        seen: list[tuple[bool, bool]] = []

        def watch(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            seen.append((model.training, torch.is_grad_enabled()))
            return torch.zeros(())

        scores_of(replace(small_workload(), loss=watch, metrics={}))

        assert set(seen) == {(False, False)}

    def test_what_is_random_in_a_metric_is_the_same_each_time(self) -> None:
        """A loss with random masks: two evaluations differ by the model alone."""
        workload = replace(
            small_workload(),
            loss=lambda model, batch: (model(batch[0]) * torch.rand(len(batch[0]), 1)).mean(),
            metrics={},
        )
        model = model_of(workload)
        torch.manual_seed(1)
        first = scores_of(workload, model)
        torch.rand(3)

        assert scores_of(workload, model) == first

    def test_a_metric_that_writes_into_the_examples_is_refused(self) -> None:
        def divided(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            batch[0].div_(2)
            return batch[0].mean()

        workload = replace(small_workload(), loss=divided, metrics={})

        with pytest.raises(WorkloadError, match="writes into the examples of validation"):
            scores_of(workload, splits=("validation",))

    def test_a_metric_that_raises_is_named_with_what_to_do(self) -> None:
        def area(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            raise ValueError("one class only")

        said = "metric 'measured' of validation raised ValueError: one class only .*over_all="
        with pytest.raises(WorkloadError, match=said):
            measured(with_metric(Metric(sum=area, better="higher")))


@pytest.mark.parametrize(("reference", "at_once"), [(1, 64), (16, 64), (64, 256), (4096, 1000)])
def test_all_batch_sizes_are_evaluated_with_one_batch_size(reference: int, at_once: int) -> None:
    trials = [small_trial(small_workload(n=4096), batch_size=size) for size in (1, 64, 4096)]

    assert {evaluation_batch(trial, reference_batch_size=reference) for trial in trials} == {
        at_once
    }


def test_a_loss_that_couples_examples_is_one_function_for_all_batch_sizes() -> None:
    """Of an untrained model it is the same number, whatever batch size it is to be trained at."""
    workload = small_workload(n=300)

    def coupled(model: nn.Module, batch: Any) -> Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(model(inputs - inputs.mean(0)), labels)

    coupling = replace(workload, loss=coupled, validation=workload.train)
    runs = [
        run_engine(coupling, small_trial(coupling, batch_size=size), RunLength(steps=1))
        for size in (2, 10, 300)
    ]

    assert len({run.evaluations[0].score("validation", "loss") for run in runs}) == 1


# Metrics that differentiate


def residual(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope.square().sum()


def test_a_loss_and_a_metric_that_asks_have_gradients_beside_one_that_does_not() -> None:
    workload = replace(
        small_workload(),
        loss=lambda model, batch: residual(model, batch) / len(batch[0]),
        metrics={
            "accuracy": accuracy,
            "residual": Metric(sum=residual, better="lower", enable_grad=True),
        },
    )
    model = workload.model()

    scores = scores_of(workload, model)
    loss_alone = scores_of(replace(workload, metrics={}), model)["validation", "loss"]

    expected = float(residual(model, workload.validation) / len(workload.validation[0]))
    assert scores["validation", "residual"] == pytest.approx(expected)
    assert scores["validation", "loss"] == loss_alone == pytest.approx(expected)
    assert all(part.grad is None for part in model.parameters())


def test_memory_that_runs_out_in_a_loss_is_not_tried_again() -> None:
    asked = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        asked.append(batch)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    workload = replace(small_workload(), loss=loss, metrics={})

    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        scores_of(workload)
    assert len(asked) == 1
