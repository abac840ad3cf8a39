"""Commands: how somebody's own training command ended, and what shared the machine with it."""

from __future__ import annotations

from batchlab.words.message import Message, PluralMessage

MESSAGES: dict[str, Message] = {
    # It never ran.
    "command_not_found": (
        "the command {program} was not found; check its name, or give the path to it"
    ),
    "command_not_executable": (
        "{program} may not be run; make it executable (chmod +x), or name its program first, as "
        "in: python {program}"
    ),
    "command_without_interpreter": (
        "{program} is no program; name one first, as in: python {program}"
    ),
    "interpreter_missing": (
        "{program} is there, but the program named in its first line is not; name it on the "
        "command line, as in: python {program}"
    ),
    "working_folder_missing": "the command cannot run in the folder {folder}: {error}",
    "command_not_started": "{program} could not be started: {error}",
    # It ran.
    "command_failed": "{command} ended with exit code {exit_code}; its last line: {said}",
    "nothing_said": "it wrote nothing",
    "needs_terminal": (
        "the command asks for input and nobody is there to answer ({line}); give it all it needs "
        "as options"
    ),
    "ended_on_request": "batchlab ended it",
    "supervisor_killed": (
        "the small process that watches over the command was killed; batchlab ended the command"
    ),
    # Its progress.
    "script_ended_itself": (
        "the script ended by itself at step {step} of the {asked} that were asked for: put "
        "{{epochs}} where your script takes its length"
    ),
    "script_trained_to_its_end": (
        "the script ended by itself at step {step}: that is its own length"
    ),
    "script_stopped_early": (
        "the script stopped early: it ended well, and told its metric at step {step} of {asked} "
        "for the last time"
    ),
    "metric_told_before_end": (
        "the script told its metric at step {step} of {asked} for the last time"
    ),
    "metric_never_seen": "it ended well, and {metric} was never told",
    "metric_not_finite": "{metric} is no finite number at step {step}; try a smaller learning rate",
    "over_too_soon": (
        "it ended by itself after {seconds:.2g} s, and its progress came all at once: too soon for "
        "a step time"
    ),
    "steps_seen_too_seldom": (
        "its progress was told {n} times after its first steps, too seldom for a step time; tell "
        "it more often, as with batchlab.log(step=...)"
    ),
    "log_not_understood": (
        "batchlab.log was given what is no number: {told}; give numbers, and counters of at least 0"
    ),
    "steps_with_evaluations": (
        "the step times of batch size {sizes} hold the script's evaluations too: its progress does "
        "not tell them apart. Print progress several times between two evaluations, or use "
        "batchlab.log(step=...)"
    ),
    "processes_left_behind": PluralMessage(
        "the command ended and left {n} process running, which batchlab ended; if that was the "
        "training, let the command wait for it",
        "the command ended and left {n} processes running, which batchlab ended; if one was the "
        "training, let the command wait for it",
        by="n",
    ),
    # What went on beside it.
    "something_else_ran": (
        "something else used {fraction:whole_percent} of this machine's cores meanwhile, so the "
        "times may be too long"
    ),
    "same_failure_again": "{n} runs failed in the same way: {why}",
}
