"""The server as a process of its own: started by hand, killed, lied to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import djinn
from djinn.protocol.codec import decode_reply, encode
from djinn.protocol.frames import pack_header
from djinn.protocol.messages import PROTOCOL_VERSION, Challenge, Failed, Hello, Prove
from djinn.transport.stream import FramedStream
from support import DEVICE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that listens at a Unix socket, started as a user would."""
    address = f"unix:{tmp_path / 'socket'}"
    process = subprocess.Popen(
        [sys.executable, "-m", "djinn.server", "--listen", address], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert address in process.stdout.readline()
    yield process, address
    process.terminate()
    process.wait(10)
    process.stdout.close()
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


@pytest.fixture(scope="module")
def secret_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server for other hosts: its port, and the file with its secret."""
    path = tmp_path_factory.mktemp("secret") / "secret"
    path.touch(mode=0o600)
    path.write_text("0123456789abcdef" * 4)
    process = subprocess.Popen(
        [sys.executable, "-m", "djinn.server", "--listen", "tcp://0.0.0.0:0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GENIE_SECRET_FILE": str(path)},
    )
    assert process.stdout is not None
    port = int(process.stdout.readline().rsplit(":", maxsplit=1)[-1])
    yield port, path
    process.terminate()
    process.wait(10)
    process.stdout.close()


def test_a_client_that_knows_the_secret_is_served(
    secret_server: tuple[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the server has proved that it knows it too."""
    port, path = secret_server
    monkeypatch.setenv("GENIE_SECRET_FILE", str(path))
    djinn.init(f"tcp://127.0.0.1:{port}")
    assert (torch.ones(3, device=DEVICE) + 1).tolist() == [2, 2, 2]


@pytest.mark.parametrize("other", [None, "f" * 64])
def test_a_client_that_does_not_is_refused(
    secret_server: tuple[int, Path], other: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a secret, and with another one, which the client notices first."""
    port, path = secret_server
    if other is not None:
        wrong = tmp_path / "wrong"
        wrong.touch(mode=0o600)
        wrong.write_text(other)
        monkeypatch.setenv("GENIE_SECRET_FILE", str(wrong))
    with pytest.raises(djinn.ProtocolError, match="GENIE_SECRET_FILE") as error:
        djinn.init(f"tcp://127.0.0.1:{port}")
    assert path.read_text() not in str(error.value)


def test_a_proof_is_demanded_of_who_skips_the_client(secret_server: tuple[int, Path]) -> None:
    """A greeting with a nonce and a guess gets the reason and no more."""
    port, _ = secret_server
    with socket.create_connection(("127.0.0.1", port)) as connection:
        stream = FramedStream(connection)
        stream.send(encode(Hello(version=PROTOCOL_VERSION, nonce=b"n" * 32)))
        assert isinstance(decode_reply(stream.receive()[0]), Challenge)
        stream.send(encode(Prove(proof=b"\0" * 32)))
        refusal = decode_reply(stream.receive()[0])
        assert isinstance(refusal, Failed)
        assert "does not know" in refusal.message
        with pytest.raises(djinn.ConnectionFailedError):
            stream.receive()


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


def test_a_client_that_dies_leaves_no_session(server: tuple[subprocess.Popen[str], str]) -> None:
    """Its arenas are reclaimed when its connections end."""
    _, address = server
    program = (
        "import djinn, torch, os\n"
        f"djinn.init({address!r})\n"
        "session = djinn.session('left'); session.__enter__()\n"
        f"torch.ones(1000, device={DEVICE!r}).sum().item()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    djinn.init(address)
    for _ in range(1000):
        if djinn.stats()["scheduler"]["num_sessions"] == 0:
            break
    stats = djinn.stats()
    assert stats["scheduler"]["num_sessions"] == 0
    assert stats["server"]["num_clients"] == 1
