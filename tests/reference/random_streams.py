"""The global random streams of this process as values that can be compared."""

import random

import numpy as np
import torch

DRAWS_FROM_EACH = "import random, numpy\nrandom.random(), numpy.random.rand(), torch.rand(1)\n"
"""Lines for a user's file that move all three when it is loaded."""


def random_streams() -> tuple[object, ...]:
    numpy = np.random.get_state(legacy=False)["state"]
    return random.getstate(), numpy["key"].tolist(), numpy["pos"], torch.get_rng_state().tolist()
