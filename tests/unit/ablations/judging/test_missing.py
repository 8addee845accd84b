"""A claim without a number says what is missing and what to run."""

from __future__ import annotations

from typing import Any

import pytest

from ablations.judging.missing import why_no_result, why_no_value
from ablations.settings import STUDIES, VARIANTS

Q = {"low": 4.0}


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_without_a_result_names_its_variants_and_the_command(study: str) -> None:
    """All of them, since one is enough to keep the study from being aggregated."""
    reason = why_no_result(study)
    assert all(variant in reason for variant in VARIANTS[study])
    assert "python -m ablations status" in reason


@pytest.mark.parametrize(
    ("metric", "quantities", "message"),
    [
        (
            "latency.proactive_over_reactive",
            {"common_p99.reactive": None, "common_p99.proactive": Q, "common_p99.lru": None},
            "because reactive did not serve so many agents in every trial as the modes are compared at; lower common_agents",
        ),
        (
            "gain.proactive_over_lru",
            {"largest.proactive": Q, "largest.lru": {"low": 0.0}, "largest.none": {"low": 0.0}},
            "because in some trial no probe of lru succeeded; raise max_probes",
        ),
        (
            "gain.proactive_over_lru",
            {"largest.proactive": Q, "largest.lru": Q},
            "in some trial nothing that it is made of was measured",
        ),
    ],
)
def test_a_metric_without_a_value_names_the_modes_that_failed(
    metric: str, quantities: dict[str, Any], message: str
) -> None:
    """And no other, whether or not they failed too."""
    assert message in why_no_value("semantic_signals", metric, {"quantities": quantities})


def test_arenas_without_a_density_are_told_of_the_budget() -> None:
    """Study 2 has no modes."""
    found = why_no_value("session_arena", "density_gain", {"quantities": {}})
    assert "no arena of some size fits; raise budget_mb" in found
