"""Keras' `fit` on JAX with a small network of random weights.

    batchlab profile --metric val_loss --learning-rate 0.05 -- \
        python examples/commands/keras_fit.py --batch-size {batch_size} --lr {learning_rate}
    batchlab advise --metric val_loss --learning-rate 0.05 --target val_loss=0.25 --budget 5m -- \
        python examples/commands/keras_fit.py \
        --batch-size {batch_size} --lr {learning_rate} --seed {seed}

Nothing was added for batchlab: the bars and lines that Keras prints are read.
"""

import argparse
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np


def make_data(n_examples, seed):
    x = np.random.default_rng(seed).standard_normal((n_examples, 10), dtype=np.float32)
    return x, (np.square(x).sum(axis=1) < 9.34).astype(np.int32)  # half of the points


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(2)]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(args.lr, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    x, y = make_data(4000, seed=1)
    model.fit(
        x,
        y,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_data=make_data(1000, seed=2),
    )


if __name__ == "__main__":
    main()
