"""Grow the batch during training with Keras on PyTorch.

pip install keras
KERAS_BACKEND=torch python examples/growing/on_keras.py
"""

import keras
import torch
from torch.utils.data import DataLoader, TensorDataset

import batchlab
from batchlab import plans

x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
train = TensorDataset(x, x.sum(1, keepdim=True))
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.AdamW(0.01), "mse")
plan = plans.steps(8, {25: 32}, unit="steps", epochs=3, scaling_rule="sqrt")
sampler = batchlab.BatchSizeSampler(train, plan, seed=0)


class Rates(keras.callbacks.Callback):
    def on_train_batch_begin(self, step, logs=None):
        factor = sampler.plan.stage_at(step).rate_factor
        self.model.optimizer.learning_rate = 0.01 * factor


# An epoch of Keras' is the run: give `validation_freq` what you have, or evaluate in a callback.
model.fit(DataLoader(train, batch_sampler=sampler), epochs=1, callbacks=[Rates()], verbose=0)
steps, rate = int(model.optimizer.iterations), float(model.optimizer.learning_rate)
print(f"{steps} steps of {sampler.n_steps}, the last at rate {rate:g}")
