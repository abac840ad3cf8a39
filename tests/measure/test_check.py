"""Whether a workload can be trained: its parts, its metrics, its batches, before any run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.reference.made_up_study import made_up_summary
from tests.reference.small_workloads import Unpacked, accuracy
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, TensorDataset, default_collate

from batchlab.errors import WorkloadError
from batchlab.measure.check import check_metrics, check_workload
from batchlab.measure.examples import check_batch_counts
from batchlab.records.study import AdamSettings, WorkloadSummary
from batchlab.workload.definition import Metric, Workload, uncompiled
from batchlab.workload.loading import live_workload

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def check(*, with_steps: bool = True, **fields: Any) -> WorkloadSummary:
    base: dict[str, Any] = {
        "name": "checked",
        "model": lambda: nn.Linear(4, 3),
        "train": (X[:40], Y[:40]),
        "validation": (X[40:50], Y[40:50]),
        "test": (X[50:], Y[50:]),
        "loss": cross_entropy,
        "metrics": {"accuracy": accuracy},
        "learning_rate": 0.01,
    }
    workload = live_workload(Workload(**(base | fields)), {}).workload
    return check_workload(None, Unpacked(workload), "cpu", made_up_summary(), with_steps)


def refusal(**fields: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        check(**fields)
    message = str(caught.value)
    assert "\n" not in message
    assert "'checked'" in message
    return message


IGNORED = torch.cat([Y[:20], torch.tensor([-100]), Y[21:40]])
SOUND: dict[str, dict[str, Any]] = {
    "plain": {},
    "one training example": {"train": (X[:1], Y[:1])},
    "a label that torch ignores": {"train": (X[:40], IGNORED)},
    "equal inputs with other labels": {"test": (X[:10].clone(), (Y[:10] + 1) % 3)},
    "an optimizer that scales its rate": {
        "optimizer": lambda parts, rate: torch.optim.SGD(parts, lr=rate / 10)
    },
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workload_passes_without_a_warning(name: str) -> None:
    expected = replace(made_up_summary(), n_parameters=15, has_weight_decay=False)

    assert check(**SOUND[name]) == expected


def never_compiled(graph: Any, inputs: Any) -> Any:
    raise AssertionError("compiled")


class Scores(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def in_place() -> nn.Module:
    model = Scores(4, 3)
    model.compile(backend=never_compiled)
    return model


COMPILED: dict[str, Callable[[], nn.Module]] = {
    "whole": lambda: torch.compile(Scores(4, 3), backend=never_compiled),
    "in part": lambda: nn.Sequential(torch.compile(Scores(4, 3), backend=never_compiled)),
    "in place": in_place,
}


@pytest.mark.parametrize("how", COMPILED)
def test_a_compiled_model_trains_as_the_module_inside(how: str) -> None:
    facts = check(model=COMPILED[how])

    assert ["torch.compile is left out of all" in text for text in facts.warnings] == [True]
    assert "_orig_mod" not in " ".join(uncompiled(COMPILED[how]()).state_dict())


class Detector(nn.Linear):
    """A loss in training, what it predicts in evaluation."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        scores = super().forward(x)
        if self.training:
            return {"loss": F.cross_entropy(scores, labels)}
        return [{"label": row.argmax()} for row in scores]


def in_either_mode(model: nn.Module, batch: Any) -> Tensor:
    was_training = model.training
    found: Tensor = model.train()(*batch)["loss"]
    model.train(was_training)
    return found


LOSS_OF_TRAINING = {"metrics": {}, "loss": lambda model, batch: model(*batch)["loss"]}
IN_TRAINING_ALONE: dict[str, dict[str, Any]] = {
    "a loss that fails": LOSS_OF_TRAINING,
    "a loss that is none": {
        **LOSS_OF_TRAINING,
        "loss": lambda model, batch: (
            sum(model(*batch).values()) if model.training else model(*batch)
        ),
    },
    "a metric": {
        "loss": in_either_mode,
        "metrics": {"error": lambda model, batch: model(*batch)["loss"]},
    },
}


@pytest.mark.parametrize("what", IN_TRAINING_ALONE)
def test_what_runs_in_training_mode_alone_is_told_with_the_mode(what: str) -> None:
    told = refusal(model=lambda: Detector(4, 3), **IN_TRAINING_ALONE[what])

    assert "in evaluation mode (model.eval())" in told
    assert "in training mode it runs" in told


def test_a_loss_that_changes_the_mode_and_puts_it_back_passes() -> None:
    assert check(model=lambda: Detector(4, 3), loss=in_either_mode, metrics={}).warnings == ()


def test_what_model_and_optimizer_are_is_among_the_facts() -> None:
    def model() -> nn.Module:
        inner = nn.Linear(4, 3)
        inner.bias.requires_grad_(False)
        return nn.Sequential(nn.Sequential(inner, nn.BatchNorm1d(3)))

    facts = check(
        model=model, optimizer=lambda parts, rate: torch.optim.Adam(parts, rate, betas=(0.8, 0.99))
    )

    assert facts.adam == AdamSettings(betas=(0.8, 0.99), eps=1e-8)
    assert facts.n_parameters == 12 + 6  # without the frozen ones
    assert facts.has_batch_norm


def failing_step(parameters: Any, rate: float) -> torch.optim.Optimizer:
    made = torch.optim.SGD(parameters, lr=rate)
    made.step = lambda: 1 / 0
    return made


def finalise(total: Tensor, count: float) -> float:
    raise KeyError("f1")


def collated(examples: list[Any]) -> Any:
    return examples[99]


RAISED = {
    "`model` raised TypeError": {"model": lambda: nn.Linear(4, "3")},
    "`loss` of 8 examples raised RuntimeError: mat1 and mat2": {"model": lambda: nn.Linear(5, 3)},
    "`optimizer` raised ZeroDivisionError": {"optimizer": lambda parts, rate: 1 / 0},
    "`loss` of 8 examples raised IndexError": {"loss": lambda model, batch: batch[7]},
    "metric 'accuracy' of 40 examples of train raised Zero": {
        "metrics": {"accuracy": lambda model, batch: 1 / 0}
    },
    "metric 'f1' of 10 examples of validation raised KeyError": {
        "metrics": {"f1": Metric(sum=accuracy, finalise=finalise, better="higher")}
    },
    "fetching and collating examples of train raised IndexError": {
        "train": TensorDataset(X[:40], Y[:40]),
        "collate": collated,
    },
    "a training step (forward, backward, optimizer) raised ZeroDivisionError": {
        "optimizer": failing_step
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "no trainable parameters": {"model": nn.Identity},
    "no trainable parameters; ": {"model": lambda: nn.Linear(4, 3).requires_grad_(False)},
    "`model` returned a list; expected an nn.Module": {"model": lambda: [1]},
    "`model` returns the same object each time": {"model": nn.Linear(4, 3).train},
    "`optimizer` returned a NoneType": {"optimizer": lambda parts, rate: None},
    "it sets 0.001 always": {"optimizer": lambda parts, rate: torch.optim.Adam(parts)},
    "does not depend on the model": {"loss": lambda model, batch: model(batch[0]).sum().detach()},
    "returned a float": {"loss": lambda model, batch: cross_entropy(model, batch).item()},
    "returned a tensor of shape (8, 3)": {"loss": lambda model, batch: model(batch[0])},
    "; with your own 10 it runs: the size of a batch stands in": {
        "loss": lambda model, batch: cross_entropy(model, (batch[0].view(10, 4), batch[1])),
        "batch_size": 10,
    },
    "metric 'accuracy' of 10 examples of validation raised ValueError: only one element": {
        "metrics": {"accuracy": lambda model, batch: model(batch[0])}
    },
}


@pytest.mark.parametrize("told", RAISED)
def test_an_exception_of_the_users_code_is_told_with_its_place(told: str) -> None:
    message = refusal(**RAISED[told])

    assert told in message
    assert message.endswith(")")
    assert "(test_check.py, line " in message


def mixup(examples: list[Any]) -> Any:
    x, y = default_collate(examples)
    return x, F.one_hot(y, 3).float().lerp(F.one_hot(y.flip(0), 3).float(), 0.3)


def test_a_metric_of_augmented_examples_is_told_where_to_augment() -> None:
    train = DataLoader(TensorDataset(X[:40], Y[:40]), collate_fn=mixup)
    validation = DataLoader(TensorDataset(X[40:], Y[40:]))

    message = refusal(train=train, validation=validation, test=None)

    assert "metric 'accuracy' of 40 examples of train raised RuntimeError" in message
    assert "on validation examples it runs" in message
    assert "as `augment`" in message


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_trained_is_refused_in_a_line(told: str) -> None:
    assert told in refusal(**REFUSED[told])


def test_memory_running_out_is_no_fault_of_the_workload() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        check(loss=loss)


def test_without_memory_for_a_gradient_the_rest_is_checked() -> None:
    def no_memory(gradient: Tensor) -> None:
        raise MemoryError

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value = cross_entropy(model, batch)
        if value.requires_grad:
            value.register_hook(no_memory)
        return value

    with pytest.raises(MemoryError):
        check(loss=loss)

    assert check(loss=loss, with_steps=False).n_parameters == 15


@pytest.mark.parametrize(
    "loss",
    [
        lambda model, batch: model(batch[0]).var(),
        lambda model, batch: cross_entropy(model, batch) * len(batch[0]) ** 0.5,
        lambda model, batch: F.cross_entropy(
            model(batch[0]) @ model(batch[0]).T, torch.arange(len(batch[0]))
        ),
    ],
    ids=["variance", "square root of the size", "contrastive"],
)
def test_a_loss_that_couples_examples_gets_a_warning(loss: Any) -> None:
    facts = check(loss=loss)

    assert facts.loss_couples
    assert len(facts.warnings) == 1
    assert "depends on the rest of its batch" in facts.warnings[0]


def test_a_loss_that_is_not_finite_at_first_gets_a_warning() -> None:
    warnings = check(loss=lambda model, batch: cross_entropy(model, batch) * float("nan")).warnings

    assert warnings == ("the untrained model's loss on the first examples is nan",)


def test_the_check_draws_the_same_numbers_whatever_was_drawn_before() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return cross_entropy(model, batch) * len(batch[0]) ** 0.5 * (1 + 0.1 * torch.rand(()))

    told = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        told.append(check(loss=loss).warnings)

    assert told[0] == told[1] != ()


CPU = torch.device("cpu")
INPUTS = torch.randn(310, 2, generator=torch.Generator().manual_seed(0))


def checked(**fields: Any) -> None:
    given: dict[str, Any] = {
        "train": (INPUTS[:200],),
        "validation": (INPUTS[200:301].clone(),),
        "loss": lambda model, batch: model(batch[0]).square().mean(),
        "batch_size": 16,
        "learning_rate": 0.1,
    }
    workload = Workload(name="judged", model=lambda: nn.Linear(2, 1), **(given | fields))
    check_metrics(workload, nn.Linear(2, 1), CPU)


def residual(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope.square().mean()


def slopes(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope, batch[0]


def error(found: Tensor, true: Tensor) -> Tensor:
    return (found - true).square().mean()


@pytest.mark.parametrize(
    "metric",
    [
        Metric(sum=residual, better="lower"),
        Metric(over_all=error, predict=slopes, better="lower"),
    ],
)
def test_a_metric_that_differentiates_is_told_how_to_keep_gradients(metric: Metric) -> None:
    with pytest.raises(WorkloadError, match=r"as batchlab\.Metric\(\.\.\., enable_grad=True\)"):
        checked(metrics={"error": metric})

    checked(metrics={"error": replace(metric, enable_grad=True)})  # raises nothing


def sorted_by_class(n: int, *, n_positive: int) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 2), (torch.arange(n) >= n - n_positive).float()


def test_a_batch_of_nothing_but_padding_is_no_failure() -> None:
    metric = Metric(
        sum=lambda model, batch: torch.zeros(()), count=lambda batch: 0, better="higher"
    )

    checked(metrics={"tokens": metric})  # raises nothing


@pytest.mark.parametrize("over_all", [False, True])
def test_examples_from_all_over_the_set_are_looked_at(over_all: bool) -> None:
    """Sorted by class, the first examples have one class only, of which there is no area."""
    seen: list[tuple[int, int]] = []

    def area(scores: Tensor, labels: Tensor) -> float:
        seen.append((len(labels), int(labels.sum())))
        return 0.5

    def share(total: Tensor, count: float) -> float:
        seen.append((int(count), int(total)))
        return 0.5

    metric = Metric(sum=lambda model, batch: batch[1].sum(), finalise=share, better="higher")
    if over_all:
        metric = Metric(over_all=area, better="higher")

    data = sorted_by_class(3000, n_positive=1500)
    checked(metrics={"area": metric}, train=data, validation=data)

    assert seen == [(1000, 500)]


SEQUENCES = [(torch.ones(3 + 5 * (n % 3), 2), n % 2) for n in range(12)]


def padded(examples: list[Any]) -> Any:
    return nn.utils.rnn.pad_sequence([x for x, _ in examples], batch_first=True), labels(examples)


def time_first(examples: list[Any]) -> Any:
    return nn.utils.rnn.pad_sequence([x for x, _ in examples]), labels(examples)


def packed(examples: list[Any]) -> Any:
    return pack_sequence([x for x, _ in examples], enforce_sorted=False), labels(examples)


def joined(examples: list[Any]) -> Any:
    return torch.cat([x for x, _ in examples]), labels(examples)


def labels(examples: list[Any]) -> Tensor:
    return torch.tensor([label for _, label in examples])


def check_counts(collate: Callable[[list[Any]], Any], **fields: Any) -> None:
    given: dict[str, Any] = {
        "train": SEQUENCES,
        "validation": SEQUENCES[:5],
        "loss": lambda model, batch: torch.zeros(()),
    }
    workload = Workload(
        name="read", model=lambda: nn.Linear(2, 2), collate=collate, **(given | fields)
    )
    check_batch_counts(workload)


@pytest.mark.parametrize(("collate", "counted"), [(time_first, "8 and 13"), (joined, "11 and 24")])
def test_a_first_tensor_that_does_not_count_examples_asks_for_a_weight(
    collate: Callable[[list[Any]], Any], counted: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        check_counts(collate)

    told = str(caught.value)
    assert "\n" not in told
    assert "'read'" in told
    assert f"examples of train count as {counted}" in told
    assert "weight=lambda batch: len(batch[1])" in told


@pytest.mark.parametrize("collate", [padded, packed])
def test_counts_that_grow_with_the_examples_pass(collate: Callable[[list[Any]], Any]) -> None:
    check_counts(collate)


def test_a_weight_answers_for_any_batch() -> None:
    check_counts(time_first, weight=lambda batch: len(batch[1]))


def test_where_nothing_is_weighed_by_examples_nothing_is_asked() -> None:
    def step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        return torch.zeros(())

    metric = Metric(sum=lambda model, batch: torch.zeros(()), count=lambda batch: 1, better="lower")

    check_counts(time_first, loss=None, step=step, metrics={"counted": metric})


def test_a_split_with_a_loader_of_its_own_is_looked_at() -> None:
    others = list(SEQUENCES)
    loader = DataLoader(others, collate_fn=time_first)
    given = Workload(
        name="read",
        model=lambda: nn.Linear(2, 2),
        train=DataLoader(SEQUENCES, collate_fn=padded),
        validation=loader,
        loss=lambda model, batch: torch.zeros(()),
    )

    with pytest.raises(WorkloadError, match="2 and 3 examples of validation count as 8 and 13"):
        check_batch_counts(live_workload(given, {}).workload)
