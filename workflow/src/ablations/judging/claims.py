"""The claims file: read, checked, and refused in one sentence if it contradicts itself."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import jsonschema
import msgspec

from ablations.errors import ClaimsError
from ablations.settings import repository_root
from ablations.violations import first_violation
from ablations.yaml_files import read_yaml

DEFAULT_CLAIMS = "config/claims.yaml"
TIME_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}

Comparison = Literal["at_most", "at_least", "between", "equivalent"]


class Requirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric and what it has to be.

    Attributes:
        metric: name of a quantity of the study's result.
        comparison: how it is compared; "equivalent" is within the threshold on both sides of zero.
        threshold: one number, or two for "between".
        unit: of the threshold.
        why: what it controls; empty for a claim's own test.
    """

    metric: str
    comparison: Comparison
    threshold: float | tuple[float, float]
    unit: str
    why: str = ""

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The lower and the upper bound."""
        if isinstance(self.threshold, tuple):
            return self.threshold
        if self.comparison == "equivalent":
            return -self.threshold, self.threshold
        return (self.threshold, None) if self.comparison == "at_least" else (None, self.threshold)


class Contradiction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"claims": "with"}):
    """Where the document disagrees with itself.

    Attributes:
        claims: ids of the claims that it disagrees with.
        why: what cannot both be.
        grade: if the document alone decides; otherwise the claim is judged and the contradiction noted.
    """

    claims: tuple[str, ...]
    why: str
    grade: str | None = None


class Claim(Requirement, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One claim of the document; see config/README.md for the keys."""

    id: str
    quote: str
    section: str
    line: int
    study: str
    reading: str
    hardware: str | None = None
    no_effect: float | None = None
    noise_floor: str | None = None
    controls: tuple[Requirement, ...] = ()
    contradiction: Contradiction | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every quantity that judging the claim reads."""
        floor = (self.noise_floor,) if self.noise_floor else ()
        return (self.metric, *floor, *(control.metric for control in self.controls))


class ClaimsFile(msgspec.Struct, frozen=True, kw_only=True):
    """All claims, and which file they came from.

    Attributes:
        path, sha256: of the file.
        source: title and sha256 of the document that is quoted.
        claims: in order of the file.
    """

    path: Path
    sha256: str
    source: dict[str, str]
    claims: tuple[Claim, ...]


def load_claims(path: Path) -> ClaimsFile:
    """Read a claims file.

    Raises:
        ClaimsError: a file that is missing, is not YAML, has a key twice, an unknown key, unit or grade, or contradicts itself.
    """
    text, content = read_yaml(path, "Claims", ClaimsError)
    schema = json.loads((repository_root() / "workflow/schemas/claims.schema.json").read_text())
    violation = first_violation(jsonschema.Draft202012Validator(schema).iter_errors(content))
    if violation is not None:
        raise ClaimsError(f"{path}: {_explain(violation, content)}")
    claims = msgspec.convert(content["claims"], tuple[Claim, ...])
    for claim in claims:
        for requirement in (claim, *claim.controls):
            _check_requirement(path, claim, requirement)
        _check_hardware(path, claim)
    _check_references(path, claims)
    return ClaimsFile(
        path=path, sha256=hashlib.sha256(text.encode()).hexdigest(), source=content["source"], claims=claims
    )


def suggest(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence that says which name was meant."""
    near = difflib.get_close_matches(name, known, n=2)
    return f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(sorted(known))}."


def _explain(violation: jsonschema.ValidationError, content: Any) -> str:
    place, path = "the file", list(violation.absolute_path)
    if path[:1] == ["claims"] and len(path) > 1:
        claim = content["claims"][path[1]]
        place = f"claim {claim.get('id', path[1]) if isinstance(claim, Mapping) else path[1]}"
    if violation.validator == "additionalProperties" and isinstance(violation.schema, Mapping):
        known = set(violation.schema["properties"])
        # YAML has keys that are no text.
        unknown = min(str(key) for key in violation.instance if key not in known)  # type: ignore[union-attr]
        return f"key {unknown!r} of {place} is unknown; {suggest(unknown, known)}"
    if violation.validator == "enum" and isinstance(violation.validator_value, list):
        return (
            f"{path[-1]} {violation.instance!r} of {place} is unknown; "
            f"{suggest(str(violation.instance), violation.validator_value)}"
        )
    key = f"{path[-1]} of {place}" if len(path) > 2 else place
    return f"{key} does not fit ({violation.message[:150]}); see config/README.md for what it may hold."


def _check_requirement(path: Path, claim: Claim, requirement: Requirement) -> None:
    is_pair = isinstance(requirement.threshold, tuple)
    if is_pair != (requirement.comparison == "between"):
        raise ClaimsError(
            f"{path}: claim {claim.id} compares {requirement.metric} {requirement.comparison} with {_shown(requirement.threshold)}; "
            "give two numbers for between and one for anything else."
        )
    numbers = requirement.threshold if isinstance(requirement.threshold, tuple) else (requirement.threshold,)
    if not all(map(math.isfinite, numbers)):
        raise ClaimsError(
            f"{path}: threshold {_shown(requirement.threshold)} of claim {claim.id} is no finite number; correct it."
        )
    lower, upper = requirement.bounds
    if lower is not None and upper is not None and lower >= upper:
        raise ClaimsError(
            f"{path}: no value of {requirement.metric} can satisfy {requirement.comparison} {_shown(requirement.threshold)} of claim "
            f"{claim.id}; give a lower bound that is less than the upper one."
        )
    if requirement.unit == "ratio" and requirement.comparison == "equivalent":
        raise ClaimsError(
            f"{path}: claim {claim.id} compares {requirement.metric} in ratio with a margin around zero, where no ratio lies; "
            "use between, or a metric in %."
        )
    if requirement.unit in ("ratio", *TIME_UNITS) and min(numbers) < 0:
        raise ClaimsError(
            f"{path}: threshold {_shown(requirement.threshold)} {requirement.unit} of claim {claim.id} is negative, "
            f"which no {requirement.metric} can be; correct it."
        )


def _check_hardware(path: Path, claim: Claim) -> None:
    if claim.unit in TIME_UNITS and claim.hardware is None:
        raise ClaimsError(
            f"{path}: claim {claim.id} is an absolute time ({claim.unit}) without the hardware that it speaks of; "
            "add hardware, or claim a ratio."
        )
    if claim.unit not in TIME_UNITS and claim.hardware is not None:
        raise ClaimsError(
            f"{path}: claim {claim.id} is in {claim.unit}, which machines can be compared by, but names hardware "
            f"{claim.hardware}; remove one of the two."
        )


def _check_references(path: Path, claims: tuple[Claim, ...]) -> None:
    ids = [claim.id for claim in claims]
    doubled = next((one for one in ids if ids.count(one) > 1), None)
    if doubled is not None:
        raise ClaimsError(f"{path}: claim {doubled} is there {ids.count(doubled)} times; give each its own id.")
    for claim in claims:
        for other in claim.contradiction.claims if claim.contradiction else ():
            if other not in ids or other == claim.id:
                raise ClaimsError(
                    f"{path}: claim {claim.id} contradicts {other}, which is no other claim; "
                    f"{suggest(other, [one for one in ids if one != claim.id])}"
                )


def _shown(threshold: float | tuple[float, float]) -> str:
    return " to ".join(f"{number:g}" for number in (threshold if isinstance(threshold, tuple) else (threshold,)))
