"""RemoteTensor: a torch tensor whose bytes lie on the server."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch

from djinn.core import TensorMeta
from djinn.device.handle import Handle
from djinn.device.meta_numbers import number_of
from djinn.device.mutations import Mutations, is_simulating, refuse_in_simulation
from djinn.device.printing import text_of
from djinn.tracing import Phantom, with_real

DEVICE_NAME = "remote_accelerator"
DEVICE = f"{DEVICE_NAME}:0"

_GRADIENT: Any = torch.Tensor.grad
_make_wrapper = torch.Tensor._make_wrapper_subclass
_OWN_ATTRIBUTES = frozenset({"handle", "meta_number", "is_watched", "is_marked"})


class RemoteTensor(torch.Tensor):
    """A tensor on the device: metadata here, elements on the server."""

    handle: Handle
    meta_number: int
    # Whether a module was described by this tensor, so that its changes are mutations.
    is_watched = False
    # Whether users attached something, which forward may read.
    is_marked = False
    # `requires_grad` past the property below, which takes longer to read.
    records_gradient: bool = torch.Tensor.requires_grad

    @staticmethod
    def __new__(cls, meta: TensorMeta, handle: Handle, meta_number: int | None = None) -> RemoteTensor:
        """Wrap a server tensor of this metadata, whose number the caller may know."""
        # A call makes its results here: by name the same arguments take a quarter longer.
        tensor: RemoteTensor = _make_wrapper(
            cls,
            meta.shape,
            meta.strides,
            meta.storage_offset,
            None,  # no other memory format than these strides
            meta.dtype,
            torch.strided,
            _TORCH_DEVICE.get(),
        )
        attributes = tensor.__dict__
        attributes["handle"] = handle
        attributes["meta_number"] = number_of(meta) if meta_number is None else meta_number
        return tensor

    def __init__(self, meta: TensorMeta, handle: Handle, meta_number: int | None = None) -> None:
        """Nothing is left to do; torch calls this with the arguments of `__new__`."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; forward may read those of a module's tensors."""
        if name not in _OWN_ATTRIBUTES and self.is_watched:
            refuse_in_simulation("sets an attribute of a tensor")
            self._note_change()
        if name not in _OWN_ATTRIBUTES and not hasattr(type(self), name):
            self.is_marked = True
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        """Delete an attribute, likewise."""
        if self.is_watched:
            refuse_in_simulation("deletes an attribute of a tensor")
            self._note_change()
        super().__delattr__(name)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one ATen operation on the server."""
        kwargs = kwargs or {}
        if len(types) > 1 and Phantom in types:  # which forward kept, in a cache of its own
            args, kwargs = with_real((args, kwargs))
        return _dispatcher()(func, args, kwargs)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Show the elements as torch does, with this device's name."""
        return text_of(self, self.detach().cpu())

    def __copy__(self) -> torch.Tensor:
        """Return a tensor over the same elements, as torch does."""
        copied = self.data.requires_grad_(self.requires_grad)
        attach(copied, self.attributes())
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteTensor:
        """Copy the elements on the server; parameters stay parameters, and views stay views of what is copied with them.

        Raises:
            RuntimeError: the tensor is the result of a recorded operation, as torch refuses too.
        """
        if id(self) in memo:
            known: RemoteTensor = memo[id(self)]
            return known
        if not self.is_leaf:
            raise RuntimeError(f"A tensor on {DEVICE} that autograd recorded cannot be deep-copied; detach() it first.")
        copied = memo[id(self)] = self._copy_with_base(memo).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):  # torch copies no attributes of parameters
            copied._is_param = True
        else:
            attach(copied, copy.deepcopy(self.attributes(), memo))
        if self.grad is not None:
            copied.grad = copy.deepcopy(self.grad, memo)
        return copied

    def _copy_with_base(self, memo: dict[int, Any]) -> RemoteTensor:
        base = self._base
        if base is None or not base.is_leaf or not TensorMeta.of(base).is_row_major or base.storage_offset():
            copied = self.detach().clone()
        else:
            copied = copy.deepcopy(base, memo).detach().as_strided(self.shape, self.stride(), self.storage_offset())
        assert isinstance(copied, RemoteTensor), "copying left the device"
        return copied

    def attributes(self) -> dict[str, Any]:
        """Return what users attached."""
        return attributes_of(self)

    def cpu(self, memory_format: torch.memory_format = torch.preserve_format) -> torch.Tensor:
        """Copy the elements to the host; what came along with the call is there already."""
        if self.handle.prefetched is not None and not self.records_gradient and memory_format is torch.preserve_format:
            host = self.handle.take_prefetched()
            if host is not None:
                return host
        return super().cpu(memory_format=memory_format)

    def requires_grad_(self, requires_grad: bool = True) -> RemoteTensor:
        """Let autograd record operations on this tensor; torch multiplies matrices differently then."""
        self.requires_grad = requires_grad
        return self

    @property
    def requires_grad(self) -> bool:
        """Whether autograd records operations on this tensor."""
        return self.records_gradient

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value != self.records_gradient:
            refuse_in_simulation("changes whether a tensor requires a gradient")
        self.records_gradient = value
        self._note_change()

    @property
    def grad(self) -> torch.Tensor | None:
        """The gradient that backward passes have added up; no forward with a plan reads one, as they come and change."""
        refuse_in_simulation("reads a gradient")
        return _GRADIENT.__get__(self)  # type: ignore[no-any-return]

    @grad.setter
    def grad(self, value: torch.Tensor | None) -> None:
        _GRADIENT.__set__(self, value)

    @grad.deleter
    def grad(self) -> None:
        _GRADIENT.__delete__(self)

    def numpy(self, *, force: bool = False) -> Any:
        """Return the elements as a NumPy array if asked with `force`.

        Raises:
            TypeError: without it, as on every accelerator.
        """
        if not force:
            raise TypeError(
                f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy it to the host."
            )
        return self.detach().cpu().numpy()

    def __format__(self, format_spec: str) -> str:
        """Format a tensor without dimensions as its element, as torch does."""
        return format(self.item(), format_spec) if self.dim() == 0 else object.__format__(self, format_spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be saved as what `cpu` returns: the server may be gone when it is read again, which is on the host then."""
        host = self.detach().cpu()
        if isinstance(self, torch.nn.Parameter):
            host = torch.nn.Parameter(host, self.requires_grad)
        else:
            host.requires_grad_(self.requires_grad)
        vars(host).update(self.attributes())
        return host.__reduce_ex__(protocol)

    def tolist(self) -> Any:
        """Return the elements as nested lists."""
        return self.detach().cpu().tolist()

    @property
    def data(self) -> torch.Tensor:
        """Return a tensor over the same elements, whose changes autograd does not see."""
        if is_simulating():  # which has to see where it comes from
            return self.detach()
        return self.alias(torch.inference_mode(self.is_inference()))

    @data.setter
    def data(self, source: torch.Tensor) -> None:
        refuse_in_simulation("assigns the data of a tensor")
        if not isinstance(source, RemoteTensor):
            raise TypeError(
                f"data of a tensor on {DEVICE} cannot become a tensor on {source.device}; move it there with .to()."
            )
        self.adopt(source)

    def alias(self, scope: AbstractContextManager[Any]) -> RemoteTensor:
        """Return another tensor over the same elements, made in a scope."""
        with scope:
            return RemoteTensor(TensorMeta.of(self), self.handle)

    def adopt(self, source: RemoteTensor) -> None:
        """Become an alias of `source`: its metadata, its elements."""
        if source.is_inference() != self.is_inference():  # torch sets no tensor to one of the other sort
            source = source.alias(torch.inference_mode(self.is_inference()))
        torch.Tensor.data.__set__(self, source)  # type: ignore[attr-defined]
        self.handle = source.handle
        self.meta_number = source.meta_number
        self._note_change()

    def _note_change(self) -> None:
        if self.is_watched:
            Mutations.count += 1


@cache
def _dispatcher() -> Callable[..., Any]:
    """Return what runs operations, which needs this module itself; to import it at each of them took a microsecond."""
    from djinn.device.dispatch import dispatch

    return dispatch


def attributes_of(tensor: torch.Tensor) -> dict[str, Any]:
    """Return what users attached to a tensor, here or on the host."""
    return {name: value for name, value in vars(tensor).items() if name not in _OWN_ATTRIBUTES}


def attach(tensor: torch.Tensor, attributes: dict[str, Any]) -> None:
    """Attach to a tensor what users attached to another."""
    vars(tensor).update(attributes)
    if isinstance(tensor, RemoteTensor) and attributes:
        tensor.is_marked = True


class _LazyDevice:
    """The torch device, made after the backend was renamed."""

    def __init__(self) -> None:
        self._device: torch.device | None = None

    def get(self) -> torch.device:
        if self._device is None:
            self._device = torch.device(DEVICE)
        return self._device


_TORCH_DEVICE = _LazyDevice()


def is_own_device(device: Any) -> bool:
    """Tell whether a device is this one.

    Raises:
        RuntimeError: it would be another one of this type.
    """
    if device == _TORCH_DEVICE.get():
        return True
    device = torch.device(device)
    if device.type == DEVICE_NAME and device.index not in (None, 0):
        raise RuntimeError(f"Device {device} does not exist; there is one of this type, {DEVICE}.")
    return bool(device.type == DEVICE_NAME)
