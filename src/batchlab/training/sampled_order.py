"""SampledOrder: the examples of an epoch as the workload's own sampler chooses them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchlab.errors import WorkloadError
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.workload.definition import Workload, size_of

# What every generator takes as a seed.
_MOST_SEED = 2**31


def sampled_order(workload: Workload, *, batch_size: int, seed: int, drop_last: bool) -> Tensor:
    """The indices of one epoch, in the order in which `make_sampler` gives them.

    Args:
        workload: with a `make_sampler`.
        batch_size: of the trial.
        seed: of the epoch; the sampler may draw from the global streams too.
        drop_last: whether a smaller last batch is left out.

    Returns:
        Indices, int64, shape (n,): as many as there are training examples; with `drop_last` those
        of whole batches do.

    Raises:
        WorkloadError: batches of other sizes, too few or too many indices, or foreign ones.
    """
    assert workload.make_sampler is not None
    n_train = size_of(workload.train)
    seed %= _MOST_SEED
    with untouched_randomness():
        seed_everything(seed)
        given = list(workload.make_sampler(batch_size, seed))
    what = f"workload {workload.name!r}: make_sampler(batch_size={batch_size})"
    if given and all(is_group(part) for part in given):
        groups = [_indices(part, what) for part in given]
        _check_sizes([len(group) for group in groups], batch_size, what)
        order = [index for group in groups for index in group]
    else:
        order = _indices(given, what)
    least = n_train - n_train % batch_size if drop_last else n_train
    if not least <= len(order) <= n_train:
        raise WorkloadError(
            f"{what} gave {len(order):,} indices for an epoch; expected {n_train:,}, as many as "
            f"there are training examples"
        )
    foreign = next((index for index in order if not 0 <= index < n_train), None)
    if foreign is not None:
        raise WorkloadError(
            f"{what} gave the index {foreign}; expected 0 to {n_train - 1}, the places of the "
            f"training examples"
        )
    return torch.tensor(order, dtype=torch.int64)


def is_group(part: object) -> bool:
    """Whether a sampler gave several indices at once, those of a batch."""
    return isinstance(part, (list, tuple)) or (
        isinstance(part, Tensor | np.ndarray) and part.ndim == 1
    )


def _indices(given: Iterable[Any], what: str) -> list[int]:
    try:
        return [int(index.__index__()) for index in given]
    except (AttributeError, TypeError) as error:
        raise WorkloadError(
            f"{what} gave something that is no index; expected whole numbers, or lists of "
            f"them, one for each batch"
        ) from error


def _check_sizes(sizes: list[int], batch_size: int, what: str) -> None:
    odd = next((size for size in sizes[:-1] if size != batch_size), None)
    if odd is None and sizes[-1] <= batch_size:
        return
    found = sizes[-1] if odd is None else odd
    raise WorkloadError(
        f"{what} gave a batch of {found} examples; expected {batch_size} in each but a smaller "
        f"last one: fill up the batches across buckets"
    )
