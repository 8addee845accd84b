"""The server's parts, wired together once from a configuration."""

from __future__ import annotations

import os
import secrets
import threading
from typing import Any

import psutil
import torch

from djinn.config import Config
from djinn.errors import ProtocolError
from djinn.memory.variants import make_host_pool
from djinn.memory.vmu import VirtualMemoryUnit
from djinn.scheduling.policies import make_policy
from djinn.scheduling.scheduler import Scheduler
from djinn.scheduling.swap_pool import SwapPool
from djinn.server.client_state import ClientState
from djinn.server.compute import make_compute
from djinn.server.executor import Executor
from djinn.server.store import TensorStore
from djinn.units import MiB


class ServerCore:
    """Memory, scheduler, executor and clients of one server; no sockets."""

    def __init__(self, config: Config) -> None:
        """Reserve memory and start the scheduler.

        Raises:
            ConfigurationError: a device type that this machine or build does not have.
        """
        self.config = config
        self.compute = make_compute(config)
        self.device = self.compute.device
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        self.vmu = VirtualMemoryUnit(config)
        self.store = TensorStore(self.vmu, self.device)
        self.executor = Executor(self.vmu, self.store, self.compute)
        pool = SwapPool(
            self.vmu.data.region,
            config.swap_bandwidth_gb_per_s,
            make_host_pool(config.device_type, config.host_pool_mb * MiB),
        )
        budget_mb = config.data_budget_mb or config.data_capacity_mb
        self.scheduler = Scheduler(
            self.vmu,
            pool,
            make_policy(config.scheduling_mode, idle_timeout_s=config.idle_timeout_s),
            budget_bytes=budget_mb * MiB,
            pool_bytes=config.host_pool_mb * MiB,
            admission_timeout_s=config.admission_timeout_s,
        )
        self._clients: dict[str, ClientState] = {}
        self._lock = threading.Lock()

    def attach(self, token: str | None) -> ClientState:
        """Return the client that a connection belongs to: a new one, or the holder of `token`.

        Raises:
            ProtocolError: a token that no connected client holds.
        """
        with self._lock:
            if token is None:
                client = ClientState(secrets.token_hex(16), self.compute.new_generator())
                self._clients[client.token] = client
            else:
                known = self._clients.get(token)
                if known is None:
                    raise ProtocolError(
                        "The server does not know this client, whose tensors went with a server before it; call djinn.shutdown() and "
                        "djinn.init()."
                    )
                client = known
            client.num_connections += 1
            return client

    def detach(self, client: ClientState) -> None:
        """Count a connection out; the last one takes everything that the client held with it."""
        with self._lock:
            client.num_connections -= 1
            if client.num_connections:
                return
            del self._clients[client.token]
        for session_id in list(client.sessions):
            client.table.close_session(session_id)
            self.scheduler.close(session_id)
        client.table.clear()

    def check_integrity(self) -> None:
        """Assert the invariants of the memory segments and of every client's tensors.

        Raises:
            AssertionError: one is violated; the message names it.
        """
        self.vmu.check_integrity()
        self.scheduler.check_integrity()
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.table.check_integrity()

    def stats(self) -> dict[str, Any]:
        """Return the server's counters."""
        return {
            "scheduler": {"mode": self.config.scheduling_mode, **self.scheduler.stats()},
            "memory": self.vmu.stats(),
            "server": {
                "pid": os.getpid(),
                "device_type": self.device.type,
                "device": self.compute.stats(),
                "num_threads": torch.get_num_threads(),
                "num_clients": len(self._clients),
                "rss_bytes": psutil.Process().memory_info().rss,
            },
        }
