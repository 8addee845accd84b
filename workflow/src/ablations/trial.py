"""One trial: a process that measures one variant of one study alone on the machine and writes its record."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import torch

from ablations.errors import MeasurementError, SettingsError
from ablations.measurement.contamination import ContaminationMonitor
from ablations.measurement.environment import capture_environment, capture_gpu
from ablations.measurement.journal import Journal, journal_path
from ablations.measurement.progress import Progress
from ablations.measurement.sources import sources_hash, study_sources, undeclared_modules
from ablations.records import SCHEMA_VERSION, TrialRecord, write_record
from ablations.settings import STUDY_TYPES, VARIANTS, TrialSettings, settings_hash
from ablations.whole_files import require_writable

_FINISHED = "record"


def run_trial(study: str, variant: str, trial: int, settings: dict[str, Any], output: Path) -> TrialRecord:
    """Measure and write one trial.

    Args:
        study, variant: what to measure.
        trial: number of the trial, from 0.
        settings: plain settings as `trial_settings` returns them.
        output: the record's file.

    Raises:
        SettingsError: an unknown variant, a negative trial, or a device that is not there.
        MeasurementError: a check that failed, or sources that were loaded without being declared.
        RecordError: the output cannot be written.
    """
    typed = _typed_settings(study, settings)
    if variant not in VARIANTS[study]:
        raise SettingsError(f"Study {study} has no variant {variant!r}; choose one of {', '.join(VARIANTS[study])}.")
    if trial < 0:
        raise SettingsError(f"Trial {trial} does not exist; trials are numbered from 0.")
    require_writable(output)
    if typed.threads is not None:
        torch.set_num_threads(typed.threads)
    sources = study_sources(study)
    progress = Progress(f"{study}/{variant}/trial_{trial}")
    journal = Journal(journal_path(output), _journal_key(settings, sources, variant, trial))
    finished = journal.last(_FINISHED)
    if finished is None:
        if journal.num_known:
            progress.note(f"goes on after {journal.num_known} steps that an earlier process finished")
        record = _measure(study, variant, trial, settings, typed, sources, progress, journal)
        journal.step(_FINISHED, lambda: msgspec.to_builtins(record))
    else:
        progress.note("was measured already; only the workflow had not noted it when it was killed")
        record = msgspec.convert(finished, TrialRecord)
    write_record(output, record)
    return record


def _measure(
    study: str,
    variant: str,
    trial: int,
    settings: dict[str, Any],
    typed: TrialSettings,
    sources: list[Path],
    progress: Progress,
    journal: Journal,
) -> TrialRecord:
    """Measure one trial and describe it."""
    seed = trial_seed(typed.seed, study, trial)
    module = import_module(f"ablations.studies.{study}")
    gpu_before = capture_gpu()
    monitor = ContaminationMonitor()
    started = datetime.now(UTC)
    start_s = time.monotonic()
    measured = module.run_trial(typed, variant, seed, progress, journal)
    duration_s = time.monotonic() - start_s
    gpu_after = capture_gpu()
    contamination = monitor.report()
    _audit_sources(study, sources)
    return TrialRecord(
        schema_version=SCHEMA_VERSION,
        study=study,
        variant=variant,
        trial=trial,
        seed=seed,
        tier=typed.tier,
        settings=settings,
        settings_sha256=settings_hash(settings),
        sources_sha256=sources_hash(sources),
        environment={
            **capture_environment(num_threads=torch.get_num_threads()),
            "gpu_before": gpu_before,
            "gpu_after": gpu_after,
        },
        started_at=started.isoformat(timespec="seconds"),
        duration_s=duration_s,
        samples=measured.samples,
        counters=measured.counters,
        checks=measured.checks,
        contamination=contamination,
    )


def trial_seed(seed: int, study: str, trial: int) -> int:
    """Return the seed of a trial: the same for every variant, so that modes meet the same arrivals and waits."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{study}/{trial}".encode()).digest()[:4], "big")


def _journal_key(settings: dict[str, Any], sources: list[Path], variant: str, trial: int) -> str:
    """Return a name for everything that the steps of a trial depend on."""
    machine = capture_environment(num_threads=torch.get_num_threads())["machine_id"]
    parts = (settings_hash(settings), sources_hash(sources), machine, variant, trial)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _typed_settings(study: str, settings: dict[str, Any]) -> TrialSettings:
    if study not in STUDY_TYPES:
        raise SettingsError(f"Study {study!r} is unknown; choose one of {', '.join(STUDY_TYPES)}.")
    try:
        own: Any = msgspec.convert(settings.get("study"), STUDY_TYPES[study])
        common = msgspec.convert({**settings, "study": {}}, TrialSettings)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"Settings of study {study} do not fit ({error}); take them from the configuration."
        ) from error
    typed = msgspec.structs.replace(common, study=own)
    if typed.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            "Setting device is 'cuda', but torch finds no CUDA device on this machine; set it to 'cpu'."
        )
    return typed


def _audit_sources(study: str, declared: list[Path]) -> None:
    loaded = undeclared_modules(declared)
    if loaded:
        raise MeasurementError(
            f"Study {study} loaded {', '.join(loaded)}, which the workflow does not know as its inputs; import them at module level."
        )
