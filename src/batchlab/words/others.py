"""Others: reasons that no room of batchlab gives, but a user's code or an older store."""

from __future__ import annotations

from batchlab.words.message import Message

MESSAGES: dict[str, Message] = {
    "as_written": "{text}",
}
