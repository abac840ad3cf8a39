"""MNIST as somebody's own script, an ordinary loop, with the published order and marks of batchlab.

python tests/reference/mnist_script.py --batch-size 64 --lr 0.05 --seed 0 --epochs 3
"""

import argparse
import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import batchlab
from batchlab.datasets.embedded import load_mnist
from batchlab.plans.cadence import pauses
from batchlab.records.batch_plan import BatchPlan
from batchlab.script.command import TrainingCommand
from batchlab.workload.data import epoch_order
from batchlab.workload.definition import Workload
from batchlab.workload.given_data import tensors_of

N_VALIDATION = 512  # a share of so many is a float exactly


def build() -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def data(n_train: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images as numbers between 0 and 1 and their labels, to train with and to validate with."""
    mnist = load_mnist(n_validation=10_000)
    assert mnist.validation is not None
    (x, y), (x_valid, y_valid) = mnist.train, mnist.validation
    return (
        torch.from_numpy(x[:n_train]).float() * (1 / 255),
        torch.from_numpy(y[:n_train]).long(),
        torch.from_numpy(x_valid[:N_VALIDATION]).float() * (1 / 255),
        torch.from_numpy(y_valid[:N_VALIDATION]).long(),
    )


def workload(n_train: int) -> Workload:
    """The same model, data, optimizer and metric in process."""
    from batchlab.workload.builtin import mnist_mlp

    made = mnist_mlp.workload()
    train = tuple(part[:n_train] for part in tensors_of(made.train))
    validation = tuple(part[:N_VALIDATION] for part in tensors_of(made.validation))
    return replace(made, train=train, validation=validation, test=None)


def command(n_train: int, *more: str, **fields: Any) -> TrainingCommand:
    """This script as a command that is asked about."""
    asked = ("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")
    arguments = (sys.executable, __file__, *asked, "--examples", str(n_train), *more)
    return TrainingCommand(arguments=arguments, metric="accuracy", **fields)


def main() -> None:
    parser = argparse.ArgumentParser()
    usual = {"batch-size": 64, "lr": 0.01, "seed": 0, "epochs": 10, "examples": 2000}
    for name, value in usual.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    x, y, x_valid, y_valid = data(given.examples)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=given.lr, momentum=0.9, fused=True)

    def accuracy() -> float:
        with torch.no_grad():
            return int((model(x_valid).argmax(1) == y_valid).sum()) / N_VALIDATION

    plan = BatchPlan(n_train=len(x), batch_size=given.batch_size, drop_last=False)
    marks = {pause.step for pause in pauses(plan, last_step=plan.steps_in(given.epochs))}
    batchlab.log(step=0, epoch=0, accuracy=accuracy())
    step, loss_sum, seen = 0, 0.0, 0
    for epoch in range(given.epochs):
        order = epoch_order(len(x), seed=given.seed, epoch=epoch, sampling="reshuffle")
        for chosen in order.split(given.batch_size):
            loss = functional.cross_entropy(model(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            loss_sum += loss.item() * len(chosen)
            seen += len(chosen)
            if step in marks:
                done = plan.epoch_at(step)
                batchlab.log(step=step, epoch=done, accuracy=accuracy(), train_loss=loss_sum / seen)
                loss_sum, seen = 0.0, 0


if __name__ == "__main__":
    main()
