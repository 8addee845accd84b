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
        globals: names of globals, each with the names of attributes that follow it somewhere.
        attributes: names of attributes of anything.
        written_globals, written_attributes: those that it assigns or deletes.
    """

    globals: dict[str, dict[str, None]] = field(default_factory=dict)
    attributes: dict[str, None] = field(default_factory=dict)
    written_globals: set[str] = field(default_factory=set)
    written_attributes: set[str] = field(default_factory=set)


@functools.lru_cache(maxsize=8192)
def code_names_of(code: types.CodeType) -> CodeNames:
    """Return the names that a piece of code mentions, and those that the functions in it do."""
    found = CodeNames()
    followed: str | None = None
    for instruction in dis.get_instructions(code):
        operation, name = instruction.opname, instruction.argval
        if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.globals.setdefault(name, {})
            followed = name
            continue
        if operation.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER")):
            found.attributes[name] = None
            if followed is not None:
                found.globals[followed][name] = None
        elif operation in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            found.written_globals.add(name)
        elif operation in ("STORE_ATTR", "DELETE_ATTR"):
            found.written_attributes.add(name)
        if operation != "EXTENDED_ARG":
            followed = None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _add_names(found, code_names_of(constant))
    if not _ASSIGNING.isdisjoint(code.co_names):
        named = {constant for constant in code.co_consts if isinstance(constant, str)}
        found.written_globals |= named
        found.written_attributes |= named
    return found


def _add_names(found: CodeNames, inner: CodeNames) -> None:
    for name, followers in inner.globals.items():
        found.globals.setdefault(name, {}).update(followers)
    found.attributes.update(inner.attributes)
    found.written_globals |= inner.written_globals
    found.written_attributes |= inner.written_attributes
