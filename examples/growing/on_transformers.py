"""Grow the batch during training with the Trainer of Hugging Face.

pip install transformers accelerate
python examples/growing/on_transformers.py
"""

import tempfile

import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import batchlab
from batchlab import plans

draw = torch.Generator().manual_seed(0)
tokens = torch.randint(50, (200, 6), generator=draw)
train = [{"input_ids": each, "labels": int(each[0] > 25)} for each in tokens]
small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = BertForSequenceClassification(BertConfig(vocab_size=50, intermediate_size=16, **small))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
plan = plans.steps(8, {25: 32}, unit="steps", epochs=3, scaling_rule="sqrt")
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)


class PlannedTrainer(Trainer):
    def get_train_dataloader(self):
        loader = DataLoader(train, batch_sampler=sampler, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)


with tempfile.TemporaryDirectory() as folder:
    # Without `max_steps` the Trainer plans epochs of the first one's length.
    arguments = TrainingArguments(
        folder,
        max_steps=sampler.n_steps,
        accelerator_config={"even_batches": False},
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    rates = sampler.scheduler(optimizer)
    trainer = PlannedTrainer(model, arguments, train_dataset=train, optimizers=(optimizer, rates))
    trainer.train()

print(f"{trainer.state.global_step} steps of {sampler.n_steps}", end=", ")
print(f"the last at rate {optimizer.param_groups[0]['lr']:g}")
