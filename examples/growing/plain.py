"""Grow the batch during training, in a loop of your own.

python examples/growing/plain.py
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchlab
from batchlab import plans

x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
train = TensorDataset(x, x.sum(1, keepdim=True))
model = nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

# Batches of 8, from step 25 on of 32; the rate grows as the root of the size.
plan = plans.steps(8, {25: 32}, unit="steps", epochs=3, scaling_rule="sqrt")
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)
rates = sampler.scheduler(optimizer)
for inputs, wanted in DataLoader(train, batch_sampler=sampler):
    nn.functional.mse_loss(model(inputs), wanted).backward()
    optimizer.step()
    rates.step()
    optimizer.zero_grad()

print(f"{rates.last_epoch} steps of {sampler.n_steps}, the last at rate {rates.get_last_lr()[0]:g}")
