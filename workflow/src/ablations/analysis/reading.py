"""Reads aggregated results, without importing what makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ablations.errors import AggregationError
from ablations.records import read_result


def read_aggregated(path: Path) -> dict[str, Any]:
    """Read one study's result.

    Raises:
        RecordError: a file that is missing, damaged or of another kind.
    """
    return read_result(path, "aggregated")


def read_studies(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Read several studies' results, by name of the study, in order of the ablations.

    Raises:
        RecordError: a file that is missing, damaged or of another kind.
        AggregationError: two files of one study, or results of different tiers.
    """
    results: dict[str, dict[str, Any]] = {}
    for path in paths:
        result = read_aggregated(path)
        if result["study"] in results:
            raise AggregationError(
                f"Result {path} is of study {result['study']}, which was given before; pass each study once."
            )
        results[result["study"]] = result
    if len({result["tier"] for result in results.values()}) > 1:
        tiers = ", ".join(f"{study} is of {result['tier']}" for study, result in results.items())
        raise AggregationError(f"Results of different tiers cannot be shown together ({tiers}); pass one tier's.")
    return dict(sorted(results.items(), key=lambda item: item[1]["ablation"]))
