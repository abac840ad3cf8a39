"""CommandProfile: what each batch size of somebody's own command costs in time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from batchlab.commands.budget import Budget
from batchlab.commands.command_request import around, command_trial, given_sizes
from batchlab.commands.command_subject import CommandSubject
from batchlab.errors import BudgetError
from batchlab.launching.training_command import TrainingCommand
from batchlab.profiling.measuring import ProfileRequest
from batchlab.profiling.profile import Profile
from batchlab.records.progress_listener import ProgressListener


def profile_of_command(
    command: TrainingCommand,
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None,
    memory_limit_bytes: int | None,
    budget: Budget,
    listener: ProgressListener,
) -> Profile:
    """Measure step time and peak memory of a command by batch size.

    Args:
        command: what is run.
        batch_sizes: examples per step; None: a few around the one that one trains with now.
        memory_limit_bytes: judge as if the machine had no more; None: what it has.
        budget: the ceiling on the whole call.
        listener: told how it gets on.

    Raises:
        UsageError: a batch size that is not possible.
        WorkloadError: the command does not train, at any batch size.
        BudgetError: no batch size could be timed in time.
    """
    listener.begins(command="profile", subject=command.name, stages=())
    subject = CommandSubject(command, budget=budget, listener=listener)
    summary = subject.look()
    sizes = around(summary) if batch_sizes is None else given_sizes(batch_sizes, summary)
    assert budget.work_ends_s is not None
    trial = command_trial(
        command,
        summary,
        batch_size=summary.batch_size,
        learning_rate=command.learning_rate,
    )
    made = subject.profile(
        ProfileRequest(
            trial=trial,
            batch_sizes=sizes,
            reference_batch_size=summary.batch_size,
            device=trial.device,
            memory_limit_bytes=memory_limit_bytes,
        ),
        deadline_s=budget.work_ends_s,
    )
    if not made.points:
        raise BudgetError(
            f"budget {budget.seconds:.3g} s: it ended before a batch size was timed; give a "
            f"larger --budget"
        )
    return made
