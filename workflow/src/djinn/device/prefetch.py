"""Results that come back with the reply of the call that computed them, where callers fetch them anyway.

Fetching a small result in a message of its own costs as much as the call. So a plan remembers whether its last result
was fetched, and if so asks for the next one with the call. What came along is good until this process writes to any
tensor: then it may have been written to as well, through an alias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

MAX_PREFETCHED_BYTES = 4 * 2**20


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

    def keep(self, host: torch.Tensor, write_number: int) -> Prefetched:
        """Remember what came along with a call."""
        self._last = Prefetched(host, write_number)
        return self._last

    def note_download(self) -> None:
        """A result was fetched in a message of its own, so the next one shall come along."""
        self._is_wanted = True
