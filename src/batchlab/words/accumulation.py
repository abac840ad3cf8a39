"""Accumulation: what makes an accumulated gradient another one, and what to do about it."""

from __future__ import annotations

from batchlab.words.message import N_

CAUSES: dict[str, str] = {
    "sum": N_(
        "The loss is a sum over the batch, so its gradient grows with the batch size. Divide it by "
        "the number of examples."
    ),
    "scaled_by_batch_size": N_(
        "The loss is multiplied with something that depends on the batch size. Return the mean "
        "over the examples."
    ),
    "unlike_weights": N_(
        "The loss is a mean in which examples count differently (tokens without padding, weights "
        "of classes), and micro-batches are put together as if all counted alike. Give the "
        "workload a `weight`: over how many units a batch's loss is the mean."
    ),
    "wrong_weight": N_(
        "`weight` is not what the loss averages its examples by. Return the number that the loss "
        "divides by."
    ),
    "weight_not_additive": N_(
        "`weight` of a batch is not the sum of its examples' weights, so a smaller last "
        "micro-batch counts too much. Count the units of the batch that it is given."
    ),
    "batch_norm": N_(
        "Batch normalization takes mean and variance from each micro-batch. Use GroupNorm or "
        "LayerNorm, freeze it, or keep to batches without micro-batches."
    ),
    "dropout": N_(
        "Dropout draws again for each micro-batch. The gradient is another one by chance, and on "
        "average the same."
    ),
    "random_augment": N_(
        "Augmentation draws again for each micro-batch. The gradient is another one by chance, "
        "and on average the same."
    ),
    "random_loss": N_(
        "The loss draws random numbers, for each micro-batch anew. The gradient is another one by "
        "chance."
    ),
    "differs_on_average": N_(
        "On average over many draws too the accumulated gradient is another one. The loss is a "
        "sum, or an example's loss depends on the rest of its batch (a contrastive loss). Without "
        "random draws this check would tell which."
    ),
    "coupled": N_(
        "An example's loss depends on the rest of its batch (contrastive losses, statistics of "
        "the batch, mixed examples). A micro-batch has another loss than the batch: do without "
        "accumulation, or take the statistics from elsewhere."
    ),
    "state": N_(
        "The model changes in its forward pass, so every micro-batch after the first sees another "
        "one. Change it once a step, after the last micro-batch."
    ),
    "gradient_hook": N_(
        "Gradients are changed (clipped, shortened) before they are added up. Do it once, after "
        "the last micro-batch and before the optimizer's step."
    ),
    "writes_into_batch": N_(
        "The examples are written into. The next epoch sees the changed ones: work on a copy "
        "(x = x / 255, not x /= 255)."
    ),
}
