"""What is fuzzed: functions of any bytes, which return, or raise where the runtime's promise is broken.

The decoder knows protocol errors only, the handler answers whatever decodes, and a trace that the validator passes can
be planned without two live buffers overlapping. Only inputs decide what happens, so that a kept input happens again.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from itertools import combinations

from djinn.config import Config
from djinn.core import TensorMeta, Trace, TraceNode, TraceValue
from djinn.errors import PlanError, ProtocolError
from djinn.planning.lifetimes import activation_lifetimes
from djinn.planning.plan import make_plan
from djinn.planning.validation import check_trace
from djinn.protocol import messages as m
from djinn.protocol.codec import decode_call, decode_request, encode, encode_call
from djinn.server.core import ServerCore
from djinn.server.elements import dtype
from djinn.server.handler import Handler

# Messages of one input to the handler, each preceded by the lengths of its body and its payload.
_LENGTHS = struct.Struct("<HH")
_MAX_MESSAGES = 24
# What another version of the handshake, or a deliberate wait, would cost is no fault.
_NOT_FOR_THE_HANDLER = (m.Ping, m.Hello, m.Prove)
_core: ServerCore | None = None


def decode(content: bytes) -> None:
    """Decode one message, or one operator's call; what can be decoded can be encoded and decoded again, to the same bytes."""
    with contextlib.suppress(ProtocolError):
        call = encode_call(decode_call(content))
        assert encode_call(decode_call(call)) == call, "decoding what was encoded gives another call"
    try:
        request = decode_request(content)
    except ProtocolError:
        return
    again = encode(request)
    assert encode(decode_request(again)) == again, "decoding what was encoded gives another message"


def handle(content: bytes) -> None:
    """Let a client of its own say everything in order; each message is answered, and the memory stays sound."""
    core = _server()
    client = core.attach(None)
    try:
        handler = Handler(core, client)
        for body, payload in messages_in(content):
            try:
                request = decode_request(body)
            except ProtocolError:
                continue
            if not isinstance(request, _NOT_FOR_THE_HANDLER):
                reply, _ = handler.answer(request, memoryview(bytearray(payload)))
                handler.settle()
                encode(reply)
    finally:
        core.detach(client)
    core.check_integrity()


def plan(content: bytes) -> None:
    """Read a trace out of a message's shape of values and nodes; the validator refuses it, or it can be planned."""
    try:
        request = decode_request(content)
        if not isinstance(request, m.MakePlan):
            return
        trace = _trace(request)
    except (ProtocolError, PlanError, ValueError, IndexError, KeyError):
        return
    try:
        check_trace(trace)
    except PlanError:
        return
    _assert_no_overlap(trace)


TARGETS: dict[str, Callable[[bytes], None]] = {"decode": decode, "handle": handle, "plan": plan}


def messages_in(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the bodies and payloads that an input to the handler holds; the last ones may be cut off."""
    found, place = [], 0
    while len(found) < _MAX_MESSAGES and place + _LENGTHS.size <= len(content):
        num_body, num_payload = _LENGTHS.unpack_from(content, place)
        place += _LENGTHS.size
        found.append((content[place : place + num_body], content[place + num_body : place + num_body + num_payload]))
        place += num_body + num_payload
    return found


def joined(messages: list[tuple[bytes, bytes]]) -> bytes:
    """Return one input to the handler."""
    return b"".join(_LENGTHS.pack(len(body), len(payload)) + body + payload for body, payload in messages)


def stop() -> None:
    """End the threads of the server that the handler was fuzzed in."""
    global _core
    if _core is not None:
        _core.scheduler.stop()
        _core = None


def _server() -> ServerCore:
    global _core
    if _core is None:
        _core = ServerCore(
            Config(data_capacity_mb=64, stack_mb=16, text_mb=16, host_pool_mb=16, admission_timeout_s=0.01)
        )
    return _core


def _trace(request: m.MakePlan) -> Trace:
    values = tuple(TraceValue(TensorMeta(v[0], v[1], dtype(v[2]), v[3]), v[4]) for v in request.values)
    nodes = tuple(TraceNode(n[0], tuple(n[1]), n[2], tuple(n[3]), n[4]) for n in request.nodes)
    return Trace(values, tuple(request.storage_bytes), nodes, tuple(request.outputs), request.num_inputs)


def _assert_no_overlap(trace: Trace) -> None:
    offsets = make_plan(trace).placement.offsets
    for one, other in combinations(activation_lifetimes(trace), 2):
        if one.overlaps(other):
            start, end = offsets[one.storage], offsets[one.storage] + one.num_bytes
            other_start, other_end = offsets[other.storage], offsets[other.storage] + other.num_bytes
            assert end <= other_start or other_end <= start, f"{one} and {other} overlap"
