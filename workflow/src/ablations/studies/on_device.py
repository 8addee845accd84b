"""What the studies that run on the device share: a running server, native PyTorch beside it, and equality with that."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

import djinn
from ablations.models import DecoderModel, make_model
from ablations.settings import ModelShape, TrialSettings
from ablations.studies.results import require

DEVICE = "remote_accelerator:0"

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


@contextmanager
def running_runtime(settings: TrialSettings, **overrides: Any) -> Iterator[None]:
    """Run an embedded server on the configured device with as many threads as this process.

    Raises:
        ConfigurationError: a device that this machine does not have.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    # The server has these defaults too; they decide how matrix products round.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    # With cuDNN's attention native PyTorch differs from itself: some tokens of a decode loop do, from run to run.
    torch.backends.cuda.enable_cudnn_sdp(False)
    config = djinn.Config(device_type=settings.device, num_threads=torch.get_num_threads(), **overrides)
    djinn.init(config=config)
    try:
        yield
    finally:
        djinn.shutdown()


def await_device(device: str) -> None:
    """Return when what native PyTorch was asked for is done; on the host it is already."""
    if device == "cuda":
        torch.cuda.synchronize()


def make_remote_model(shape: ModelShape, *, seed: int, device: str) -> DecoderModel:
    """Return the model on the server that `make_model` makes natively on `device`.

    A server on CUDA draws the weights itself, from the same numbers: it takes a minute to upload a model of 7B.
    """
    if device == "cuda":
        return make_model(shape, seed=seed, device=DEVICE)
    return make_model(shape, seed=seed).to(DEVICE)


def require_equal(actual: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Fail the trial loudly unless two tensors are bit for bit equal; those of a device are fetched.

    Bytes are compared without torch, whose comparison would wake worker threads; those go on polling for a while and
    would take a core from what is measured next.

    Raises:
        MeasurementError: they are not.
    """
    actual, expected = actual.cpu(), expected.cpu()
    is_alike = actual.dtype == expected.dtype and actual.shape == expected.shape
    is_equal = is_alike and _has_same_bytes(actual.contiguous(), expected.contiguous())
    require(is_equal, f"{what} differs from native PyTorch by {'' if is_equal else _distance(actual, expected)}")


def _has_same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    return int(_memcmp(one.data_ptr(), other.data_ptr(), one.nbytes)) == 0


def _distance(actual: torch.Tensor, expected: torch.Tensor) -> str:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return f"shape or dtype ({tuple(actual.shape)} {actual.dtype}, {tuple(expected.shape)} {expected.dtype})"
    return f"{(actual.double() - expected.double()).abs().max().item():.3g}"
