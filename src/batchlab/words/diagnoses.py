"""Diagnoses: what a trial's curves show, the numbers behind it, and what to try."""

from __future__ import annotations

from batchlab.words.message import N_, Message

MESSAGES: dict[str, Message] = {
    "diverged_label": N_("diverged"),
    "diverged_advice": N_("Training made the loss grow. Lower the learning rate, or warm it up."),
    "ended_badly": N_("ended as {status:term} after {steps} steps"),
    "loss_grew": N_("{split:term} loss {last:.3g} after training, {untrained:.3g} before it"),
    "unstable_label": N_("unstable"),
    "unstable_advice": N_(
        "The training loss jumps: the learning rate is near the largest that works. Lower it, "
        "clip gradients, or use a larger batch."
    ),
    "loss_spikes": N_(
        "{n} jumps of the training loss, the largest {ratio:.3g} times at step {step}"
    ),
    "overfitting_label": N_("overfitting"),
    "overfitting_advice": N_(
        "The model fits its training data better and better, but not other data. Stop earlier, "
        "regularize, or get more data."
    ),
    "validation_loss_rose": N_(
        "validation loss rose from {least:.3g} at epoch {epoch} to {last:.3g}, while training "
        "loss fell from {train_then:.3g} to {train_last:.3g}"
    ),
    "validation_got_worse": N_(
        "validation {metric} got worse after epoch {epoch} while training improved"
    ),
    "wide_gap": N_("training {metric} {train:.3g}, validation {metric} {validation:.3g}"),
    "underfitting_label": N_("underfitting"),
    "underfitting_advice": N_(
        "Training has come to rest at a high loss. Try a larger model or another learning rate, "
        "unless the data itself is that noisy."
    ),
    "loss_at_rest": N_(
        "training loss came to rest at {last:.3g}, {share:.0%} of that before training"
    ),
    "slow_convergence_label": N_("slow convergence"),
    "slow_convergence_advice": N_(
        "Progress is nearly as quick at the end as at the start. A higher learning rate or a "
        "smaller batch would get more out of each epoch."
    ),
    "loss_hardly_fell": N_("training loss only went from {untrained:.3g} to {last:.3g}"),
    "loss_still_falls": N_(
        "{share:.0%} of the fall of the training loss came in the last quarter of the epochs"
    ),
    "not_enough_epochs_label": N_("not enough epochs"),
    "not_enough_epochs_advice": N_(
        "The validation curve is still getting better: its last value is not its level."
    ),
    "metric_still_rises": N_("{epochs} more epochs should bring {gain:.3g} of validation {metric}"),
}
