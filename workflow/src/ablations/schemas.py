"""Checks results against their schemas: what fits is let through quickly, what does not is explained by the full validator.

A trial record holds up to a hundred thousand samples, and `jsonschema` looks at each for ten microseconds; the validator
that `fastjsonschema` compiles takes a hundredth of that. It knows drafts up to 7 and has poorer messages, so what it refuses
is judged by `jsonschema`, whose word is final; a process that never meets a violation never imports that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import fastjsonschema

from ablations.settings import repository_root

TRIAL_SCHEMA = "trial_record"


def find_violation(plain: Any, schema_name: str) -> str | None:
    """Return where and how a result breaks `workflow/schemas/<schema_name>.schema.json`, in words; None if it fits."""
    if schema_name == TRIAL_SCHEMA and _fits_quickly(plain):
        return None
    jsonschema = import_module("jsonschema")
    validator = jsonschema.Draft202012Validator(_schema(schema_name))
    violation = jsonschema.exceptions.best_match(validator.iter_errors(plain))
    if violation is None:
        return None
    place = ".".join(str(part) for part in violation.absolute_path) or "the top level"
    return f"at {place} ({violation.message[:200]})"


def _fits_quickly(plain: Any) -> bool:
    """Return whether the compiled validator takes a trial record; a refusal is not yet a violation."""
    try:
        _compiled(plain["study"])(plain)
    except (LookupError, TypeError, fastjsonschema.JsonSchemaException):
        return False
    return True


@lru_cache(maxsize=8)
def _compiled(study: str) -> Callable[[Any], Any]:
    """Return what checks a study's records, compiled from that study's part of the schema: all parts take four times as long."""
    schema = _schema(TRIAL_SCHEMA)
    parts = [part for part in schema["allOf"] if part["if"]["properties"]["study"]["const"] == study]
    # Checking adds nothing: absent stays absent.
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema | {"allOf": parts}, use_default=False)
    return compiled


@lru_cache(maxsize=8)
def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((repository_root() / f"workflow/schemas/{name}.schema.json").read_text())
    return schema
