"""Trials: why a training run ended as it did, and what a reader must know of its batches."""

from __future__ import annotations

from batchlab.words.message import N_, Message

MESSAGES: dict[str, Message] = {
    # What the losses say.
    "loss_not_finite_at_evaluation": N_(
        "the loss at the evaluation after step {step} is not a finite number; try a smaller "
        "learning rate"
    ),
    "metric_not_finite_at_evaluation": N_(
        "{metric:term} at the evaluation after step {step} is not a finite number; try a smaller "
        "learning rate"
    ),
    "loss_not_a_number": N_("the loss of step {step} is not a number; try a smaller learning rate"),
    "loss_infinite": N_(
        "the loss of step {step} is infinite or near it; try a smaller learning rate"
    ),
    "losses_far_above_untrained": N_(
        "the loss at the last {n} evaluations was {seen}, more than {factor:.6g} times that of "
        "the untrained model, {first:.3g}; try a smaller learning rate"
    ),
    "loss_seen": N_("{loss:.3g}"),
    "loss_seen_not_finite": N_("not finite"),
    # How the process ended.
    "user_error": N_("{error}: {text}"),
    "failed_alike_before": N_(
        "it was not trained: two trials of batch size {size} had ended with {why}"
    ),
    "memory_ran_out": N_("memory ran out ({error}); use a smaller micro-batch or batch size"),
    "kernel_ended_process": N_(
        "the kernel ended the process because memory ran out; use a smaller micro-batch or batch "
        "size"
    ),
    "ended_by_signal": N_("{signal} ended the process"),
    "ended_without_a_word": N_("the process ended without a message, exit code {exit_code}"),
    "not_ended_in_time": N_("it had not ended after {timeout_s:.0f} s"),
    # What the engine says.
    "out_of_time": N_("the budget ended"),
    # Notes on the batches.
    "stopped_early": N_(
        "it ended after {epochs} epochs: {metric:term} was best after epoch {best}, and the "
        "patience of the workload was over"
    ),
    "examples_left_out": N_(
        "{rest} examples are left out of every epoch (the last, smaller batch)"
    ),
    "last_batch_smaller": N_("the last batch of every epoch has {rest} examples"),
    "steps_accumulate": N_(
        "each step adds up {passes} micro-batches of at most {size}; layers that normalize over "
        "the batch see the micro-batch"
    ),
}
