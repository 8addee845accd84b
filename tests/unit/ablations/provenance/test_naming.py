"""Which variants lie behind a name is read from the name itself."""

from __future__ import annotations

from typing import Any

import pytest

from ablations.errors import SettingsError
from ablations.provenance.naming import Subject, known_names, resolve
from ablations.settings import STUDIES, VARIANTS

RESULTS: dict[str, dict[str, Any]] = {
    "plan_cache": {"ablation": 3, "quantities": {"token.warm": None, "token.cold": None}}
}


@pytest.mark.parametrize(
    ("study", "quantity", "variants"),
    [
        ("os_tax", "micro_add.native", ("micro_add",)),
        ("semantic_signals", "agents.proactive_plus", ("proactive_plus",)),
        ("semantic_signals", "gain.proactive_plus_over_lru", ("lru", "proactive_plus")),
        ("semantic_signals", "calibration.swap", VARIANTS["semantic_signals"]),
        ("plan_cache", "token_speedup", VARIANTS["plan_cache"]),
        ("os_tax", None, VARIANTS["os_tax"]),
    ],
)
def test_the_variants_of_a_quantity(study: str, quantity: str | None, variants: tuple[str, ...]) -> None:
    """Whole words only; all variants where the name has none."""
    assert set(Subject(study, quantity).variants) == set(variants)


def test_a_trial_leads_to_its_study() -> None:
    """Wherever the folder lies."""
    found = resolve("build/results/trials/plan_cache/decode/trial_0.json", RESULTS, {})
    assert found == (Subject("plan_cache"),)


def test_a_claim_shadows_a_cell_of_the_same_name() -> None:
    """And leads to more than the cell."""
    both = (Subject("plan_cache", "token.warm"), Subject("plan_cache", "token.cold"))
    assert resolve("plan_cache.token.warm", RESULTS, {"plan_cache.token.warm": both}) == both


def test_figures_of_studies_without_results_have_no_name() -> None:
    """They could not be explained."""
    names = known_names(RESULTS, {})
    assert "ablation_3_plan_cache" in names
    assert "ablation_summary" not in names
    with pytest.raises(SettingsError, match="'ablation_summary' is no macro"):
        resolve("ablation_summary", RESULTS, {})


@pytest.mark.parametrize(
    "name",
    [
        "claims",
        "claims.json",
        "figures/claims.pdf",
        "/anywhere/results/claims.json",
        "compare.txt",
        "claims_table",
        "ledger.json",
        "numbers",
        "ablation_numbers.tex",
        "appendix",
        "pages",
        "report.rst",
        "tables.html",
        "provenance.html",
        "compare",
    ],
)
def test_what_is_made_from_all_results_leads_to_those_that_there_are(name: str) -> None:
    """Even where a study has none; nothing has a name where no study has a result."""
    assert resolve(name, RESULTS, {}) == tuple(Subject(study) for study in RESULTS)
    with pytest.raises(SettingsError, match="is no macro"):
        resolve(name, {}, {})


def test_the_document_has_the_names_of_the_summary_where_all_studies_have_results() -> None:
    """And none where one is missing."""
    results = {study: {"ablation": 1, "quantities": {}} for study in STUDIES}
    for name in ("summary", "document.tex", "ablation_report.pdf"):
        assert resolve(name, results, {}) == tuple(Subject(study) for study in STUDIES)
        with pytest.raises(SettingsError, match="is no macro"):
            resolve(name, RESULTS, {})
