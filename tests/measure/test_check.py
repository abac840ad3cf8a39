"""Whether a workload can be trained: its parts, its metrics, its batches, before any run."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.reference.data_kinds import Streamed
from tests.reference.made_up_study import made_up_summary
from tests.reference.small_workloads import Unpacked, accuracy, cross_entropy
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset, default_collate

from batchlab.errors import WorkloadError
from batchlab.measure.check import check_workload
from batchlab.records.study import AdamSettings, WorkloadSummary
from batchlab.workload.definition import Metric, Workload, uncompiled
from batchlab.workload.given_data import with_data_as_read

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3


def workload_of(**fields: Any) -> Workload:
    usual: dict[str, Any] = {
        "model": lambda: nn.Linear(4, 3),
        "train": (X[:40], Y[:40]),
        "validation": (X[40:50], Y[40:50]),
        "test": (X[50:], Y[50:]),
        "loss": cross_entropy,
        "metrics": {"accuracy": accuracy},
        "learning_rate": 0.01,
    }
    return with_data_as_read(Workload(name="checked", **(usual | fields)))[0]


def check(*, with_steps: bool = True, **fields: Any) -> WorkloadSummary:
    packed = Unpacked(workload_of(**fields))
    return check_workload(None, packed, "cpu", made_up_summary(), with_steps)


def refusal(**fields: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        check(**fields)
    message = str(caught.value)
    assert "\n" not in message
    assert "'checked'" in message
    return message


SEQUENCES = [(torch.ones(3 + 5 * (n % 3), 2), n % 2) for n in range(12)]


def with_labels(join: Callable[[list[Tensor]], Any]) -> Callable[[list[Any]], Any]:
    """Return a `collate` that joins the inputs in this way."""

    def collate(examples: list[Any]) -> Any:
        inputs, labels = zip(*examples, strict=True)
        return join(list(inputs)), torch.tensor(labels)

    return collate


padded = with_labels(lambda inputs: pad_sequence(inputs, batch_first=True))
packed = with_labels(lambda inputs: pack_sequence(inputs, enforce_sorted=False))
time_first = with_labels(pad_sequence)


def of_sequences(collate: Callable[[list[Any]], Any] | None, **fields: Any) -> dict[str, Any]:
    usual = {
        "train": SEQUENCES,
        "validation": SEQUENCES[:5],
        "test": None,
        "collate": collate,
        "loss": lambda model, batch: model.bias.square().mean(),
        "metrics": {},
        "with_steps": False,  # that few sequences take longer to read than their step
    }
    return usual | fields


def metric_of(count: int) -> dict[str, Metric]:
    """A metric that counts batches by itself."""
    return {
        "tokens": Metric(
            sum=lambda model, batch: torch.zeros(()), count=lambda batch: count, better="higher"
        )
    }


class Detector(nn.Linear):
    """A loss in training, what it predicts in evaluation."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        scores = super().forward(x)
        if self.training:
            return {"loss": F.cross_entropy(scores, labels)}
        return [{"label": row.argmax()} for row in scores]


def in_either_mode(model: nn.Module, batch: Any) -> Tensor:
    was_training = model.training
    loss: Tensor = model.train()(*batch)["loss"]
    model.train(was_training)
    return loss


def slopes(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return slope, batch[0]


def mean_slope(model: nn.Module, batch: Any) -> Tensor:
    return slopes(model, batch)[0].square().mean()


DETECTOR = {"model": lambda: Detector(4, 3), "metrics": {}}
IGNORED = torch.cat([Y[:20], torch.tensor([-100]), Y[21:40]])
SOUND: dict[str, dict[str, Any]] = {
    "plain": {},
    "one training example": {"train": (X[:1], Y[:1])},
    "a label that torch ignores": {"train": (X[:40], IGNORED)},
    "equal inputs with other labels": {"test": (X[:10].clone(), (Y[:10] + 1) % 3)},
    "an optimizer that scales its rate": {
        "optimizer": lambda parts, rate: torch.optim.SGD(parts, lr=rate / 10)
    },
    "a batch of nothing but padding": {"metrics": metric_of(0)},
    "batches that count by their padded examples": of_sequences(padded),
    "batches that count by their packed examples": of_sequences(packed),
    "batches with a weight": of_sequences(time_first, weight=lambda batch: len(batch[1])),
    "nothing that counts by examples": of_sequences(
        time_first, loss=None, step=lambda model, optimizer, batch: None, metrics=metric_of(1)
    ),
    "a loss that changes the mode and puts it back": {**DETECTOR, "loss": in_either_mode},
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_workload_passes_without_a_warning(name):
    expected = replace(made_up_summary(), n_parameters=15, has_weight_decay=False)

    assert check(**SOUND[name]) == expected


def test_what_model_and_optimizer_are_is_in_the_summary():
    def model() -> nn.Module:
        inner = nn.Linear(4, 3)
        inner.bias.requires_grad_(False)
        return nn.Sequential(nn.Sequential(inner, nn.BatchNorm1d(3)))

    summary = check(
        model=model, optimizer=lambda parts, rate: torch.optim.Adam(parts, rate, betas=(0.8, 0.99))
    )

    assert summary.adam == AdamSettings(betas=(0.8, 0.99), eps=1e-8)
    assert summary.n_parameters == 12 + 6  # without the frozen ones
    assert summary.has_batch_norm


def compiled(*, in_place: bool = False) -> nn.Module:
    def backend(graph: Any, inputs: Any) -> Any:
        raise AssertionError("compiled")

    model = nn.Sequential(nn.Linear(4, 3))
    if not in_place:
        return torch.compile(model, backend=backend)
    model.compile(backend=backend)
    return model


@pytest.mark.parametrize(
    "make",
    [compiled, lambda: nn.Sequential(compiled()), lambda: compiled(in_place=True)],
    ids=["whole", "in part", "in place"],
)
def test_a_compiled_model_trains_as_the_module_inside(make):
    (warning,) = check(model=make).warnings

    assert "torch.compile is left out of all" in warning
    assert "_orig_mod" not in " ".join(uncompiled(make()).state_dict())


def failing_step(parameters: Any, rate: float) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(parameters, lr=rate)
    optimizer.step = lambda: 1 / 0
    return optimizer


def failing_value(total: Tensor, count: float) -> float:
    raise KeyError("f1")


def mixup(examples: list[Any]) -> Any:
    x, y = default_collate(examples)
    return x, F.one_hot(y, 3).float().lerp(F.one_hot(y.flip(0), 3).float(), 0.3)


FAILING_VALUE = {"f1": Metric(sum=accuracy, finalise=failing_value, better="higher")}
NO_NUMBER = {"f": lambda model, batch: model(batch[0])}
LOSS_OF_TRAINING = {"error": lambda model, batch: model(*batch)["loss"]}


def of_ten_examples(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model, (batch[0].view(10, 4), batch[1]))


def row(text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """What the message says, and the workload that it refuses."""
    return text, fields


DIFFERENTIATES = "that differentiates with @torch.enable_grad()"
NO_MODE = "in evaluation mode (model.eval()); in training mode it runs"
# Where the user's own code raised an exception.
RAISED = [
    row("`model` raised TypeError", model=lambda: nn.Linear(4, "3")),
    row("`optimizer` raised ZeroDivisionError", optimizer=lambda parts, rate: 1 / 0),
    row("a training step (forward, backward, optimizer) raised Zero", optimizer=failing_step),
    row("metric 'f' of 40 examples of train raised Zero", metrics={"f": lambda m, batch: 1 / 0}),
    row("metric 'f1' of 10 examples of validation raised KeyError", metrics=FAILING_VALUE),
    row(
        "fetching and collating examples of train raised IndexError",
        train=TensorDataset(X[:40], Y[:40]),
        collate=lambda examples: examples[99],
    ),
]
REFUSED = [
    row("`loss` of 8 examples raised RuntimeError: mat1 and", model=lambda: nn.Linear(5, 3)),
    row("no trainable parameters; ", model=lambda: nn.Linear(4, 3).requires_grad_(False)),
    row("`model` returned a list; expected an nn.Module", model=lambda: [1]),
    row("`model` returns the same object each time", model=nn.Linear(4, 3).train),
    row("`optimizer` returned NoneType", optimizer=lambda parts, rate: None),
    row("it sets 0.001 always", optimizer=lambda parts, rate: torch.optim.Adam(parts)),
    row("does not depend on the model", loss=lambda m, batch: m(batch[0]).sum().detach()),
    row("returned a float", loss=lambda model, batch: cross_entropy(model, batch).item()),
    row(
        "returned a Tensor; expected a tensor with one number",
        loss=lambda model, batch: model(batch[0]),
    ),
    row("; with your own 10 it runs: the size of a batch st", loss=of_ten_examples, batch_size=10),
    row("metric 'f' of 10 examples of validation raised ValueError: only one", metrics=NO_NUMBER),
    row(NO_MODE, **DETECTOR, loss=lambda model, batch: model(*batch)["loss"]),
    row(NO_MODE, **DETECTOR | {"loss": in_either_mode, "metrics": LOSS_OF_TRAINING}),
    row(
        "on validation examples it runs, but metrics are taken on both",
        train=DataLoader(TensorDataset(X[:40], Y[:40]), collate_fn=mixup),
        validation=DataLoader(TensorDataset(X[40:], Y[40:])),
        test=None,
    ),
    row("2 and 3 examples of train count as 8 and 13", **of_sequences(time_first)),
    row(
        "2 and 3 examples of validation count as 8 and 13",
        **of_sequences(
            None,
            train=DataLoader(SEQUENCES, collate_fn=padded),
            validation=DataLoader(list(SEQUENCES), collate_fn=time_first),
        ),
    ),
    row(
        "ended after 40 examples, and its length says 45", train=Streamed(X[:40], Y[:40], length=45)
    ),
    row("goes on after the 15 examples", validation=Streamed(X[:20], Y[:20], length=15)),
    row(DIFFERENTIATES, loss=mean_slope),
    row(DIFFERENTIATES, metrics={"f": Metric(sum=mean_slope, better="lower")}),
    row(DIFFERENTIATES, metrics={"f": Metric(over_all=F.mse_loss, predict=slopes, better="lower")}),
]


@pytest.mark.parametrize(("text", "fields"), [*RAISED, *REFUSED])
def test_what_cannot_be_trained_is_refused_in_a_line(text, fields):
    message = refusal(**fields)

    assert text in message
    if (text, fields) in RAISED:
        assert message.endswith(")")
        assert "(test_check.py, line " in message


def test_memory_running_out_is_no_fault_of_the_workload():
    def no_memory(*given: Any) -> Tensor:
        raise MemoryError

    def no_memory_for_a_gradient(model: nn.Module, batch: Any) -> Tensor:
        loss = cross_entropy(model, batch)
        if loss.requires_grad:
            loss.register_hook(no_memory)
        return loss

    for loss in (no_memory, no_memory_for_a_gradient):
        with pytest.raises(MemoryError):
            check(loss=loss)

    # Without memory for a gradient the rest is checked.
    assert check(loss=no_memory_for_a_gradient, with_steps=False).n_parameters == 15


def test_a_loss_that_couples_examples_gets_a_warning():
    """The same one whatever was drawn before."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return cross_entropy(model, batch) * len(batch[0]) ** 0.5 * (1 + 0.1 * torch.rand(()))

    summaries = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        summaries.append(check(loss=loss))

    assert summaries[0] == summaries[1]
    assert summaries[0].loss_couples
    assert "depends on the rest of its batch" in summaries[0].warnings[0]


def test_a_loss_that_is_not_finite_at_first_gets_a_warning():
    warnings = check(loss=lambda model, batch: cross_entropy(model, batch) * float("nan")).warnings

    assert warnings == ("the untrained model's loss on the first examples is nan",)


def test_examples_from_all_over_the_set_are_looked_at():
    """Sorted by class, the first examples have one class only, of which there is no area."""
    seen: list[tuple[int, int]] = []

    def area(scores: Tensor, labels: Tensor) -> float:
        seen.append((len(labels), int(labels.sum())))
        return 0.5

    def share(total: Tensor, count: float) -> float:
        seen.append((int(count), int(total)))
        return 0.5

    metrics = {
        "area": Metric(over_all=area, better="higher"),
        "share": Metric(sum=lambda model, batch: batch[1].sum(), finalise=share, better="higher"),
    }
    data = torch.randn(3000, 4), (torch.arange(3000) >= 1500).long()

    check(metrics=metrics, train=data, validation=data, test=None, with_steps=False)

    assert seen == [(1000, 500)] * 2
