"""Accumulator: the whole batch's gradient from pieces, and nothing half applied."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from tests.reference.small_workloads import cross_entropy
from torch import Tensor, distributed, nn
from torch.nn import functional as F

import batchlab
from batchlab.errors import BatchSizeError, UsageError

B = 12


class Made(NamedTuple):
    """A model, its loss and a batch, and what a batch weighs."""

    model: nn.Module
    loss: Callable[[nn.Module, Any], Tensor]
    batch: Any
    weight: Callable[[Any], Any] | None = None

    def accumulator(self, size: int, **more: Any) -> batchlab.Accumulator:
        given = {"micro_batch_size": size, "weight": self.weight} | more
        return batchlab.Accumulator(self.model, self.loss, **given)


def mlp() -> Made:
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    return Made(model, cross_entropy, (torch.randn(B, 5), torch.randint(3, (B,))))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.out = nn.Linear(8, 20)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        return self.out(self.layer(self.embed(tokens), src_key_padding_mask=padding))


def transformer() -> Made:
    """Sequences of 1 to 7 tokens; the loss is the mean over tokens that are no padding."""
    lengths = torch.arange(B) % 7 + 1
    batch = {
        "tokens": torch.randint(20, (B, 7)),
        "padding": torch.arange(7)[None, :] >= lengths[:, None],
    }

    def loss(model: nn.Module, b: Any) -> Tensor:
        return F.cross_entropy(model(**b)[~b["padding"]], b["tokens"][~b["padding"]])

    return Made(Tagger(), loss, batch, lambda b: (~b["padding"]).sum())


def gradient(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("make", [mlp, transformer])
def test_its_gradient_is_the_whole_batchs_for_every_micro_batch_size(make, dtype, within):
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        made = make()
    finally:
        torch.set_default_dtype(torch.float32)
    whole = made.loss(made.model, made.batch)
    whole.backward()
    expected = gradient(made.model)

    for micro_batch_size in range(1, B + 1):
        value = made.accumulator(micro_batch_size).backward(made.batch)

        assert float((gradient(made.model) - expected).norm() / expected.norm()) <= within
        assert float(value) == pytest.approx(whole.item(), rel=within)


def test_pieces_of_padding_alone_have_no_part_in_it():
    torch.manual_seed(0)
    made = transformer()
    made.batch["padding"][4:6] = True
    whole = made.loss(made.model, made.batch)

    assert float(made.accumulator(2).backward(made.batch)) == pytest.approx(whole.item(), rel=1e-6)

    made.batch["padding"][:] = True
    with pytest.raises(UsageError, match="has no mean"):
        made.accumulator(2).backward(made.batch)


def test_what_has_no_examples_first_is_given_whole_and_texts_are_cut():
    pieces = []

    def loss(m: nn.Module, b: dict[str, Any]) -> Tensor:
        pieces.append((len(b["x"]), b["names"], len(b["scale"])))
        return (m(b["x"]) * b["scale"].sum()).mean()

    batch = {"x": torch.ones(3, 3), "names": ["a", "b", "c"], "scale": torch.ones(5)}
    Made(nn.Linear(3, 1), loss, batch).accumulator(2).backward(batch)

    assert pieces == [(2, ["a", "b"], 5), (1, ["c"], 5)]


# ---- out of memory


class Full:
    """Raises out of memory where more than so many examples pass, at a call or in its backward."""

    def __init__(self, fits: int, *, in_backward: bool) -> None:
        self.fits, self.in_backward, self.passes = fits, in_backward, []

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        self.passes.append(len(batch[0]))
        if not self.in_backward:
            self._full(batch[0])
        logits = model(batch[0])
        if self.in_backward and self.passes[-1] > self.fits:
            # Some gradients are there by then.
            next(model.parameters()).register_hook(self._full)
        return F.cross_entropy(logits, batch[1])

    def _full(self, found: Tensor) -> Tensor:
        if self.passes[-1] > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found


def with_dropout(full: Full) -> Made:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 3))
    return Made(model, full, (torch.randn(B, 5), torch.randint(3, (B,))))


@pytest.mark.parametrize("in_backward", [False, True])
def test_out_of_memory_halves_and_begins_the_batch_anew(in_backward, monkeypatch):
    # All that these tests import takes a second to look through.
    monkeypatch.setattr(gc, "collect", lambda: 0)
    full, states = Full(3, in_backward=in_backward), []
    for loss, micro_batch_size in ((Full(B, in_backward=False), 3), (full, B)):
        made = with_dropout(loss)
        torch.manual_seed(7)
        accumulator = made.accumulator(micro_batch_size)
        value = accumulator.backward(made.batch)
        states.append([value, gradient(made.model), *made.model.buffers(), torch.get_rng_state()])

    assert full.passes == [12, 6, 3, 3, 3, 3]
    assert accumulator.micro_batch_size == 3
    torch.testing.assert_close(*states, rtol=0, atol=0)

    full.fits, full.in_backward = 0, False
    before = [parameter.clone() for parameter in made.model.parameters()]
    with pytest.raises(torch.OutOfMemoryError):  # one example that does not fit
        made.accumulator(B).backward(made.batch)
    assert all(map(torch.equal, made.model.parameters(), before))


# ---- beside other things


@pytest.mark.parametrize("micro_batch_size", [5, 1000])
@pytest.mark.parametrize("factor", [1.0, float("inf")])
def test_a_scaler_scales_pieces_and_skips_a_step_that_overflowed(factor, micro_batch_size):
    torch.manual_seed(0)
    made = mlp()._replace(loss=lambda m, b: cross_entropy(m, b) * factor)
    cross_entropy(made.model, made.batch).backward()
    rate = 0.1 / factor
    expected = [parameter - rate * parameter.grad for parameter in made.model.parameters()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    accumulator = made.accumulator(micro_batch_size, scaler=scaler)

    accumulator.backward(made.batch)
    accumulator.step(torch.optim.SGD(made.model.parameters(), lr=0.1))

    torch.testing.assert_close(list(made.model.parameters()), expected, rtol=1e-5, atol=1e-7)
    assert scaler.get_scale() == (2.0**10 if rate else 2.0**9)


def test_lbfgs_and_sizes_below_1_are_refused():
    made = mlp()
    accumulator = made.accumulator(5)
    accumulator.backward(made.batch)

    with pytest.raises(UsageError, match="LBFGS asks for the loss several times"):
        accumulator.step(torch.optim.LBFGS(made.model.parameters()))
    with pytest.raises(BatchSizeError, match="micro_batch_size=0"):
        made.accumulator(0)


def test_all_pieces_but_the_last_are_kept_from_other_processes():
    seen = []

    class Parallel(nn.Linear):
        """What DistributedDataParallel has for it."""

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            seen.append("begin")
            yield
            seen.append("end")

    def loss(m: nn.Module, b: Any) -> Tensor:
        seen.append(len(b[0]))
        return cross_entropy(m, b)

    made = mlp()._replace(model=Parallel(5, 3), loss=loss)
    made.accumulator(5).backward(made.batch)

    assert seen == ["begin", 5, "end", "begin", 5, "end", 2]


def test_two_processes_with_unequal_shares_have_the_whole_batchs_gradient(monkeypatch):
    """DistributedDataParallel takes the mean of what they compute, one after the other here."""
    torch.manual_seed(0)
    made = transformer()
    made.loss(made.model, made.batch).backward()
    whole, gradients = gradient(made.model), []
    n_tokens = float(made.weight(made.batch))
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(
        distributed, "all_reduce", lambda sums: sums.copy_(torch.tensor([n_tokens, 0.0]))
    )

    for share in (slice(0, 7), slice(7, B)):  # three micro-batches, and two
        made.accumulator(3).backward({key: made.batch[key][share] for key in made.batch})
        gradients.append(gradient(made.model))

    assert float((sum(gradients) / 2 - whole).norm() / whole.norm()) < 1e-6
