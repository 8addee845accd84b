"""What is wrong with a folder of results: edited, lost, added, damaged, or made by other code or another machine."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ablations.analysis.reading import read_aggregated
from ablations.errors import AblationError, RecordError
from ablations.measurement.journal import journal_path
from ablations.provenance.folder import (
    LEDGER_NAME,
    displayed,
    file_sha256,
    locate_trial,
    result_files,
    trial_files,
    trial_path,
)
from ablations.provenance.freshness import current_sources_hash, settings_difference, sources_difference
from ablations.provenance.ledger import is_edited, ledger_name, read_ledger
from ablations.provenance.makers import made_from
from ablations.provenance.tiers import tier_of
from ablations.records import TrialRecord, read_record
from ablations.settings import settings_hash

Kind = Literal[
    "edited",
    "lost",
    "added",
    "damaged",
    "other schema",
    "outdated",
    "stale",
    "other code",
    "other machine",
    "other settings",
]

# Made on demand, or by killed processes; none of it is part of what the ledger answers for.
_ON_DEMAND = ("README.md", LEDGER_NAME, "peers", "compare", "ablation_report")
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one file."""

    kind: Kind
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report, and whether it is a finding."""

    text: str
    is_finding: bool = False


def report(results_dir: Path, config_files: list[Path], *, recompute: bool) -> Iterator[Line]:
    """Yield the report of `verify`, line by line: every finding, then a sentence that sums up.

    Raises:
        RecordError: the folder holds no results, or its ledger is damaged.
    """
    files: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding in verify(results_dir, config_files, recompute=recompute):
        files[finding.kind, finding.text].append(finding.file)
    for (kind, text), names in files.items():
        yield Line(f"{kind}: {text}", is_finding=True)
        yield from (Line(f"    {name}") for name in names)
    counts: Counter[str] = Counter()
    for (kind, _), names in files.items():
        counts[kind] += len(names)
    has_ledger = (results_dir / LEDGER_NAME).is_file()
    basis = (
        f"against {displayed(results_dir / LEDGER_NAME)}" if has_ledger else "by its records, because it has no ledger"
    )
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    verdict = f"not as it was made: {summary}" if counts else "as it was made, by the present code, on one machine"
    yield Line(f"{displayed(results_dir)}, examined {basis}, is {verdict}.")


def verify(results_dir: Path, config_files: list[Path], *, recompute: bool) -> Iterator[Finding]:
    """Yield everything that is wrong with a folder of results.

    Args:
        results_dir: the folder.
        config_files: the configuration, where it is not one of the repository's.
        recompute: aggregate the trials again and compare; always done where there is no ledger.

    Raises:
        RecordError: the folder holds no results, or its ledger is damaged.
    """
    paths = result_files(results_dir)
    has_ledger = (results_dir / LEDGER_NAME).is_file()
    yield from _against_ledger(results_dir) if has_ledger else ()
    results: dict[str, dict[str, Any]] = {}
    for study, path in paths.items():
        try:
            results[study] = read_aggregated(path)
        except RecordError as error:
            yield _unreadable(path, error)
    for study, result in results.items():
        yield from _against_manifest(results_dir, study, result)
    yield from _trials_without_result(results_dir, results)
    yield from _records(results_dir, config_files)
    if recompute or not has_ledger:
        for study, result in results.items():
            yield from _recomputed(results_dir, study, result)


def _against_ledger(results_dir: Path) -> Iterator[Finding]:
    known = read_ledger(results_dir)["files"]
    for name, entry in known.items():
        path = results_dir / name
        shown = displayed(path)
        if not path.is_file():
            yield Finding("lost", shown, "the ledger has it; make it again")
            continue
        now = {"sha256": file_sha256(path), "made_from": made_from(results_dir, path)}
        if is_edited(entry, now):
            yield Finding("edited", shown, "changed although what it is made from did not; delete it and make it again")
        elif now["sha256"] != entry["sha256"]:
            yield Finding("outdated", shown, "changed since the ledger was written; run the whole workflow")
        elif now["made_from"] is not None and now["made_from"] != entry["made_from"]:
            what = (
                "results or code that may have gone into it changed since; snakemake --cores 1 all makes it again if so"
            )
            yield Finding("stale", shown, what)
    yield from _beyond_ledger(results_dir, set(known))


def _beyond_ledger(results_dir: Path, known: set[str]) -> Iterator[Finding]:
    """Yield files beside those of the ledger that no rule makes."""
    folders = {results_dir} | {(results_dir / name).parent for name in known if "trials/" not in name}
    for folder in sorted(folders):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            wanted = path.name.startswith((".", *_ON_DEMAND)) or not path.is_file()
            if not wanted and ledger_name(results_dir, path) not in known:
                yield Finding("added", displayed(path), "the ledger does not have it; no run of the workflow made it")


def _against_manifest(results_dir: Path, study: str, result: dict[str, Any]) -> Iterator[Finding]:
    """Compare a result's list of trials with what lies there."""
    for entry in result["trials"]:
        path = locate_trial(results_dir, study, entry)
        if not path.is_file():
            yield Finding("lost", displayed(path), f"the result of {study} was made from it; measure it again")
        elif file_sha256(path) != entry["sha256"]:
            yield Finding(
                "edited", displayed(path), f"is not what the result of {study} was made from; measure it again"
            )


def _trials_without_result(results_dir: Path, results: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    used = {
        trial_path(results_dir, study, entry["variant"], entry["trial"])
        for study, result in results.items()
        for entry in result["trials"]
    }
    trials = trial_files(results_dir)
    for path in trials:
        if path not in used and path.parent.parent.name in results:
            yield Finding("added", displayed(path), "no result was made from it; delete it or aggregate again")
    for path in sorted((results_dir / "trials").rglob("*")):
        is_ours = path in trials or path.name.startswith(".") or _is_journal(path)
        if path.is_file() and not is_ours:
            yield Finding(
                "added", displayed(path), "it is no trial, which are trials/<study>/<variant>/trial_<k>.json; delete it"
            )


def _is_journal(path: Path) -> bool:
    """Tell whether a file is what an interrupted trial leaves."""
    return path == journal_path(path.with_suffix("").with_suffix(".json"))


def _records(results_dir: Path, config_files: list[Path]) -> Iterator[Finding]:
    """Check each trial record by what it says of itself."""
    records: dict[Path, TrialRecord] = {}
    for path in trial_files(results_dir):
        try:
            records[path] = read_record(path)
        except RecordError as error:
            yield _unreadable(path, error)
    for path, record in records.items():
        yield from _record(path, record, config_files)
    machines = Counter(record.environment["machine_id"] for record in records.values())
    if len(machines) > 1:
        usual = machines.most_common(1)[0][0]
        for path, record in records.items():
            if (machine := record.environment["machine_id"]) != usual:
                yield Finding(
                    "other machine", displayed(path), f"measured on {machine}, most others on {usual}; measure it again"
                )


def _unreadable(path: Path, error: RecordError) -> Finding:
    """Tell a file that was damaged from a whole one that another release wrote."""
    try:
        json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return Finding("damaged", displayed(path), "is no whole JSON file; delete it and make it again")
    # The rest of the sentence names the file, which stands beside it already.
    return Finding("other schema", displayed(path), str(error).removeprefix(f"Result {path} "))


def _record(path: Path, record: TrialRecord, config_files: list[Path]) -> Iterator[Finding]:
    shown = displayed(path)
    place = (path.parent.parent.name, path.parent.name, path.name)
    if place != (record.study, record.variant, f"trial_{record.trial}.json"):
        yield Finding(
            "edited",
            shown,
            f"says that it is trial {record.trial} of {record.study}/{record.variant}; measure it again",
        )
    if record.settings_sha256 != settings_hash(record.settings):
        yield Finding("edited", shown, "its settings do not have the hash that it gives; measure it again")
    if record.sources_sha256 != current_sources_hash(record.study):
        yield Finding("other code", shown, f"{sources_difference(record.study, record.environment)}; measure it again")
    tier = tier_of(record.tier, config_files)
    if tier is not None and (changed := settings_difference(record.study, record.settings, tier)):
        yield Finding("other settings", shown, f"{changed}; measure it again")


def _recomputed(results_dir: Path, study: str, result: dict[str, Any]) -> Iterator[Finding]:
    """Aggregate again, and compare every number with the result that is there."""
    paths = [locate_trial(results_dir, study, entry) for entry in result["trials"]]
    shown = displayed(result_files(results_dir)[study])
    try:
        trials = import_module("ablations.analysis.trials").TrialSet(study, paths)
        again = import_module("ablations.analysis.aggregate").aggregate(trials)
    except AblationError as error:
        yield Finding("outdated", shown, f"cannot be made again from its trials: {error}")
        return
    for name in ("quantities", "series", "settings", "environment", "num_trials", "flags"):
        if place := _first_difference(result[name], again[name], name):
            yield Finding(
                "edited", shown, f"{place} is not what its trials give with the present code; aggregate again"
            )


def _first_difference(one: Any, other: Any, place: str) -> str | None:
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{place}.{min(one.keys() ^ other.keys())}"
        differing = (_first_difference(one[key], other[key], f"{place}.{key}") for key in one)
        return next(filter(None, differing), None)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        differing = (_first_difference(left, right, f"{place}[{index}]") for index, (left, right) in pairs)
        return next(filter(None, differing), None)
    if isinstance(one, float | int) and isinstance(other, float | int):
        return None if math.isclose(one, other, rel_tol=_TOLERANCE) else place
    return None if one == other else place
