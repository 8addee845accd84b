"""A secret that both ends of a TCP connection know: each proves it to the other, and neither sends it.

HMAC-SHA256 over both ends' nonces (RFC 2104). What follows is not encrypted: use a network that you trust, or ssh.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from djinn.errors import ConfigurationError

SECRET_VARIABLE = "GENIE_SECRET_FILE"
NONCE_BYTES = 32
_MIN_SECRET_BYTES = 32

Role = Literal["client", "server"]


def load_secret(environment: Mapping[str, str] | None = None) -> bytes | None:
    """Read the secret from the file that GENIE_SECRET_FILE names; None where it is not set.

    Raises:
        ConfigurationError: a file that is missing, that others may read, or that holds fewer than 32 bytes.
    """
    variables = os.environ if environment is None else environment
    if SECRET_VARIABLE not in variables:
        return None
    path = Path(variables[SECRET_VARIABLE])
    try:
        mode, secret = stat.S_IMODE(path.stat().st_mode), path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(
            f"Secret file {path} cannot be read ({error.strerror}); set {SECRET_VARIABLE} to one that can."
        ) from error
    if mode & 0o077:
        raise ConfigurationError(f"Secret file {path} has mode {mode:04o}, so others may read it; chmod 600 it.")
    if len(secret) < _MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"Secret file {path} holds {len(secret)} bytes; write at least {_MIN_SECRET_BYTES} random ones."
        )
    return secret


def new_nonce() -> bytes:
    """Return a number that is used once."""
    return secrets.token_bytes(NONCE_BYTES)


def prove(secret: bytes, role: Role, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Return the proof that the end of this role knows the secret."""
    return hmac.new(secret, role.encode() + client_nonce + server_nonce, hashlib.sha256).digest()


def is_proof(proof: bytes, secret: bytes, role: Role, client_nonce: bytes, server_nonce: bytes) -> bool:
    """Check a proof in constant time."""
    return hmac.compare_digest(proof, prove(secret, role, client_nonce, server_nonce))
