"""Addresses are parsed, bound privately, and explained when nobody answers."""

from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path

import pytest

from djinn.errors import ConfigurationError, ConnectionFailedError
from djinn.transport.address import Address


@pytest.mark.parametrize("text", ["unix:/tmp/x", "tcp://127.0.0.1:8000", "tcp://[::1]:8000"])
def test_text_round_trip(text: str) -> None:
    """What is printed can be parsed."""
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "unix:", "localhost:80", "tcp://host", "tcp://host:99999", "tcp://host:²", "http://a:1"]
)
def test_other_forms_are_refused(text: str) -> None:
    """The message shows the forms that exist."""
    with pytest.raises(ConfigurationError, match="write unix:PATH or tcp://HOST:PORT"):
        Address.parse(text)


def test_unix_socket_belongs_to_its_user_alone(tmp_path: Path) -> None:
    """Mode 0600 from the first moment."""
    listener = Address.parse(f"unix:{tmp_path / 'socket'}").listen()
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
    listener.close()


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    """Nobody listens there; the new one is private too."""
    address = Address.parse(f"unix:{tmp_path / 'socket'}")
    address.listen().close()
    with address.listen() as listener, address.connect():
        listener.accept()[0].close()
        assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600


def test_a_socket_at_which_somebody_listens_is_not_replaced(tmp_path: Path) -> None:
    """Nor one whose queue is full, nor a file of another kind."""
    address = Address.parse(f"unix:{tmp_path / 'socket'}")
    with address.listen() as listener:
        listener.listen(0)
        with address.connect(), pytest.raises(ConnectionFailedError, match="in use.*; choose another address"):
            address.listen()
        listener.accept()[0].close()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ConnectionFailedError, match="in use.*; choose another address"):
        Address.parse(f"unix:{tmp_path / 'file'}").listen()
    assert (tmp_path / "file").read_text() == "kept"


def test_a_queue_that_is_full_is_waited_for_a_while(tmp_path: Path) -> None:
    """It may be that of a server which is busy, or of one that is stopped."""
    address = Address.parse(f"unix:{tmp_path / 'socket'}")
    with address.listen() as listener:
        listener.listen(0)
        with address.connect():
            with pytest.raises(ConnectionFailedError, match="No djinn server answers at"):
                address.connect(timeout_s=0.05)

            def take() -> None:
                listener.accept()[0].close()

            later = threading.Timer(0.1, take)
            later.start()
            address.connect().close()
            later.join()


def test_hosts_may_have_addresses_of_version_6() -> None:
    """In brackets, as in any other address with a port."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this system has no loopback address of version 6")
    with Address.parse("tcp://[::1]:0").listen() as listener:
        address = Address.parse(f"tcp://[::1]:{listener.getsockname()[1]}")
        assert address.is_loopback
        address.connect().close()


@pytest.mark.parametrize("text", ["unix:/nowhere/at/all", "tcp://127.0.0.1:1"])
def test_nobody_listening_is_one_sentence(text: str) -> None:
    """The message names the address and how to start a server there."""
    with pytest.raises(ConnectionFailedError, match=r"No djinn server answers at .*python -m djinn.server --listen"):
        Address.parse(text).connect()


def test_both_ends_of_tcp_send_at_once() -> None:
    """A payload that the system holds back until the message before it is acknowledged comes 40 ms late."""
    with Address(host="127.0.0.1", port=0).listen() as listener:
        with Address(host="127.0.0.1", port=listener.getsockname()[1]).connect() as client:
            server, _ = listener.accept()
            with server:
                for end in (client, server):
                    assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
