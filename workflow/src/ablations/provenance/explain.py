"""The chain behind a name: value, aggregated result, trial files, settings, sources, environment, command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablations.analysis.reading import read_aggregated
from ablations.errors import RecordError
from ablations.measurement.sources import study_sources
from ablations.provenance.claims import JudgedClaim, read_claims
from ablations.provenance.folder import displayed, file_sha256, flatten, locate_trial, result_files
from ablations.provenance.freshness import (
    current_sources_hash,
    machine_difference,
    settings_difference,
    sources_difference,
)
from ablations.provenance.ledger import read_ledger
from ablations.provenance.naming import Subject, resolve
from ablations.provenance.remeasure import remeasure_command
from ablations.provenance.tiers import Tier, tier_of
from ablations.rendering.formatting import format_quantity
from ablations.rendering.macros import macro_name

_LABEL_WIDTH = 13


def explain(name: str, results_dir: Path, config_files: list[Path]) -> Iterator[str]:
    """Yield the lines that explain a name.

    Args:
        name: a macro, cell, claim, figure, table or study; claims and experiments also as C1 or E1.
        results_dir: the folder of results.
        config_files: the configuration that the results were measured with, where it is not one of the repository's.

    Raises:
        RecordError: no results, or a damaged one.
        SettingsError: nothing has this name.
    """
    results = {study: read_aggregated(path) for study, path in result_files(results_dir).items()}
    claims = read_claims(results_dir, results)
    named = claims | {judged.label: judged for judged in claims.values()}
    subjects = resolve(name, results, {claim: judged.subjects for claim, judged in named.items()})
    judged = named.get(name.strip())
    if judged is not None:
        yield from _claim_lines(judged)
    elif not claims:
        yield _line("claims", f"none are judged: {displayed(results_dir / 'claims.json')} does not exist yet")
    for subject in subjects:
        yield ""
        yield from _subject_lines(subject, results[subject.study], results_dir, config_files)


def _claim_lines(judged: JudgedClaim) -> Iterator[str]:
    yield _line("claim", f"{judged.identity} ({judged.label})")
    for key, text in judged.facts:
        yield _line(f"  {key}", text)
    if not judged.subjects:
        yield _line("", "no quantity of these results is behind it")


def _subject_lines(
    subject: Subject, result: dict[str, Any], results_dir: Path, config_files: list[Path]
) -> Iterator[str]:
    tier = tier_of(result["tier"], config_files)
    entries = [entry for entry in result["trials"] if entry["variant"] in subject.variants]
    yield from _value_lines(subject, result, results_dir)
    yield from _result_lines(subject.study, results_dir, result)
    yield from _trial_lines(subject, entries, results_dir)
    yield from _settings_lines(subject.study, result, tier)
    yield from _source_lines(subject.study, result)
    yield from _environment_lines(result["environment"])
    trials = [(entry["variant"], entry["trial"]) for entry in entries]
    yield _line("measure again", remeasure_command(results_dir, tier, subject.study, trials))


def _value_lines(subject: Subject, result: dict[str, Any], results_dir: Path) -> Iterator[str]:
    if subject.quantity is None:
        yield _line(
            "study", f"{subject.study}: {len(result['quantities'])} quantities, named {subject.study}.<quantity>"
        )
        return
    quantity = result["quantities"][subject.quantity]
    yield _line("quantity", f"{subject.study}.{subject.quantity}")
    if quantity is None:
        yield _line("value", "could not be estimated from these trials")
    else:
        number = format_quantity(quantity)
        yield _line("value", f"{number.plain}, {100 * quantity['confidence']:.0f} % interval {number.interval}")
        yield _line("n", f"{quantity['num_invocations']} invocations, {quantity['num_samples']} samples")
    macro = macro_name(subject.study, subject.quantity)
    yield _line(
        "macro",
        f"\\{macro} in {displayed(results_dir / 'ablation_numbers.tex')}: {_macro_state(macro, quantity, results_dir)}",
    )


def _macro_state(macro: str, quantity: dict[str, Any] | None, results_dir: Path) -> str:
    path = results_dir / "ablation_numbers.tex"
    if not path.is_file():
        return "not rendered yet"
    definition = rf"\newcommand{{\{macro}}}{{{format_quantity(quantity).latex}}}"
    return "shows this value" if definition in path.read_text().splitlines() else "SHOWS ANOTHER VALUE"


def _result_lines(study: str, results_dir: Path, result: dict[str, Any]) -> Iterator[str]:
    path = result_files(results_dir)[study]
    digest = file_sha256(path)
    try:
        entry = read_ledger(results_dir)["files"].get(path.name)
        state = "not in the ledger" if entry is None else "as in the ledger"
        state = "CHANGED since the ledger was written" if entry is not None and entry["sha256"] != digest else state
    except RecordError:
        state = "no ledger"
    yield _line("result", f"{displayed(path)}, sha256 {digest} ({state})")
    if result["flags"]:
        yield _line("", f"flagged: {', '.join(result['flags'])}")


def _trial_lines(subject: Subject, entries: list[dict[str, Any]], results_dir: Path) -> Iterator[str]:
    yield _line("trials", f"{len(entries)} of {', '.join(sorted({entry['variant'] for entry in entries}))}")
    for entry in entries:
        path = locate_trial(results_dir, subject.study, entry)
        flags = f", {', '.join(entry['flags'])}" if entry["flags"] else ""
        yield _line(
            "",
            f"{displayed(path)}, sha256 {entry['sha256']} ({_trial_state(path, entry)}), {entry['started_at']}, "
            f"{entry['duration_s']:.1f} s{flags}",
        )


def _trial_state(path: Path, entry: dict[str, Any]) -> str:
    if not path.is_file():
        return "LOST"
    return "matches" if file_sha256(path) == entry["sha256"] else "CHANGED since it was aggregated"


def _settings_lines(study: str, result: dict[str, Any], tier: Tier | None) -> Iterator[str]:
    if tier is None:
        state = f"no configuration file makes tier {result['tier']}; pass it as --config"
    else:
        state = settings_difference(study, result["settings"], tier) or f"those of {tier.source} now"
    yield _line("settings", f"sha256 {result['settings_sha256']} ({state})")
    for name, value in sorted(flatten(result["settings"])):
        yield _line("", f"{name} = {value}")


def _source_lines(study: str, result: dict[str, Any]) -> Iterator[str]:
    same = result["sources_sha256"] == current_sources_hash(study)
    sources = study_sources(study)
    state = "unchanged" if same else f"NOT THE SAME NOW, {sources_difference(study, result['environment'])}"
    yield _line("sources", f"sha256 {result['sources_sha256']} ({state}); {len(sources)} files that the study imports:")
    folders: dict[str, list[str]] = defaultdict(list)
    for path in sources:
        folders[displayed(path.parent)].append(path.name)
    for folder, names in folders.items():
        yield _line("", f"{folder}: {' '.join(names)}")


def _environment_lines(environment: dict[str, Any]) -> Iterator[str]:
    difference = machine_difference(environment)
    yield _line("environment", f"machine {environment['machine_id']} ({difference or 'this machine and its software'})")
    shown = ", ".join(f"{name} {value}" for name, value in sorted(environment.items()) if name != "machine_id")
    yield _line("", shown)


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}} {text}"
