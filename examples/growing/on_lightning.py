"""Grow the batch during training with Lightning: one pass of the loader is the whole run.

pip install lightning
python examples/growing/on_lightning.py
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchlab
from batchlab import plans

x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
train = TensorDataset(x, x.sum(1, keepdim=True))
plan = plans.steps(8, {25: 32}, unit="steps", epochs=3, scaling_rule="sqrt")
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch):
        return nn.functional.mse_loss(self.layer(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        scheduler = {"scheduler": sampler.scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    # With these a run that is stopped in the middle goes on as if it had not been.
    def on_save_checkpoint(self, checkpoint):
        checkpoint["batches"] = sampler.state_dict()

    def on_load_checkpoint(self, checkpoint):
        sampler.load_state_dict(checkpoint["batches"])


# Validate with `val_check_interval`: an epoch of Lightning's is the run.
trainer = lightning.Trainer(
    max_epochs=1, use_distributed_sampler=False, logger=False, enable_checkpointing=False
)
model = Model()
trainer.fit(model, DataLoader(train, batch_sampler=sampler))
rate = trainer.optimizers[0].param_groups[0]["lr"]
print(f"{trainer.global_step} steps of {sampler.n_steps}, the last at rate {rate:g}")
