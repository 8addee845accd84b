"""What the paper states and what was judged are read as far as tracing needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablations.errors import RecordError
from ablations.judging.judge import judge_files
from ablations.provenance.claims import all_claims, read_claims, statements
from ablations.provenance.folder import result_files
from ablations.provenance.naming import Subject
from ablations.records import read_result


@pytest.fixture
def judged(whole: Path, root: Path) -> tuple[Path, dict[str, Any]]:
    """A folder of results with verdicts, and the results."""
    paths = result_files(whole)
    judge_files(root / "config/claims.yaml", list(paths.values()), whole / "claims.json")
    return whole, {study: read_result(path, "aggregated") for study, path in paths.items()}


def test_statements_carry_bound_quote_and_hardware() -> None:
    """As a reader of the comparison needs them; a range has both ends."""
    assert "at most 1 % ('Full forward pass: <1% overhead')" in statements("os_tax", "full_forward.warm_overhead")
    assert any(text.startswith("between 1 and 5 ms, on H100 (") for text in statements("plan_cache", "token.warm"))
    assert statements("os_tax", "no_such_metric") == []


def test_every_claim_has_its_verdict_and_its_numbers(judged: tuple[Path, dict[str, Any]]) -> None:
    """Metric, noise floor and controls, each once."""
    folder, results = judged
    found = read_claims(folder, results)
    assert set(found) == {claim.id for claim in all_claims()}
    assert all(one.subjects and dict(one.facts)["grade"] for one in found.values())
    assert found["os_tax.full_forward"].subjects == (
        Subject("os_tax", "full_forward.warm_overhead"),
        Subject("os_tax", "full_forward.noise_floor"),
        Subject("os_tax", "micro_add.warm_overhead"),
    )


def test_a_claim_that_was_removed_still_leads_to_its_metric(judged: tuple[Path, dict[str, Any]], edit: Any) -> None:
    """Verdicts may be older than the claims file."""
    folder, results = judged
    edit(folder / "claims.json", lambda content: content["verdicts"][0].update(id="os_tax.removed"))
    (subject,) = read_claims(folder, results)["os_tax.removed"].subjects
    assert subject.study == "os_tax"


def test_no_verdicts_are_no_error_and_damaged_ones_are(whole: Path) -> None:
    """With the file's name."""
    (whole / "claims.json").unlink()
    assert read_claims(whole, {}) == {}
    (whole / "claims.json").write_text("[]")
    with pytest.raises(RecordError, match=r"claims.json has schema version None"):
        read_claims(whole, {})
