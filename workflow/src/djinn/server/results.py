"""What a replay of a plan returns, and the bytes of its first result for a caller who fetches that."""

from __future__ import annotations

import torch

from djinn.host_bytes import readable_bytes


class Results:
    """The results of one replay; made before it where it is known by then where they will lie.

    Attributes:
        tensors: what the plan returns.
        content: the elements of the first one, for as long as this object lives; None if nobody fetched them.
        is_announced: whether the device says itself when all of this is there.
    """

    __slots__ = ("_fetched", "content", "is_announced", "tensors")

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        self.tensors = tensors
        self.content: memoryview | None = None
        self.is_announced = False
        self._fetched: torch.Tensor | None = None

    def fetch(self, fetched: torch.Tensor, content: memoryview | None = None) -> None:
        """Take the first one's elements from a dense host tensor, whose bytes may be known, once the device is done."""
        self._fetched = fetched
        self.content = readable_bytes(fetched) if content is None else content
