"""What fits a schema is let through quickly, and what does not is refused as the full validator does."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ablations.schemas import TRIAL_SCHEMA, find_violation

# Of the keywords that mean the same in draft 7, which the quick validator speaks, and in draft 2020-12, that of the schemas.
_KEYWORDS = frozenset(
    [
        "$schema",
        "$defs",
        "$ref",
        "title",
        "description",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "minProperties",
        "items",
        "minItems",
        "enum",
        "const",
        "pattern",
        "format",
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "anyOf",
        "allOf",
        "if",
        "then",
    ]
)


@pytest.fixture(params=("os_tax/micro_add", "session_arena/arenas", "plan_cache/decode", "semantic_signals/lru"))
def trial(request: pytest.FixtureRequest, root: Path) -> Path:
    """A record of the committed reference run, one of each study."""
    path: Path = root / f"results/reference/intel-xeon-2-cores/trials/{request.param}/trial_0.json"
    return path


def test_a_record_that_fits_is_let_through_quickly(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the full validator, which takes a hundred times as long and is not even imported."""
    plain = json.loads(trial.read_text())
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert find_violation(plain, TRIAL_SCHEMA) is None
    with pytest.raises(ImportError):
        find_violation(plain | {"trial": -1}, TRIAL_SCHEMA)


def test_the_quick_validator_lets_nothing_through_that_the_full_one_refuses(trial: Path, root: Path) -> None:
    """Whatever is wrong, and wherever; what only looks wrong is let through by both."""
    schema = json.loads((root / "workflow/schemas/trial_record.schema.json").read_text())
    full = jsonschema.Draft202012Validator(schema)
    refused = 0
    for bad in _damages(_shortened(json.loads(trial.read_text()))):
        fits = full.is_valid(bad)
        assert (find_violation(bad, TRIAL_SCHEMA) is None) == fits
        refused += not fits
    assert refused > 20


@pytest.mark.parametrize("plain", [None, [], {}, {"study": 1}, {"study": []}, {"study": "unheard_of"}])
def test_what_is_no_record_is_explained(plain: Any) -> None:
    """The quick validator knows no study for it."""
    violation = find_violation(plain, TRIAL_SCHEMA)
    assert violation is not None
    assert violation.startswith("at ")


def test_a_violation_names_its_place(trial: Path) -> None:
    """With the value, so that it can be found in a long file."""
    record = json.loads(trial.read_text())
    record["environment"]["machine_id"] = 7
    violation = find_violation(record, TRIAL_SCHEMA)
    assert violation is not None
    assert violation.startswith("at environment.machine_id (7 is not of type 'string'")


def test_the_schema_says_nothing_that_the_quick_validator_reads_otherwise(root: Path) -> None:
    """It knows drafts up to 7, and ignores what is newer."""
    schema = json.loads((root / "workflow/schemas/trial_record.schema.json").read_text())
    assert set(_keywords(schema)) <= _KEYWORDS


def _keywords(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        yield keyword
        named = keyword in ("properties", "$defs")
        for inner in value.values() if named else value if isinstance(value, list) else [value]:
            yield from _keywords(inner)


def _shortened(value: Any) -> Any:
    """Return a record with few samples, which the full reader gets through hundreds of times in seconds."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return [_shortened(inner) for inner in value[:12]] if isinstance(value, list) else value


def _damages(good: dict[str, Any]) -> Iterator[Any]:
    """Yield copies of which one place, the first of each list, is absent, of another type, out of range or unknown."""
    for place in _places(good, ()):
        for change in (None, -1, True, "", 1.5, "absent", "unknown"):
            bad = copy.deepcopy(good)
            parent = bad
            for step in place[:-1]:
                parent = parent[step]
            if change == "absent":
                del parent[place[-1]]
            elif change == "unknown" and isinstance(parent, dict):
                parent["unheard_of"] = 1
            else:
                parent[place[-1]] = change
            yield bad


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    if len(place) == 3:
        return
    if isinstance(value, dict):
        for key in sorted(value)[:3] if len(place) > 1 else sorted(value):
            yield from _places(value[key], (*place, key))
    elif isinstance(value, list) and value:
        yield from _places(value[0], (*place, 0))
