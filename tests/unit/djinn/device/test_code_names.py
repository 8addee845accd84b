"""What code mentions and assigns is found in its instructions, in functions inside of it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from djinn.device.code_names import code_names_of

helper: Any = None
settings: Any = None
count = 0


class _Base:
    def run(self) -> Any:
        """Be overridden."""


class _Derived(_Base):
    def run(self) -> Any:
        """Ask the base."""
        return super().run()


def _calls() -> Any:
    return helper(settings.nested.factor, helper.other(1).size)


def _has_functions_inside() -> Any:
    def inner() -> Any:
        return lambda: settings.shift

    return inner, [helper(row) for row in ()]


def _assigns(module: Any) -> None:
    global count, helper
    count += 1
    module.step = 1
    del module.gone
    del helper


def _assigns_by_name(module: Any, name: str) -> None:
    setattr(module, "step", 1)  # noqa: B010 - as others write it
    globals()["count"] = name


@pytest.mark.parametrize(
    ("function", "names", "attributes"),
    [
        (_calls, ["helper", "settings"], ["nested", "factor", "other", "size"]),
        (_has_functions_inside, ["settings", "helper"], ["shift"]),
        (_Derived.run, ["super"], ["run"]),
    ],
)
def test_names_are_found(function: Callable[..., Any], names: list[str], attributes: list[str]) -> None:
    """Globals, and attributes of anything."""
    found = code_names_of(function.__code__)
    assert set(names) <= found.globals.keys()
    assert set(attributes) == found.attributes.keys()
    assert not found.written_globals | found.written_attributes


def test_assigned_names_are_found() -> None:
    """Apart from those that are only read."""
    found = code_names_of(_assigns.__code__)
    assert found.written_globals.keys() == {"count", "helper"}
    assert found.written_attributes.keys() == {"step", "gone"}


def test_whatever_a_string_names_may_be_assigned() -> None:
    """Where something is called that assigns by name."""
    found = code_names_of(_assigns_by_name.__code__)
    assert {"step", "count"} <= found.written_globals.keys() & found.written_attributes.keys()
