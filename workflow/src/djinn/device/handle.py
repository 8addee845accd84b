"""What this process holds of a tensor on the server: its identifier, and its elements before they go or after they came."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from djinn.client.client import Client
from djinn.device.mutations import is_simulating
from djinn.device.prefetch import Prefetched, Prefetcher
from djinn.forks import Forks


@dataclass(slots=True)
class Pending:
    """A tensor that the server does not know yet.

    Attributes:
        session_id: the session in whose arena it will be made, if any.
        content: its elements, dense and row-major, or None for an uninitialised one.
        is_sent: whether a request may have made it already.
        was_passed: whether its elements were passed to a call that needed nothing else of it.
        num_forks: how often this process had forked.
    """

    session_id: str | None
    content: bytes | None = None
    is_sent: bool = False
    was_passed: bool = False
    num_forks: int = field(default_factory=lambda: Forks.count)

    @property
    def is_here_alone(self) -> bool:
        """Whether nobody else can have made the tensor, who may have written to it, too."""
        return not self.is_sent and self.num_forks == Forks.count

    @property
    def can_be_passed(self) -> bool:
        """Whether its elements may go to a call that needs nothing else of the tensor, which is done once."""
        return self.content is not None and not self.was_passed and self.is_here_alone

    def pass_once(self) -> bytes:
        """Return the elements for such a call."""
        assert self.content is not None, "a tensor without elements was passed"
        self.was_passed = True
        return self.content


_UNMADE = Pending(None)


class Handle:
    """One tensor identifier on the server; freed with its last owner.

    Attributes:
        tensor_id: the identifier.
        client: who owns it.
        pending: set until the server knows the tensor, which the first request that uses it makes.
        prefetcher: of the plan whose result this is, if fetching it shall be remembered.
        prefetched: the elements, if they came along with the call.
    """

    __slots__ = ("client", "pending", "prefetched", "prefetcher", "tensor_id")

    def __init__(self, client: Client, tensor_id: int, pending: Pending | None = None) -> None:
        self.client = client
        self.tensor_id = tensor_id
        self.pending = pending
        self.prefetcher: Prefetcher | None = None
        self.prefetched: Prefetched | None = None

    def take_prefetched(self) -> torch.Tensor | None:
        """Return the elements that came along with the call, once, if they are still those on the server.

        A simulation gets none: they would be read where nobody sees it.
        """
        prefetched = self.prefetched
        if prefetched is None or is_simulating():
            return None
        self.prefetched = None
        if prefetched.write_number != self.client.write_number:
            return None
        prefetched.is_used = True
        return prefetched.host

    def disown(self) -> None:
        """Let another handle have the identifier: this one frees nothing any more."""
        self.pending = _UNMADE

    def __del__(self) -> None:
        pending = getattr(self, "pending", _UNMADE)  # compilers make handles without initialising them
        if pending is None or pending.is_sent:
            self.client.free_later(self.tensor_id)
