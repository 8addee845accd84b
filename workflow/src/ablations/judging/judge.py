"""All claims against all results, as one file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from ablations.analysis.bounds import ONE_SIDED_CONFIDENCE
from ablations.analysis.quantity import CONFIDENCE
from ablations.analysis.reading import read_studies
from ablations.errors import ClaimsError
from ablations.judging.claims import Claim, ClaimsFile, load_claims, suggest
from ablations.judging.grades import Grade, Verdict
from ablations.judging.verdicts import judge_claim
from ablations.records import SCHEMA_VERSION, write_result
from ablations.settings import repository_root

_CITATION = ("id", "quote", "section", "line", "study", "metric", "comparison", "unit", "reading", "hardware")

Results = dict[str, dict[str, Any]]


def judge_files(claims: Path, inputs: list[Path], output: Path) -> None:
    """Judge every claim of a file and write the verdicts.

    Args:
        claims: the claims file.
        inputs: aggregated results of one tier; claims of a study that is not among them are not testable.
        output: where the verdicts go.

    Raises:
        ClaimsError: a claims file that cannot be used, or that asks for what no study measures.
        RecordError: a result that cannot be used, or an output that cannot be written.
        AggregationError: results that do not belong together.
    """
    results = read_studies(inputs)
    # Relative to the verdicts, so that a folder of results can be moved as a whole.
    files = [
        {"file": Path(os.path.relpath(path, output.parent)).as_posix(), "sha256": _sha256(path)}
        for path in sorted(inputs)
    ]
    write_result(output, judge(load_claims(claims), results) | {"results": files}, "verdicts")


def judge(claims: ClaimsFile, results: Results) -> dict[str, Any]:
    """Return the verdicts as plain data, without the files that the results came from.

    Raises:
        ClaimsError: a claim asks for what no study measures.
    """
    for claim in claims.claims:
        _require_answers(claims, claim, results)
    verdicts = [(claim, judge_claim(claim, results.get(claim.study))) for claim in claims.claims]
    grades = [verdict.grade for _, verdict in verdicts]
    return {
        "schema_version": SCHEMA_VERSION,
        "tier": next(iter(results.values()))["tier"] if results else None,
        "source": claims.source,
        "claims_file": {"file": _in_repository(claims.path), "sha256": claims.sha256},
        "confidence": CONFIDENCE,
        "one_sided_confidence": ONE_SIDED_CONFIDENCE,
        "counts": {grade.value: grades.count(grade) for grade in Grade},
        "verdicts": [_plain(claim, verdict, results) for claim, verdict in verdicts],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _in_repository(path: Path) -> str:
    resolved = path.resolve()
    is_inside = resolved.is_relative_to(repository_root().resolve())
    return (resolved.relative_to(repository_root().resolve()) if is_inside else path).as_posix()


def _plain(claim: Claim, verdict: Verdict, results: Results) -> dict[str, Any]:
    result = results.get(claim.study)
    contradiction = msgspec.to_builtins(claim.contradiction) if claim.contradiction else None
    return {
        **{name: getattr(claim, name) for name in _CITATION},
        "bounds": list(claim.bounds),
        "no_effect": claim.no_effect,
        "contradiction": contradiction,
        "ablation": result["ablation"] if result else None,
        "flags": result["flags"] if result else [],
        **msgspec.to_builtins(verdict),
    }


def _require_answers(claims: ClaimsFile, claim: Claim, results: Results) -> None:
    if claim.study not in results:
        return
    known = results[claim.study]["quantities"]
    for metric in claim.metrics:
        if metric not in known:
            elsewhere = [study for study, result in results.items() if metric in result["quantities"]]
            hint = f"study {elsewhere[0]} does; correct one of the two." if elsewhere else suggest(metric, known)
            raise ClaimsError(
                f"{claims.path}: claim {claim.id} asks for {metric}, which study {claim.study} does not measure; {hint}"
            )
