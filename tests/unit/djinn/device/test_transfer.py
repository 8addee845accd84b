"""Tensors that the server does not know yet are made by whichever request comes first."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

import djinn
from djinn.device.tensor import RemoteTensor
from djinn.device.transfer import creations
from djinn.protocol import messages as m
from support import DEVICE

pytestmark = pytest.mark.usefixtures("runtime")


def _remote(value: torch.Tensor) -> RemoteTensor:
    tensor = value.to(DEVICE)
    assert isinstance(tensor, RemoteTensor)
    return tensor


def test_a_request_that_is_overtaken_loses_nothing() -> None:
    """Another thread's request for the same new tensor may reach the server before the one that describes it first."""
    tensor = _remote(torch.tensor([1.0, 2.0]))
    assert creations(tensor.handle.client, [tensor]), "a small upload travels with its first use"
    assert (tensor + 1).tolist() == [2.0, 3.0]
    assert not creations(tensor.handle.client, [tensor]), "the server has answered"


def test_the_request_that_was_overtaken_makes_nothing_anew() -> None:
    """What others wrote meanwhile stays."""
    tensor = _remote(torch.zeros(3))
    late = creations(tensor.handle.client, [tensor])
    tensor.add_(5)
    client = tensor.handle.client
    reply, payload = client.request(m.Download(tensor_id=tensor.handle.tensor_id, creations=late))
    assert reply.shape == (3,)
    assert torch.frombuffer(bytearray(payload), dtype=torch.float32).tolist() == [5.0, 5.0, 5.0]


def test_threads_share_tensors_that_nobody_has_used() -> None:
    """Sixteen threads use the same new tensors at once."""
    shared = [_remote(torch.full((2,), float(number))) for number in range(50)]
    barrier = threading.Barrier(16)
    sums: list[list[float]] = []

    def use() -> None:
        barrier.wait()
        sums.append([tensor.sum().item() for tensor in shared])

    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [[2.0 * number for number in range(50)]] * 16


def test_a_tensor_whose_first_request_failed_is_freed_all_the_same() -> None:
    """The server may have made it before it refused the rest."""
    before = djinn.stats()["client"]["num_tensors"]
    tensor = _remote(torch.ones(3))
    with pytest.raises(RuntimeError, match="must be a matrix"):
        torch.mm(tensor, tensor)
    del tensor
    torch.ones(1, device=DEVICE).item()
    torch.ones(1, device=DEVICE).item()
    assert djinn.stats()["client"]["num_tensors"] <= before + 1


def test_elements_that_another_thread_replaces_stay_until_the_operation_has_read_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights are exchanged so while they are in use; they would be freed with whatever that thread sends next."""
    tensor, others = _remote(torch.ones(3)) + 0, _remote(torch.zeros(3)) + 0
    client = tensor.handle.client
    send = client.send

    def late(message: m.Request, *args: Any) -> object:
        if isinstance(message, m.RunOperator):
            tensor.data = others
            client.request(m.Ping(busy_us=0.0))
        return send(message, *args)

    monkeypatch.setattr(client, "send", late)
    result = tensor + 1
    monkeypatch.undo()
    assert result.tolist() == [2.0, 2.0, 2.0]
    assert tensor.tolist() == [0.0, 0.0, 0.0]
