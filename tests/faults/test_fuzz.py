"""Hostile bytes: damaged messages meet the decoder, the handler and a live server, and none of them falls."""

from __future__ import annotations

import random
import resource
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
import torch

import djinn
from djinn.client.runtime import current_client
from djinn.config import Config
from djinn.errors import ProtocolError
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_request, encode
from djinn.protocol.frames import pack_header
from djinn.server.core import ServerCore
from djinn.server.handler import Handler
from djinn.units import MiB
from fuzz_seeds import SESSION
from support import DEVICE


def _flip(body: bytearray, generator: random.Random) -> bytearray:
    for _ in range(generator.choice((1, 1, 2, 4, 8))):
        body[generator.randrange(len(body))] = generator.randrange(256)
    return body


def _cut(body: bytearray, generator: random.Random) -> bytearray:
    return body[: generator.randrange(len(body))] or bytearray(b"\0")


def _repeat(body: bytearray, generator: random.Random) -> bytearray:
    start = generator.randrange(len(body))
    return body[:start] + body[start : start + 8] * generator.randrange(1, 50) + body[start:]


def _splice(body: bytearray, generator: random.Random) -> bytearray:
    other = bytearray(encode(generator.choice(SESSION)[0]))
    return body[: generator.randrange(len(body))] + other[generator.randrange(len(other)) :] or body


DAMAGES: list[Callable[[bytearray, random.Random], bytearray]] = [_flip, _flip, _flip, _cut, _repeat, _splice]


def _damaged(seed: int) -> Iterator[tuple[bytes, bytes]]:
    generator = random.Random(seed)
    whole = [(encode(request), payload) for request, payload in SESSION]
    while True:
        body, payload = generator.choice(whole)
        yield bytes(generator.choice(DAMAGES)(bytearray(body), generator)), payload


def test_the_decoder_knows_protocol_errors_only(soaks: bool) -> None:
    """A million damaged messages in the long form; memory does not grow with them."""
    num_inputs = 1_000_000 if soaks else 50_000
    damaged = _damaged(1)
    num_decoded = 0
    before = 0
    for number in range(num_inputs):
        body, _ = next(damaged)
        try:
            decode_request(body)
            num_decoded += 1
        except ProtocolError:
            pass
        if number == num_inputs // 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 0 < num_decoded < num_inputs
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_the_handler_answers_whatever_decodes(soaks: bool) -> None:
    """With a result or a typed error; its memory stays sound, and an honest client is served as before."""
    num_inputs = 300_000 if soaks else 8_000
    core = ServerCore(
        # No num_threads: this core is in the tests' own process.
        Config(data_capacity_mb=64, stack_mb=16, text_mb=16, host_pool_mb=16, admission_timeout_s=0.01)
    )
    try:
        honest = core.attach(None)
        victim = Handler(core, honest)
        for request, payload in SESSION[:2]:
            victim.answer(request, memoryview(bytearray(payload)))
            victim.settle()
        damaged = _damaged(2)
        hostile = core.attach(None)
        for number in range(num_inputs):
            if number % 500 == 0:  # what it holds goes with it
                core.detach(hostile)
                hostile = core.attach(None)
                handler = Handler(core, hostile)
                for request, payload in SESSION[:6]:
                    handler.answer(request, memoryview(bytearray(payload)))
                    handler.settle()
            body, payload = next(damaged)
            try:
                request = decode_request(body)
            except ProtocolError:
                continue
            if isinstance(request, m.Ping | m.Hello | m.Prove):
                continue
            reply, _ = handler.answer(request, memoryview(bytearray(payload)))
            handler.settle()
            assert isinstance(reply, m.Reply)
            encode(reply)
        core.detach(hostile)
        core.check_integrity()
        reply, content = victim.answer(m.Download(tensor_id=131072), memoryview(b""))
        assert struct.unpack("<2f", bytes(content)) == (3.0, 4.0), reply
    finally:
        core.scheduler.stop()


@pytest.fixture
def address() -> Iterator[str]:
    """A live server with this process as its honest client."""
    djinn.init(config=djinn.Config(data_capacity_mb=64, stack_mb=64, text_mb=64, host_pool_mb=16, num_threads=1))
    yield str(current_client()._address).removeprefix("unix:")
    djinn.shutdown()


def test_a_live_server_survives_replays_that_were_tampered_with(address: str, soaks: bool) -> None:
    """A recorded session with messages flipped, cut, repeated and out of order; the other client notices nothing."""
    generator = random.Random(3)
    kept = torch.arange(4.0).to(DEVICE)
    resident_bytes = 0
    num_sessions = 20_000 if soaks else 150
    for number in range(num_sessions):
        with socket.socket(socket.AF_UNIX) as hostile:
            hostile.settimeout(5.0)
            hostile.connect(address)
            _replay(hostile, generator)
        if number % 50 == 0:
            assert (kept + 1).tolist() == [1, 2, 3, 4]
        if number == num_sessions // 5:
            resident_bytes = djinn.stats()["server"]["rss_bytes"]
    djinn.audit()
    assert djinn.stats()["server"]["rss_bytes"] - resident_bytes < 64 * MiB


def _replay(hostile: socket.socket, generator: random.Random) -> None:
    frames = [_frame(m.Hello(version=m.PROTOCOL_VERSION), b"")]
    frames += [_frame(request, payload) for request, payload in SESSION]
    damage = generator.choice(("flip", "cut", "repeat", "shuffle"))
    victim = generator.randrange(len(frames))
    if damage == "flip":
        frames[victim] = bytes(_flip(bytearray(frames[victim]), generator))
    elif damage == "cut":
        frames[victim] = frames[victim][: generator.randrange(len(frames[victim]))]
    elif damage == "repeat":
        frames[victim:victim] = [frames[victim]] * 3
    else:
        generator.shuffle(frames)
    try:
        hostile.sendall(b"".join(frames))
        hostile.shutdown(socket.SHUT_WR)
        while hostile.recv(65_536):
            pass
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server had enough


def _frame(request: m.Request, payload: bytes) -> bytes:
    body = encode(request)
    return pack_header(len(body), len(payload), is_shared=False) + body + payload
