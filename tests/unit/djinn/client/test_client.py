"""What the threads of a process share, and a forked process with its parent: none fails because another one was faster."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from functools import partial

import psutil
import pytest
import torch

import djinn
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


def _forked(work: Callable[[], bool]) -> int:
    """Return the number of a forked process that ends with status 0 if the work succeeds."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return child


@pytest.mark.usefixtures("runtime")
def test_forked_processes_make_up_session_names_of_their_own() -> None:
    """Both have the same sessions, and nobody chose a name."""

    def work() -> bool:
        with djinn.session() as session:
            return session.session_id not in names

    with djinn.session() as first:
        names = {first.session_id}
        child = _forked(work)
        with djinn.session() as second:
            names.add(second.session_id)
            _, status = os.waitpid(child, 0)
    assert status == 0
    assert len(names) == 2


@pytest.mark.usefixtures("runtime")
def test_forked_processes_and_their_parent_have_answers_of_their_own() -> None:
    """All of them call at the same time, also with what the parent made."""
    module = torch.nn.Linear(8, 8).requires_grad_(False)
    x = torch.randn(2, 8)
    expected, shared, remote = module(x), x.to(DEVICE), copy.deepcopy(module).to(DEVICE)

    def work(number: int) -> bool:
        with torch.no_grad():
            return all(
                (torch.full((3,), float(number)).to(DEVICE) + step).tolist() == [float(number + step)] * 3
                and torch.equal(remote(shared).cpu(), expected)
                for step in range(50)
            )

    children = [_forked(partial(work, 1000 * number)) for number in (1, 2)]
    assert work(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


@pytest.mark.usefixtures("runtime")
def test_what_a_forked_process_lets_go_stays_its_parents() -> None:
    """Its own tensors are freed."""
    kept = [torch.full((3,), 2.0).to(DEVICE) + 1]
    num_before = djinn.stats()["client"]["num_tensors"]

    def work() -> bool:
        kept.clear()
        for _ in range(3):
            assert (torch.ones(3).to(DEVICE) + 1).tolist() == [2.0] * 3
        torch.ones(1).to(DEVICE).tolist()  # takes along what is to be freed
        return True

    assert os.waitpid(_forked(work), 0)[1] == 0
    assert kept[0].tolist() == [3.0] * 3
    assert djinn.stats()["client"]["num_tensors"] <= num_before + 1


@pytest.mark.usefixtures("runtime")
def test_what_came_along_before_a_fork_is_fetched_after_it() -> None:
    """The other process may have written to it."""
    module, x = torch.nn.ReLU().to(DEVICE), torch.ones(3).to(DEVICE)
    with torch.no_grad():
        for _ in range(2):
            module(x).cpu()
        result = module(x)

        def work() -> bool:
            result.zero_()
            return result.tolist() == [0.0] * 3

        assert os.waitpid(_forked(work), 0)[1] == 0
        assert result.tolist() == [0.0] * 3


def test_a_forked_process_that_exits_leaves_the_server_to_its_parent() -> None:
    """Whose atexit handlers it has inherited."""
    script = """
import os, sys, torch, djinn
djinn.init()
x = torch.ones(3).to("remote_accelerator:0")
child = os.fork()
if not child:
    print((x + 1).tolist(), flush=True)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print((x + 2).tolist(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[2.0, 2.0, 2.0]\n[3.0, 3.0, 3.0]\n", "")


def test_a_server_ends_with_its_process_although_a_forked_one_goes_on() -> None:
    """The forked one holds no end of the server's pipes."""
    script = """
import os, time, torch, djinn
djinn.init()
from djinn.client import runtime
print(runtime.current_client()._process.pid, flush=True)
if not os.fork():
    print("forked", flush=True)
    time.sleep(60)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        server = psutil.Process(int(process.stdout.readline()))
        assert process.stdout.readline() == "forked\n"
        try:
            process.kill()
            server.wait(timeout=20)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.usefixtures("runtime")
def test_workers_of_a_data_loader_use_the_device() -> None:
    """torch forks them."""
    weight = torch.full((4,), 2.0).to(DEVICE)
    loader = torch.utils.data.DataLoader(
        [torch.full((4,), float(number)) for number in range(8)],
        batch_size=2,
        num_workers=2,
        collate_fn=lambda rows: torch.stack([(row.to(DEVICE) * weight).cpu() for row in rows]),
        multiprocessing_context="fork",
    )
    assert torch.cat(list(loader)).tolist() == [[2.0 * number] * 4 for number in range(8)]
