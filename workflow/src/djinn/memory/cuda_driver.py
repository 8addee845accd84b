"""The CUDA driver's own functions, through ctypes: no package beyond torch is needed."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch

from djinn.errors import DjinnError

# Of cuda.h.
_INVALID_CONTEXT = 201
_CAPTURE_MODE_THREAD_LOCAL = 1
_CAN_USE_ADDRESSES_OF_LOCKED_MEMORY, _CAN_WRITE_EIGHT_BYTES = 91, 122


@cache
def library() -> ctypes.CDLL:
    """Return the driver's library."""
    return ctypes.CDLL("libcuda.so.1")


def call(name: str, *arguments: Any) -> None:
    """Call a function of the driver.

    Raises:
        DjinnError: it failed.
    """
    _check(name, getattr(library(), name)(*arguments))


def explain(code: int) -> str:
    """Return what the driver says of an error."""
    text = ctypes.c_char_p()
    library().cuGetErrorString(code, ctypes.byref(text))
    return f"error {code}: {text.value.decode() if text.value else 'unknown'}"


def write(device: torch.device, address: int, content: bytes) -> None:
    """Queue a copy of `content` to the device on its default stream; the driver stages bytes of pageable memory before it returns.

    Torch does the same through a host tensor of its own, which takes four times as long for a token.

    Raises:
        DjinnError: the driver refuses.
    """
    if content:
        _queue(_copy_to_device(), device, address, content, len(content), None)


def copy(device: torch.device, destination: int, source: int, num_bytes: int) -> None:
    """Queue a copy from one address of the device to another on its default stream; torch takes twice as long to queue one.

    Raises:
        DjinnError: the driver refuses.
    """
    if num_bytes:
        _queue(_copy_on_device(), device, destination, source, num_bytes, None)


def can_write_to_host(device_index: int) -> bool:
    """Tell whether `write_number` works with the host's own addresses of memory that was locked."""
    value = ctypes.c_int()
    for attribute in (_CAN_USE_ADDRESSES_OF_LOCKED_MEMORY, _CAN_WRITE_EIGHT_BYTES):
        if library().cuDeviceGetAttribute(ctypes.byref(value), attribute, device_index) or not value.value:
            return False
    return True


def write_number(device: torch.device, address: int, number: int) -> None:
    """Let the device write eight bytes of locked host memory once it comes to here on its default stream.

    Whoever sees them sees what was written before.

    Raises:
        DjinnError: the driver refuses.
    """
    _queue(_write_number(), device, None, address, number, 0)


def begin_capture(stream: torch.cuda.Stream) -> None:
    """Begin to record what this thread queues on a stream; raises as `call` does."""
    call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream.cuda_stream), _CAPTURE_MODE_THREAD_LOCAL)


@cache
def _copy_to_device() -> Any:
    function = library().cuMemcpyHtoDAsync_v2
    function.argtypes = (ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p)
    return function


@cache
def _copy_on_device() -> Any:
    function = library().cuMemcpyDtoDAsync_v2
    function.argtypes = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p)
    return function


@cache
def _write_number() -> Any:
    function = library().cuStreamWriteValue64_v2
    function.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint)
    return function


def _queue(function: Any, device: torch.device, *arguments: Any) -> None:
    code = function(*arguments)
    if code == _INVALID_CONTEXT:  # this thread has not used the device yet
        torch.cuda.set_device(device)
        code = function(*arguments)
    _check(function.__name__, code)


def _check(name: str, code: int) -> None:
    if code:
        raise DjinnError(f"The CUDA driver's {name} failed ({explain(code)}); see the device's health.")
