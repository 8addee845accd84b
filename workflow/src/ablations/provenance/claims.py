"""Claims as far as tracing needs them: what the paper states, what was judged here, and on which numbers that rests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ablations.errors import RecordError
from ablations.provenance.naming import Subject
from ablations.settings import repository_root

CLAIMS_NAME = "claims.json"


_COMPARISONS = {"at_most": "at most", "at_least": "at least", "between": "between", "equivalent": "equivalent to"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One number that the paper states.

    Attributes:
        identity: of the claim.
        study, metric: what it speaks of.
        text: the bound, the quoted words, and the hardware if it speaks of one.
        hardware: without which it cannot be tested; None for any.
    """

    identity: str
    study: str
    metric: str
    text: str
    hardware: str | None


@lru_cache(maxsize=1)
def all_statements() -> tuple[Statement, ...]:
    """Return what the paper states, in its order; nothing where the repository holds no claims.

    Raises:
        RecordError: the claims file is damaged.
    """
    path = repository_root() / "config/claims.yaml"
    if not path.is_file():
        return ()
    try:
        claims = yaml.safe_load(path.read_text())["claims"]
        return tuple(_statement(claim) for claim in claims)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise RecordError(f"Claims file {path} cannot be used ({' '.join(str(error).split())}); correct it.") from error


def paper_statements(study: str) -> list[Statement]:
    """Return what the paper states on one study."""
    return [statement for statement in all_statements() if statement.study == study]


def _statement(claim: Mapping[str, Any]) -> Statement:
    threshold = claim["threshold"]
    shown = " and ".join(map(str, threshold)) if isinstance(threshold, list) else str(threshold)
    hardware = claim.get("hardware")
    suffix = f", on {hardware}" if hardware else ""
    bound = f"{_COMPARISONS.get(claim['comparison'], claim['comparison'])} {shown} {claim['unit']}"
    return Statement(claim["id"], claim["study"], claim["metric"], f"{bound}{suffix} ({claim['quote']!r})", hardware)


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """One claim with its verdict.

    Attributes:
        identity: its id.
        facts: what the judge wrote about it, in order, as text.
        subjects: the quantities that it rests on.
    """

    identity: str
    facts: tuple[tuple[str, str], ...]
    subjects: tuple[Subject, ...]


def read_claims(results_dir: Path, results: Mapping[str, dict[str, Any]]) -> dict[str, JudgedClaim]:
    """Return the judged claims by id; none where nothing was judged yet.

    Raises:
        RecordError: the file is damaged.
    """
    path = results_dir / CLAIMS_NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
        claims = {str(claim["id"]): claim for claim in content["verdicts"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"Result {path} holds no verdicts ({error}); delete it and judge again.") from error
    cells = {
        f"{study}.{quantity}": Subject(study, quantity)
        for study, result in results.items()
        for quantity in result["quantities"]
    }
    return {
        identity: JudgedClaim(identity, tuple(_facts(claim)), tuple(_subjects(claim, cells)))
        for identity, claim in claims.items()
    }


def _facts(claim: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in claim.items():
        if key != "id" and value is not None:
            yield key, str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _subjects(claim: Mapping[str, Any], cells: Mapping[str, Subject]) -> Iterator[Subject]:
    """Yield the quantities that a claim names, as a cell or as a quantity of its study."""
    study, seen = claim.get("study"), set()
    for text in _strings(claim):
        for name in (text, f"{study}.{text}"):
            if name in cells and name not in seen:
                seen.add(name)
                yield cells[name]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
