"""What is wrong with a file that a user wrote, said in one sentence."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema

from ablations.errors import SettingsError

_LARGEST = sys.float_info.max
_MAX_SHOWN = 100


def first_violation(violations: Iterable[jsonschema.ValidationError]) -> jsonschema.ValidationError | None:
    """Return the one to tell of: an unknown key before a missing one, which it is likely meant to be; None of none."""
    found = list(violations)
    unknown = (violation for violation in found if violation.validator == "additionalProperties")
    return next(unknown, None) or jsonschema.exceptions.best_match(found)


def explain_violation(violation: jsonschema.ValidationError, example: str) -> str:
    """Return what is wrong, with the key, its value and the remedy, without the file's name.

    Args:
        violation: the first that was found.
        example: path of a configuration that is complete.
    """
    place = ".".join(str(part) for part in violation.absolute_path) or "the configuration"
    if violation.validator == "additionalProperties":
        schema, instance = violation.schema, violation.instance
        assert isinstance(schema, Mapping), "a schema that forbids keys is an object"
        assert isinstance(instance, Mapping), "only an object has keys"
        known = sorted(schema.get("properties", {}))
        # YAML has keys that are no text.
        unknown = min(str(key) for key in instance if key not in known)
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"the known keys are {', '.join(known)}"
        return (
            f"key {unknown!r} in {place} is unknown; {hint}?"
            if near
            else f"key {unknown!r} in {place} is unknown; {hint}."
        )
    if violation.validator == "required":
        return f"{place} lacks a key ({violation.message}); add it as in {example}."
    return f"{place} is {_shown(violation.instance)}, which does not fit ({violation.message[:200]}); see config/README.md for its range."


def require_finite(config: Mapping[str, Any], source: str) -> None:
    """Refuse numbers that are none, which compare with nothing and so pass every range of a schema, or that no float holds.

    Raises:
        SettingsError: the first of them, with its key.
    """
    for key, value in _numbers(config, ""):
        if not -_LARGEST <= value <= _LARGEST:
            raise SettingsError(f"{source}: {key} is {_shown(value)}, but must be a finite number; correct it.")


def _shown(value: Any) -> str:
    """Return a value as a sentence can hold it."""
    if isinstance(value, int) and value.bit_length() > sys.float_info.max_exp:
        return "beyond all floats"  # and maybe beyond what Python turns into digits
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _numbers(content: Any, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield from _numbers(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from _numbers(value, f"{key}[{place}]")
    elif isinstance(content, int | float):
        yield key, content
