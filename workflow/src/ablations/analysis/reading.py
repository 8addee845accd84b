"""Reads aggregated results, without importing what makes them; what a result lacks is said by whoever looks for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.errors import AggregationError, RecordError
from ablations.records import read_result


class Part(dict[str, Any]):
    """A part of a result whose names depend on study and settings, so that no schema can say which of them are there."""

    def __init__(self, content: Mapping[str, Any], path: Path, place: str) -> None:
        """Keep the file, and the part's place in it, for the sentence."""
        super().__init__({name: _named(value, path, f"{place}.{name}") for name, value in content.items()})
        self._path = path
        self._place = place

    def __missing__(self, name: str) -> Any:
        raise RecordError(f"Result {self._path} lacks {name!r} in its {self._place}; delete it and make it again.")


def _named(value: Any, path: Path, place: str) -> Any:
    if isinstance(value, Mapping):
        return Part(value, path, place)
    # Lists of numbers, which are long, have no names.
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_named(item, path, place) for item in value]
    return value


def read_aggregated(path: Path) -> dict[str, Any]:
    """Read one study's result; to look for a quantity, series or setting that it lacks raises RecordError, too.

    Raises:
        RecordError: a file that is missing, damaged or of another kind.
    """
    result = read_result(path, "aggregated")
    return result | {name: Part(result[name], path, name) for name in ("quantities", "series", "settings")}


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
    # What is no ablation has no number, and comes last.
    return dict(sorted(results.items(), key=lambda item: item[1]["ablation"] or math.inf))
