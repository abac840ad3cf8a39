"""Monitor: what it says of a training under way, and why it cannot."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    "monitor_sees_no_layer": (
        "the model has no layer whose noise can be seen (Linear, Conv2d, Embedding, LayerNorm, "
        "each used once); batchlab noise measures any model"
    ),
    "monitor_too_early": "only {n} steps were measured so far, one in {every}; three are needed",
    "mostly_noise": (
        "each step is mostly noise: the noise scale is above {low:critical_batch_size}, the batch "
        "size is {size}. A larger batch would cost few extra examples"
    ),
    "some_noise": (
        "steps are part signal, part noise: the noise scale is {scale:critical_batch_size}, the "
        "batch size is {size}"
    ),
    "hardly_noise": (
        "the gradient has hardly any noise: the noise scale is below {high:critical_batch_size}, "
        "the batch size is {size}. A smaller batch would need hardly more steps"
    ),
}
