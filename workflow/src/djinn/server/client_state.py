"""What the server keeps for one client: its tensors, plans, sessions and random numbers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import torch

from djinn.memory.arena import Arena
from djinn.server.plan_store import PlanStore
from djinn.server.table import TensorTable


@dataclass(slots=True, eq=False)
class ClientState:
    """State shared by the connections of one client process.

    `sessions` has the arenas of those that are open; another session of the same name has another one.
    `settling` is held from a plan's reply until its outputs are registered; other connections wait for it.
    """

    token: str
    generator: torch.Generator
    table: TensorTable = field(default_factory=TensorTable)
    plans: PlanStore = field(default_factory=PlanStore)
    sessions: dict[str, Arena] = field(default_factory=dict)
    num_connections: int = 0
    settling: threading.Lock = field(default_factory=threading.Lock)

    def qualified(self, session_id: str) -> str:
        """Return the server-wide name of a session, so that clients cannot name each other's."""
        return f"{session_id}@{self.token[:8]}"

    def unqualified(self, text: str) -> str:
        """Return a text in which this client's sessions have the names that the client gave them."""
        return text.replace(f"@{self.token[:8]}", "")
