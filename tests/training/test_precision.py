"""Mixed precision: what a user writes with torch.autocast and a GradScaler, number by number."""

from collections.abc import Sequence

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import cross_entropy, small_trial, small_workload
from tests.reference.textbook_loop import steps_of
from torch import Tensor, nn

from batchlab.records.run import RunLength
from batchlab.workload.definition import Metric
from batchlab.workload.loading import load_workload
from batchlab.workload.precision import with_precision

RATE = 1e-5
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def too_large_at_first(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    """A loss whose scaled gradient overflows float16, so the scaler skips steps at first."""
    return 3000 * cross_entropy(model, batch)


def trained_by_hand(workload, precision, batches) -> tuple[nn.Module, int]:
    """Return the model after PyTorch's own recipe for mixed precision, and the steps skipped."""
    torch.manual_seed(0)
    model = workload.model()
    optimizer = workload.optimizer(model.parameters(), RATE)  # type: ignore[misc]
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    skipped = 0
    for rows in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=TYPES[precision]):
            loss = workload.loss(model, tuple(column[rows] for column in workload.train))
        scaler.scale(loss).backward()
        if workload.clip_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), workload.clip_norm)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        skipped += scaler.get_scale() < before
    return model, skipped


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_run_is_pytorchs_recipe_for_mixed_precision_bit_for_bit(precision, clip_norm, tmp_path):
    workload = small_workload(precision=precision, loss=too_large_at_first, clip_norm=clip_norm)
    trial = small_trial(workload, batch_size=7, learning_rate=RATE)

    run = run_engine(
        with_precision(workload), trial, RunLength(epochs=3), checkpoint=tmp_path / "c"
    )

    by_hand, skipped = trained_by_hand(workload, precision, steps_of(trial, epochs=3))
    assert (skipped > 0) == (precision == "fp16")
    for name, parameter in by_hand.named_parameters():
        assert torch.equal(run.tensors[f"model.{name}"], parameter)
        assert parameter.dtype == torch.float32


def test_metrics_are_computed_in_the_precision_and_judged_in_float32():
    seen: dict[str, set[torch.dtype]] = {"computed": set(), "judged": set()}

    def computed(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        seen["computed"].add(model(batch[0]).dtype)
        return torch.zeros(())

    def judged(predictions: Tensor, targets: Tensor) -> float:
        seen["judged"].add(predictions.dtype)
        return float((predictions.argmax(dim=1) == targets).numpy().mean())

    metrics = {
        "computed": Metric(sum=computed, better="higher"),
        "judged": Metric(over_all=judged, better="higher"),
    }
    workload = with_precision(small_workload(precision="bf16", metrics=metrics))

    run_engine(workload, small_trial(workload, batch_size=10), RunLength(steps=1))

    assert seen == {"computed": {torch.bfloat16}, "judged": {torch.float32}}


def test_the_precision_is_a_setting_of_any_workload_and_part_of_its_identity():
    workload = small_workload()

    loaded = [load_workload(workload, {"precision": name}) for name in ("fp32", "bf16", "fp16")]

    assert [it.workload.precision for it in loaded] == ["fp32", "bf16", "fp16"]
    assert len({it.workload_id for it in loaded}) == 3
    assert dict(loaded[1].settings) == {"precision": "bf16"}
