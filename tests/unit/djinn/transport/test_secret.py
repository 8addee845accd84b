"""Proofs hold for one secret, one role and one pair of nonces; secret files are private."""

from __future__ import annotations

from pathlib import Path

import pytest

from djinn.errors import ConfigurationError
from djinn.transport.secret import NONCE_BYTES, Role, is_proof, load_secret, new_nonce, prove

_SECRET = b"s" * 32
_NONCES = b"c" * NONCE_BYTES, b"n" * NONCE_BYTES


def test_a_proof_is_accepted_as_it_was_made() -> None:
    """Made by one end, checked by the other."""
    assert is_proof(prove(_SECRET, "client", *_NONCES), _SECRET, "client", *_NONCES)


@pytest.mark.parametrize(
    ("secret", "role", "nonces"),
    [
        (b"t" * 32, "client", _NONCES),
        (_SECRET, "server", _NONCES),
        (_SECRET, "client", (_NONCES[0], b"m" * NONCE_BYTES)),
        (_SECRET, "client", (b"d" * NONCE_BYTES, _NONCES[1])),
    ],
    ids=["secret", "role", "server's nonce", "client's nonce"],
)
def test_a_proof_of_something_else_is_refused(secret: bytes, role: Role, nonces: tuple[bytes, bytes]) -> None:
    """Nobody can send a proof back, or again."""
    assert not is_proof(prove(_SECRET, "client", *_NONCES), secret, role, *nonces)


def test_nonces_are_used_once() -> None:
    """Or an old proof would do."""
    assert len({new_nonce() for _ in range(100)}) == 100


def test_a_secret_is_read_from_a_private_file(tmp_path: Path) -> None:
    """White space at its ends is no part of it."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_bytes(_SECRET + b"\n")
    assert load_secret({"GENIE_SECRET_FILE": str(path)}) == _SECRET
    assert load_secret({}) is None


@pytest.mark.parametrize(
    ("mode", "content", "message"),
    [(0o644, _SECRET, "chmod 600"), (0o600, b"short", "at least 32"), (None, b"", "cannot be read")],
)
def test_unusable_files_are_refused(tmp_path: Path, mode: int | None, content: bytes, message: str) -> None:
    """With the path and the remedy, and without the secret."""
    path = tmp_path / "secret"
    if mode is not None:
        path.touch()
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ConfigurationError, match=message) as error:
        load_secret({"GENIE_SECRET_FILE": str(path)})
    assert str(path) in str(error.value)
    assert _SECRET.decode() not in str(error.value)
