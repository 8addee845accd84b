"""Runs studies without a workflow engine: one process for each trial, then the aggregate and its table.

The workflow runs the same `python -m ablations` stages as its jobs. Finished trials that still fit the settings and the
sources are kept, so that a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ablations.configuration import load_config
from ablations.errors import AblationError, MeasurementError, RecordError, refused_by_system
from ablations.measurement.journal import journal_path
from ablations.measurement.progress import Progress
from ablations.measurement.sources import sources_hash, study_sources
from ablations.provenance.ledger import add_to_ledger
from ablations.records import read_record
from ablations.rendering.names import TABLE_NAMES
from ablations.settings import STUDIES, VARIANTS, Config, output_dir, settings_hash, trial_count, trial_settings
from ablations.whole_files import require_writable


def study_parser(study: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the flags that every study's script has."""
    number = STUDIES.index(study) + 1
    parser = argparse.ArgumentParser(description=f"Ablation {number}: {description}")
    parser.add_argument("--n-trials", type=int, help="invocations of each variant; default: from the configuration")
    add_common_flags(parser)
    return parser


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that every script has."""
    parser.add_argument(
        "--config", type=Path, action="append", default=[], help="configuration over config/config.yaml"
    )
    parser.add_argument("--output-dir", type=Path, help="where results go; default: the tier's folder under results/")


def main(studies: list[str], options: argparse.Namespace, overrides: Mapping[str, Any] | None = None) -> int:
    """Measure, aggregate and tabulate studies; errors that a user can mend are one sentence and exit status 2."""
    try:
        config = load_config(*options.config, overrides=overrides)
        output = options.output_dir or Path(output_dir("results", config.tier))
        for study in studies:
            add_to_ledger(output, run_study(study, config, output))
    except OSError as error:
        print(f"error: {refused_by_system(error)}", file=sys.stderr)
        return 2
    except (AblationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run_study(study: str, config: Config, output: Path) -> list[Path]:
    """Measure the trials of one study that are not there yet, write its result and its table, and return these two.

    Raises:
        SettingsError, RecordError: settings or an output folder that cannot be used.
        MeasurementError: a trial failed; what it said stands above.
    """
    settings = trial_settings(config, study)
    wanted = [(variant, trial) for trial in range(trial_count(config, study)) for variant in VARIANTS[study]]
    result = output / f"ablation_{STUDIES.index(study) + 1}.json"
    require_writable(result)
    progress = Progress(study, min_interval_s=0)
    paths = []
    for done, (variant, trial) in enumerate(wanted):
        path = output / "trials" / study / variant / f"trial_{trial}.json"
        paths.append(path)
        if not _is_current(path, study, settings):
            _measure(study, variant, trial, settings, path)
        progress.update(done + 1, len(wanted), f"{variant}, trial {trial}")
    import_module("ablations.analysis.aggregate").aggregate_files(
        study, paths, result, expected_trials=trial_count(config, study)
    )
    progress.note(f"wrote {result}")
    if find_spec("jinja2") is None:
        progress.note("no table, because jinja2 is not installed; render it later with python -m ablations table")
        return [result]
    table = output / f"{TABLE_NAMES[study]}.tex"
    import_module("ablations.rendering.tables").render_table(study, result, table)
    progress.note(f"wrote {table}")
    return [result, table]


def _is_current(path: Path, study: str, settings: dict[str, Any]) -> bool:
    if not path.exists():
        return False
    try:
        record = read_record(path)
    except RecordError:
        return False
    return record.settings_sha256 == settings_hash(settings) and record.sources_sha256 == sources_hash(
        study_sources(study)
    )


def _measure(study: str, variant: str, trial: int, settings: dict[str, Any], path: Path) -> None:
    arguments = ["--study", study, "--variant", variant, "--trial", str(trial), "--output", str(path)]
    command = [
        sys.executable,
        "-m",
        "ablations",
        "trial",
        *arguments,
        "--settings",
        json.dumps(settings, sort_keys=True),
    ]
    finished = subprocess.run(command, check=False)
    if finished.returncode != 0:
        raise MeasurementError(
            f"Trial {trial} of {study}/{variant} failed, as it says above; mend that and run this again."
        )
    journal_path(path).unlink(missing_ok=True)
