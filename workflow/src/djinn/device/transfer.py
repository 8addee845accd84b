"""Tensor bytes between host and server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from djinn.client import runtime
from djinn.client.client import Client
from djinn.core import DTYPE_CODES, TensorMeta
from djinn.device.handle import Handle, Pending
from djinn.device.meta_numbers import dense_meta
from djinn.device.tensor import RemoteTensor
from djinn.errors import ConnectionFailedError, UnsupportedOperatorError
from djinn.host_bytes import readable_bytes, writable_bytes
from djinn.protocol import messages as m
from djinn.tracing import UnplannableError

_thread = threading.local()


@contextmanager
def placing_weights() -> Iterator[None]:
    """Within this scope, uploads are weights of a module and go to the Text segment."""
    previous = getattr(_thread, "placing_weights", False)
    _thread.placing_weights = True
    try:
        yield
    finally:
        _thread.placing_weights = previous


def make_uninitialised(meta: TensorMeta) -> RemoteTensor:
    """Return a tensor that the server will make when it is first used, in the current session's arena if any."""
    check_dtype(meta.dtype)
    client = runtime.current_client()
    return RemoteTensor(meta, Handle(client, client.new_ids(), pending=Pending(runtime.current_session())))


def creations(client: Client, tensors: Sequence[RemoteTensor]) -> list[m.Creation]:
    """Describe those tensors that the server may not know yet; once the request is answered, `note_created` has to follow.

    Until then other threads describe them too: whichever request comes first makes them. Raises as `known_ids` does.
    """
    made: list[m.Creation] = []
    known_ids(client, tensors)
    for tensor in tensors:
        handle = tensor.handle
        pending = handle.pending
        if pending is not None:
            pending.is_sent = True
            shape, strides = tuple(tensor.shape), tuple(tensor.stride())
            code = DTYPE_CODES[tensor.dtype]
            made.append(m.Creation(handle.tensor_id, shape, strides, code, pending.session_id, pending.content))
    return made


def known_ids(client: Client, tensors: Sequence[RemoteTensor]) -> list[int]:
    """Return the identifiers of tensors.

    Raises:
        ConnectionFailedError: a tensor of another client, whose identifiers mean other tensors to this one's server.
    """
    input_ids: list[int] = []
    for tensor in tensors:
        handle = tensor.handle
        if handle.client is not client:
            raise lost(tensor)
        input_ids.append(handle.tensor_id)
    return input_ids


def lost(tensor: RemoteTensor) -> ConnectionFailedError:
    """Return what is raised for a tensor of another client."""
    return ConnectionFailedError(
        f"A tensor of shape {tuple(tensor.shape)} is from before djinn.shutdown(), when its elements were lost; "
        "make it again."
    )


def note_created(tensors: Sequence[RemoteTensor]) -> None:
    """Consider tensors known to the server, which has answered a request with their creations."""
    for tensor in tensors:
        tensor.handle.pending = None


def upload(source: torch.Tensor) -> RemoteTensor:
    """Copy a host tensor to the server, outside of any session; raises as `check_dtype` does.

    Raises:
        UnsupportedOperatorError: its elements do not lie in strides.
        UnplannableError: it has none, as it belongs to a simulation in another thread.
    """
    check_dtype(source.dtype)
    if source.layout is not torch.strided:
        raise UnsupportedOperatorError(
            f"Tensors of layout {source.layout} are not held by this device; keep them on the CPU, or use to_dense()."
        )
    if source.device.type != "cpu":
        raise UnplannableError(f"a tensor on {source.device}")
    source = _dense(source)
    meta = TensorMeta(tuple(source.shape), tuple(source.stride()), source.dtype)
    client = runtime.current_client()
    if source.nbytes <= m.MAX_INLINE_BYTES:
        return RemoteTensor(meta, Handle(client, client.new_ids(), Pending(None, content_of(source))))
    handle = Handle(client, client.new_ids())
    _send(source, handle, None, is_weight=False)
    return RemoteTensor(meta, handle)


def can_be_inlined(source: torch.Tensor) -> bool:
    """Tell whether the bytes of a plain host tensor may wait here for the request that first uses what is made of them."""
    return (
        source.nbytes <= m.MAX_INLINE_BYTES
        and source.dtype in DTYPE_CODES
        and source.is_contiguous()
        and not getattr(_thread, "placing_weights", False)
    )


def make_inlined(source: torch.Tensor) -> RemoteTensor:
    """Return a tensor on the device, in the current session's arena if any, of a host tensor that `can_be_inlined`."""
    meta, number = dense_meta(source)
    client = runtime.current_client()
    pending = Pending(runtime.current_session(), bytes(readable_bytes(source)))
    return RemoteTensor(meta, Handle(client, client.new_ids(), pending), number)


def can_become(destination: RemoteTensor, source: torch.Tensor) -> bool:
    """Tell whether an unmade destination can be made from the source's bytes alone."""
    pending = destination.handle.pending
    return (
        pending is not None
        and pending.is_here_alone
        and destination.dtype == source.dtype
        and destination.shape == source.shape
        and destination.is_contiguous()
        and destination.storage_offset() == 0
    )


def become(destination: RemoteTensor, source: torch.Tensor) -> None:
    """Make a destination for which `can_become` holds: with its first use if it is small, else with a message now."""
    pending = destination.handle.pending
    assert pending is not None, "the destination exists on the server already"
    is_weight = getattr(_thread, "placing_weights", False)
    if source.nbytes <= m.MAX_INLINE_BYTES and not is_weight:
        pending.content = content_of(source)
        return
    _send(_dense(source), destination.handle, pending.session_id, is_weight=is_weight)
    destination.handle.pending = None


def download(tensor: RemoteTensor) -> torch.Tensor:
    """Copy a tensor's elements to a dense, row-major host tensor."""
    handle = tensor.handle
    prefetched = handle.take_prefetched()
    if prefetched is not None:
        return prefetched
    if handle.prefetcher is not None:
        handle.prefetcher.note_download()
    request = m.Download(tensor_id=handle.tensor_id, creations=creations(handle.client, [tensor]))
    host = torch.empty(tuple(tensor.shape), dtype=tensor.dtype)
    # A torch copy would wake worker threads, which then spin on the core that the server needs.
    handle.client.request(request, into=writable_bytes(host))
    note_created([tensor])
    return host


def check_dtype(dtype: torch.dtype) -> None:
    """Refuse dtypes that the device does not hold.

    Raises:
        UnsupportedOperatorError: quantised, sub-byte and other unusual dtypes.
    """
    if dtype not in DTYPE_CODES:
        raise UnsupportedOperatorError(f"Tensors of {dtype} are not held by this device; convert them first.")


def content_of(source: torch.Tensor) -> bytes:
    """Return the elements of a host tensor, dense and row-major."""
    source = _dense(source)
    return bytes(readable_bytes(source))


def _dense(source: torch.Tensor) -> torch.Tensor:
    """Return a host tensor whose bytes are its elements, row by row: complex conjugates may be only marked as such."""
    if source.is_contiguous() and not source.is_conj() and not source.is_neg():
        return source
    return source.detach().resolve_conj().resolve_neg().contiguous()


def _send(source: torch.Tensor, handle: Handle, session_id: str | None, *, is_weight: bool) -> None:
    request = m.Upload(
        base_id=handle.tensor_id,
        shape=tuple(source.shape),
        dtype_code=DTYPE_CODES[source.dtype],
        is_weight=is_weight,
        session_id=session_id,
    )
    handle.client.request(request, readable_bytes(source))
