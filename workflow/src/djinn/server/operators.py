"""Which ATen operators the server runs, what their schemas say about writes, and their `out=` forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from djinn.core import value_refs
from djinn.errors import PlanError, UnsupportedOperatorError

# Operators that reach outside the tensors they are given.
_FORBIDDEN = frozenset({"from_file", "save", "_pin_memory", "pin_memory", "set_data", "set_", "_print"})
# What their `out=` forms leave in a tensor of the result's shape is not the result: an unreduced loss does not fit in,
# what is solved from the right is a conjugate, as which the tensor is only marked, least squares are rounded in another
# way, and the largest of no elements is minus infinity instead of an error.
_UNLIKE_RESULT = frozenset(
    {"binary_cross_entropy", "linalg_lu_solve", "_linalg_solve_ex", "linalg_lstsq", "max", "min"}
)
# Nor is it where an operand does not lie row by row.
_UNLIKE_RESULT_IN_STRIDES = frozenset({"native_batch_norm", "_native_batch_norm_legit"})
_PLACEMENT_ARGUMENTS = frozenset({"dtype", "layout", "device", "pin_memory"})
# What is called most: torch's own functions take arguments in half the time that any overload does.
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.add.Tensor: torch.add,
    torch.ops.aten.add.out: torch.add,
    torch.ops.aten.sub.Tensor: torch.sub,
    torch.ops.aten.mul.Tensor: torch.mul,
    torch.ops.aten.mul.out: torch.mul,
    torch.ops.aten.div.Tensor: torch.div,
    torch.ops.aten.mm.default: torch.mm,
    torch.ops.aten.mm.out: torch.mm,
    torch.ops.aten.bmm.default: torch.bmm,
    torch.ops.aten.bmm.out: torch.bmm,
    torch.ops.aten.addmm.out: torch.addmm,
    torch.ops.aten.gelu.out: torch._C._nn.gelu,
    torch.ops.aten.copy_.default: torch.Tensor.copy_,
}


@dataclass(frozen=True, slots=True)
class Operator:
    """A resolved operator.

    Attributes:
        call: the overload itself.
        written: positions and names of arguments that it writes to.
        num_positional: how many arguments it takes by position.
        names: of all of its arguments.
        uses_random_numbers: whether it draws from a generator.
        returns_value: whether it returns a Python value instead of tensors.
    """

    call: Any
    written: tuple[tuple[int, str], ...]
    uses_random_numbers: bool
    returns_value: bool
    num_positional: int
    names: frozenset[str]

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that are not the schema's, by which alone it is known what is written to: `function_of` may take more.

        Raises:
            PlanError: there are such.
        """
        foreign = kwargs.keys() - self.names
        if len(args) > self.num_positional or foreign:
            what = ", ".join(sorted(foreign)) or f"{len(args)} by position"
            raise PlanError(f"Operator {self.call} does not take these arguments ({what}); pass those of its schema.")

    def written_values(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[int]:
        """Return the indices of the values, among these operands, that it writes to."""
        operands = [args[place] if place < len(args) else kwargs.get(name) for place, name in self.written]
        return list(value_refs(operands))


@dataclass(frozen=True, slots=True)
class OutForm:
    """The overload of an operator that writes into given tensors.

    Attributes:
        call: the overload.
        out_names: its output arguments in order of the operator's results.
        dropped: keyword arguments that it does not take, because the given tensors imply them.
    """

    call: Any
    out_names: tuple[str, ...]
    dropped: frozenset[str]


@lru_cache(maxsize=4096)
def resolve(name: str) -> Operator:
    """Find an operator by its full name, such as `aten.add.Tensor`.

    Raises:
        UnsupportedOperatorError: a name outside ATen, forbidden or unknown.
    """
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "aten" or parts[1] in _FORBIDDEN:
        raise UnsupportedOperatorError(
            f"Operator {name} is not run on this device; move the tensors to the CPU for it."
        )
    packet = getattr(torch.ops.aten, parts[1], None)
    overload = getattr(packet, parts[2], None)
    if overload is None:
        raise UnsupportedOperatorError(
            f"Operator {name} does not exist in torch {torch.__version__}; run the same torch on both sides."
        )
    arguments = overload._schema.arguments
    written = tuple((i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)
    returned = [str(item.type) for item in overload._schema.returns]
    returns_value = bool(returned) and not any("Tensor" in kind for kind in returned)
    return Operator(
        overload,
        written,
        torch.Tag.nondeterministic_seeded in overload.tags,
        returns_value,
        num_positional=sum(not argument.kwarg_only for argument in arguments),
        names=frozenset(argument.name for argument in arguments),
    )


def function_of(overload: Any) -> Callable[..., Any]:
    """Return what calls an overload soonest; it takes the arguments of its schema, and perhaps others."""
    function: Callable[..., Any] = _FUNCTIONS.get(overload, overload._op)
    return function


@lru_cache(maxsize=4096)
def out_form(name: str) -> OutForm | None:
    """Find the `out=` form that computes a result without allocating; None where torch has none.

    Forms that torch generates (compute, then copy) gain nothing and are left out.
    """
    overload = resolve(name).call
    if name.split(".")[1] in _UNLIKE_RESULT or any(str(item.type) != "Tensor" for item in overload._schema.returns):
        return None
    own_names = [argument.name for argument in overload._schema.arguments]
    packet = getattr(torch.ops.aten, name.split(".")[1])
    for candidate_name in packet.overloads():
        candidate = getattr(packet, candidate_name)
        out_names = tuple(a.name for a in candidate._schema.arguments if a.is_out)
        other_names = [a.name for a in candidate._schema.arguments if not a.is_out]
        if not out_names or len(out_names) != len(overload._schema.returns) or torch.Tag.generated in candidate.tags:
            continue
        dropped = frozenset(own_names) - frozenset(other_names)
        same_order = [n for n in own_names if n not in dropped] == other_names
        if same_order and dropped <= _PLACEMENT_ARGUMENTS and _same_types(overload, candidate, other_names):
            return OutForm(candidate, out_names, dropped)
    return None


def minds_strides(name: str) -> bool:
    """Tell whether an operator's `out=` form is right only where its operands lie row by row."""
    return name.split(".")[1] in _UNLIKE_RESULT_IN_STRIDES


def _same_types(overload: Any, candidate: Any, names: list[str]) -> bool:
    types = {argument.name: str(argument.type) for argument in overload._schema.arguments}
    candidate_types = {argument.name: str(argument.type) for argument in candidate._schema.arguments}
    return all(types[name] == candidate_types[name] for name in names)
