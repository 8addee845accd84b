"""What a tier has, what of it is stale and why, what is left, about how long that takes, and what to run next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.analysis.reading import read_aggregated
from ablations.configuration import load_config
from ablations.errors import RecordError
from ablations.measurement.journal import journal_path
from ablations.provenance.durations import expect, format_seconds, runs_at_hand
from ablations.provenance.engine import workflow_engine
from ablations.provenance.folder import (
    LEDGER_NAME,
    displayed,
    file_sha256,
    locate_trial,
    read_head,
    require_folder,
    result_name,
    trial_path,
)
from ablations.provenance.freshness import differences
from ablations.provenance.ledger import read_ledger
from ablations.provenance.makers import made_from
from ablations.provenance.tiers import Tier, known_tiers
from ablations.settings import DEFAULT_TIER, STUDIES, VARIANTS, repository_root, trial_count


@dataclass(frozen=True, slots=True)
class StudyState:
    """How far one study is.

    Attributes:
        study: which.
        current, missing: trials by variant and number.
        stale: trials that have to be measured again, by the reason.
        interrupted: steps that a killed trial has finished, by variant and number.
        result: what is to be said of the aggregated result.
    """

    study: str
    current: list[tuple[str, int]]
    missing: list[tuple[str, int]]
    stale: dict[str, list[tuple[str, int]]]
    interrupted: dict[tuple[str, int], int]
    result: str

    @property
    def left(self) -> list[tuple[str, int]]:
        """Trials that remain to be measured."""
        return [*self.missing, *(trial for trials in self.stale.values() for trial in trials)]


def status(config_files: list[Path], results_dir: Path | None) -> Iterator[str]:
    """Yield the lines of a report.

    Args:
        config_files: of the tier; the default tier without any.
        results_dir: where its results lie; by default where the workflow puts them.

    Raises:
        SettingsError: a configuration that cannot be used.
        RecordError: something other than a folder has the name of the results' folder.
    """
    tier = Tier(load_config(*config_files), tuple(config_files)) if config_files else known_tiers()[DEFAULT_TIER]
    folder = results_dir or tier.results_dir
    require_folder(folder)
    states = [study_state(study, tier, folder) for study in STUDIES]
    yield f"tier {tier.name} ({tier.source}), results in {displayed(folder)}"
    for state in states:
        yield from _study_lines(state)
    yield f"ledger: {_ledger_state(folder)}"
    yield from _left_lines(tier, states)
    yield from _next_lines(tier, folder)


def study_state(study: str, tier: Tier, folder: Path) -> StudyState:
    """Examine one study's trials and its result."""
    wanted = [(variant, trial) for variant in VARIANTS[study] for trial in range(trial_count(tier.config, study))]
    state = StudyState(study, [], [], defaultdict(list), {}, "")
    for variant, trial in wanted:
        path = trial_path(folder, study, variant, trial)
        reason = _stale_reason(path, tier) if path.exists() else None
        if not path.exists():
            state.missing.append((variant, trial))
        elif reason is not None:
            state.stale[reason].append((variant, trial))
        else:
            state.current.append((variant, trial))
        journal = journal_path(path)
        # The journal of a finished trial may lie there until its workflow has noted it.
        if journal.exists() and (variant, trial) not in state.current:
            state.interrupted[variant, trial] = len(journal.read_text(errors="replace").splitlines())
    result = _result_state(folder, study, wanted, bool(state.left))
    return StudyState(study, state.current, state.missing, dict(state.stale), state.interrupted, result)


def _stale_reason(path: Path, tier: Tier) -> str | None:
    try:
        found = differences(read_head(path), tier)
    except RecordError as error:
        return str(error)
    return "; ".join(difference.text for difference in found) or None


def _result_state(folder: Path, study: str, wanted: list[tuple[str, int]], has_work: bool) -> str:
    path = folder / result_name(study)
    if not path.exists():
        return "not aggregated yet"
    try:
        result = read_aggregated(path)
    except RecordError as error:
        return f"damaged ({error})"
    if has_work:
        return "stale, because trials are"
    held = {(entry["variant"], entry["trial"]) for entry in result["trials"]}
    if held != set(wanted):
        return f"stale: made from {len(held)} trials of {len(wanted)}"
    changed = [entry for entry in result["trials"] if not _is_as_aggregated(folder, study, entry)]
    return f"stale: {len(changed)} trials changed since" if changed else "current"


def _is_as_aggregated(folder: Path, study: str, entry: dict[str, Any]) -> bool:
    try:
        return file_sha256(locate_trial(folder, study, entry)) == str(entry["sha256"])
    except RecordError:
        return False


def _study_lines(state: StudyState) -> Iterator[str]:
    total = len(state.current) + len(state.left)
    num_stale = len(state.left) - len(state.missing)
    counts = f"{len(state.current)} of {total} trials current, {num_stale} stale, {len(state.missing)} missing"
    yield f"{state.study}: {counts}; {result_name(state.study)} is {state.result}"
    for reason, trials in state.stale.items():
        yield f"  stale: {_named(trials)}: {reason}"
    if state.missing and len(state.missing) < total:
        yield f"  missing: {_named(state.missing)}"
    for (variant, trial), steps in state.interrupted.items():
        yield f"  interrupted: {variant}, trial {trial}, goes on after {steps} steps that it had finished"


def _named(trials: list[tuple[str, int]]) -> str:
    numbers: dict[str, list[int]] = defaultdict(list)
    for variant, trial in trials:
        numbers[variant].append(trial)
    return "; ".join(f"{variant} {', '.join(map(str, held))}" for variant, held in numbers.items())


def _ledger_state(folder: Path) -> str:
    """Say whether everything that the ledger answers for is what it would be made to be now."""
    if not (folder / LEDGER_NAME).exists():
        return "not written yet; it is the last thing that `all` makes"
    try:
        files = read_ledger(folder)["files"]
    except RecordError as error:
        return str(error)
    lost = [name for name in files if not (folder / name).is_file()]
    changed = [name for name in files if name not in lost and not _is_as_recorded(folder / name, files[name], folder)]
    if not lost and not changed:
        return f"current, {len(files)} files"
    return f"{len(lost)} files lost, {len(changed)} not what it says; python -m ablations verify names them"


def _is_as_recorded(path: Path, entry: dict[str, Any], folder: Path) -> bool:
    try:
        same = file_sha256(path) == str(entry["sha256"])
        return same and made_from(folder, path) == entry["made_from"]
    except RecordError:
        return False


def _left_lines(tier: Tier, states: list[StudyState]) -> Iterator[str]:
    left = [(state.study, variant) for state in states for variant, _ in state.left]
    if not left:
        yield "left to measure: nothing"
        return
    expectation = expect(tier, left, runs_at_hand(tier))
    yield f"left to measure: {len(left)} trials, {expectation}"


def _next_lines(tier: Tier, folder: Path) -> Iterator[str]:
    """Say what to run, and what a killed run left in its way."""
    engine = workflow_engine(repository_root())
    if engine.running is not None:
        yield f"running: a workflow, for {format_seconds(engine.age_s)} (process {engine.running}); wait for it to end"
    elif folder != tier.results_dir:
        config = "".join(f" --config {displayed(file)}" for file in tier.files)
        yield f"next: python workflow/scripts/run_all_ablations.py --output-dir {displayed(folder)}{config}"
    else:
        if engine.is_locked:
            yield (
                "locked: by a run on another machine that shares this folder, which would have to end first, or by one "
                "that was killed"
            )
            yield f"first, if no other machine is at work here: {tier.snakemake()} --unlock"
        for name in engine.incomplete:
            yield f"  interrupted: {name} was being made when a run was killed, and will be made again"
        yield f"next: {tier.snakemake('all')}{' --rerun-incomplete' if engine.incomplete else ''}"
