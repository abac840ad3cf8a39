"""Diagnoses: what a trial's curves show, the numbers behind it, and what to try."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    "diverged_label": "diverged",
    "diverged_advice": "Training made the loss grow. Lower the learning rate, or warm it up.",
    "ended_badly": "ended as {status:term} after {steps} steps",
    "loss_grew": "{split:term} loss {last:.3g} after training, {untrained:.3g} before it",
    "unstable_label": "unstable",
    "unstable_advice": (
        "The training loss jumps: the learning rate is near the largest that works. Lower it, "
        "clip gradients, or use a larger batch."
    ),
    "loss_spikes": "{n} jumps of the training loss, the largest {ratio:.3g} times at step {step}",
    "overfitting_label": "overfitting",
    "overfitting_advice": (
        "The model fits its training data better and better, but not other data. Stop earlier, "
        "regularize, or get more data."
    ),
    "validation_loss_rose": (
        "validation loss rose from {least:.3g} at epoch {epoch} to {last:.3g}, while training "
        "loss fell from {train_then:.3g} to {train_last:.3g}"
    ),
    "validation_got_worse": (
        "validation {metric} got worse after epoch {epoch} while training improved"
    ),
    "wide_gap": "training {metric} {train:.3g}, validation {metric} {validation:.3g}",
    "underfitting_label": "underfitting",
    "underfitting_advice": (
        "Training has come to rest at a high loss. Try a larger model or another learning rate, "
        "unless the data itself is that noisy."
    ),
    "loss_at_rest": "training loss came to rest at {last:.3g}, {share:.0%} of that before training",
    "slow_convergence_label": "slow convergence",
    "slow_convergence_advice": (
        "Progress is nearly as quick at the end as at the start. A higher learning rate or a "
        "smaller batch would get more out of each epoch."
    ),
    "loss_hardly_fell": "training loss only went from {untrained:.3g} to {last:.3g}",
    "loss_still_falls": (
        "{share:.0%} of the fall of the training loss came in the last quarter of the epochs"
    ),
    "not_enough_epochs_label": "not enough epochs",
    "not_enough_epochs_advice": (
        "The validation curve is still getting better: its last value is not its level."
    ),
    "metric_still_rises": "{epochs} more epochs should bring {gain:.3g} of validation {metric}",
}
