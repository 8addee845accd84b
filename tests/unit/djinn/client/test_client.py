"""What the threads of a process share: none of them fails because another one was faster."""

from __future__ import annotations

from collections import deque

import pytest

from djinn.client import runtime
from djinn.protocol import messages as m


class _Contended(deque[int]):
    """Another thread takes what there is right before anybody does."""

    def popleft(self) -> int:
        self.clear()
        return super().popleft()


@pytest.mark.usefixtures("runtime")
def test_a_request_is_sent_although_another_thread_took_the_last_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one that looked before."""
    client = runtime.current_client()
    monkeypatch.setattr(client, "_frees", _Contended([client.new_ids()]))
    reply, _ = client.request(m.Seed(seed=1))
    assert isinstance(reply, m.Done)
