"""Claims as far as tracing needs them: what the paper states, what was judged here, and on which numbers that rests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablations.judging.claims import DEFAULT_CLAIMS, Claim, load_claims
from ablations.provenance.naming import Subject
from ablations.records import read_result
from ablations.rendering.shown_verdicts import claim_label
from ablations.settings import repository_root

VERDICTS_NAME = "claims.json"
_COMPARISONS = {"at_most": "at most", "at_least": "at least", "between": "between", "equivalent": "equivalent within"}


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """One claim with its verdict.

    Attributes:
        identity: its id.
        label: what pages call it: C1, C2, ...
        facts: what the judge wrote about it, in order, as text.
        subjects: the quantities that it rests on.
    """

    identity: str
    label: str
    facts: tuple[tuple[str, str], ...]
    subjects: tuple[Subject, ...]


@lru_cache(maxsize=1)
def all_claims() -> tuple[Claim, ...]:
    """Return the claims of the repository, in their order.

    Raises:
        ClaimsError: the claims file cannot be used.
    """
    return load_claims(repository_root() / DEFAULT_CLAIMS).claims


def statements(study: str, metric: str) -> list[str]:
    """Return what the paper states of one quantity: bound, quoted words, and the hardware if it speaks of one.

    Raises:
        ClaimsError: the claims file cannot be used.
    """
    return [_statement(claim) for claim in all_claims() if (claim.study, claim.metric) == (study, metric)]


def read_claims(results_dir: Path, results: Mapping[str, dict[str, Any]]) -> dict[str, JudgedClaim]:
    """Return the judged claims by id; none where nothing was judged yet.

    Raises:
        RecordError: the verdicts are damaged.
        ClaimsError: the claims file cannot be used.
    """
    path = results_dir / VERDICTS_NAME
    if not path.is_file():
        return {}
    known = {claim.id: claim for claim in all_claims()}
    judged = {}
    for number, verdict in enumerate(read_result(path, "verdicts")["verdicts"], start=1):
        claim = known.get(verdict["id"])
        # A claim that was removed since still rests on its metric.
        metrics = (verdict["metric"],) if claim is None else claim.metrics
        quantities = results.get(verdict["study"], {"quantities": {}})["quantities"]
        subjects = tuple(Subject(verdict["study"], metric) for metric in dict.fromkeys(metrics) if metric in quantities)
        judged[verdict["id"]] = JudgedClaim(verdict["id"], claim_label(number), tuple(_facts(verdict)), subjects)
    return judged


def _statement(claim: Claim) -> str:
    bounds = claim.threshold if isinstance(claim.threshold, tuple) else (claim.threshold,)
    hardware = f", on {claim.hardware}" if claim.hardware else ""
    unit = "×" if claim.unit == "ratio" else f" {claim.unit}"
    bound = f"{_COMPARISONS[claim.comparison]} {' and '.join(f'{one:g}' for one in bounds)}{unit}"
    return f"{bound}{hardware} ({claim.quote!r})"


def _facts(verdict: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in verdict.items():
        if key != "id" and value not in (None, []):
            yield key, str(value) if isinstance(value, str | int | float) else json.dumps(value)
