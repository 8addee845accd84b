"""The operands of one operation as they travel: the call that they make, and the remote tensors that it is made on."""

from __future__ import annotations

from typing import Any

import torch

from djinn.client.client import Client
from djinn.core import DTYPE_CODES, ValueRef, default_dtype_code
from djinn.device.handle import Handle
from djinn.device.tensor import DEVICE, RemoteTensor
from djinn.device.transfer import lost, upload
from djinn.errors import DeviceMismatchError, UnsupportedOperatorError
from djinn.protocol import messages as m
from djinn.protocol.codec import FIRST_REFS, encode_call
from djinn.protocol.operands import OWN_DEVICE
from djinn.tracing import Facts, misplaced_operand


class Operands:
    """One operation's operands.

    Their handles are kept, too: another thread may give a tensor other elements before the server has read these.

    Attributes:
        tensors: the remote tensors among them, in order.
        pending: those that the server may not know.
        call: everything else, encoded.
    """

    __slots__ = ("_args", "_facts", "_handles", "_kwargs", "call", "pending", "tensors")

    def __init__(self, facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take an operation's operands apart.

        Raises:
            DeviceMismatchError: a host tensor with dimensions among them.
            UnsupportedOperatorError: one that the device does not take.
        """
        self._facts, self._args, self._kwargs = facts, args, kwargs
        self.tensors: list[RemoteTensor] = []
        self.pending: list[RemoteTensor] = []
        self._handles: list[Handle] = []
        wire_args = [self._add(value) if type(value) is RemoteTensor else self._convert(value) for value in args]
        wire_kwargs = {name: self._convert(value) for name, value in kwargs.items()} if kwargs else {}
        code = default_dtype_code(torch.get_default_dtype())
        self.call = encode_call(m.OperatorCall(facts.name, wire_args, wire_kwargs, code))

    def tensor_ids(self, client: Client) -> list[int]:
        """Return the identifiers of the tensors.

        Raises:
            ConnectionFailedError: a tensor of another client.
        """
        for tensor, handle in zip(self.tensors, self._handles, strict=True):
            if handle.client is not client:
                raise lost(tensor)
        return [handle.tensor_id for handle in self._handles]

    def key(self) -> tuple[Any, ...]:
        """Return what decides the results' metadata, as a rule: the call and the metadata of the tensors."""
        return self.call, *[tensor.meta_number for tensor in self.tensors]

    def _add(self, tensor: RemoteTensor) -> Any:
        number = len(self.tensors)
        handle = tensor.handle
        self.tensors.append(tensor)
        self._handles.append(handle)
        if handle.pending is not None:
            self.pending.append(tensor)
        return FIRST_REFS[number] if number < len(FIRST_REFS) else ValueRef(number)

    def _convert(self, operand: Any) -> Any:
        if isinstance(operand, RemoteTensor):
            return self._add(operand)
        if isinstance(operand, torch.Tensor):
            return self._add(self._uploaded(operand))
        if isinstance(operand, list | tuple):
            return [self._convert(item) for item in operand]
        if isinstance(operand, torch.device):
            return OWN_DEVICE
        if isinstance(operand, torch.dtype) and operand not in DTYPE_CODES:
            raise UnsupportedOperatorError(
                f"Operator {self._facts.name} got {operand}, which {DEVICE} does not hold; move the operands to the CPU for it."
            )
        if isinstance(operand, torch.layout) and operand is not torch.strided:
            raise UnsupportedOperatorError(
                f"Operator {self._facts.name} was asked for {operand}, which {DEVICE} does not hold; keep such tensors on the CPU."
            )
        if isinstance(operand, torch.Generator):
            raise UnsupportedOperatorError(
                f"Operator {self._facts.name} got an explicit torch.Generator, which {DEVICE} does not take; use torch.manual_seed."
            )
        return operand

    def _uploaded(self, tensor: torch.Tensor) -> RemoteTensor:
        """Return a host tensor's copy on the device, if host tensors may stand where all of these stand."""
        check_places(self._facts, self._args, self._kwargs)
        return upload(tensor)


def check_places(facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse an operation some of whose operands lie elsewhere.

    Raises:
        DeviceMismatchError: they do.
    """
    misplaced = misplaced_operand(facts, args, kwargs, torch.device(DEVICE))
    if misplaced is not None:
        raise DeviceMismatchError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and "
            f"{misplaced.device}, in {facts.name}; move the operands with .to()."
        )
