"""The bytes of dense host tensors, read and written where they lie."""

from __future__ import annotations

import ctypes

import torch

# By way of torch's views and NumPy this would be four calls, of which none may have run for milliseconds.
_view_memory = ctypes.pythonapi.PyMemoryView_FromMemory
_view_memory.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_view_memory.restype = ctypes.py_object
_move = ctypes.memmove
_READ, _WRITE = 0x100, 0x200  # PyBUF_READ, PyBUF_WRITE
_NOTHING = memoryview(bytearray())


def readable_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the elements of a dense tensor, which has to be kept for as long as they are read."""
    view: memoryview = _view_memory(tensor.data_ptr(), tensor.nbytes, _READ) if tensor.numel() else _NOTHING
    return view


def writable_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the elements of a dense tensor, to be written to while it is kept."""
    view: memoryview = _view_memory(tensor.data_ptr(), tensor.nbytes, _WRITE) if tensor.numel() else _NOTHING
    return view


def fill(tensor: torch.Tensor, content: bytes) -> None:
    """Write the elements of a dense tensor, all of them."""
    # Three torch calls would do the same for ten times the price, and a view of so few bytes costs twice as much as they do.
    _move(tensor.data_ptr(), content, len(content))
