"""How far off are the cheap forms of the gradient noise scale?

    python benchmarks/cheap_noise.py

Along one training of each workload, from the same sample of examples each time: the noise scale
from the gradients of single examples; from the differences between micro-batches of one
accumulated batch, as a training with accumulation sees them for nothing (16 batches of four
micro-batches of 16); and of the normalization layers' parameters alone, whose per-example gradients
cost nothing (Gray et al. 2024, arXiv:2411.00999). Two minutes on one core.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

sys.path.append(str(Path(__file__).parent / "regret"))
from one_training import trial_of
from workloads import WORKLOADS

from batchlab.laws.noise_scale import NoiseScale, noise_scale
from batchlab.measurements.batch_gradient import batch_gradient
from batchlab.measurements.gradient_noise import GradientNoise
from batchlab.records.gradient_sample import GradientSample
from batchlab.training.batching import examples_at
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")
STEPS = (0, 30, 100, 300, 1000)
MICRO_BATCH, MICRO_BATCHES, BATCHES = 16, 4, 16
_NORMALIZING = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


@dataclass(frozen=True, kw_only=True)
class Point:
    """The noise scale at one step, three ways; None: not told, or there are no such layers."""

    workload: str
    step: int
    exact: NoiseScale
    accumulated: float | None
    layer_norms: float | None

    @property
    def off(self) -> tuple[float | None, float | None]:
        """Each cheap form over the exact one."""
        truth = self.exact.scale.estimate
        forms = (self.accumulated, self.layer_norms)
        if truth is None:
            return None, None
        return tuple(None if form is None else form / truth for form in forms)  # type: ignore[return-value]


def accumulated(workload: Workload, model: nn.Module, step: int) -> float | None:
    """From the micro-batches of a few accumulated batches, drawn as a training draws them."""
    generator = torch.Generator().manual_seed(step)
    chosen = torch.randperm(size_of(workload.train), generator=generator)
    chosen = chosen[: MICRO_BATCH * MICRO_BATCHES * BATCHES]
    # What a batch has left beside its own mean: the whole sample is one long accumulation.
    gradients = torch.stack(
        [
            batch_gradient(workload, model, examples_at(workload, some)).detach().double()
            for some in chosen.split(MICRO_BATCH)
        ]
    )
    within = gradients.view(BATCHES, MICRO_BATCHES, -1)
    means = within.mean(1)
    spread = (within - means[:, None]).square().sum(2).sum(1) / (MICRO_BATCHES - 1)
    trace = MICRO_BATCH * float(spread.mean())
    grad_sq = float(means.square().sum(1).mean()) - trace / (MICRO_BATCH * MICRO_BATCHES)
    return trace / grad_sq if grad_sq > 0 else None


def of_layer_norms(model: nn.Module, layers: dict[str, GradientSample]) -> float | None:
    """Of the normalization layers' parameters together."""
    names = [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, _NORMALIZING)
        for name, _ in module.named_parameters(recurse=False)
    ]
    found = [noise_scale(layers[name]) for name in names if name in layers]
    if not found:
        return None
    trace = math.fsum(each.trace.estimate or 0.0 for each in found)
    grad_sq = math.fsum(each.grad_sq.estimate or 0.0 for each in found)
    return trace / grad_sq if grad_sq > 0 else None


def points_of(name: str, workload: Workload) -> Iterator[Point]:
    """Train, and measure on the way."""
    stepper = Stepper(
        workload, trial_of(workload, batch_size=workload.batch_size, octave=0, seed=0), CPU
    )
    stream, taken = stepper.stream(0), 0
    noise = GradientNoise(workload, CPU)
    for step in STEPS:
        if step > taken:
            stepper.steps(stream, step - taken, first_step=taken)
            taken = step
        found = noise.sample(
            stepper.model, seed=step, precision=0.1, per_layer=True, most_examples=16_384
        )
        yield Point(
            workload=name,
            step=step,
            exact=noise_scale(found.sample),
            accumulated=accumulated(workload, stepper.model, step),
            layer_norms=of_layer_norms(stepper.model, dict(found.layers)),
        )


def text(value: float | None) -> str:
    """In three digits; a dash where there is none."""
    return "–" if value is None else f"{value:.3g}"


def main() -> None:
    torch.set_num_threads(1)
    chosen = {
        "mnist-mlp": loaded_workload("mnist-mlp", {}).workload,
        **{name: WORKLOADS[name]() for name in ("cnn", "tabular", "transformer")},
        "moby-dick": loaded_workload("moby-dick", {}).workload,
    }
    print("| workload | step | exact (95 %) | micro-batches | of it | norm layers alone | of it |")
    print("|---|---|---|---|---|---|---|")
    seen: list[Point] = []
    for name, workload in chosen.items():
        for point in points_of(name, replace(workload, schedule=None)):
            seen.append(point)
            scale = point.exact.scale
            off = [text(share) for share in point.off]
            print(
                f"| {name} | {point.step} | {text(scale.estimate)} ({text(scale.low)} to "
                f"{text(scale.high)}) | {text(point.accumulated)} | {off[0]} | "
                f"{text(point.layer_norms)} | {off[1]} |",
                flush=True,
            )
    for place, form in enumerate(("micro-batches", "norm layers alone")):
        logs = [math.log(share) for point in seen if (share := point.off[place]) is not None]
        spread = statistics.stdev(logs) if len(logs) > 1 else 0.0
        print(
            f"\n{form}: {math.exp(statistics.fmean(logs)):.2f} times the exact one, times or "
            f"divided by {math.exp(spread):.2f} ({len(logs)} points)"
        )


if __name__ == "__main__":
    main()
