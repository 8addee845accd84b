"""Names are compared by what they stand for, without anybody's code running, and constants are put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from djinn.device.names import Names


class Base:
    """A class with an attribute."""

    factor = 2.0


class Derived(Base):
    """A class that inherits it."""


def function(value: float = 1.0) -> float:
    """Return a number."""
    return value


@pytest.fixture
def space() -> dict[str, Any]:
    """Return a namespace."""
    return {"factor": 2.0, "table": None}


def _watched(space: dict[str, Any]) -> Names:
    names = Names()
    names.add(space, "factor")
    names.add(Base, "factor")
    names.add(Derived, "factor")
    names.add_attribute(function, "__defaults__")
    return names


@pytest.mark.parametrize(
    "change",
    [
        lambda space, patch: space.update(factor=3.0),
        lambda space, patch: space.pop("factor"),
        lambda space, patch: patch.setattr(Base, "factor", 3.0),
        lambda space, patch: patch.setattr(Derived, "factor", 2.5, raising=False),
        lambda space, patch: patch.setattr(function, "__defaults__", (5.0,)),
    ],
    ids=["other value", "deleted", "class", "hidden by a subclass", "defaults"],
)
def test_changes_are_seen(
    change: Callable[[Any, Any], Any], space: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of namespaces, classes and functions; nothing else is one."""
    names = _watched(space)
    space["other"] = 1
    assert names.are_same()
    change(space, monkeypatch)
    assert not names.are_same()


def test_constants_that_were_assigned_are_taken_back(space: dict[str, Any]) -> None:
    """As they were when they were asked for; what else was assigned stays, and what is inherited is so again."""
    names = Names()
    for owner, name in ((space, "factor"), (space, "table"), (Base, "factor"), (Derived, "factor")):
        names.add_state(owner, name)
    space["factor"] = 4.0
    before = names.states()
    assert not names.take_back_states(before, is_alone=True)
    table = space["table"] = object()
    space["factor"] = 5.0
    Derived.factor = 6.0
    assert names.take_back_states(before, is_alone=True)
    assert space == {"factor": 4.0, "table": table}
    assert "factor" not in vars(Derived)
    Base.factor = 7.0
    assert names.take_back_states(before, is_alone=True)
    assert Base.factor == 2.0
