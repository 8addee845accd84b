"""Who is let in: those who know the secret over TCP, and the server's own user at a Unix socket."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import torch

import djinn
from djinn.protocol.codec import decode_reply, encode
from djinn.protocol.messages import PROTOCOL_VERSION, Challenge, Failed, Hello, Prove
from djinn.transport.stream import FramedStream
from support import DEVICE

_NOBODY = 65_534


class SecretServer(NamedTuple):
    """A server for other hosts: its process, its port, the file with its secret, and what it says."""

    process: psutil.Process
    port: int
    path: Path
    log: Path


@pytest.fixture(scope="module")
def secret_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretServer]:
    """Started as a user would."""
    folder = tmp_path_factory.mktemp("secret")
    path, log = folder / "secret", folder / "log"
    path.touch(mode=0o600)
    path.write_text("0123456789abcdef" * 4)
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "djinn.server", "--listen", "tcp://0.0.0.0:0"],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, "GENIE_SECRET_FILE": str(path)},
        )
    assert process.stdout is not None
    port = int(process.stdout.readline().rsplit(":", maxsplit=1)[-1])
    yield SecretServer(psutil.Process(process.pid), port, path, log)
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(autouse=True)
def _shut_down() -> Iterator[None]:
    yield
    djinn.shutdown()


def test_a_client_that_knows_the_secret_is_served(secret_server: SecretServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the server has proved that it knows it too."""
    monkeypatch.setenv("GENIE_SECRET_FILE", str(secret_server.path))
    djinn.init(f"tcp://127.0.0.1:{secret_server.port}")
    assert (torch.ones(3, device=DEVICE) + 1).tolist() == [2, 2, 2]


@pytest.mark.parametrize("other", [None, "f" * 64])
def test_a_client_that_does_not_is_refused(
    secret_server: SecretServer, other: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a secret, and with another one, which the client notices first."""
    if other is not None:
        wrong = tmp_path / "wrong"
        wrong.touch(mode=0o600)
        wrong.write_text(other)
        monkeypatch.setenv("GENIE_SECRET_FILE", str(wrong))
    with pytest.raises(djinn.ProtocolError, match="GENIE_SECRET_FILE") as error:
        djinn.init(f"tcp://127.0.0.1:{secret_server.port}")
    assert secret_server.path.read_text() not in str(error.value)


def test_a_proof_is_demanded_of_who_skips_the_client(secret_server: SecretServer) -> None:
    """A greeting with a nonce and a guess gets the reason and no more."""
    with socket.create_connection(("127.0.0.1", secret_server.port)) as connection:
        stream = FramedStream(connection)
        stream.send(encode(Hello(version=PROTOCOL_VERSION, nonce=b"n" * 32)))
        assert isinstance(decode_reply(stream.receive()[0]), Challenge)
        stream.send(encode(Prove(proof=b"\0" * 32)))
        refusal = decode_reply(stream.receive()[0])
        assert isinstance(refusal, Failed)
        assert "does not know" in refusal.message
        with pytest.raises(djinn.ConnectionFailedError):
            stream.receive()


def test_the_secret_is_nowhere_but_in_its_file(secret_server: SecretServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in what the server says of friends and strangers, in what it counts, nor in the list of processes."""
    monkeypatch.setenv("GENIE_SECRET_FILE", str(secret_server.path))
    djinn.init(f"tcp://127.0.0.1:{secret_server.port}")
    with socket.create_connection(("127.0.0.1", secret_server.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(40))
        while stranger.recv(4096):  # until the server has left the stranger, and has said whatever it says of that
            pass
    listed = [secret_server.process.cmdline(), secret_server.process.environ(), psutil.Process().environ()]
    seen = [secret_server.log.read_text(), *map(str, listed), str(djinn.stats())]
    secret = secret_server.path.read_text()
    for text in seen:
        for form in (secret, secret.encode().hex()):
            assert form not in text


def test_another_user_is_refused_at_a_unix_socket() -> None:
    """Although the socket's mode was opened: the system tells who asks."""
    if os.geteuid() != 0:
        pytest.skip("only root can ask as another user")
    folder = Path(tempfile.mkdtemp())
    process = subprocess.Popen(
        [sys.executable, "-m", "djinn.server", "--listen", f"unix:{folder / 'socket'}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        folder.chmod(0o711)
        (folder / "socket").chmod(0o666)
        with socket.socket(socket.AF_UNIX) as connection:
            os.seteuid(_NOBODY)
            try:
                connection.connect(str(folder / "socket"))
            finally:
                os.seteuid(0)
            refusal = decode_reply(FramedStream(connection).receive()[0])
        assert isinstance(refusal, Failed)
        assert refusal.message.startswith(f"User {_NOBODY} may not use this server")
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        shutil.rmtree(folder)
