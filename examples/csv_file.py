"""Regression from the columns of a CSV file, judged by the root of the mean square.

    batchlab advise examples/csv_file.py:workload --budget 60s
    batchlab sweep examples/csv_file.py:workload --batch-sizes 16,64,256,full \
        --learning-rates 0.003,0.01 --epochs 20 --seeds 2

The file is made by examples/data/friedman.py, which has its formula. Errors are in standard
deviations of the target: the noise in it is 0.2 of one.
"""

from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from torch import nn

import batchlab

CSV = Path(__file__).parent / "data" / "friedman.csv"


def predicted(model, batch):
    return model(batch[0]).squeeze(1)  # (n, 1) beside targets of (n,) would be (n, n)


def loss(model, batch):
    return F.mse_loss(predicted(model, batch), batch[1])


# A mean of roots is not the root of a mean: squares are added up, the root is taken at the end.
rmse = batchlab.Metric(
    sum=lambda model, batch: F.mse_loss(predicted(model, batch), batch[1], reduction="sum"),
    finalise=lambda total, count: (float(total) / count) ** 0.5,
    better="lower",
)


def workload(*, width=64):
    table = numpy.loadtxt(CSV, delimiter=",", skiprows=1, dtype="float32")
    x, y = table[:, :8], table[:, 8]
    # Standardized by the training rows, which are all that a model may know.
    x, y = ((part - part[:800].mean(0)) / part[:800].std(0) for part in (x, y))
    return batchlab.Workload(
        name="friedman",
        model=lambda: nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Linear(width, 1)),
        train=(x[:800], y[:800]),
        validation=(x[800:900], y[800:900]),
        test=(x[900:], y[900:]),
        loss=loss,
        metrics={"rmse": rmse},
        optimizer=lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate),
        batch_size=32,
        learning_rate=0.003,
        epochs=20,
    )
