"""Puts the trials of one study together into one result file."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from ablations.analysis.quantity import MIN_INVOCATIONS
from ablations.analysis.trials import TrialSet
from ablations.errors import AggregationError
from ablations.records import SCHEMA_VERSION, write_result
from ablations.settings import STUDIES, VARIANTS

ABLATION_NUMBERS = {study: number for number, study in enumerate(STUDIES, start=1)}


def aggregate_files(study: str, trial_paths: list[Path], output: Path, *, expected_trials: int | None = None) -> None:
    """Aggregate trial files into `output`; with fewer trials of a variant than expected nothing is written.

    Raises:
        RecordError: a trial file that cannot be used, or an output that cannot be written.
        AggregationError: trials that do not belong together, too few of them, or a study of which a variant is missing.
    """
    trials = TrialSet(study, trial_paths)
    if expected_trials is not None:
        trials.refuse_fewer(expected_trials)
    write_result(output, aggregate(trials), "aggregated")


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
        "ablation": ABLATION_NUMBERS.get(trials.study),
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


def _flags(trials: TrialSet, num_trials: int) -> list[str]:
    flags = ["underpowered"] if num_trials < MIN_INVOCATIONS else []
    contaminated = Counter(flag for record in trials.records for flag in record.contamination["flags"])
    return flags + [
        f"{flag} in {count} of {len(trials.records)} trials" for flag, count in sorted(contaminated.items())
    ]
