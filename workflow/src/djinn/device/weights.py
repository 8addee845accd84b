"""The tensors that the plans of a module are bound to."""

from __future__ import annotations

import torch

from djinn.device.descriptions import Description
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


def unchanged_weights(module: torch.nn.Module, description: Description) -> list[RemoteTensor]:
    """Return the weights of a module that is still as it was described.

    Raises:
        UnplannableError: another thread has changed it since.
    """
    weights = weights_of(module)
    if not description.is_current():
        raise UnplannableError("the module changed before its call was executed")
    return weights
