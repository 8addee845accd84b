"""Many clients at once against a model of the server: every answer is checked, and nobody sees another's tensors."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import djinn
from djinn.client.client import Client
from djinn.client.runtime import current_client
from djinn.config import Config
from djinn.core import DTYPE_CODES, DTYPES, ValueRef
from djinn.protocol import messages as m
from support import operator_call

_SHAPES = [(3,), (2, 4), (1, 1), (16, 16)]
_FLOAT = DTYPE_CODES[torch.float32]
Array = NDArray[np.float32]


class ModelledClient:
    """One client, and what its tensors must hold."""

    def __init__(self, address: str, seed: int) -> None:
        self._client = Client(address, Config())
        self._random = random.Random(seed)
        self._seed = seed
        self._tensors: dict[int, Array] = {}
        self._in_session: set[int] = set()
        self._session: str | None = None
        self.num_operations = 0
        self._operations: list[Callable[[], None]] = [
            self._upload,
            self._upload,
            self._compute,
            self._compute,
            self._change,
            self._read,
            self._read,
            self._free,
            self._toggle_session,
            self._wait,
            self._misuse,
        ]

    def run(self, deadline_s: float) -> None:
        """Do random things until the time is over, checking every answer."""
        try:
            while time.monotonic() < deadline_s:
                self._random.choice(self._operations)()
                self.num_operations += 1
            for tensor_id in list(self._tensors):
                self._check(tensor_id)
        finally:
            self._client.close()

    def _pick(self) -> int | None:
        return self._random.choice(list(self._tensors)) if self._tensors else None

    def _upload(self) -> None:
        shape = self._random.choice(_SHAPES)
        values = np.array([self._random.uniform(-1, 1) for _ in range(int(np.prod(shape)))], np.float32).reshape(shape)
        tensor_id = self._client.new_ids()
        request = m.Upload(base_id=tensor_id, shape=shape, dtype_code=_FLOAT, is_weight=False, session_id=self._session)
        self._client.request(request, values.tobytes())
        self._tensors[tensor_id] = values
        if self._session is not None:
            self._in_session.add(tensor_id)

    def _compute(self) -> None:
        first = self._pick()
        if first is None:
            return
        same = [name for name, value in self._tensors.items() if value.shape == self._tensors[first].shape]
        second = self._random.choice(same)
        result = self._client.new_ids()
        self._run("aten.add.Tensor", [first, second], result)
        self._tensors[result] = self._tensors[first] + self._tensors[second]

    def _change(self) -> None:
        target = self._pick()
        if target is None:
            return
        self._run("aten.mul_.Scalar", [target], self._client.new_ids(), 0.5)
        self._tensors[target] *= np.float32(0.5)

    def _run(self, operator: str, tensor_ids: list[int], result: int, *numbers: float) -> None:
        args = [*(ValueRef(number) for number in range(len(tensor_ids))), *numbers]
        self._client.request(operator_call(operator, args, result, tensor_ids))

    def _read(self) -> None:
        tensor_id = self._pick()
        if tensor_id is not None:
            self._check(tensor_id)

    def _check(self, tensor_id: int) -> None:
        reply, payload = self._client.request(m.Download(tensor_id=tensor_id))
        found = torch.frombuffer(bytearray(payload), dtype=DTYPES[reply.dtype_code]).view(reply.shape).numpy()
        np.testing.assert_array_equal(found, self._tensors[tensor_id])

    def _free(self) -> None:
        tensor_id = self._pick()
        if tensor_id is not None:
            self._forget(tensor_id)

    def _forget(self, tensor_id: int) -> None:
        self._client.free_later(tensor_id)
        del self._tensors[tensor_id]
        self._in_session.discard(tensor_id)

    def _toggle_session(self) -> None:
        if self._session is None:
            # The same names as everybody else's: sessions of clients do not meet.
            self._session = f"session-{self._random.randrange(3)}"
            self._client.request(m.OpenSession(opened_id=self._session, arena_bytes=1 << 20))
            return
        self._client.request(m.CloseSession(closed_id=self._session))
        self._session = None
        for tensor_id in list(self._in_session):
            self._forget(tensor_id)

    def _wait(self) -> None:
        if self._session is not None:
            self._client.request(m.Signal(signalled_id=self._session, phase="IO_WAIT", estimated_resume_ms=1.0))

    def _misuse(self) -> None:
        """Name what is another's or nobody's."""
        with pytest.raises(djinn.DjinnError):
            self._client.request(m.Download(tensor_id=self._client.new_ids() + 1))
        with pytest.raises(djinn.DjinnError):
            self._client.request(m.CloseSession(closed_id="nobody's"))


def test_every_answer_is_the_models(soaks: bool) -> None:
    """64 clients for five minutes in the long form; arenas are swapped in and out under them all the while."""
    num_clients, duration_s = (64, 300.0) if soaks else (12, 5.0)
    djinn.init(
        config=djinn.Config(
            data_capacity_mb=1024,
            data_budget_mb=8,
            host_pool_mb=256,
            num_threads=1,
            scheduling_mode="lru",
            admission_timeout_s=60.0,
        )
    )
    try:
        address = str(current_client()._address)
        clients = [ModelledClient(address, seed) for seed in range(num_clients)]
        errors: list[BaseException] = []
        deadline_s = time.monotonic() + duration_s

        def run(client: ModelledClient) -> None:
            try:
                client.run(deadline_s)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors[0]
        assert min(client.num_operations for client in clients) > 20
        djinn.audit()
        assert djinn.stats()["scheduler"]["evictions"] > 0
    finally:
        djinn.shutdown()
