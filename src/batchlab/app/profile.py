"""Profile: `batchlab.profile`, what each batch size costs in time and memory on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from batchlab.app.advice_request import refuse_for_commands
from batchlab.app.argument_names import known_arguments_only
from batchlab.app.budget import Budget
from batchlab.app.subject import PreparedWorkload, known_by_its_model, profile_of_command
from batchlab.errors import BudgetError, UsageError
from batchlab.measure.profile import Profile
from batchlab.measure.profiling import ProfileRequest, measure_profile, profile_request
from batchlab.random_state import untouched_randomness
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Setting
from batchlab.report.progress import listener_or_notebook
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.workload.definition import Workload
from batchlab.workload.loading import loaded_workload

# Fewer batch sizes are no profile, unless fewer were asked for.
_FEWEST_POINTS = 3


@known_arguments_only
def profile(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    budget: str | float = "60s",
    reserved_s: float = 0.0,
    store: str | Path | None = None,
    listener: ProgressListener | None = None,
) -> Profile:
    """Measure step time and peak memory of `workload` by batch size, and what is the largest.

    Each batch size is tried in a process of its own, from the smallest up, until one does not fit
    into memory; then the largest that fits is looked for, and the larger ones are accumulated. What
    ran in one piece is then timed again in further processes, as far as the budget reaches.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        batch_sizes: examples per step, each 1 to N, or "full" for N; None: 1, 2, 4, ... N, and
            the workload's own.
        settings: of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        memory_limit_bytes: judge as if the device had no more, in bytes; None: what it has.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds.
        reserved_s: the part of the budget that the caller needs for what it does around the call.
        store: a SQLite file to keep the step times in, for later sweeps; None: nowhere.
        listener: told how it gets on; None: the cell of the notebook that asks, if one does.

    Returns:
        The profile; batch sizes that did not run are in it with the reason.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        WorkloadError: the workload cannot be loaded, or trained at any batch size in that memory.
        StoreError: the store cannot be used.
        BudgetError: the budget is too small for a profile.
    """
    ceiling = Budget(budget, reserved_s=reserved_s)
    listener = listener_or_notebook(listener)
    if isinstance(workload, TrainingCommand):
        refuse_for_commands("--set", is_given=bool(settings))
        refuse_for_commands("--device", is_given=device != "cpu")
        if store is not None:
            raise UsageError(
                "--store with a command of your own: a sweep times its steps itself, so nothing is "
                "kept; leave it out, or keep what --json prints"
            )
        return profile_of_command(
            workload,
            batch_sizes=batch_sizes,
            memory_limit_bytes=memory_limit_bytes,
            budget=ceiling,
            listener=listener,
        )
    # Loading runs the user's own code, which may draw random numbers; ours below may not either.
    with untouched_randomness():
        loaded = loaded_workload(workload, settings or {})
        asked = partial(
            profile_request,
            batch_sizes=batch_sizes,
            device=device,
            memory_limit_bytes=memory_limit_bytes,
        )
        asked(loaded)  # a wrong request is refused at once
        loaded = known_by_its_model(loaded, ceiling, store)
        request = asked(loaded)
        prepared = PreparedWorkload(loaded, device=device, budget=ceiling, listener=listener)
        del loaded, workload  # so that the data can go once they are in shared memory
        listener.begins(command="profile", subject=request.trial.workload, stages=())
        summary = prepared.summary(None if store is None else Path(store))
        prepared.let_go_of_data()
        assert ceiling.work_ends_s is not None
        made = measure_profile(
            prepared.packed, request, deadline_s=ceiling.work_ends_s, listener=listener
        )
        _refuse_too_few(made, request, ceiling)
        if store is not None:
            with Store(store) as opened:
                opened.put_workload(summary)
                for point in made.points:
                    if point.ran and point.timing is not None:
                        opened.put_timing(point.timing)
        return made


def _refuse_too_few(made: Profile, request: ProfileRequest, budget: Budget) -> None:
    ran = sum(point.ran for point in made.points)
    wanted = min(_FEWEST_POINTS, len(request.batch_sizes))
    if made.stopped == "time" and ran < wanted:
        raise BudgetError(
            f"budget {budget.seconds:.3g} s: it ended after {ran} batch sizes of "
            f"{len(request.batch_sizes)}, and a profile needs {wanted}; give a larger --budget"
        )
