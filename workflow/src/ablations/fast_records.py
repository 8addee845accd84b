"""Reads trial records quickly: a compiled schema lets through what fits, and the full reader judges all else.

A record holds up to a hundred thousand samples, and `jsonschema` looks at each for ten microseconds; the validator that
`fastjsonschema` compiles takes a hundredth of that. It knows drafts up to 7 and has poorer messages, so what it refuses is
read again by `ablations.records`, whose word is final and whose sentences are what a reader sees.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastjsonschema
import msgspec

from ablations.records import SCHEMA_VERSION, TrialRecord, read_record
from ablations.settings import repository_root


def read_trial(path: Path) -> TrialRecord:
    """Read and check a trial record.

    Raises:
        RecordError: the file is missing, truncated, of another version or does not fit the schema.
    """
    try:
        plain = msgspec.json.decode(path.read_bytes())
        _validator(plain["study"])(plain)
        record = msgspec.convert(plain, TrialRecord)
    except (
        OSError,
        LookupError,
        TypeError,
        UnicodeDecodeError,
        msgspec.MsgspecError,
        fastjsonschema.JsonSchemaException,
    ):
        return read_record(path)
    return record if record.schema_version == SCHEMA_VERSION else read_record(path)


@lru_cache(maxsize=8)
def _validator(study: str) -> Callable[[Any], Any]:
    """Return what checks a study's records, compiled from that study's part of the schema: all parts take four times as long."""
    path = repository_root() / "workflow/schemas/trial_record.schema.json"
    schema = json.loads(path.read_text())
    schema["allOf"] = [part for part in schema["allOf"] if part["if"]["properties"]["study"]["const"] == study]
    # Reading adds nothing: absent stays absent.
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema, use_default=False)
    return compiled
