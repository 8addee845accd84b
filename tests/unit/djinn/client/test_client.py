"""What the threads of a process share, and a forked process with its parent: none fails because another one was faster."""

from __future__ import annotations

import os
from collections import deque

import pytest
import torch

from djinn.client import runtime
from djinn.protocol import messages as m
from support import DEVICE


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


@pytest.mark.usefixtures("runtime")
def test_a_process_goes_on_after_a_forked_one_called() -> None:
    """While its parent waits, it may use what it shares with it; then the parent has answers of its own."""
    first, second = torch.ones(3).to(DEVICE), torch.full((3,), 2.0).to(DEVICE)
    for num_reads in (1, 2, 3):
        child = os.fork()
        if not child:
            is_right = all(first.tolist() == [1.0] * 3 for _ in range(num_reads))
            os._exit(0 if is_right else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert second.tolist() == [2.0] * 3
