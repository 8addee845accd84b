"""A server's process that starts before it is asked for: used by the next start, gone with a client that never asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

import djinn
from djinn.client import process
from support import DEVICE


@pytest.fixture(autouse=True)
def _shut_down() -> Iterator[None]:
    djinn.shutdown()
    yield
    djinn.shutdown()
    process._end_launched()


def _launched_pid() -> int:
    djinn.launch()
    assert process._launched is not None
    return process._launched.pid


def test_the_next_start_uses_it() -> None:
    """It gets the settings that `init` was given, and the start after that has a process of its own."""
    pid = _launched_pid()
    djinn.init(config=djinn.Config(scheduling_mode="lru"))
    stats = djinn.stats()
    assert stats["server"]["pid"] == pid
    assert stats["scheduler"]["mode"] == "lru"
    djinn.shutdown()
    djinn.init()
    assert djinn.stats()["server"]["pid"] != pid


def test_launching_twice_starts_one() -> None:
    """The second call finds the first one's process."""
    assert _launched_pid() == _launched_pid()


def test_one_that_ended_before_it_was_used_is_a_server_that_did_not_start() -> None:
    """A typed error, as for any server that does not come up; the start after it works."""
    os.kill(_launched_pid(), signal.SIGKILL)
    with pytest.raises(djinn.ServerDiedError, match="did not start"):
        djinn.init()
    djinn.init()
    assert torch.ones(2, device=DEVICE).tolist() == [1, 1]


@pytest.mark.parametrize("ending", ["raise SystemExit", "import os; os.kill(os.getpid(), 9)"])
def test_it_ends_with_a_client_that_never_asks(ending: str, tmp_path: Path) -> None:
    """Whether the client ends or is killed: neither process nor folder stays."""
    program = f"import djinn; djinn.launch(); from djinn.client import process; print(process._launched.pid, flush=True); {ending}"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    client = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    pid = int(client.stdout)
    deadline_s = time.monotonic() + 60
    while (psutil.pid_exists(pid) or list(tmp_path.iterdir())) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
    assert not list(tmp_path.iterdir())
