"""Commands: how somebody's own training command ended, and what shared the machine with it."""

from __future__ import annotations

from batchlab.words.message import N_, NN_, Message

MESSAGES: dict[str, Message] = {
    # It never ran.
    "command_not_found": N_(
        "the command {program} was not found; check its name, or give the path to it"
    ),
    "command_not_executable": N_(
        "{program} may not be run; make it executable (chmod +x), or name its program first, as "
        "in: python {program}"
    ),
    "command_without_interpreter": N_(
        "{program} is no program; name one first, as in: python {program}"
    ),
    "interpreter_missing": N_(
        "{program} is there, but the program named in its first line is not; name it on the "
        "command line, as in: python {program}"
    ),
    "working_folder_missing": N_("the command cannot run in the folder {folder}: {error}"),
    "command_not_started": N_("{program} could not be started: {error}"),
    # It ran.
    "command_failed": N_("{command} ended with exit code {exit_code}; its last line: {said}"),
    "nothing_said": N_("it wrote nothing"),
    "needs_terminal": N_(
        "the command asks for input and nobody is there to answer ({line}); give it all it needs "
        "as options"
    ),
    "ended_on_request": N_("batchlab ended it"),
    "supervisor_killed": N_(
        "the small process that watches over the command was killed; batchlab ended the command"
    ),
    # Its progress.
    "script_ended_itself": N_(
        "the script ended by itself at step {step} of the {asked} that were asked for: put "
        "{{epochs}} where your script takes its length"
    ),
    "script_trained_to_its_end": N_(
        "the script ended by itself at step {step}: that is its own length"
    ),
    "script_stopped_early": N_(
        "the script stopped early: it ended well, and told its metric at step {step} of {asked} "
        "for the last time"
    ),
    "metric_told_before_end": N_(
        "the script told its metric at step {step} of {asked} for the last time"
    ),
    "metric_never_seen": N_("it ended well, and {metric} was never told"),
    "metric_not_finite": N_(
        "{metric} is no finite number at step {step}; try a smaller learning rate"
    ),
    "over_too_soon": N_(
        "it ended by itself after {seconds:.2g} s, and its progress came all at once: too soon for "
        "a step time"
    ),
    "steps_seen_too_seldom": N_(
        "its progress was told {n} times after its first steps, too seldom for a step time; tell "
        "it more often, as with batchlab.log(step=...)"
    ),
    "log_not_understood": N_(
        "batchlab.log was given what is no number: {told}; give numbers, and counters of at least 0"
    ),
    "steps_with_evaluations": N_(
        "the step times of batch size {sizes} hold the script's evaluations too: its progress does "
        "not tell them apart. Print progress several times between two evaluations, or use "
        "batchlab.log(step=...)"
    ),
    "processes_left_behind": NN_(
        "the command ended and left {n} process running, which batchlab ended; if that was the "
        "training, let the command wait for it",
        "the command ended and left {n} processes running, which batchlab ended; if one was the "
        "training, let the command wait for it",
        by="n",
    ),
    # What went on beside it.
    "something_else_ran": N_(
        "something else used {fraction:whole_percent} of this machine's cores meanwhile, so the "
        "times may be too long"
    ),
    "same_failure_again": N_("{n} runs failed in the same way: {why}"),
}
