"""UsualSizes: the batch sizes that people take without measuring."""

from __future__ import annotations

# They are always tried, so that an answer can say how good they are here.
USUAL_SIZES = (16, 32, 64, 128)
