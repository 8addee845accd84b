"""The trial record: everything that one invocation measured, as one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from ablations.errors import RecordError
from ablations.schemas import TRIAL_SCHEMA, find_violation
from ablations.whole_files import write_text

SCHEMA_VERSION = 1
# A whole number of so many digits passes for a number of JSON and of a schema, but no float holds it. Looked for in the
# bytes, in a tenth of the time that reading them takes.
_BEYOND_FLOATS = b"0" * 309
_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)


class TrialRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One invocation of one variant of one study.

    Attributes:
        schema_version: of this format.
        study, variant, trial: what was measured.
        seed: of this trial's random choices.
        tier: of the configuration.
        settings, settings_sha256: what the trial depends on.
        sources_sha256: of the package files that the study imports.
        environment: machine and software; `machine_id` must agree within an aggregate.
        started_at, duration_s: wall-clock start (ISO 8601, UTC) and length.
        samples: every raw sample, in order, with units in the names.
        counters: what the runtime counted.
        checks: what was verified; a violated check leaves no record.
        contamination: signs that something else used the machine.
    """

    schema_version: int
    study: str
    variant: str
    trial: int
    seed: int
    tier: str
    settings: dict[str, Any]
    settings_sha256: str
    sources_sha256: str
    environment: dict[str, Any]
    started_at: str
    duration_s: float
    samples: dict[str, Any]
    counters: dict[str, Any]
    checks: dict[str, bool]
    contamination: dict[str, Any]


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is either absent, old or complete.

    Raises:
        RecordError: the folder cannot be written to, or something other than a file has this name.
    """
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_record(path: Path, record: TrialRecord) -> None:
    """Write a trial record, checked against its schema."""
    write_result(path, msgspec.to_builtins(record), TRIAL_SCHEMA)


def write_result(path: Path, plain: dict[str, Any], schema_name: str) -> None:
    """Write a JSON result of any kind, checked against `workflow/schemas/<schema_name>.schema.json`.

    Raises:
        RecordError: it does not fit the schema, or the folder cannot be written to.
    """
    # A round trip turns tuples into what a reader will see.
    _check(msgspec.json.decode(msgspec.json.encode(plain)), schema_name, path)
    write_json(path, plain)


def read_record(path: Path) -> TrialRecord:
    """Read and check a trial record.

    Raises:
        RecordError: the file is missing, truncated, of another version or does not fit the schema.
    """
    return msgspec.convert(read_result(path, TRIAL_SCHEMA), TrialRecord)


def read_result(path: Path, schema_name: str) -> dict[str, Any]:
    """Read a JSON result of any kind and check it against `workflow/schemas/<schema_name>.schema.json`.

    Raises:
        RecordError: the file is missing, truncated, of another version or does not fit the schema.
    """
    remedy = _remedy(schema_name)
    try:
        content = path.read_bytes()
        plain = msgspec.json.decode(content)
    except FileNotFoundError as error:
        raise RecordError(f"Result {path} does not exist; run the rule or script that makes it.") from error
    except OSError as error:
        raise RecordError(f"Result {path} cannot be read ({error.strerror}); check its permissions.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"Result {path} is not complete JSON ({error}); {remedy}.") from error
    if _BEYOND_FLOATS in content.translate(_AS_ZEROS):
        raise RecordError(f"Result {path} holds a number that no float can, which nothing measures; {remedy}.")
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if version != SCHEMA_VERSION:
        if isinstance(version, int) and version > SCHEMA_VERSION:
            remedy = "use the release that wrote it"
        raise RecordError(
            f"Result {path} has schema version {version}, but this release reads {SCHEMA_VERSION}; {remedy}."
        )
    _check(plain, schema_name, path)
    assert isinstance(plain, dict), "the schema admits objects only"
    return plain


def _check(plain: Any, schema_name: str, path: Path) -> None:
    violation = find_violation(plain, schema_name)
    if violation is not None:
        raise RecordError(f"Result {path} does not fit schema {schema_name} {violation}; {_remedy(schema_name)}.")


def _remedy(schema_name: str) -> str:
    """Return what to do with a file of this kind that is damaged."""
    return "delete it and run " + ("its trial" if schema_name == TRIAL_SCHEMA else "the workflow") + " again"
