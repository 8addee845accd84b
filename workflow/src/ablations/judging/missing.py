"""Why a claim has no number to be judged by, and what would give it one."""

from __future__ import annotations

import re
from typing import Any

from ablations.settings import VARIANTS


def why_no_result(study: str) -> str:
    """Say what a study without a result lacks, as a sentence without a full stop."""
    return (
        f"no result of study {study} was given: it is aggregated once each of its variants ({', '.join(VARIANTS[study])}) "
        "has all its trials, and not before; python -m ablations status says which are missing and what measures them"
    )


def why_no_value(study: str, metric: str, result: dict[str, Any]) -> str:
    """Say why a metric has no value, naming the modes that are to blame, as a sentence without a full stop."""
    compared = [variant for variant in VARIANTS[study] if variant in re.split(r"\.|_over_", metric)]
    quantities = result["quantities"]
    behind = [
        mode for mode in compared if f"common_p99.{mode}" in quantities and quantities[f"common_p99.{mode}"] is None
    ]
    alone = [mode for mode in compared if (quantities.get(f"largest.{mode}") or {"low": 1})["low"] < 1]
    if metric.startswith("latency.") and behind:
        return (
            f"{metric} has no value, because {' and '.join(behind)} did not serve so many agents in every trial as the modes "
            "are compared at; lower common_agents in the configuration and run it again, which measures the study anew"
        )
    if metric.startswith("gain.") and alone:
        return (
            f"{metric} has no value, because in some trial no probe of {' and '.join(alone)} succeeded; raise max_probes in "
            "the configuration, so that the search gets down to where it does, and run it again, which measures the study anew"
        )
    if study == "session_arena":
        return f"{metric} has no value, because no arena of some size fits; raise budget_mb, or leave the largest of arena_sizes_mb out"
    return f"{metric} has no value, because in some trial nothing that it is made of was measured"
