"""Grow the batch during training with Accelerate.

pip install accelerate
python examples/growing/on_accelerate.py
"""

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchlab
from batchlab import plans

x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
train = TensorDataset(x, x.sum(1, keepdim=True))
model = nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
plan = plans.steps(8, {25: 32}, unit="steps", epochs=3, scaling_rule="sqrt")
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)
rates = sampler.scheduler(optimizer)

# `even_batches` would fill batches up; the scheduler counts batches and is not prepared.
accelerator = Accelerator(dataloader_config=DataLoaderConfiguration(even_batches=False))
model, optimizer, loader = accelerator.prepare(
    model, optimizer, DataLoader(train, batch_sampler=sampler)
)
for inputs, wanted in loader:
    accelerator.backward(nn.functional.mse_loss(model(inputs), wanted))
    optimizer.step()
    rates.step()
    optimizer.zero_grad()

print(f"{rates.last_epoch} steps of {sampler.n_steps}, the last at rate {rates.get_last_lr()[0]:g}")
