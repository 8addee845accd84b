"""What the paper states and what was judged are read as far as tracing needs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ablations.errors import RecordError
from ablations.provenance import claims
from ablations.provenance.claims import all_statements, read_claims
from ablations.provenance.naming import Subject

RESULTS = {"os_tax": {"quantities": {"full_forward.warm_overhead": None, "micro_add.warm_overhead": None}}}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with an empty folder of configurations."""
    (tmp_path / "config").mkdir()
    monkeypatch.setattr(claims, "repository_root", lambda: tmp_path)
    all_statements.cache_clear()
    return tmp_path


def test_statements_carry_bound_quote_and_hardware(repository: Path) -> None:
    """As a reader of the comparison needs them."""
    one = {
        "id": "a.b",
        "study": "os_tax",
        "metric": "m",
        "comparison": "at_most",
        "threshold": 5,
        "unit": "%",
        "quote": "<5%",
    }
    two = one | {"id": "a.c", "comparison": "between", "threshold": [10, 50], "unit": "us", "hardware": "H100"}
    (repository / "config/claims.yaml").write_text(json.dumps({"claims": [one, two]}))
    first, second = all_statements()
    assert (first.metric, first.text, first.hardware) == ("m", "at most 5 % ('<5%')", None)
    assert second.text == "between 10 and 50 us, on H100 ('<5%')"


def test_a_repository_without_claims_states_nothing(repository: Path) -> None:
    """And a damaged file is one sentence."""
    assert all_statements() == ()
    all_statements.cache_clear()
    (repository / "config/claims.yaml").write_text("claims: [{id: a.b}]")
    with pytest.raises(RecordError, match=r"claims.yaml cannot be used \('threshold'\); correct it"):
        all_statements()


def test_a_verdict_leads_to_its_metric_and_its_controls(tmp_path: Path) -> None:
    """Each once, in the order in which it names them."""
    verdict = {
        "id": "os_tax.negligible",
        "study": "os_tax",
        "metric": "full_forward.warm_overhead",
        "grade": "reproduced",
        "controls": [{"metric": "micro_add.warm_overhead"}, {"metric": "full_forward.warm_overhead"}],
        "hardware": None,
    }
    (tmp_path / "claims.json").write_text(json.dumps({"verdicts": [verdict]}))
    judged = read_claims(tmp_path, RESULTS)["os_tax.negligible"]
    assert judged.subjects == (
        Subject("os_tax", "full_forward.warm_overhead"),
        Subject("os_tax", "micro_add.warm_overhead"),
    )
    assert ("grade", "reproduced") in judged.facts
    assert "hardware" not in dict(judged.facts)


def test_no_verdicts_are_no_error_and_damaged_ones_are(tmp_path: Path) -> None:
    """With the file's name."""
    assert read_claims(tmp_path, RESULTS) == {}
    (tmp_path / "claims.json").write_text("[]")
    with pytest.raises(RecordError, match=r"claims.json holds no verdicts .*judge again"):
        read_claims(tmp_path, RESULTS)
