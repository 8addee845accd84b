"""The quick reader of trial records accepts what the full one accepts, and refuses with its sentences."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablations import fast_records
from ablations.errors import RecordError
from ablations.fast_records import read_trial
from ablations.records import read_record

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


def test_a_good_record_is_read_alike_and_once(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the full reader, which takes a hundred times as long."""
    expected = read_record(trial)
    monkeypatch.setattr(fast_records, "read_record", None)
    assert read_trial(trial) == expected


def test_what_does_not_fit_is_refused_with_the_same_sentence(trial: Path, tmp_path: Path) -> None:
    """Whatever is wrong, and wherever; what only looks wrong is read."""
    good = _shortened(json.loads(trial.read_text()))
    damaged = tmp_path / "trial_0.json"
    refused = 0
    for bad in _damages(good):
        damaged.write_text(json.dumps(bad))
        expected, found = _outcome(read_record, damaged), _outcome(read_trial, damaged)
        assert found == expected
        refused += isinstance(found, str)
    assert refused > 20


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"schema_version": 2}', b"\x00", b'{"study": "\xff"}']
)
def test_what_is_no_record_is_refused_with_the_same_sentence(content: bytes, tmp_path: Path) -> None:
    """Nor is a file that is missing."""
    path = tmp_path / "trial_0.json"
    with pytest.raises(RecordError, match="does not exist; run the rule"):
        read_trial(path)
    path.write_bytes(content)
    outcome = _outcome(read_trial, path)
    assert isinstance(outcome, str)
    assert outcome == _outcome(read_record, path)


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


def _outcome(read: Any, path: Path) -> Any:
    try:
        return read(path)
    except Exception as error:  # whatever it is, both readers must end alike
        return f"{type(error).__name__}: {error}"
