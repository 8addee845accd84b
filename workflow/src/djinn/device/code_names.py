"""Which names the instructions of code look up and assign, found without running it."""

from __future__ import annotations

import dis
import functools
import types
from dataclasses import dataclass, field

# Whoever calls one of these may assign whatever a string names.
_ASSIGNING = frozenset({"setattr", "globals", "vars", "__dict__"})


@dataclass(slots=True)
class CodeNames:
    """What one piece of code mentions, in the order in which it does.

    Attributes:
        globals: names of globals.
        attributes: names of attributes of anything.
        written_globals, written_attributes: those that it assigns or deletes.
    """

    globals: dict[str, None] = field(default_factory=dict)
    attributes: dict[str, None] = field(default_factory=dict)
    written_globals: dict[str, None] = field(default_factory=dict)
    written_attributes: dict[str, None] = field(default_factory=dict)

    def add(self, other: CodeNames) -> None:
        """Add what another piece mentions."""
        for field_name in self.__slots__:
            getattr(self, field_name).update(getattr(other, field_name))


_KINDS = {
    "LOAD_GLOBAL": "globals",
    "LOAD_NAME": "globals",
    "STORE_GLOBAL": "written_globals",
    "DELETE_GLOBAL": "written_globals",
    "LOAD_ATTR": "attributes",
    "LOAD_METHOD": "attributes",
    "LOAD_SUPER_ATTR": "attributes",
    "STORE_ATTR": "written_attributes",
    "DELETE_ATTR": "written_attributes",
}


@functools.lru_cache(maxsize=8192)
def code_names_of(code: types.CodeType) -> CodeNames:
    """Return the names that a piece of code mentions, and those that the functions in it do."""
    found = CodeNames()
    for instruction in dis.get_instructions(code):
        kind = _KINDS.get(instruction.opname)
        if kind is not None:
            getattr(found, kind)[instruction.argval] = None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.add(code_names_of(constant))
    if not _ASSIGNING.isdisjoint(code.co_names):
        named = dict.fromkeys(constant for constant in code.co_consts if isinstance(constant, str))
        found.written_globals.update(named)
        found.written_attributes.update(named)
    return found
