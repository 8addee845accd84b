"""Results that come back with the reply of the call that computed them, where callers fetch them anyway.

Fetching a small result in a message of its own costs as much as the call. So a plan remembers whether its last result
was fetched, and if so asks for the next one with the call. What came along is good until this process writes to any
tensor: then it may have been written to as well, through an alias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from djinn.client.client import Client
from djinn.core import TensorMeta
from djinn.transport.reply_buffers import ReplyBuffer

MAX_PREFETCHED_BYTES = 4 * 2**20
# Up to this size copying costs less than finding a place where the result can stay.
MAX_COPIED_BYTES = 65_536


@dataclass(slots=True)
class Prefetched:
    """A result on the host.

    Attributes:
        host: its elements.
        write_number: the client's, when they were read.
        is_used: whether somebody fetched them.
    """

    host: torch.Tensor
    write_number: int
    is_used: bool = False


class Prefetcher:
    """Whether one plan's results shall come along."""

    __slots__ = ("_is_wanted", "_last")

    def __init__(self) -> None:
        self._is_wanted = False
        self._last: Prefetched | None = None

    def wants_result(self) -> bool:
        """Tell whether to ask for the next result: not if the last one was brought in vain."""
        last, self._last = self._last, None
        if last is not None and not last.is_used:
            self._is_wanted = False
        return self._is_wanted

    def keep(self, meta: TensorMeta, content: memoryview | bytearray, write_number: int) -> Prefetched:
        """Remember what came along with a call: dense, row-major, and nobody else's."""
        host = torch.frombuffer(content, dtype=meta.dtype).view(meta.shape)
        # Other threads that call the plan keep their own results at the same time.
        kept = self._last = Prefetched(host, write_number)
        return kept

    def note_download(self) -> None:
        """A result was fetched in a message of its own, so the next one shall come along."""
        self._is_wanted = True


def reply_buffer(client: Client, meta: TensorMeta) -> ReplyBuffer | None:
    """Return a place where the next result of a plan can come to and stay; None if it is to be copied."""
    return client.reply_buffer(meta.extent_bytes) if meta.extent_bytes > MAX_COPIED_BYTES else None
