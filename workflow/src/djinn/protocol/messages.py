"""What client and server say to each other, one struct a message.

Every request is answered by exactly one reply on the same connection, but that one of `Launched` is followed by one of
`Failed` if the device fails before it ends. Tensor bytes travel beside a message as its payload. Identifiers of tensors are
chosen by the client: a request that makes tensors names the first, `base_id`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

PROTOCOL_VERSION = 10
# A request may return this many tensors; their identifiers are base_id, base_id + 1, ...
MAX_OUTPUTS = 1 << 16
# Up to this size a tensor's elements travel with the first request that uses it, which saves a round trip.
MAX_INLINE_BYTES = 16_384


class Creation(msgspec.Struct, array_like=True, frozen=True):
    """A tensor that the client made up and now uses for the first time: uninitialised, or with these elements.

    Elements are dense and row-major.
    """

    tensor_id: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype_code: int
    session_id: str | None
    content: bytes | None = None


class OperatorCall(msgspec.Struct, array_like=True, frozen=True):
    """One ATen operator's arguments, in a process of this default dtype; None stands for float32.

    Tensors among them are numbers in a list of those that one call is made on.
    """

    operator: str
    args: list[Any]
    kwargs: dict[str, Any]
    default_dtype_code: int | None = None


class Request(msgspec.Struct, array_like=True, tag_field="kind", tag=True, kw_only=True):
    """What every request carries: tensors to free and to create before anything else, and the current session.

    `client_core` is the core that the client runs on, -1 on another host. `reply_offset` is where in shared memory the
    client wants the reply's payload.
    """

    frees: list[int] = []
    creations: list[Creation] = []
    session_id: str | None = None
    client_core: int = -1
    reply_offset: Annotated[int, msgspec.Meta(ge=0)] = 0


class Hello(Request):
    """Opens a connection; a client token joins the connection to a client that is connected already.

    A client that knows the server's secret sends a nonce.
    """

    version: int
    client_token: str | None = None
    nonce: bytes = b""


class Prove(Request):
    """Answers a challenge: the client knows the secret too."""

    proof: bytes


class Upload(Request):
    """Makes a tensor from the payload, dense and row-major; `is_weight` places it in the Text segment."""

    base_id: int
    shape: tuple[int, ...]
    dtype_code: int
    is_weight: bool


class Download(Request):
    """Asks for a tensor's elements, dense and row-major, as payload."""

    tensor_id: int


class RunOperator(Request):
    """Makes an operator call on these tensors.

    Programs make the same calls on other tensors again and again. So `call` is an OperatorCall as `encode_call` writes it:
    by these bytes both ends know it again.
    """

    call: bytes
    tensor_ids: list[int]
    base_id: int


class MakePlan(Request):
    """Turns a trace into a plan whose leading inputs are always these weights.

    Constants are values with their dense, row-major elements. A node is (operator, args, kwargs, outputs, guard); a guard is
    the Python value that the operator has to return, or None for the last node of a trace that is run to learn that value.
    """

    values: list[tuple[tuple[int, ...], tuple[int, ...], int, int, int]]
    storage_bytes: list[int]
    nodes: list[tuple[str, list[Any], dict[str, Any], list[int | None], tuple[Any] | None]]
    outputs: list[int]
    num_inputs: int
    weight_ids: list[int]
    constants: list[tuple[int, bytes]]
    default_dtype_code: int | None = None


class ExecutePlan(Request):
    """Replays a plan on these tensors, the trace's inputs that follow its weights.

    `passed` has the numbers of further ones, ascending, with their dense, row-major elements: they go with the request.
    With `wants_result` the elements of the first output come back with the reply, likewise. One that `is_provisional` is
    prepared, but begins only once the client confirms it through the mailbox; elsewhere it is refused.
    """

    plan_id: int
    input_ids: list[int]
    base_id: int
    passed: list[tuple[int, bytes]] = []
    wants_result: bool = False
    is_provisional: bool = False


class DropPlans(Request):
    """Forgets plans."""

    plan_ids: list[int]


class OpenSession(Request):
    """Reserves an arena and admits the session."""

    opened_id: str
    arena_bytes: int | None


class CloseSession(Request):
    """Ends a session and frees its arena."""

    closed_id: str


class Signal(Request):
    """Announces a session's phase."""

    signalled_id: str
    phase: str
    estimated_resume_ms: float | None


class Checksum(Request):
    """Asks for the digest of a session's arena, wherever its bytes are."""

    checked_id: str


class Seed(Request):
    """Seeds this client's random number generator."""

    seed: int


class RandomState(Request):
    """Asks for the state of this client's random number generator, and replaces it by the payload if there is one."""


class Stats(Request):
    """Asks for the server's counters."""


class Audit(Request):
    """Asks the server to check the invariants of its memory."""


class Ping(Request):
    """Asks for nothing, of a server that is busy for so long before it answers."""

    busy_us: float


AnyRequest = (
    Hello
    | Prove
    | Upload
    | Download
    | RunOperator
    | MakePlan
    | ExecutePlan
    | DropPlans
    | OpenSession
    | CloseSession
    | Signal
    | Checksum
    | Seed
    | RandomState
    | Stats
    | Audit
    | Ping
)


class Reply(msgspec.Struct, array_like=True, tag_field="kind", tag=True, kw_only=True):
    """Base of all replies."""


class Done(Reply):
    """The request was carried out; times on the server's monotonic clock.

    `learned` is what the last node of a plan returned, if the plan was made to learn that. `restore_us` is how long
    bringing its sessions back into device memory took, beside any wait for room there.
    """

    started_ns: int = 0
    finished_ns: int = 0
    learned: Any = None
    restore_us: float = 0.0


class Launched(Reply):
    """The device was told to carry the request out, and writes to the mailbox itself when it has: this message's number.

    Until then a payload that comes to an offset is not there. If the device fails, a reply of `Failed` follows. Times are as in
    `Done`.
    """

    started_ns: int
    restore_us: float = 0.0


class Failed(Reply):
    """The request failed with an error of this class and message; nothing else happened."""

    error: str
    message: str


class Welcome(Reply):
    """Answers Hello."""

    client_token: str
    device_type: str
    num_threads: int
    shared_bytes: int


class Challenge(Reply):
    """Answers Hello over TCP: the server knows the secret, does the client?"""

    nonce: bytes
    proof: bytes


class Described(Reply):
    """What an operator returned.

    Each output is ("new", shape, strides, dtype code, storage offset), ("same", number, shape, ...) for the tensor of that
    number that the call was made on, ("value", scalar) or None.
    """

    outputs: list[Any]
    is_sequence: bool
    started_ns: int
    finished_ns: int
    restore_us: float = 0.0


class Bytes(Reply):
    """The payload is a tensor of this shape and dtype."""

    shape: tuple[int, ...]
    dtype_code: int


class Planned(Reply):
    """A plan was made: peak bytes of its activations, and the largest sum of live bytes, which no plan can undercut.

    `held_bytes` is what the server keeps for it; `has_effects` tells whether executing it changes any of its inputs or
    the client's random numbers.
    """

    plan_id: int
    peak_bytes: int
    lower_bound_bytes: int
    held_bytes: int
    has_effects: bool


class Opened(Reply):
    """A session was opened with an arena of this size."""

    arena_bytes: int


class Digest(Reply):
    """A session's checksum."""

    digest: str


class Counters(Reply):
    """The server's statistics."""

    values: dict[str, Any]


AnyReply = Done | Launched | Failed | Welcome | Challenge | Described | Bytes | Planned | Opened | Digest | Counters
