"""When to evaluate, found by walking every single step of a run and counting its examples."""

from __future__ import annotations


def step_sizes(n_train: int, batch_size: int, *, drop_last: bool) -> list[int]:
    """Examples of each step of one epoch."""
    sizes = []
    left = n_train
    while left >= batch_size:
        sizes.append(batch_size)
        left -= batch_size
    if left > 0 and not drop_last:
        sizes.append(left)
    return sizes


def marks_up_to(n_train: int, samples: float) -> list[float]:
    """N/64, 2N/64, ... and, once 5 % of the samples are more than that, each 5 % above the last."""
    marks = [n_train / 64]
    while marks[-1] < samples:
        marks.append(marks[-1] + max(n_train / 64, 0.05 * marks[-1]))
    return marks


def pauses_by_walking(
    n_train: int, batch_size: int, *, drop_last: bool, last_step: int
) -> list[tuple[int, bool]]:
    """(step, whether it is an epoch end) of every pause, for runs of up to 200 epochs."""
    sizes = step_sizes(n_train, batch_size, drop_last=drop_last)
    assert last_step <= 200 * len(sizes), "epoch ends are thinned after that"
    return pauses_along(
        n_train,
        [sizes[step % len(sizes)] for step in range(last_step + 1)],
        epoch_ends={step for step in range(1, last_step + 1) if step % len(sizes) == 0},
        last_step=last_step,
    )


def pauses_along(
    n_train: int, sizes: list[int], *, epoch_ends: set[int], last_step: int
) -> list[tuple[int, bool]]:
    """The same for steps of any sizes, those of the run's steps and of the one after them."""
    done = [0]
    for size in sizes:
        done.append(done[-1] + size)
    marks = marks_up_to(n_train, done[-1])
    pauses = []
    last_mark = 0
    for step in range(1, last_step + 1):
        passes_a_mark = any(done[step - 1] < mark <= done[step] for mark in marks)
        next_is_too_far = (
            done[last_mark] >= n_train * 20 / 64
            and step > last_mark
            and done[last_mark] < 0.95 * done[step + 1]
        )
        if passes_a_mark or next_is_too_far:
            last_mark = step
        epoch_end = step in epoch_ends or step == last_step
        if last_mark == step or epoch_end:
            pauses.append((step, epoch_end))
    return pauses
