"""Trials: why a training run ended as it did, and what a reader must know of its batches."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    # What the losses say.
    "loss_not_finite_at_evaluation": (
        "the loss at the evaluation after step {step} is not a finite number; try a smaller "
        "learning rate"
    ),
    "metric_not_finite_at_evaluation": (
        "{metric:term} at the evaluation after step {step} is not a finite number; try a smaller "
        "learning rate"
    ),
    "loss_not_a_number": "the loss of step {step} is not a number; try a smaller learning rate",
    "loss_infinite": "the loss of step {step} is infinite or near it; try a smaller learning rate",
    "losses_far_above_untrained": (
        "the loss at the last {n} evaluations was {seen}, more than {factor:.6g} times that of "
        "the untrained model, {first:.3g}; try a smaller learning rate"
    ),
    "loss_seen": "{loss:.3g}",
    "loss_seen_not_finite": "not finite",
    # How the process ended.
    "user_error": "{error}: {text}",
    "failed_alike_before": (
        "it was not trained: two trials of batch size {size} had ended with {why}"
    ),
    "memory_ran_out": "memory ran out ({error}); use a smaller micro-batch or batch size",
    "kernel_ended_process": (
        "the kernel ended the process because memory ran out; use a smaller micro-batch or batch "
        "size"
    ),
    "ended_by_signal": "{signal} ended the process",
    "ended_without_a_word": "the process ended without a message, exit code {exit_code}",
    "not_ended_in_time": "it had not ended after {timeout_s:.0f} s",
    # What the engine says.
    "out_of_time": "the budget ended",
    "recorded_until": "recorded until step {step}",
    "ended_badly_when_recorded": "{status:term} at step {step} when it was recorded",
    "recorded_with_fewer_seeds": (
        "batch size {size} at learning rate {rate:rate} was recorded with fewer seeds, because it "
        "is far from the best rate"
    ),
    # Notes on the batches.
    "stopped_early": (
        "it ended after {epochs} epochs: {metric:term} was best after epoch {best}, and the "
        "patience of the workload was over"
    ),
    "examples_left_out": "{rest} examples are left out of every epoch (the last, smaller batch)",
    "last_batch_smaller": "the last batch of every epoch has {rest} examples",
    "steps_accumulate": (
        "each step adds up {passes} micro-batches of at most {size}; layers that normalize over "
        "the batch see the micro-batch"
    ),
}
