"""Checks: what was found odd in a workload that can be trained."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    "taken_up_otherwise": (
        "a training that is stopped and taken up again goes another way. After a few steps its "
        "weights were off by {percent} of their change. Something is kept where no checkpoint "
        "looks: a counter, a hidden state or a random generator. Keep it in a buffer of the model "
        "(register_buffer), or in the dict that `optimizer` returns. Draw from the global "
        "generators of torch, NumPy or Python"
    ),
    "not_repeatable": (
        "a training is not repeatable from its seed. Two alike ended {percent} of their change "
        "apart after a few steps. A generator of its own draws without a seed, or a module keeps "
        "what the last training left. Draw from the global generators of torch, NumPy or Python"
    ),
    "cannot_be_taken_up": (
        "a training that is stopped cannot be taken up again from its checkpoint ({error}); let "
        "each new model and optimizer have the same parts"
    ),
}
