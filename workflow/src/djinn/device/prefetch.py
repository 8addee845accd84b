"""Results that come back with the reply of the call that computed them, where callers fetch them anyway.

Fetching a small result in a message of its own costs as much as the call. So a plan remembers whether its last result
was fetched, and if so asks for the next one with the call. What came along is good until this process writes to any
tensor: then it may have been written to as well, through an alias.
"""

from __future__ import annotations

import torch

from djinn.client.client import Client
from djinn.core import TensorMeta
from djinn.transport.reply_buffers import ReplyBuffer

MAX_PREFETCHED_BYTES = 4 * 2**20
# Up to this size copying costs less than finding a place where the result can stay.
MAX_COPIED_BYTES = 65_536


class Prefetched:
    """A result that comes along with its call.

    Attributes:
        host: its elements, once it has arrived.
        write_number: the client's, when the call was sent.
        is_used: whether somebody fetched it.
    """

    __slots__ = ("_content", "_place", "_prefetcher", "host", "is_used", "write_number")

    host: torch.Tensor

    def __init__(self, prefetcher: Prefetcher, place: ReplyBuffer | None, write_number: int) -> None:
        self._prefetcher = prefetcher
        self._place = place
        self._content: bytearray | None = None
        self.write_number = write_number
        self.is_used = False

    @property
    def offset_bytes(self) -> int:
        """Where in shared memory the result shall come to and stay; 0 if it is to be copied."""
        return 0 if self._place is None else self._place.offset_bytes

    def make_host(self) -> None:
        """Make the host tensor, nobody else's; best done while the server computes."""
        prefetcher = self._prefetcher
        content: bytearray | memoryview
        if self._place is None:
            content = self._content = bytearray(prefetcher.num_bytes)
        else:
            content = self._place.view
        self.host = torch.frombuffer(content, dtype=prefetcher.dtype).view(prefetcher.shape)

    def arrive(self, payload: memoryview) -> None:
        """Take what came with the reply."""
        if self._content is not None:
            memoryview(self._content)[:] = payload
        self._prefetcher.note_arrival(self)


class Prefetcher:
    """Whether one plan's results shall come along.

    Attributes:
        shape, dtype, num_bytes: of each result, dense and row-major.
    """

    __slots__ = ("_is_wanted", "_last", "dtype", "num_bytes", "shape")

    def __init__(self, meta: TensorMeta) -> None:
        self.shape, self.dtype, self.num_bytes = meta.shape, meta.dtype, meta.extent_bytes
        self._is_wanted = False
        self._last: Prefetched | None = None

    def ask(self, client: Client) -> Prefetched | None:
        """Return the next result if it shall come along: not if the last one was brought in vain."""
        last, self._last = self._last, None
        if last is not None:
            self._is_wanted &= last.is_used
        del last  # with which its place is free again
        if not self._is_wanted:
            return None
        place = client.reply_buffer(self.num_bytes) if self.num_bytes > MAX_COPIED_BYTES else None
        return Prefetched(self, place, client.write_number)

    def note_arrival(self, prefetched: Prefetched) -> None:
        """Remember what came; other threads that call the plan have results of their own at the same time."""
        self._last = prefetched

    def note_download(self) -> None:
        """A result was fetched in a message of its own, so the next one shall come along."""
        self._is_wanted = True
