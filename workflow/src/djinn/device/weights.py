"""The tensors that the plans of a module are bound to."""

from __future__ import annotations

import torch

from djinn.device.tensor import RemoteTensor
from djinn.tracing import UnplannableError


def weights_of(module: torch.nn.Module) -> list[RemoteTensor]:
    """Return the distinct parameters and buffers of a module tree.

    Raises:
        UnplannableError: one of them lies elsewhere.
    """
    found: dict[int, RemoteTensor] = {}
    for part in module.modules():
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if isinstance(tensor, RemoteTensor):
                found[id(tensor)] = tensor
            elif tensor is not None:
                raise UnplannableError(f"{type(part).__name__}.{name} lies on {tensor.device}")
    return list(found.values())
