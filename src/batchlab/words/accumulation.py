"""Accumulation: what makes an accumulated gradient another one, and what to do about it."""

from __future__ import annotations

CAUSES: dict[str, str] = {
    "sum": (
        "The loss is a sum over the batch, so its gradient grows with the batch size. Divide it "
        "by the number of examples."
    ),
    "scaled_by_batch_size": (
        "The loss is multiplied by something that depends on the batch size. Return the mean over "
        "the examples."
    ),
    "unlike_weights": (
        "Some examples count more than others in the loss (tokens without padding, weights of "
        "classes). Micro-batches are added up as if all counted the same. Give the workload a "
        "`weight`: over how many units a batch's loss is the mean."
    ),
    "wrong_weight": "`weight` is not the number that the loss divides by. Return that number.",
    "weight_not_additive": (
        "`weight` of a batch is not the sum of its examples' weights, so a smaller last "
        "micro-batch counts too much. Count the units of the batch that it is given."
    ),
    "batch_norm": (
        "Batch normalization takes mean and variance from each micro-batch. Use GroupNorm or "
        "LayerNorm, freeze it, or use batches without micro-batches."
    ),
    "dropout": (
        "Dropout is drawn anew for each micro-batch. The gradient differs by chance, and is the "
        "same on average."
    ),
    "random_augment": (
        "Augmentation is drawn anew for each micro-batch. The gradient differs by chance, and is "
        "the same on average."
    ),
    "random_loss": (
        "The loss draws random numbers anew for each micro-batch. The gradient differs by chance."
    ),
    "differs_on_average": (
        "The accumulated gradient differs on average over many draws, too. The loss is a sum, or "
        "an example's loss depends on the rest of its batch (a contrastive loss). Without random "
        "draws this check would tell which."
    ),
    "coupled": (
        "An example's loss depends on the rest of its batch (contrastive losses, statistics of "
        "the batch, mixed examples). So a micro-batch has another loss than the batch. Do not "
        "accumulate, or take the statistics from elsewhere."
    ),
    "state": (
        "The model changes in its forward pass, so each micro-batch after the first sees another "
        "model. Change it once a step, after the last micro-batch."
    ),
    "gradient_hook": (
        "Gradients are changed (clipped, shortened) before they are added up. Do that once, after "
        "the last micro-batch and before the optimizer's step."
    ),
    "writes_into_batch": (
        "The loss writes into the examples, so the next epoch sees changed ones. Work on a copy "
        "(x = x / 255, not x /= 255)."
    ),
}
