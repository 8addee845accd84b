"""Results that come back with the reply of the call that computed them, where callers fetch them anyway.

Fetching a small result in a message of its own costs as much as the call. So a plan remembers whether its last result
was fetched, and if so asks for the next one with the call. What came along is good until this process writes to any
tensor: then it may have been written to as well, through an alias.
"""

from __future__ import annotations

import msgspec
import torch

from djinn.client.client import Client
from djinn.client.connection import Connection
from djinn.core import TensorMeta
from djinn.errors import ProtocolError
from djinn.host_bytes import fill, writable_bytes
from djinn.transport.receiver import Payload
from djinn.transport.reply_buffers import ReplyBuffer
from djinn.transport.stream import MAX_ENCLOSED_BYTES

MAX_PREFETCHED_BYTES = 4 * 2**20
# Up to this size copying costs less than finding a place where the result can stay.
MAX_COPIED_BYTES = 65_536


class Prefetched(msgspec.Struct, eq=False):
    """A result that comes along with its call.

    Attributes:
        host: its elements, once it has arrived.
        write_number: the client's, when the call was sent.
        content: where larger ones are copied to on arrival; None if they stay where they come to.
        is_used: whether somebody fetched it.
    """

    host: torch.Tensor
    write_number: int
    content: memoryview | None = None
    is_used: bool = False


class Prefetcher:
    """Whether one plan's results, dense and row-major, shall come along.

    Attributes:
        needs_place: whether they should stay where they come to, since copying them takes longer than finding a place.
    """

    __slots__ = ("_dtype", "_is_small", "_is_wanted", "_last", "_like", "_num_bytes", "_shape", "needs_place")

    def __init__(self, meta: TensorMeta) -> None:
        self._shape, self._dtype, self._num_bytes = meta.shape, meta.dtype, meta.extent_bytes
        self.needs_place = self._num_bytes > MAX_COPIED_BYTES
        self._is_small = self._num_bytes <= MAX_ENCLOSED_BYTES
        # Making one like it takes half the time of making one of its shape. Nobody writes to this one, so it takes no memory.
        self._like = torch.empty(meta.shape, dtype=meta.dtype, device="cpu")
        self._is_wanted = False
        self._last: Prefetched | None = None

    def wants_next(self) -> bool:
        """Decide whether the next result shall come along: not if the last one was brought in vain."""
        last, self._last = self._last, None
        if last is not None and not last.is_used:
            self._is_wanted = False
        return self._is_wanted  # the last one's place is free again

    def find_place(self, client: Client) -> ReplyBuffer | None:
        """Return where the next result shall come to and stay; None if there is no room. Raises as `Client.send` does."""
        return client.reply_buffer(self._num_bytes)

    def expect(self, place: ReplyBuffer | None, write_number: int, connection: Connection) -> Prefetched:
        """Make the host tensor of a result, nobody else's, and have a place ready for the next; done while the server computes.

        Args:
            place: where it comes to, if it stays there.
            write_number: the client's, when the call was sent.
            connection: where it comes through.
        """
        if place is not None:
            host = torch.frombuffer(place.view, dtype=self._dtype).view(self._shape)
            connection.prepare_reply_buffer(self._num_bytes)
            return Prefetched(host, write_number)
        host = torch.empty_like(self._like)
        return Prefetched(host, write_number, None if self._is_small else writable_bytes(host))

    def note_arrival(self, prefetched: Prefetched, payload: Payload) -> None:
        """Take what came with the reply.

        Raises:
            ProtocolError: it is not one result.
        """
        if len(payload) != self._num_bytes:
            raise ProtocolError(
                f"A result of {self._num_bytes} bytes came along as {len(payload)}; connect to a server of this version."
            )
        if self._is_small:
            fill(prefetched.host, bytes(payload))
        elif prefetched.content is not None:
            prefetched.content[:] = payload
            prefetched.content = None
        # Other threads that call the plan have results of their own at the same time.
        self._last = prefetched

    def note_download(self) -> None:
        """A result was fetched in a message of its own, so the next one shall come along."""
        self._is_wanted = True
