"""The server as a process of its own: started by hand, killed, lied to; who is let in is in test_admission."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import djinn
from djinn.client import connection
from djinn.protocol.codec import encode
from djinn.protocol.frames import pack_header
from djinn.protocol.messages import PROTOCOL_VERSION, Hello
from djinn.transport.address import Address
from support import DEVICE

# After a client's death.
_RECLAIMED_WITHIN_S = 2.0


@contextlib.contextmanager
def _listening(address: str) -> Iterator[subprocess.Popen[str]]:
    """A server that listens, started as a user would."""
    process = subprocess.Popen(
        [sys.executable, "-m", "djinn.server", "--listen", address], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert address in process.stdout.readline()
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One at a Unix socket."""
    address = f"unix:{tmp_path / 'socket'}"
    with _listening(address) as process:
        yield process, address
    assert not (tmp_path / "socket").exists(), "a terminated server leaves its socket behind"


@pytest.fixture(autouse=True)
def _shut_down() -> Iterator[None]:
    yield
    djinn.shutdown()


def test_a_server_started_by_hand_serves_clients(server: tuple[subprocess.Popen[str], str]) -> None:
    """Connect, compute, leave; the server stays."""
    process, address = server
    for _ in range(2):
        djinn.init(address)
        assert (torch.ones(3, device=DEVICE) * 2).tolist() == [2, 2, 2]
        assert djinn.stats()["server"]["pid"] == process.pid
        djinn.shutdown()
    assert process.poll() is None


def test_what_is_from_before_a_shutdown_is_refused(server: tuple[subprocess.Popen[str], str]) -> None:
    """Its identifiers mean other tensors to the next client's server, which must be neither read nor written."""
    djinn.init(server[1])
    old = torch.full((3,), 7.0, device=DEVICE) + 0
    unmade = torch.ones(3, device=DEVICE)
    module = torch.nn.Linear(3, 3, device=DEVICE)
    with torch.no_grad():
        module(old)
    djinn.shutdown()
    djinn.init(server[1])
    new = torch.ones(3, device=DEVICE) + 0
    uses: list[Callable[[], Any]] = [
        lambda: old + new,
        lambda: new.add_(old),
        lambda: old.add_(1),
        lambda: unmade + new,
        lambda: torch.nn.functional.relu(unmade),
        lambda: module(new),
        lambda: torch.nn.Identity()(old).sum(),
    ]
    with torch.no_grad():
        for use in uses:
            with pytest.raises(
                djinn.ConnectionFailedError, match=r"is from before djinn.shutdown\(\), .* make it again"
            ):
                use()
    assert new.tolist() == [1, 1, 1]
    module.load_state_dict({"weight": torch.eye(3).to(DEVICE), "bias": torch.zeros(3).to(DEVICE)}, assign=True)
    with torch.no_grad():
        assert module(new).tolist() == [1, 1, 1]
    assert djinn.last_call().planned


def test_a_server_whose_client_was_killed_while_it_started_leaves_nothing(tmp_path: Path) -> None:
    """It has its settings, but nobody reads that it is ready, and its input has ended."""
    folder = tmp_path / "private"
    folder.mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    address = f"unix:{folder / 'socket'}"
    command = [sys.executable, "-m", "djinn.server", "--listen", address, "--config", "-", "--exit-with-stdin"]
    finished = subprocess.run(
        [*command, "--private-folder", str(folder)],
        input="{}\n",
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert not folder.exists()


def test_empty_settings_are_no_settings(tmp_path: Path) -> None:
    """Unlike an input that ended before there were any."""
    finished = subprocess.run(
        [sys.executable, "-m", "djinn.server", "--listen", f"unix:{tmp_path / 'socket'}", "--config", ""],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert "Configuration '' cannot be read" in finished.stderr


def test_tcp_works_on_loopback() -> None:
    """The same protocol without shared memory."""
    process = subprocess.Popen(
        [sys.executable, "-m", "djinn.server", "--listen", "tcp://127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    try:
        djinn.init(address)
        x = torch.randn(300, 300)
        assert torch.equal(x.to(DEVICE).cpu(), x)
        djinn.shutdown()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_other_hosts_are_refused_without_a_secret() -> None:
    """Anyone could connect."""
    finished = subprocess.run(
        [sys.executable, "-m", "djinn.server", "--listen", "tcp://0.0.0.0:0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert "not loopback" in finished.stderr
    assert "GENIE_SECRET_FILE" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_another_host_is_not_spoken_to_without_a_secret() -> None:
    """A client would hand its tensors to whoever answers."""
    with pytest.raises(djinn.ConfigurationError, match="another host"):
        djinn.init("tcp://192.0.2.1:9")


def test_cuda_without_a_device_is_one_sentence() -> None:
    """Asking for what is not there names the setting and the remedy."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(djinn.ServerDiedError, match="device_type is 'cuda'.*set it to 'cpu'"):
        djinn.init(config=djinn.Config(device_type="cuda"))


def test_a_server_that_dies_is_reported_with_its_last_words() -> None:
    """The next use raises a typed error; a new start works."""
    djinn.init()
    tensor = torch.ones(3, device=DEVICE)
    os.kill(djinn.stats()["server"]["pid"], signal.SIGKILL)
    with pytest.raises(djinn.ServerDiedError, match=r"djinn.shutdown\(\) and djinn.init\(\)"):
        tensor.add_(1)
    djinn.shutdown()
    djinn.init()
    assert torch.ones(1, device=DEVICE).item() == 1


def test_a_server_that_was_terminated_is_reported_too() -> None:
    """It has removed its log with its folder."""
    djinn.init()
    tensor = torch.ones(2, device=DEVICE) + 1
    pid = djinn.stats()["server"]["pid"]
    os.kill(pid, signal.SIGTERM)
    with pytest.raises(djinn.ServerDiedError, match=r"no message; exit status .*djinn.shutdown\(\) and djinn.init\(\)"):
        for _ in range(1000):
            tensor.sum().item()
            time.sleep(0.005)


def test_a_server_that_was_started_again_says_what_to_do(tmp_path: Path) -> None:
    """At the same address, after it was killed: what its clients had is gone."""
    address = f"unix:{tmp_path / 'socket'}"
    with _listening(address) as first:
        djinn.init(address)
        first.kill()
    with _listening(address):
        with pytest.raises(djinn.ConnectionFailedError, match="closed"):
            djinn.ping()
        with pytest.raises(
            djinn.ProtocolError, match=r"does not know this client.*djinn.shutdown\(\) and djinn.init\(\)"
        ):
            djinn.ping()
        djinn.shutdown()
        djinn.init(address)
        assert (torch.ones(2, device=DEVICE) + 1).tolist() == [2, 2]


def test_a_server_that_ends_leaves_the_socket_of_another(tmp_path: Path) -> None:
    """That was started at the same path, which was free meanwhile."""
    path = tmp_path / "socket"
    address = f"unix:{path}"
    with _listening(address) as first:
        path.unlink()
        with _listening(address):
            first.terminate()
            first.wait(10)
            djinn.init(address)
            assert (torch.ones(2, device=DEVICE) + 1).tolist() == [2, 2]
            djinn.shutdown()
    assert not path.exists()


def test_whoever_listens_and_never_answers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is stopped, or another program."""
    monkeypatch.setattr(connection, "_GREETING_S", 0.2)
    for address in (Address.parse(f"unix:{tmp_path / 'socket'}"), Address.parse("tcp://127.0.0.1:0")):
        with address.listen() as listener:
            port = 0 if address.path else listener.getsockname()[1]
            reached = dataclasses.replace(address, port=port)
            with pytest.raises(
                djinn.ConnectionFailedError, match=r"did not answer within 0.2 s; connect to a djinn server"
            ):
                djinn.init(str(reached))


def test_nothing_is_left_behind() -> None:
    """No process and no directory survives a shutdown."""
    djinn.init()
    pid = djinn.stats()["server"]["pid"]
    djinn.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_using_the_device_before_init_says_so() -> None:
    """The message names the call that is missing."""
    djinn.init()
    djinn.shutdown()
    with pytest.raises(djinn.ConnectionFailedError, match=r"call djinn.init\(\) first"):
        torch.ones(1, device=DEVICE)


def test_the_hosts_random_numbers_need_no_server() -> None:
    """torch asks every device that exists when it forks its generators, also after a shutdown."""
    djinn.init()
    djinn.shutdown()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with torch.random.fork_rng():
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


def test_a_long_temporary_folder_is_no_obstacle(tmp_path: Path) -> None:
    """The server's socket lies elsewhere then, as no socket's path has room for it."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    program = "import djinn; djinn.init(); print(djinn.ping() > 0); djinn.shutdown()"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "True\n"), finished.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": 5}, "address is 5; pass unix:PATH"),
        ({"address": b"unix:/x"}, "address is b'unix:/x'; pass unix:PATH"),
        ({"config": {"text_mb": 5}}, "config is {'text_mb': 5}; pass a djinn.Config"),
    ],
)
def test_arguments_of_another_type_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Before anything is started."""
    with pytest.raises(TypeError, match=message):
        djinn.init(**arguments)


def test_initialising_twice_is_refused() -> None:
    """The first runtime stays."""
    djinn.init()
    with pytest.raises(djinn.DjinnError, match="initialised already"):
        djinn.init()
    assert torch.ones(1, device=DEVICE).item() == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n" + bytes(40),
        pack_header(1 << 20, 0, is_shared=False),
        pack_header(3, 0, is_shared=True) + b"abc",
        b"DJ",
    ],
)
def test_a_liar_harms_nobody(server: tuple[subprocess.Popen[str], str], garbage: bytes) -> None:
    """Bytes that are no message end one connection; other clients notice nothing."""
    _, address = server
    djinn.init(address)
    with socket.socket(socket.AF_UNIX) as liar:
        liar.connect(address.removeprefix("unix:"))
        liar.sendall(garbage)
    assert (torch.ones(3, device=DEVICE) + 1).tolist() == [2, 2, 2]


def test_a_slow_client_stalls_nobody(server: tuple[subprocess.Popen[str], str]) -> None:
    """One stops in the middle of a message, one never reads its reply; others are served meanwhile."""
    _, address = server
    djinn.init(address)
    with socket.socket(socket.AF_UNIX) as half, socket.socket(socket.AF_UNIX) as deaf:
        for slow in (half, deaf):
            slow.connect(address.removeprefix("unix:"))
        hello = encode(Hello(version=PROTOCOL_VERSION))
        message = pack_header(len(hello), 0, is_shared=False) + hello
        half.sendall(message[:-3])
        deaf.sendall(message)
        for _ in range(20):
            assert (torch.ones(3, device=DEVICE) + 1).tolist() == [2, 2, 2]


def test_a_client_that_dies_leaves_nothing(server: tuple[subprocess.Popen[str], str]) -> None:
    """Its sessions, arenas and weights are reclaimed when its connections end, and its plans with it; others stay."""
    _, address = server
    djinn.init(address)
    torch.manual_seed(1)
    shared = torch.nn.Linear(64, 64).to(DEVICE)
    expected = shared(torch.ones(64, device=DEVICE)).tolist()
    before = djinn.stats()
    program = (
        "import djinn, torch, os\n"
        f"djinn.init({address!r})\n"
        "torch.manual_seed(1)\n"
        f"shared, own = torch.nn.Linear(64, 64).to({DEVICE!r}), torch.nn.Linear(64, 64).to({DEVICE!r})\n"
        "session = djinn.session('left'); session.__enter__()\n"
        f"own(shared(torch.ones(64, device={DEVICE!r}))).sum().item()\n"
        "stats = djinn.stats()\n"
        "print(stats['memory']['text']['num_entries'], stats['memory']['data']['num_sessions'], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run([sys.executable, "-c", program], check=False, stdout=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + _RECLAIMED_WITHIN_S
    while (stats := djinn.stats())["server"]["num_clients"] > 1 or stats["memory"] != before["memory"]:
        assert time.monotonic() < deadline_s, f"not reclaimed: {stats['memory']} instead of {before['memory']}"
    num_weights = before["memory"]["text"]["num_entries"]
    assert died.stdout.split() == [str(num_weights + 2), "1"], "the client held its own weights, and shared the others"
    assert stats["scheduler"]["num_sessions"] == 0
    assert shared(torch.ones(64, device=DEVICE)).tolist() == expected
    djinn.audit()


_FAILING_THREAD = """
import threading
from djinn.server import __main__
from djinn.server.listener import CONNECTION_THREAD

threading.excepthook = __main__._end_with_thread
thread = threading.Thread(target=lambda: 1 / 0, name={name})
thread.start()
thread.join()
print("lives")
"""


@pytest.mark.parametrize("log", ["pipe", "/dev/full"])
@pytest.mark.parametrize(("name", "status"), [("CONNECTION_THREAD", 0), ("'djinn-outward'", 1)])
def test_a_thread_that_all_need_ends_the_process(name: str, status: int, log: str) -> None:
    """Even where nothing can be said any more; that of a connection ends alone."""
    with open(log, "w") if log != "pipe" else contextlib.nullcontext(subprocess.PIPE) as errors:
        command = [sys.executable, "-c", _FAILING_THREAD.format(name=name)]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert done.returncode == status
    assert ("lives" in done.stdout) == (status == 0)
    if log == "pipe":
        assert "ZeroDivisionError" in done.stderr
