"""Puts the trials of one study together into one result file."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from ablations.analysis.quantities import MIN_INVOCATIONS
from ablations.analysis.trials import TrialSet
from ablations.errors import AggregationError
from ablations.records import SCHEMA_VERSION, read_result, write_result
from ablations.settings import STUDIES, VARIANTS

ABLATION_NUMBERS = {study: number for number, study in enumerate(STUDIES, start=1)}


def aggregate_files(study: str, trial_paths: list[Path], output: Path) -> None:
    """Aggregate trial files into `output`.

    Raises:
        RecordError: a trial file that cannot be used, or an output that cannot be written.
        AggregationError: trials that do not belong together, or a study of which a variant is missing.
    """
    write_result(output, aggregate(TrialSet(study, trial_paths)), "aggregated")


def aggregate(trials: TrialSet) -> dict[str, Any]:
    """Return the result of one study as plain data."""
    module = import_module(f"ablations.analysis.{trials.study}")
    missing = sorted(set(VARIANTS[trials.study]) - set(trials.variants))
    if missing:
        raise AggregationError(f"Study {trials.study} lacks trials of {', '.join(missing)}; measure them.")
    quantities, series = module.summarise(trials)
    first = trials.records[0]
    num_trials = len(trials.samples(trials.variants[0]))
    return {
        "schema_version": SCHEMA_VERSION,
        "study": trials.study,
        "ablation": ABLATION_NUMBERS[trials.study],
        "tier": first.tier,
        "num_trials": num_trials,
        "settings": first.settings,
        "settings_sha256": first.settings_sha256,
        "sources_sha256": first.sources_sha256,
        "environment": first.environment,
        "trials": trials.manifest(),
        "flags": _flags(trials, num_trials),
        "quantities": msgspec.to_builtins(quantities),
        "series": series,
    }


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


def _flags(trials: TrialSet, num_trials: int) -> list[str]:
    flags = ["underpowered"] if num_trials < MIN_INVOCATIONS else []
    contaminated = Counter(flag for record in trials.records for flag in record.contamination["flags"])
    return flags + [
        f"{flag} in {count} of {len(trials.records)} trials" for flag, count in sorted(contaminated.items())
    ]
