"""The first messages of a connection: who greets, and over TCP whether it knows the shared secret."""

from __future__ import annotations

import torch

from djinn.errors import ProtocolError
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_request, encode
from djinn.server.client_state import ClientState
from djinn.server.core import ServerCore
from djinn.transport.secret import NONCE_BYTES, is_proof, new_nonce, prove
from djinn.transport.stream import FramedStream


def greet(core: ServerCore, stream: FramedStream, secret: bytes | None) -> ClientState:
    """Take a client's greeting and return its state; with a secret, only from a client that knows it.

    Raises:
        ProtocolError: another version, no greeting, or no proof.
    """
    hello = _receive(stream)
    if not isinstance(hello, m.Hello) or hello.version != m.PROTOCOL_VERSION:
        raise ProtocolError(
            f"The peer did not greet with version {m.PROTOCOL_VERSION}; run the same release on both sides."
        )
    if secret is not None:
        _authenticate(stream, hello, secret)
    return core.attach(hello.client_token)


def welcome(core: ServerCore, stream: FramedStream, client: ClientState) -> None:
    """Tell a client what it has to know of the server."""
    shared_bytes = stream.shared.num_bytes if stream.shared is not None else 0
    message = m.Welcome(
        client_token=client.token,
        device_type=core.device.type,
        num_threads=torch.get_num_threads(),
        shared_bytes=shared_bytes,
    )
    stream.send(encode(message))


def _authenticate(stream: FramedStream, hello: m.Hello, secret: bytes) -> None:
    nonce = new_nonce()
    if len(hello.nonce) != NONCE_BYTES:
        raise ProtocolError("The server asks for a secret; set GENIE_SECRET_FILE to the file that it uses.")
    stream.send(encode(m.Challenge(nonce=nonce, proof=prove(secret, "server", hello.nonce, nonce))))
    answer = _receive(stream)
    if not isinstance(answer, m.Prove) or not is_proof(answer.proof, secret, "client", hello.nonce, nonce):
        raise ProtocolError("The client does not know the server's secret; set GENIE_SECRET_FILE to the same file.")


def _receive(stream: FramedStream) -> m.AnyRequest:
    body, _ = stream.receive()
    return decode_request(body)
