"""What fuzzing begins with: real messages of the present protocol."""

from __future__ import annotations

import struct

import torch

from djinn.core import DTYPE_CODES, ValueRef
from djinn.protocol import messages as m
from djinn.protocol.codec import encode
from fuzz_targets import joined
from support import operator_call

_FLOAT = DTYPE_CODES[torch.float32]
_VALUE = ((2,), (1,), _FLOAT, 0)
# A client's session as it was sent: requests with their payloads.
SESSION: list[tuple[m.Request, bytes]] = [
    (m.Upload(base_id=65536, shape=(2,), dtype_code=_FLOAT, is_weight=True), struct.pack("<2f", 1.0, 2.0)),
    (m.Upload(base_id=131072, shape=(2,), dtype_code=_FLOAT, is_weight=False), struct.pack("<2f", 3.0, 4.0)),
    (m.OpenSession(opened_id="s", arena_bytes=4096), b""),
    (operator_call("aten.add.Tensor", [ValueRef(0), ValueRef(1)], 196608, [65536, 131072], alpha=2), b""),
    (
        m.MakePlan(
            values=[(*_VALUE, 0), (*_VALUE, 1), (*_VALUE, 2)],
            storage_bytes=[8, 8, 8],
            nodes=[
                ("aten.mul.Tensor", [ValueRef(0), ValueRef(1)], {}, [2], None),
                ("aten.relu_.default", [ValueRef(2)], {}, [2], None),
            ],
            outputs=[2],
            num_inputs=2,
            weight_ids=[65536],
            constants=[],
        ),
        b"",
    ),
    (m.ExecutePlan(plan_id=1, input_ids=[131072], base_id=262144, wants_result=True, session_id="s"), b""),
    (m.ExecutePlan(plan_id=1, input_ids=[131072], base_id=262144, is_provisional=True), b""),
    (
        m.Download(
            tensor_id=327680,
            creations=[m.Creation(327680, (2,), (1,), _FLOAT, "s", struct.pack("<2f", 0.5, 0.25))],
            frees=[196608],
        ),
        b"",
    ),
    (m.Signal(signalled_id="s", phase="IO_WAIT", estimated_resume_ms=5.0), b""),
    (m.Checksum(checked_id="s"), b""),
    (m.CloseSession(closed_id="s"), b""),
    (m.DropPlans(plan_ids=[1]), b""),
    (m.Seed(seed=1), b""),
    (m.RandomState(), b""),
    (m.Stats(), b""),
    (m.Audit(), b""),
]


def seeds(target: str) -> list[bytes]:
    """Return the inputs that a target's fuzzing begins with."""
    if target == "handle":
        return [joined([(encode(request), payload) for request, payload in SESSION])]
    if target == "plan":
        return [encode(_chain())]
    calls = [request.call for request, _ in SESSION if isinstance(request, m.RunOperator)]
    return [*(encode(request) for request, _ in SESSION), *calls]


def _chain() -> m.MakePlan:
    """Return a trace of a chain with a view."""
    values = [((4,), (1,), 0, 0, storage) for storage in (0, 1, 2, 2, 3)]
    nodes = [
        ("aten.mul.Tensor", [ValueRef(0), ValueRef(0)], {}, [1], None),
        ("aten.add.Tensor", [ValueRef(1), ValueRef(0)], {"alpha": 2}, [2], None),
        ("aten.view.default", [ValueRef(2), [4]], {}, [3], None),
        ("aten.relu.default", [ValueRef(3)], {}, [4], None),
    ]
    return m.MakePlan(
        values=values,  # type: ignore[arg-type]
        storage_bytes=[16, 16, 16, 16],
        nodes=nodes,  # type: ignore[arg-type]
        outputs=[4],
        num_inputs=1,
        weight_ids=[],
        constants=[],
    )
