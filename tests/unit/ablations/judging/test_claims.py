"""The claims file: what it holds, and one sentence for each way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ablations.errors import ClaimsError
from ablations.judging.claims import DEFAULT_CLAIMS, load_claims
from ablations.settings import STUDIES

VALID: dict[str, Any] = {
    "id": "os_tax.one",
    "quote": "words",
    "section": "a section",
    "line": 1,
    "study": "os_tax",
    "metric": "full_forward.warm_overhead",
    "comparison": "at_most",
    "threshold": 1,
    "unit": "%",
    "reading": "how",
}


def _load(folder: Path, *claims: dict[str, Any], **top: Any) -> Any:
    path = folder / "claims.yaml"
    content = {"source": {"title": "a document", "sha256": "0" * 64}, "claims": list(claims), **top}
    path.write_text(yaml.safe_dump(content))
    return load_claims(path)


def test_the_file_has_the_claims_that_the_document_makes(root: Path) -> None:
    """The key claim and the expected results of each ablation, the table, and the four claims of the paper."""
    claims = load_claims(root / DEFAULT_CLAIMS).claims
    sections = {(claim.study, claim.section.split(",")[0]) for claim in claims}
    for number, study in enumerate(STUDIES, start=1):
        assert (study, f"Ablation {number}") in sections
        assert (study, "Expected Results Summary") in sections
        assert (study, "Paper Claims Validated") in sections
        kinds = {claim.section.split(", ")[-1] for claim in claims if claim.study == study}
        assert {"Key Claim", "Expected Result"} <= kinds


def test_contradictions_name_each_other(root: Path) -> None:
    """Two numbers for one speed-up discredit both."""
    claims = {claim.id: claim for claim in load_claims(root / DEFAULT_CLAIMS).claims}
    ours, theirs = claims["plan_cache.paper_claim"].contradiction, claims["plan_cache.table_dispatch"].contradiction
    assert ours is not None
    assert theirs is not None
    assert ours.claims == ("plan_cache.table_dispatch",)
    assert theirs.claims == ("plan_cache.paper_claim",)
    assert ours.grade == theirs.grade == "inconsistent in the source"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "percent"}, "unit 'percent' of claim os_tax.one is unknown; choose one of %"),
        ({"unit": "ration"}, "unit 'ration' of claim os_tax.one is unknown; did you mean ratio"),
        ({"comparison": "atmost"}, "comparison 'atmost' of claim os_tax.one is unknown; did you mean at_most"),
        ({"study": "os_taxes"}, "study 'os_taxes' of claim os_tax.one is unknown; did you mean os_tax"),
        ({"treshold": 2}, "key 'treshold' of claim os_tax.one is unknown; did you mean threshold"),
        ({"threshold": "much"}, "threshold of claim os_tax.one does not fit"),
        ({"threshold": [1, 2]}, "at_most with 1 to 2; give two numbers for between"),
        ({"comparison": "between"}, "between with 1; give two numbers"),
        ({"comparison": "between", "threshold": [5, 2]}, "no value of full_forward.warm_overhead can satisfy between"),
        ({"comparison": "equivalent", "threshold": 0}, "no value of .* can satisfy equivalent 0"),
        ({"threshold": float("nan")}, "threshold nan of claim os_tax.one is no finite number"),
        (
            {"comparison": "between", "threshold": [1, float("inf")]},
            "threshold 1 to inf of claim os_tax.one is no finite",
        ),
        ({"unit": "ratio", "threshold": -1}, "threshold -1 ratio of claim os_tax.one is negative"),
        ({"unit": "ratio", "comparison": "equivalent", "threshold": 0.1}, "a margin around zero, where no ratio lies"),
        ({"unit": "ms"}, "absolute time .ms. without the hardware"),
        ({"hardware": "H100"}, "is in %, which machines can be compared by, but names hardware H100"),
        (
            {"contradiction": {"with": [], "why": "so", "grade": "inconsistent in source"}},
            "grade 'inconsistent in source' of claim os_tax.one is unknown; did you mean inconsistent in the source",
        ),
        (
            {"contradiction": {"with": [], "why": "so", "grade": "reproduced"}},
            "grade 'reproduced' of claim os_tax.one is unknown; choose one of",
        ),
        ({"contradiction": {"with": ["os_tax.on"], "why": "so"}}, "contradicts os_tax.on, which is no other claim"),
        (
            {"controls": [{"metric": "m", "comparison": "between", "threshold": 1, "unit": "%", "why": "so"}]},
            "compares m between with 1",
        ),
    ],
)
def test_a_wrong_claim_is_one_sentence(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """It names the claim, the value and what to write instead."""
    with pytest.raises(ClaimsError, match=message) as caught:
        _load(tmp_path, VALID | change)
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_is_named_rather_than_the_one_it_is_meant_to_be(tmp_path: Path) -> None:
    """The file lacks metric, but what its author sees is metrik."""
    claim = {("metrik" if key == "metric" else key): value for key, value in VALID.items()}
    with pytest.raises(ClaimsError, match=r"key 'metrik' of claim os_tax\.one is unknown; did you mean metric"):
        _load(tmp_path, claim)


def test_near_matches_of_claims_are_suggested(tmp_path: Path) -> None:
    """Of other claims, not of itself."""
    other = VALID | {"id": "os_tax.other", "contradiction": {"with": ["os_tax.onne"], "why": "so"}}
    with pytest.raises(ClaimsError, match=r"did you mean os_tax\.one\?"):
        _load(tmp_path, VALID, other)


def test_a_claim_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """A verdict could not be found by its id."""
    with pytest.raises(ClaimsError, match=r"claim os_tax.one is there 2 times"):
        _load(tmp_path, VALID, VALID)


def test_a_file_that_is_no_claims_file_is_named(tmp_path: Path) -> None:
    """Missing, not YAML, or something else."""
    with pytest.raises(ClaimsError, match="cannot be read"):
        load_claims(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ClaimsError, match="is not YAML"):
        load_claims(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ClaimsError, match="the file does not fit"):
        load_claims(tmp_path / "list.yaml")
    with pytest.raises(ClaimsError, match="key 'more' of the file is unknown"):
        _load(tmp_path, VALID, more=1)
    with pytest.raises(ClaimsError, match="key '1' of claim os_tax.one is unknown"):
        _load(tmp_path, VALID | {1: 2, "more": 3})
    (tmp_path / "twice.yaml").write_text("source: 1\nsource: 2\n")
    with pytest.raises(
        ClaimsError, match=r"Claims .*twice.yaml is not YAML \(found key 'source' twice in line 2, column 1"
    ):
        load_claims(tmp_path / "twice.yaml")


def test_a_sentence_begins_with_the_file_and_says_where_yaml_went_wrong(tmp_path: Path) -> None:
    """Several files may be at hand."""
    with pytest.raises(ClaimsError) as caught:
        _load(tmp_path, VALID | {"threshold": [1, 2]})
    assert str(caught.value).startswith(f"{tmp_path / 'claims.yaml'}: claim os_tax.one")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ClaimsError, match=r"is not YAML \(.*line \d+, column \d+"):
        load_claims(tmp_path / "bad.yaml")
